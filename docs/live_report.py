"""A Sphinx extension: the report that the gallery shows in a frame, as a page of its own."""

import html
import re
from pathlib import Path


def write_report(app, exception):
    """Write the frame's page beside the gallery's."""
    example = Path(app.outdir, "auto_examples", "plot_report.html")
    if exception is None and example.exists():
        page = re.search(r'<iframe[^>]* srcdoc="([^"]*)"', example.read_text(encoding="utf-8"))
        example.with_name("report.html").write_text(html.unescape(page[1]), encoding="utf-8")


def setup(app):
    app.connect("build-finished", write_report)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
