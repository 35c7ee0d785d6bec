"""Table, map, classes and matched atoms of the report in a browser."""

import numpy as np
import pytest
from pages import DRAWN, HOSTILE, X, Y, fitted, needs_chromium, opened, page_data, wait_until

from skl_sae.inspection import monosemanticity
from skl_sae.report import SAEReport

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report_file(sae, tmp_path_factory):
    labels = np.array(HOSTILE, dtype=object)[Y]
    path = tmp_path_factory.mktemp("report") / "report.html"
    other = fitted(n_components=30, n_estimators=1, max_iter=1)
    names = [HOSTILE[i % len(HOSTILE)] + str(i) for i in range(len(X))]
    SAEReport(
        sae, X, labels, image_shape=(8, 8), filenames=names, compare=other
    ).write_html(path)  # fmt: skip
    return path


@pytest.fixture
def page(browser, report_file):
    with opened(browser, report_file) as page:
        yield page


@pytest.fixture(scope="module")
def data(report_file):
    return page_data(report_file.read_text(encoding="utf-8"))


def listed(page):
    """Positions of the atoms in the table, as they stand."""
    return page.locator(".atom-table [data-atom]").evaluate_all(
        "rows => rows.map(r => +r.dataset.atom)"
    )


def test_table_sorts_by_every_measure(page, data):
    atoms = data["atoms"]
    alive = atoms["frequency"] > 0
    auc = atoms["auc"].reshape(48, -1)[:, 0]
    best = atoms["class"].reshape(48, -1)[:, 0]
    values = {
        "label": np.full(48, np.inf),  # none yet
        "class": np.where(alive, best, 99),
        "number": atoms["column"],
        "member": atoms["member"],
        "selectivity": auc,
    }
    keys = page.locator(".atom-table [data-sort]").evaluate_all("b => b.map(x => x.dataset.sort)")
    assert {"mean", "max", "share", "smoothness", "accuracy", "purity", "nearest_cosine"} < set(
        keys
    )
    for key in sorted(set(keys) - {"frequency"}):
        button = page.locator(f'.atom-table [data-sort="{key}"]')
        button.click()
        head = page.locator(f'.atom-table th:has([data-sort="{key}"])')
        ascending = key in ("number", "label", "member", "class")
        assert head.get_attribute("aria-sort") == ("ascending" if ascending else "descending")
        assert page.locator(".atom-table [aria-sort]").count() == 1
        assert button.evaluate("b => b === document.activeElement")
        own = np.asarray(values.get(key, atoms.get(key)), dtype=float)
        if key in ("mean", "max", "selectivity", "accuracy", "purity"):
            own = np.where(alive, own, -np.inf)  # undefined ones are last
        expected = np.sort(own) if ascending else -np.sort(-own)
        np.testing.assert_allclose(own[listed(page)], expected[:25], err_msg=key)
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator("#table .count").inner_text() == "All 48 atoms."
    first = listed(page)
    page.locator("#table-on").click()
    assert len(listed(page)) == 23 and not set(listed(page)) & set(first)
    assert page.locator("#table-page").inner_text() == "Page 2 of 2"
    assert page.locator("#table-on").is_disabled()


def test_table_filters_and_copies(page, data):
    frequency, column = data["atoms"]["frequency"], data["atoms"]["column"]
    page.locator("#table-from").fill("10")
    page.locator("#table-to").fill("30.5")
    matching = np.flatnonzero((frequency >= 0.1) & (frequency <= 0.305))
    assert page.locator("#table .count").inner_text() == f"{len(matching)} of 48 atoms match."
    assert set(listed(page)) == set(matching[:25])
    page.locator("#pick-all").click()
    expected = sorted(column[matching])
    assert page.locator("#picked").input_value() == str([int(c) for c in expected])
    box = page.locator(".atom-table [type=checkbox]").first
    box.focus()
    box.press("Space")
    expected.remove(column[listed(page)[0]])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#pick-copy").click()
    wait_until(page, "document.querySelector('#picked-note').textContent.includes('copied')")
    assert page.evaluate("navigator.clipboard.readText()") == str([int(c) for c in expected])
    page.locator("#pick-none").click()
    assert page.locator("#picked").input_value() == ""
    page.locator("#table-from").fill("")
    page.locator("#table-to").fill("")
    page.select_option("#table-use", "dead")
    assert (frequency[listed(page)] == 0).all() and len(listed(page)) == (frequency == 0).sum()


