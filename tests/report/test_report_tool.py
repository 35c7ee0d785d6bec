"""The report as a tool: addresses, edits, search, labels and lines to copy, in a browser."""

import numpy as np
import pytest
from pages import HOSTILE, X, Y, needs_chromium, page_data

from skl_sae.report import SAEReport

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report_file(sae, tmp_path_factory):
    names = [HOSTILE[i % len(HOSTILE)] + str(i) for i in range(len(X))]
    labels = np.array(HOSTILE, dtype=object)[Y]
    path = tmp_path_factory.mktemp("report") / "report #1.html"
    SAEReport(sae, X, labels, image_shape=(8, 8), filenames=names).write_html(path)
    return path


@pytest.fixture(scope="module")
def data(report_file):
    return page_data(report_file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tab(browser):
    """One tab for all tests, which keep nothing; fails if a page complains."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    hacked = tab.evaluate("window.hacked")
    context.close()
    assert complaints == []
    assert hacked is None


@pytest.fixture
def page(tab, report_file):
    """The report, as opened for the first time."""
    tab.goto("about:blank")
    tab.goto(report_file.as_uri())
    tab.evaluate("localStorage.clear()")
    return tab


def title(page):
    return page.locator("#dialog-title").inner_text()


def fragment(page):
    return page.evaluate("location.hash")


# --- Addresses ---


def test_what_is_shown_has_an_address(page, report_file, data):
    columns, uri = data["atoms"]["column"], report_file.as_uri()
    page.locator(".grid.atoms > .tile").nth(2).click()
    assert page.url == f"{uri}#atom-{columns[2]}"
    page.locator("dialog .top .tile").first.click()
    image = data["images"]["row"][data["atoms"]["top"].reshape(48, -1)[2, 0]]
    assert page.url == f"{uri}#image-{image}"
    page.go_back()
    assert page.url.endswith(f"#atom-{columns[2]}") and title(page).startswith(
        f"Atom {columns[2]},"
    )
    page.go_forward()
    assert title(page) == data["images"]["name"][image]
    page.locator("#back").click()
    assert title(page).startswith(f"Atom {columns[2]},")
    assert page.url == f"{uri}#atom-{columns[2]}" and page.locator("#back").is_hidden()
    page.keyboard.press("ArrowRight")
    assert page.url == f"{uri}#atom-{columns[3]}"
    page.keyboard.press("Escape")
    page.wait_for_url(uri)
    page.go_back()
    assert title(page).startswith(f"Atom {columns[3]},") and page.locator("dialog").is_visible()
    for address in (f"#image-{image}", f"#atom-{columns[2]}", ""):
        page.go_back()
        assert page.url == uri + address
    assert not page.locator("dialog").is_visible()


def test_an_address_can_be_sent(page, report_file):
    page.goto("about:blank")
    page.goto(report_file.as_uri() + "#atom-17")
    assert title(page).startswith("Atom 17,") and page.locator("#back").is_hidden()
    page.evaluate("location.hash = '#image-5'")
    page.wait_for_function("document.querySelector('#dialog-title').textContent.endsWith('5')")
    page.go_back()
    assert title(page).startswith("Atom 17,")
    page.locator("#close").click()
    page.wait_for_url(report_file.as_uri())


@pytest.mark.parametrize(
    ("address", "words"),
    [("#atom-48", "There is no atom 48 on this page, which shows 48 atoms."),
     ("#image-9999999999", "There is no image 9999999999"), ("#atom-x<b>%00", "#atom-x<b>"),
     ("#%", "#%"),
     ("#images", ""), ("", "")],
    ids=str,
)  # fmt: skip
def test_an_address_of_nothing_says_so(page, report_file, address, words):
    page.goto("about:blank")
    page.goto(report_file.as_uri() + address)
    assert words in (said := page.locator("#notice").inner_text()) and bool(said) == bool(words)
    assert not page.locator("dialog").is_visible()
    if words:
        page.locator("#notice button").click()
        assert page.locator("#notice").inner_text() == ""


def test_a_notebook_has_no_addresses_and_misses_none(browser, sae):
    page = browser.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content(SAEReport(sae, X[:20], image_shape=(8, 8))._repr_html_())
    frame, entries = page.frame_locator("iframe"), page.evaluate("history.length")
    frame.locator(".grid.atoms > .tile").first.click()
    first = frame.locator("#dialog-title").inner_text()
    frame.locator("dialog .top .tile").first.click()
    assert frame.locator("#dialog-title").inner_text() != first
    frame.locator("#back").click()
    assert frame.locator("#dialog-title").inner_text() == first
    frame.locator("#close").click()
    frame.locator("nav a").last.click()
    assert frame.locator("#atoms-title").is_visible()
    assert page.evaluate("history.length") == entries
    page.close()
    assert complaints == []
