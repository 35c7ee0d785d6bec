"""How Sphinx builds the site; `make docs` calls it."""

from docutils import nodes
from latex2mathml.converter import convert

import skl_sae

project = "skl_sae"
author = "The skl_sae developers"
copyright = author
version = release = skl_sae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"
nitpicky = True

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

# --- The gallery and the parameter guide's plots ---

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skl_sae",),
    "reference_url": {"skl_sae": None},
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,  # its page fetches scripts
}
plot_html_show_formats = plot_html_show_source_link = False
plot_formats = [("png", 150)]

# The HTML view of an estimator on a page of the gallery links to its page here.
for estimator in (skl_sae.TopKSparseAutoencoder, skl_sae.ImageAugmenter, skl_sae.ImageLoader):
    estimator._doc_link_module = "skl_sae"
    estimator._doc_link_template = "../generated/{estimator_module}.{estimator_name}.html"

# --- The pages: nothing is fetched, neither to build them nor to read them ---

html_theme = "pydata_sphinx_theme"
html_title = "skl_sae"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
toc_object_entries_show_parents = "hide"
copybutton_exclude = ".linenos, .gp, .go"

OUTSIDE = {
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "numpy": "https://numpy.org/doc/stable/reference/generated/{}.html",
    "joblib": "https://joblib.readthedocs.io/en/stable/generated/{}.html",
}


def link_outside(app, env, node, contnode):
    """A reference to another package, by the address that its site gives every public name."""
    target = node.get("reftarget", "")
    address = OUTSIDE.get(target.split(".")[0])
    if address:
        return nodes.reference("", "", contnode, refuri=address.format(target), internal=False)


def render_math(translator, node):
    """TeX as MathML, which browsers show by themselves, without a script or a font."""
    if isinstance(node, nodes.math_block):
        equation = convert(node.astext(), display="block")
        translator.body.append(f'<div class="equation">{equation}</div>')
    else:
        translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def setup(app):
    app.connect("missing-reference", link_outside)
    app.add_html_math_renderer("mathml", (render_math, None), (render_math, None))
