"""The report in a browser."""

import re

import numpy as np
import pytest
from pages import (
    DRAWN,
    HOSTILE,
    X,
    Y,
    bytes_of,
    fitted,
    needs_chromium,
    opened,
    page_data,
    wait_until,
)

from skl_sae import pearson_correlation
from skl_sae.inspection import top_samples
from skl_sae.report import SAEReport, _subject


@pytest.fixture(scope="module")
def report_file(sae, tmp_path_factory):
    names = [HOSTILE[i % len(HOSTILE)] + str(i) for i in range(len(X))]
    labels = np.array(HOSTILE, dtype=object)[Y]
    path = tmp_path_factory.mktemp("report") / "report #1.html"
    SAEReport(sae, X, labels, image_shape=(8, 8), filenames=names).write_html(path)
    return path


@pytest.fixture
def page(browser, report_file):
    with opened(browser, report_file) as page:
        yield page


def shown(page, kind):
    """Numbers of the tiles of a gallery, as they stand."""
    tiles = page.locator(f".grid.{kind}s > .tile")
    return tiles.evaluate_all(f"tiles => tiles.map(t => Number(t.dataset.{kind}))")


@needs_chromium
def test_browser_sorts_and_filters(page, report_file):
    data = page_data(report_file.read_text(encoding="utf-8"))
    atoms, images = data["atoms"], data["images"]
    assert shown(page, "atom") == list(range(48))
    assert len(shown(page, "image")) == 12
    page.locator("#images .more").click()
    assert shown(page, "image") == list(range(24))
    page.select_option("#image-sort", "worst")
    assert shown(page, "image")[0] == images["correlation"].argmin()
    page.select_option("#image-sort", "best")
    assert shown(page, "image")[0] == images["correlation"].argmax()
    page.select_option("#image-class", value="3")
    assert {images["label"][i] for i in shown(page, "image")} == {3}

    page.select_option("#atom-sort", "share")
    assert shown(page, "atom")[0] == atoms["share"].argmax()
    page.select_option("#atom-sort", "smoothness")
    assert shown(page, "atom")[0] == atoms["smoothness"].argmax()
    page.select_option("#atom-sort", "selectivity")
    best = atoms["auc"].reshape(48, -1)[:, 0]
    assert shown(page, "atom")[0] == best.argmax()
    page.select_option("#atom-sort", "number")
    page.select_option("#atom-member", label="2")
    assert [atoms["column"][j] for j in shown(page, "atom")] == list(range(24, 48))
    page.select_option("#atom-use", "dead")
    dead = shown(page, "atom")
    assert 35 in {atoms["column"][j] for j in dead}
    assert (atoms["frequency"][dead] == 0).all()
    assert page.locator("#atoms .count").inner_text() == f"{len(dead)} of 48 atoms."
    page.select_option("#atom-use", "live")
    page.select_option("#atom-class", value="2")
    assert {atoms["class"].reshape(48, -1)[j, 0] for j in shown(page, "atom")} <= {2}
    page.select_option("#atom-class", value="")
    assert len(shown(page, "atom")) == 24 - len(dead)


@needs_chromium
def test_browser_opens_an_atom(page, report_file, sae):
    data = page_data(report_file.read_text(encoding="utf-8"))
    page.locator(".grid.atoms > .tile").nth(2).click()
    dialog = page.locator("dialog")
    column = data["atoms"]["column"][2]
    assert page.locator("#dialog-title").inner_text().startswith(f"Atom {column}, of member")
    wait_until(page, f"({DRAWN})(document.querySelector('dialog'))")
    top = dialog.locator(".top .tile").evaluate_all("tiles => tiles.map(t => +t.dataset.image)")
    assert top == top_samples(sae.transform(X), column, 12).tolist()
    assert dialog.locator("svg .bar").count() == 24
    assert "AUC" in dialog.inner_text()

    nearest = data["atoms"]["nearest"].reshape(48, -1)[2, 0]
    dialog.locator(".nearest .tile").first.click()
    assert f"Atom {data['atoms']['column'][nearest]}," in page.locator("#dialog-title").inner_text()
    page.locator("#back").click()
    assert f"Atom {column}," in page.locator("#dialog-title").inner_text()
    page.keyboard.press("ArrowRight")
    assert f"Atom {data['atoms']['column'][3]}," in page.locator("#dialog-title").inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.select_option("#atom-use", "dead")
    page.locator(".grid.atoms > .tile").first.click()
    assert "fires on none" in dialog.inner_text()


