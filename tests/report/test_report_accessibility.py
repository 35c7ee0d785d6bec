"""The report as axe-core sees it, in a browser."""

import pytest
from check_accessibility import VIEWS, problems
from pages import X, Y, fitted_with_dead_atoms, needs_chromium

from skl_sae.report import SAEReport


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    # For as many atoms as other tests have axe-core takes ten seconds.
    sae = fitted_with_dead_atoms(n_components=6)
    path = tmp_path_factory.mktemp("report") / "report.html"
    SAEReport(sae, X[:24], Y[:24], image_shape=(8, 8), compare=sae).write_html(path)
    return path.as_uri()


@pytest.fixture(params=VIEWS, ids=str)
def page(request, browser, address):
    colours, width = request.param
    size = {"width": width, "height": 900}
    page = browser.new_page(viewport=size, color_scheme=colours)
    page.goto(address)
    page.locator("#compare .tile").first.wait_for()  # the last to be there
    yield page
    page.close()


@needs_chromium
def test_browser_finds_no_error_of_accessibility(page):
    assert problems(page) == []
    for kind in ("atoms", "images"):
        page.locator(f".grid.{kind} > .tile").first.click()
        page.locator("dialog").wait_for(state="visible")
        assert problems(page) == []
        page.keyboard.press("Escape")


@needs_chromium
def test_browser_tells_what_has_no_name(browser):
    page = browser.new_page()
    page.set_content("<main><button></button></main>")
    assert any(problem.startswith("button-name (critical)") for problem in problems(page))
    page.close()
