"""Parts of the HTML document, with text and data made safe for it."""

import base64
import hashlib
import html
import json
import re
from functools import cache
from importlib.resources import files

import numpy as np

# The page's scripts, in the order in which they run.
_SCRIPTS = (
    "data", "elements", "thumbnails", "places", "charts", "labels", "measures", "galleries",
    "address", "dialog", "copy", "sums", "together", "atom", "without", "image", "table", "map",
    "classes", "compare", "search", "start",
)  # fmt: skip


@cache
def template():
    """Return the page with its style and its one script, and with places for contents."""

    def text(name):
        return (files(__package__) / "page" / name).read_text(encoding="utf-8")

    scripts = "\n".join(text(f"{name}.js") for name in _SCRIPTS)
    # One function, so that names of the script are not the window's.
    script = f'\n"use strict";\n(() => {{\n{scripts}}})();\n'
    parts = {"style": "\n" + text("style.css"), "script": script}
    return re.sub(
        r"\{\{(style|script)\}\}", lambda place: parts[place.group(1)], text("report.html")
    )


def packed(values, dtype):
    """Encode an array for the page's script: little-endian numbers in base64, named by dtype."""
    content = np.ascontiguousarray(values, dtype=f"<{dtype}").tobytes()
    return {dtype: base64.b64encode(content).decode("ascii")}


def json_for_script(data):
    """Encode as JSON in which no HTML parser finds the end of a script, or any markup."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII alone
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def policy(page):
    """Return a content security policy: only the page's own style, script and embedded images."""

    def digest(tag):
        content = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL).group(1)
        return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest('style')}'; "
        f"script-src 'sha256-{digest('script')}'; base-uri 'none'; form-action 'none'"
    )


def filled(template, **contents):
    """Fill the template's places ``{{name}}`` in one pass: contents are not searched for more."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: contents[place.group(1)], template)


def definitions(figures):
    """Return a definition list of names, values, plain words and explanations."""
    return "\n".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        f"<dd><strong>{html.escape(words)}:</strong> {html.escape(explanation)}</dd></div>"
        for name, value, words, explanation in figures
    )


def models_table(names, columns):
    """Return a table of models side by side, or nothing if there are none.

    ``columns`` are the models' figures as text, by the figures' names.
    """
    if not names:
        return ""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(figure)}</th>'
        + "".join(f"<td>{html.escape(values.get(figure, ''))}</td>" for values in columns)
        + "</tr>"
        for figure in columns[0]
    )
    return (
        '<h2>Side by side</h2><div class="scroll"><table class="plain models"><thead><tr>'
        f'<th scope="col">Figure</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def parameter_rows(estimator):
    """Return the table rows of the estimator's parameters, with non-default ones marked."""
    defaults = type(estimator)().get_params(deep=False)
    rows = []
    for name, value in sorted(estimator.get_params(deep=False).items()):
        text = described(value)
        changed = ' class="changed"' if text != described(defaults[name]) else ""
        rows.append(
            f'<tr{changed}><th scope="row">{html.escape(name)}</th>'
            f"<td>{html.escape(text)}</td></tr>"
        )
    return "\n".join(rows)


def described(value):
    """Return a parameter in words: it may be an array of initial atoms, or any text."""
    if hasattr(value, "shape"):
        return f"array of shape {tuple(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:200]} …"
