"""The report as a tool: addresses, edits, search, labels and lines to copy, in a browser."""

import json
import re

import numpy as np
import pytest
from pages import DIGITS, HOSTILE, X, Y, bytes_of, needs_chromium, page_data

from skl_sae import ConvTopKSparseAutoencoder, pearson_correlation
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
    page.locator("#dialog-title", has_text=HOSTILE[5]).wait_for()
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


# --- An image's atoms, switched and scaled ---

BUILT = "dialog .views figure:nth-child(2) canvas"


def open_image(page, i):
    page.locator(".grid.images > .tile").nth(i).click()
    page.locator("dialog output:not(:empty)").wait_for()


def told(page):
    """The correlations that the page tells: now, and unchanged if it is edited."""
    text = page.locator("dialog output").inner_text().replace("\u2212", "-")
    return [
        float(number) for number in re.findall(r"(?:correlation|unchanged) (\S+?)(?:,|$)", text)
    ]


def check_reconstruction(page, sae, codes, i, atol=2):
    """The picture and its correlation are those of these codes."""
    guess = sae.inverse_transform(codes)[0]
    np.testing.assert_allclose(bytes_of(page, BUILT), guess.clip(0, 16) / 16 * 255, atol=atol)
    assert told(page)[0] == pytest.approx(pearson_correlation(X[[i]], guess[None]), abs=0.004)


def test_switches_and_sliders_redraw_the_reconstruction(page, data, sae):
    open_image(page, 4)
    codes, whole = sae.transform(X[4:5]).toarray(), sae.score_samples(X[4:5])[0]
    first, last = data["images"]["indptr"][4:6]
    columns = data["atoms"]["column"][data["images"]["atom"][first:last]]
    controls = page.locator("dialog .control")
    assert controls.count() == last - first == len(columns)
    controls.nth(1).locator("[role=switch]").uncheck()
    codes[0, columns[1]] = 0
    check_reconstruction(page, sae, codes, 4)
    assert told(page)[1] == pytest.approx(whole, abs=0.002)
    assert page.locator("dialog .tile.silent").count() == 1
    controls.nth(0).locator("[type=range]").fill("2.5")
    codes[0, columns[0]] *= 2.5
    check_reconstruction(page, sae, codes, 4, atol=3)
    assert "7 of 8 atoms, 1 of them scaled" in page.locator("dialog output").inner_text()
    controls.nth(2).locator("[type=range]").focus()
    page.keyboard.press("ArrowLeft")
    codes[0, columns[2]] *= 0.9
    check_reconstruction(page, sae, codes, 4, atol=3)
    controls.nth(2).get_by_role("button", name="Reset").click()
    codes[0, columns[2]] /= 0.9
    check_reconstruction(page, sae, codes, 4, atol=3)


def test_the_slider_sets_the_switches_and_reset_takes_all_back(page, sae):
    open_image(page, 3)
    whole = bytes_of(page, BUILT)
    reset = page.get_by_role("button", name="Reset all")
    assert reset.is_disabled()
    page.locator("dialog .control [type=range]").first.fill("0")
    assert not np.array_equal(bytes_of(page, BUILT), whole)
    page.locator("dialog .slider input").fill("3")
    on = page.locator("dialog [role=switch]").evaluate_all("all => all.map(e => e.checked)")
    assert on == [True] * 3 + [False] * (len(on) - 3)
    page.get_by_role("button", name="Switch all off").click()
    assert "the centre alone" in page.locator("dialog output").inner_text()
    centre = sae.centers_.mean(axis=0)
    np.testing.assert_allclose(bytes_of(page, BUILT), centre.clip(0, 16) / 16 * 255, atol=1)
    page.locator("dialog .control .tile").first.click()
    page.locator("#back").click()  # and what was set is still set
    page.locator("dialog output:not(:empty)").wait_for()
    assert "the centre alone" in page.locator("dialog output").inner_text()
    reset.click()
    np.testing.assert_array_equal(bytes_of(page, BUILT), whole)
    assert len(told(page)) == 1 and reset.is_disabled()