def test_table_by_keyboard_opens_an_atom(page, data):
    rows = page.locator(".atom-table .opener")
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    title = page.locator("#dialog-title").inner_text()
    assert title.startswith(f"Atom {data['atoms']['column'][listed(page)[1]]},")


def test_atoms_together_and_similar_images(page, data):
    together = data["atoms"]["together"].reshape(48, -1)
    first = next(j for j in range(48) if together[j, 0] >= 0)
    page.locator(f'.grid.atoms > [data-atom="{first}"]').click()
    shown = page.locator("dialog .together .tile").evaluate_all("t => t.map(x => +x.dataset.atom)")
    assert shown == [j for j in together[first] if j >= 0]
    page.locator("dialog .together .tile").first.click()
    column = data["atoms"]["column"][shown[0]]
    assert page.locator("#dialog-title").inner_text().startswith(f"Atom {column},")
    page.locator("#close").click()
    page.locator('.grid.images > [data-image="2"]').click()
    similar = data["images"]["similar"].reshape(len(X), -1)[2]
    tiles = page.locator("dialog .similar .tile")
    assert tiles.evaluate_all("t => t.map(x => +x.dataset.image)") == similar.tolist()
    tiles.nth(1).click()
    assert page.locator("#dialog-title").inner_text() == data["images"]["name"][similar[1]]


