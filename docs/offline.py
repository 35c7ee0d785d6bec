"""A Sphinx extension: what would come from elsewhere, without a network to build or to read."""

from docutils import nodes
from latex2mathml.converter import convert

# The address that the site of another package gives each public name.
OUTSIDE = {
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "numpy": "https://numpy.org/doc/stable/reference/generated/{}.html",
    "joblib": "https://joblib.readthedocs.io/en/stable/generated/{}.html",
}


def link_outside(app, env, node, content):
    """A reference to a public name of another package, without its inventory."""
    name = node.get("reftarget", "")
    address = OUTSIDE.get(name.split(".")[0])
    if address:
        return nodes.reference("", "", content, refuri=address.format(name), internal=False)


def show_equation(translator, node):
    """TeX as MathML, which browsers show by themselves, with no script."""
    if isinstance(node, nodes.math_block):
        equation = convert(node.astext(), display="block")
        # Wide ones scroll, which the keyboard can do only where it has the focus.
        scrolls = 'class="equation" tabindex="0" role="group" aria-label="Equation"'
        translator.body.append(f"<div {scrolls}>{equation}</div>")
    else:
        translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def setup(app):
    app.connect("missing-reference", link_outside)
    app.add_html_math_renderer("mathml", (show_equation, None), (show_equation, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