def test_small_atoms_are_switched_at_their_places(tab, tmp_path):
    sae = ConvTopKSparseAutoencoder(
        6, kernel_size=4, k=40, max_iter=1, random_state=0, device="cpu"
    ).fit(DIGITS.images[:40])
    images = DIGITS.images[:3]
    SAEReport(sae, images).write_html(tmp_path / "report.html")
    data = page_data((tmp_path / "report.html").read_text(encoding="utf-8"))
    tab.goto((tmp_path / "report.html").as_uri())
    open_image(tab, 1)
    codes = sae.transform(images[1:2]).toarray()
    first, last = data["images"]["indptr"][1:3]
    chosen = slice(first, last)
    columns = (
        data["images"]["place"][chosen] * 6
        + data["atoms"]["column"][data["images"]["atom"][chosen]]
    )
    assert tab.locator("dialog .control").count() == 24 < len(columns) == np.count_nonzero(codes)
    tab.locator("dialog .more").click()
    assert tab.locator("dialog .control").count() == len(columns)
    tab.locator("dialog .control [role=switch]").nth(30).uncheck()
    tab.locator("dialog .control [type=range]").nth(0).fill("3")
    codes[0, columns[30]] = 0
    codes[0, columns[0]] *= 3
    check_reconstruction(tab, sae, codes, 1, atol=5)


@pytest.mark.parametrize("width", [400, 1280])
def test_an_atoms_slider_is_as_wide_as_its_picture(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    open_image(page, 4)
    sides = page.locator("dialog .control").evaluate_all(
        """all => all.map(c => ["canvas", "[type=range]"].map(s => c.querySelector(s)
        .getBoundingClientRect()).map(r => [r.left, r.right]))"""
    )
    page.set_viewport_size({"width": 1280, "height": 900})
    for picture, slider in sides:
        np.testing.assert_allclose(slider, picture, atol=0.5)


def test_the_dialog_itself_does_not_scroll(page):
    """Only its body does, so that title and buttons stay."""
    open_image(page, 4)
    page.locator("dialog .similar .tile").last.scroll_into_view_if_needed()
    dialog = page.locator("dialog")
    assert dialog.evaluate("d => [d.scrollTop, d.scrollHeight - d.clientHeight]") == [0, 0]


def test_images_without_an_atom(page, data, sae):
    page.locator(".grid.atoms > .tile").nth(0).click()
    column, image = data["atoms"]["column"][0], data["atoms"]["top"][0]
    tile = page.locator("dialog .without > .tile").first
    page.locator("dialog .without canvas:not([data-drawn])").first.wait_for(state="detached")
    codes = sae.transform(X[[image]]).toarray()
    without = np.where(np.arange(48) == column, 0, codes)
    guesses = sae.inverse_transform(np.vstack([codes, without]))
    for place, guess in enumerate(guesses):
        shown = bytes_of(page, f"dialog .without > .tile:first-child canvas >> nth={place}")
        np.testing.assert_allclose(shown, guess.clip(0, 16) / 16 * 255, atol=2)
    r = [float(text) for text in tile.locator(".caption > :last-child").inner_text().split(" → ")]
    expected = [pearson_correlation(X[[image]], guess[None]) for guess in guesses]
    np.testing.assert_allclose(r, expected, atol=0.003)
    tile.click()
    assert fragment(page) == f"#image-{image}"


# --- Search ---


def results(page, query):
    page.locator("#search").fill(query)
    return page.locator("#found [role=option] > .name:nth-child(2)").all_inner_texts()


def test_search_finds_numbers_names_classes_and_labels(page, data):
    columns = set(data["atoms"]["column"])
    found = results(page, "17")
    assert found[:2] == ["Atom 17", f"Image 17 · {HOSTILE[7]}17"]
    assert results(page, "atom 4") == ["Atom 4"] + [
        f"Atom {c}" for c in data["atoms"]["column"] if 40 <= c < 50
    ]
    assert results(page, "#image-5")[0].startswith("Image 5 ·") and 47 in columns
    by_name = [i for i in range(len(X)) if "{{data}}" in data["images"]["name"][i]]
    names = [name for name in results(page, "{{DATA}}") if name.startswith("Image")]
    assert names == [f"Image {i} · {data['images']['name'][i]}" for i in by_name]
    page.keyboard.press("ArrowDown")  # the class of that name
    assert page.locator("#found [aria-selected=true]").inner_text().startswith("Class {{data}}")
    page.keyboard.press("Enter")
    assert not page.locator("dialog").is_visible()
    chosen = page.locator(".grid.images > .tile").evaluate_all(
        "all => all.map(t => t.dataset.image)"
    )
    label = data["classes"].index("{{data}}")
    assert {data["images"]["label"][int(i)] for i in chosen} == {label}
    assert results(page, "<script>no such</script>") == []
    said = page.locator("#search-said").inner_text()
    assert said == "Nothing found for “<script>no such</script>”."
    page.keyboard.press("Enter")
    assert not page.locator("dialog").is_visible()


def test_search_by_keyboard(page):
    page.locator(".grid.atoms > .tile").first.click()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    assert not page.locator("dialog").is_visible()
    page.keyboard.type("atom 3")
    assert page.locator("#search").get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowUp")
    last = page.locator("#found > :last-child")
    assert last.get_attribute("aria-selected") == "true"
    active = page.locator("#search").get_attribute("aria-activedescendant")
    assert active == last.get_attribute("id")
    page.keyboard.press("Escape")
    assert page.locator("#results").is_hidden() and page.locator("#search").input_value()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert title(page).startswith("Atom 3,")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "search"


# --- Labels ---


def label_atom(page, n, text):
    page.evaluate(f"location.hash = '#atom-{n}'")
    page.locator(f"#dialog-title:has-text('Atom {n}')").wait_for()
    page.locator("dialog .field input").fill(text)
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "#atom" not in url)


