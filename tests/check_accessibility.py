"""Check pages of a built site by axe-core in Chromium; without Chromium, say so and leave.

    python tests/check_accessibility.py SITE [PAGE ...]

A PAGE is relative to SITE; without any it is the front page and one of each kind. Each is looked at
in light, as narrow as a telephone, and in dark, as wide as a screen. The tests of the report do the
same.
"""

import argparse
import sys
from importlib.resources import files
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "report"))

from pages import CHROMIUM, OPTIONS

PAGES = [
    "index.html", "user_guide.html", "guide/model.html", "api.html", "coming_from.html",
    "auto_examples/index.html", "generated/skl_sae.inspection.untrained_twin.html",
]  # fmt: skip
# Each colour and each width once: what fails in one of both fails beside either of the others.
VIEWS = [("light", 400), ("dark", 1280)]


def problems(page):
    """A line for each element of an open page in which axe-core finds an error.

    The debugging protocol evaluates its script, whatever the page's policy forbids.
    """
    if page.evaluate("typeof axe") == "undefined":
        source = files("axe_playwright_python").joinpath("axe.min.js")
        page.evaluate(source.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert found["passes"]  # it has looked at something
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {' '.join(map(str, node['target']))}"
        f" {node['any'][0]['message'] if node['any'] else ''}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def views(browser, address):
    """Open a page in each view, one after the other, with a name for each."""
    for colours, width in VIEWS:
        size = {"width": width, "height": 900}
        page = browser.new_page(viewport=size, color_scheme=colours)
        page.goto(address)
        yield f"{colours}, {width} pixels", page
        page.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("pages", nargs="*", default=PAGES, metavar="PAGE")
    options = parser.parse_args()
    if CHROMIUM is None:
        print("Chromium is not installed: accessibility is not checked.")
        return False
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for name in options.pages:
            for view, page in views(browser, (options.site.resolve() / name).as_uri()):
                for problem in problems(page):
                    found.setdefault(f"{name}: {problem}", []).append(view)
        browser.close()
    print(*(f"{problem} [{'; '.join(seen)}]" for problem, seen in found.items()), sep="\n")
    print(f"{len(options.pages)} pages, {len(found)} errors of accessibility")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