def test_map_shows_and_opens_an_atom(page, data):
    canvas = page.locator("#map-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = data["atoms"]["place"].reshape(48, 2)
    low, high = places.min(axis=0), places.max(axis=0)
    scaled = 0.05 + 0.9 * (places - low) / (high - low)
    pixels = scaled * (box["width"], box["height"])
    distances = np.linalg.norm(pixels[:, None] - pixels, axis=2) + 1e9 * np.eye(48)
    j = int(distances.min(axis=1).argmax())  # the most alone
    x, y = pixels[j]
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert (
        page.locator("#map .hint .name")
        .inner_text()
        .startswith(f"Atom {data['atoms']['column'][j]}")
    )
    page.mouse.click(box["x"] + x, box["y"] + y)
    assert (
        page.locator("#dialog-title").inner_text().startswith(f"Atom {data['atoms']['column'][j]},")
    )
    page.locator("#close").click()

    def picture():
        return canvas.evaluate("c => c.toDataURL()")

    page.mouse.move(0, 0)
    whole = picture()
    page.select_option("#map-colour", "smoothness")
    coloured = picture()
    page.locator("#map-in").click()
    assert len({whole, coloured, picture()}) == 3
    page.locator("#map-whole").click()
    assert page.locator(".map-legend").inner_text().split() == ["lowest", "middle", "highest"]


def test_classes_and_their_images(page, data):
    cards = page.locator("#classes .card")
    assert cards.count() == 10
    assert cards.locator("h3").all_inner_texts() == data["classes"]
    index = int(np.argmax(np.bincount(Y)))
    shown = cards.nth(index).locator("[data-atom]").evaluate_all("t => t.map(x => +x.dataset.atom)")
    assert set(shown) <= set(data["class_page"]["atom"].reshape(10, -1)[index])
    cards.nth(index).get_by_text("Show its images").click()
    assert page.locator("#image-class").input_value() == str(index)
    images = page.locator(".grid.images > .tile").evaluate_all("t => t.map(x => +x.dataset.image)")
    assert {int(data["images"]["label"][i]) for i in images} == {index}


def test_matched_atoms(page, data):
    entry = data["compare"]["entries"][0]
    assert page.locator("#compare-pair option").all_inner_texts() == [
        "This estimator and Compared estimator", "Member 1 and Member 2"
    ]  # fmt: skip
    tiles = page.locator("#compare .pairs .tile")
    assert tiles.count() == 30 and "30 pairs" in page.locator("#compare .count").inner_text()
    assert page.locator("#compare .bar").count() == 20
    wait_until(page, f"({DRAWN})(document.querySelector('#compare'))")
    page.select_option("#compare-sort", "last")
    last = tiles.first.inner_text().split()
    assert last[2] == str(data["compare"]["column"][-1])
    tiles.first.click()
    assert page.locator("#dialog-title").inner_text().startswith(f"Atom {last[0]},")
    page.locator("#close").click()
    page.select_option("#compare-pair", "1")
    assert tiles.count() == 24
    assert entry["names"] == ["This estimator", "Compared estimator"]


def test_narrow_and_dark(page):
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    before = page.locator("#map-canvas").evaluate("c => c.toDataURL()")
    page.locator("#theme").click()
    page.select_option("#map-colour", "max")
    assert page.locator("#map-canvas").evaluate("c => c.toDataURL()") != before


def test_page_without_classes_or_pairs(browser, tmp_path):
    path = tmp_path / "plain.html"
    SAEReport(fitted(n_estimators=1), X[:20], image_shape=(8, 8)).write_html(path)
    with opened(browser, path) as page:
        for part in ("#classes", "#compare"):
            assert not page.locator(part).is_visible()
            assert not page.locator(f'nav a[href="{part}"]').is_visible()
        assert "Best class" not in page.locator(".atom-table thead").inner_text()
        assert page.locator("#map-colour").input_value() == "frequency"


def test_every_column_is_explained(page):
    heads = page.locator(".atom-table thead th:has([data-sort])")
    columns = heads.evaluate_all(
        """all => all.map(th => ["button", ".gloss"].map(s => th.querySelector(s).textContent)
        .concat(th.querySelector("button").title, th.querySelector("button").dataset.sort))"""
    )
    page.locator("#columns summary").click()
    explained = page.locator("#columns dt").all_inner_texts()
    sentences = page.locator("#columns dd").all_inner_texts()
    measures = [c for c in columns if c[3] not in ("number", "label", "member", "class")]
    assert explained == [name.strip("▼").removesuffix(", %") for name, *_ in measures]
    assert sentences == [f"{title}." for _, _, title, _ in measures]
    assert all(gloss for _, gloss, _, _ in measures)
    for (*_, key), sentence in zip(measures, sentences, strict=True):
        assert ("; yes: " if key == "dead_in_training" else "; higher: ") in sentence
    page.set_viewport_size({"width": 400, "height": 800})
    assert heads.locator(".gloss").filter(has_text="most frequent class").is_visible()


def test_undefined_measures_are_dashes_and_last(browser, sae, tmp_path):
    path, codes = tmp_path / "report.html", sae.transform(X[:12])
    report = SAEReport(sae, X[:12], image_shape=(8, 8), embeddings=X[:12] - X[:12].mean(axis=0))
    report.write_html(path)
    scores = monosemanticity(codes, X[:12] - X[:12].mean(axis=0))
    undefined = np.isnan(scores.atoms)
    assert (undefined & (codes.count_nonzero(axis=0) == 1)).any()
    with opened(browser, path) as page:
        column = page_data(path.read_text(encoding="utf-8"))["atoms"]["column"]
        page.locator('.atom-table [data-sort="monosemanticity"]').click()
        assert f"any two images have {scores.chance:.2f}".replace("-", "\u2212") in (
            page.locator("#table-note").inner_text()
        )
        order = listed(page)
        page.locator("#table-on").click()
        order += listed(page)
        expected = scores.atoms[column][order]
        n = np.count_nonzero(~undefined)
        assert (np.diff(expected[:n]) <= 0).all() and np.isnan(expected[n:]).all()
        last = page.locator(".atom-table tbody tr").last
        place = page.locator(".atom-table thead th").evaluate_all(
            "all => all.findIndex(th => th.querySelector('[data-sort=monosemanticity]'))"
        )
        assert last.locator("th, td").nth(place).inner_text() == "\u2013"
        page.locator('.grid.atoms > [data-atom="0"]').click()
        assert "Monosemanticity" in page.locator("dialog .facts").inner_text()


def with_most_room(data, candidates):
    """The candidate that is farthest from any other atom on the map."""
    places = data["atoms"]["place"].reshape(-1, 2)
    places = places / np.ptp(places, axis=0)
    distances = np.linalg.norm(places[candidates, None] - places, axis=2)
    return candidates[np.sort(distances, axis=1)[:, 1].argmax()]


def test_labels_are_written_in_the_table_and_on_the_map(page, data):
    column = data["atoms"]["column"]
    rows, tiles = listed(page), page.locator("#compare .pairs .tile")
    compared = {text.split(" ·")[0] for text in tiles.all_text_contents()}
    # Where others are near, no label is written.
    j = with_most_room(data, [j for j in rows[:12] if str(column[j]) in compared])
    field = page.locator(f'.atom-table [data-label="{j}"]')
    plain = page.locator("#map-canvas").evaluate("c => c.toDataURL()")
    field.fill(HOSTILE[0])
    assert page.locator("#map-canvas").get_attribute("data-written") == str(column[j])
    assert page.locator("#map-canvas").evaluate("c => c.toDataURL()") != plain
    tile = page.locator(f'.grid.atoms > [data-atom="{j}"] .label')
    assert tile.inner_text() == HOSTILE[0]
    field.press("ArrowDown")
    below = rows[rows.index(j) + 1]
    assert page.evaluate("Number(document.activeElement.dataset.label)") == below
    page.keyboard.type("an edge")
    page.locator('.atom-table [data-sort="label"]').click()
    assert listed(page)[:2] == [j, below]  # "</script>…", then "an edge"
    page.locator('.atom-table [data-sort="label"]').click()
    assert listed(page)[:2] == [below, j]
    # Written in the dialog, it is in the table at once.
    page.locator(f'.grid.atoms > [data-atom="{j}"]').click()
    page.locator("dialog .field input").fill("a roof")
    assert "a roof" in page.locator("#dialog-title").inner_text()
    page.locator("#close").click()
    assert field.input_value() == "a roof"
    pairs = tiles.all_text_contents()
    of_atom = [text for text in pairs if text.startswith(f"{column[j]} ·")]
    assert [text for text in pairs if "a roof" in text] == of_atom and of_atom
    page.locator(f'.grid.atoms > [data-atom="{j}"]').click()
    page.locator("dialog .top .tile").first.click()
    control = page.locator(f"dialog .control[aria-label^='Atom {column[j]}, a roof']")
    assert control.locator(".label").inner_text() == "a roof"


def test_a_label_is_beside_its_atom_and_in_its_hint(browser, sae, tmp_path):
    path = tmp_path / "report.html"
    labels = dict.fromkeys(range(48), "a long label of an atom")
    SAEReport(sae, X, image_shape=(8, 8), labels=labels).write_html(path)
    with opened(browser, path) as page:
        canvas = page.locator("#map-canvas")
        written = canvas.get_attribute("data-written").split()
        assert 0 < len(written) < 48  # there is no room for all
        data = page_data(path.read_text(encoding="utf-8"))
        places = data["atoms"]["place"].reshape(48, 2)
        low, high = places.min(axis=0), places.max(axis=0)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        hidden = next(j for j in range(48) if str(data["atoms"]["column"][j]) not in written)
        u, v = (0.05 + 0.9 * (places[hidden] - low) / (high - low)).tolist()
        page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
        assert page.locator("#map .hint .own").inner_text() == "a long label of an atom"


def test_table_of_labelled_atoms(page, data):
    page.locator('.grid.atoms > [data-atom="4"]').click()
    field = page.locator("dialog .field input")
    field.fill(HOSTILE[0])
    field.press("Enter")
    page.locator("#close").click()
    page.select_option("#table-use", "labelled")
    assert listed(page) == [4]