def test_labels_are_kept_exported_and_read_back(page, report_file, sae, tmp_path):
    for n, text in zip((17, 3, 40), ["  a round stroke ", *HOSTILE[:2]], strict=True):
        label_atom(page, n, text)
    assert results(page, "ROUND") == ["Atom 17"]
    page.reload()
    tile = page.locator(".grid.atoms > .tile", has=page.locator("text='a round stroke'"))
    assert re.match("Atom 17, .*%a round stroke", tile.text_content())
    page.select_option("#atom-use", "labelled")
    assert sorted(page.locator(".grid.atoms .label").all_inner_texts()) == sorted(
        ["a round stroke", *HOSTILE[:2]]
    )
    page.locator("#labels summary").click()
    with page.expect_download() as download:
        page.locator("#labels-save").click()
    path = tmp_path / "labels.json"
    download.value.save_as(path)
    expected = {3: HOSTILE[0], 17: "a round stroke", 40: HOSTILE[1]}
    assert {int(key): text for key, text in json.loads(path.read_text()).items()} == expected

    report = SAEReport(sae, X[:20], image_shape=(8, 8), labels=path)
    report.write_html(tmp_path / "labelled.html")
    page.goto((tmp_path / "labelled.html").as_uri())
    assert results(page, "<SCRIPT>") == ["Atom 3"]
    label_atom(page, 17, "")
    label_atom(page, 5, "new")
    page.reload()
    assert results(page, "round") == [] and results(page, "new") == ["Atom 5"]

    page.goto(report_file.as_uri())
    page.evaluate("localStorage.clear()")
    page.reload()
    page.locator("#labels summary").click()
    path.write_text('{"17": "an edge", "999": "of another"}', encoding="utf-8")
    page.locator("#labels-file").set_input_files(path)
    page.locator("#said-of-labels:not(:empty)").wait_for()
    said = page.locator("#said-of-labels").inner_text()
    assert said == "2 labels read, 1 of them of atoms that this page does not show."
    for wrong in ('{"__proto__": "x"}', '{"1": {}}', "[]", "null", "no"):
        path.write_text(wrong, encoding="utf-8")
        page.locator("#said-of-labels").evaluate("said => { said.textContent = '' }")
        page.locator("#labels-file").set_input_files(path)
        page.locator("#said-of-labels:not(:empty)").wait_for()
        assert "holds no labels" in page.locator("#said-of-labels").inner_text()
    assert results(page, "edge") == ["Atom 17"]


# --- Lines to copy ---


def copied(page, button):
    """Text that a button of the dialog copies, in a page that may not use the clipboard."""
    page.evaluate(
        """() => {
        Object.defineProperty(navigator, "clipboard", {value: undefined, configurable: true});
        document.addEventListener("copy", () => { window.copied = document.activeElement.value; });
    }"""
    )
    button.click()
    button.filter(has_text="Copied").wait_for()
    return page.evaluate("window.copied")