@needs_chromium
def test_browser_builds_an_image_up(page, report_file, sae):
    data = page_data(report_file.read_text(encoding="utf-8"))
    guess = sae.inverse_transform(sae.transform(X[4:5]))[0]
    page.locator(".grid.images > .tile").nth(4).click()
    assert page.locator("#dialog-title").inner_text() == data["images"]["name"][4]
    wait_until(page, "document.querySelector('dialog output').textContent")
    original, built, _ = (f"dialog .views figure:nth-child({i}) canvas" for i in (1, 2, 3))
    np.testing.assert_allclose(bytes_of(page, original), X[4] / 16 * 255, atol=0.6)
    np.testing.assert_allclose(bytes_of(page, built), guess.clip(0, 16) / 16 * 255, atol=0.6)

    first, last = data["images"]["indptr"][4:6]
    slider, output = page.locator("dialog .slider input"), page.locator("dialog output")
    assert slider.get_attribute("max") == str(last - first)
    total = sae.centers_.mean(axis=0)
    for step in range(last - first + 1):
        slider.fill(str(step))
        # The page has atoms of one byte a pixel, and three decimals.
        shown = re.search(r"correlation (\S+)", output.inner_text())[1].replace("\u2212", "-")
        expected = pearson_correlation(X[[4]], total[None])
        assert float(shown) == pytest.approx(expected, abs=0.01)
        np.testing.assert_allclose(bytes_of(page, built), total.clip(0, 16) / 16 * 255, atol=4)
        if step < last - first:
            column = data["atoms"]["column"][data["images"]["atom"][first + step]]
            code = data["images"]["code"][first + step]
            total = total + code * sae.components_[column] / 2
    slider.press("Home")
    assert "the centre alone" in output.inner_text()
    assert page.locator("dialog .tile.silent").count() == last - first
    page.locator("dialog .tile").first.click()
    assert "Atom" in page.locator("#dialog-title").inner_text()
    page.locator("#close").click()
    assert not page.locator("dialog").is_visible()


@needs_chromium
def test_browser_keyboard_and_names(page):
    names = page.locator(".grid.images .tile").evaluate_all("tiles => tiles.map(t => t.title)")
    assert names[:2] == [HOSTILE[0] + "0", HOSTILE[1] + "1"]
    unnamed = "document.querySelectorAll('canvas:not([aria-label]), button:not([aria-label])')"
    labels = page.evaluate(f"[...{unnamed}].map(e => e.textContent.trim())")
    assert all(labels)
    page.locator(".grid.atoms > .tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    grid = "getComputedStyle(document.querySelector('.grid.atoms'))"
    columns = page.evaluate(f"{grid}.gridTemplateColumns.split(' ').length")
    focused = "Number(document.activeElement.dataset.atom)"
    assert page.evaluate(focused) == 1 + columns
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == 1 + columns


@needs_chromium
def test_browser_themes_and_widths(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.locator("#theme").click()
    dark = page.evaluate(colour)
    assert dark != light
    page.locator("#theme").click()
    assert page.evaluate(colour) == light
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.locator(".grid.images > .tile").first.click()
    assert page.evaluate("document.querySelector('dialog .body').scrollWidth") <= 400


@needs_chromium
def test_browser_shows_it_in_a_notebook(browser, sae):
    page = browser.new_page()
    page.set_content(
        SAEReport(sae, X[:20], image_shape=(8, 8), filenames=HOSTILE * 2)._repr_html_()
    )
    frame = page.frame_locator("iframe")
    frame.locator(".grid.atoms > .tile").first.click()
    assert "Atom" in frame.locator("#dialog-title").inner_text()
    frame.locator("#close").click()
    assert page.evaluate("window.hacked") is None
    page.close()


@needs_chromium
def test_browser_shows_what_was_not_counted_one_by_one(browser, sae, tmp_path, monkeypatch):
    monkeypatch.setattr(_subject, "_MOST_CODES", 3)
    path = tmp_path / "report.html"
    SAEReport(sae, X[:20], image_shape=(8, 8)).write_html(path)
    page = browser.new_page()
    page.goto(path.as_uri())
    page.locator(".grid.images > .tile").first.click()
    wait_until(page, "document.querySelector('dialog output').textContent")
    n_active = sae.transform(X[:1]).nnz
    assert f"all {n_active} atoms" in page.locator("dialog output").inner_text()
    guess = sae.inverse_transform(sae.transform(X[:1]))[0]
    built = bytes_of(page, "dialog .views figure:nth-child(2) canvas")
    scale = X[:20].max()
    np.testing.assert_allclose(built, guess.clip(0, scale) / scale * 255, atol=0.6)
    page.locator("dialog .slider input").press("ArrowLeft")
    assert f"3 of {n_active} atoms" in page.locator("dialog output").inner_text()
    page.close()


@needs_chromium
@pytest.mark.parametrize("loss, n_notes", [([1.0, 0.5, 0.505, 0.4], 0), ([1.0, 0.5, 0.55, 0.4], 1)])
def test_a_curve_that_jumps_is_explained(browser, tmp_path, loss, n_notes):
    sae = fitted(n_estimators=1)
    sae.loss_curve_, sae.correlation_curve_ = loss, [0.1, 0.2, 0.3, 0.4]
    SAEReport(sae, X, image_shape=(8, 8)).write_html(tmp_path / "report.html")
    with opened(browser, tmp_path / "report.html") as page:
        assert page.locator("#training .note").count() == n_notes