def test_lines_of_an_atom_and_of_an_edited_image(page, sae):
    page.evaluate("location.hash = '#atom-17'")
    lines = page.locator("dialog .line code").all_inner_texts()
    assert lines == ["sae.components_[17]", "codes[:, 17]"]
    assert copied(page, page.locator("dialog .line button").first) == "sae.components_[17]"
    page.evaluate("location.hash = '#image-7'")
    page.locator("dialog output:not(:empty)").wait_for()
    page.locator("dialog .slider input").fill("6")
    page.locator("dialog .control [type=range]").nth(1).fill("1.6")
    page.locator("dialog .control [role=switch]").nth(2).uncheck()
    code = copied(page, page.locator("dialog .line button").last)
    names = {"sae": sae, "X": X, "np": np}
    exec(code, names)
    check_reconstruction(page, sae, names["codes"], 7, atol=3)
    np.testing.assert_allclose(names["image"], sae.inverse_transform(names["codes"])[0])
    first, second = page.locator("dialog .line code").all_inner_texts()[:2]
    np.testing.assert_array_equal(eval(first, names), X[7])
    assert (eval(second, names) != sae.transform(X[[7]])).nnz == 0


def test_a_frame_keeps_no_labels_but_copies_them(browser, sae):
    page = browser.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content(
        SAEReport(sae, X[:20], image_shape=(8, 8), labels={17: HOSTILE[0]})._repr_html_()
    )
    frame = page.frame_locator("iframe")
    frame.locator("#labels summary").click()
    assert frame.locator("#labels-save").is_hidden()
    assert "keeps nothing" in frame.locator("#labels-kept").inner_text()
    frame.locator("#labels .tools button:visible").click()
    frame.locator("#labels button:text-is('Copied')").wait_for()
    frame.locator("#search").fill("script")
    frame.locator("#found > *").first.click()
    assert frame.locator("#dialog-title .name").inner_text() == HOSTILE[0]
    page.close()
    assert complaints == []


# --- For all readers ---


@pytest.mark.parametrize("address", ["", "#atom-17", "#image-5"], ids=str)
def test_narrow_windows_and_names(page, report_file, address):
    page.set_viewport_size({"width": 400, "height": 800})
    try:
        page.goto("about:blank")
        page.goto(report_file.as_uri() + address)
        if address.startswith("#image"):
            page.locator("dialog .control").first.wait_for()
        page.locator("#labels").evaluate("details => { details.open = true }")
        wide = "[document.documentElement, document.querySelector('dialog .body')]"
        assert page.evaluate(f"{wide}.every(e => e.scrollWidth <= 400)")
        # Nothing is cut off at the side: what is visible ends within the window.
        root = "dialog" if address else "body"
        beyond = page.locator(root).evaluate(
            """root => [...root.querySelectorAll("*")].filter(e => e.checkVisibility()
            && !e.closest(".unseen, .frame, .scroll, dialog:not([open])")
            && e.getBoundingClientRect().right > 400.5).map(e => e.outerHTML)"""
        )
        assert beyond == []
        unnamed = page.locator(root).evaluate(
            """root => [...root.querySelectorAll("input, select, button, [role=img]")].filter(e =>
            !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
            .map(e => e.outerHTML)"""
        )
        assert unnamed == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


def test_the_whole_page_by_keyboard(page, report_file, sae):
    """From the search box to an image's atom, switched off and scaled, and out again."""
    page.keyboard.press("/")
    page.keyboard.type("image 4")
    page.keyboard.press("Enter")
    page.locator("dialog .control").first.wait_for()
    before = bytes_of(page, BUILT)
    page.locator("dialog .control [role=switch]").nth(1).focus()
    page.keyboard.press("Space")
    without = bytes_of(page, BUILT)
    assert not np.array_equal(without, before)
    page.keyboard.press("Tab")  # its reset, as it is changed
    page.keyboard.press("Enter")
    np.testing.assert_array_equal(bytes_of(page, BUILT), before)
    page.keyboard.press("Tab")  # its slider, as there is nothing to reset
    page.keyboard.press("Home")
    np.testing.assert_allclose(bytes_of(page, BUILT), without, atol=1)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "search"
