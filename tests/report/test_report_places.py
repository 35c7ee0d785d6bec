"""The report of small atoms at all places, against brute force, and in a browser."""

import numpy as np
import pytest
from pages import DIGITS, bytes_of, needs_chromium, page_data, tiles, wait_until

from skl_sae import ConvTopKSparseAutoencoder, pearson_correlation
from skl_sae.datasets import load_photographs
from skl_sae.inspection import atom_activations, atom_usage
from skl_sae.report import SAEReport, _subject
from skl_sae.report._thumbnails import shrink

IMAGES, LABELS = DIGITS.images[:60], DIGITS.target[:60]
PHOTOGRAPHS = load_photographs(20, (24, 20), random_state=0)


def fitted(images=IMAGES, **parameters):
    parameters = {"n_components": 12, "kernel_size": 4, "k": 10, "max_iter": 2} | parameters
    return ConvTopKSparseAutoencoder(random_state=0, device="cpu", **parameters).fit(images)


def photographed():
    images = PHOTOGRAPHS.data.reshape(-1, *PHOTOGRAPHS.image_shape)
    return fitted(images, kernel_size=6, stride=(4, 3), k=30), images


def placed(atom, atom_shape, top, left, shape):
    """An image that is empty but for an atom, pixel by pixel."""
    image = np.zeros((*shape[:2], atom_shape[2] if len(atom_shape) == 3 else 1))
    for y, line in enumerate(atom.reshape(*atom_shape[:2], -1)):
        for x, pixel in enumerate(line):
            if 0 <= top + y < shape[0] and 0 <= left + x < shape[1]:
                image[top + y, left + x] = pixel
    return image


def corner(data, place):
    at, places = divmod(int(place), data["places"]["columns"]), data["places"]
    return [n * s - f for n, s, f in zip(at, places["stride"], places["first"], strict=True)]


@pytest.mark.parametrize("kind", ["overlapping", "side by side", "omp", "photographs"])
def test_atoms_at_their_places_add_up_to_the_reconstruction(kind):
    options = {"side by side": {"stride": 4}, "omp": {"transform_algorithm": "omp"}}
    sae, images = (
        photographed() if kind == "photographs" else (fitted(**options.get(kind, {})), IMAGES)
    )
    page = SAEReport(sae, images).html()
    data, shape = page_data(page), images.shape[1:]
    shown, guesses = data["images"], sae.inverse_transform(sae.transform(images))
    n_channels = len(data["centre"])
    atom_bytes = tiles(page, "atom", len(data["atoms"]["column"]), data["atom_tile"])
    atom_bytes = atom_bytes[..., :n_channels].astype(np.float64) - 128
    for i in range(0, len(images), 7):
        total = np.broadcast_to(data["centre"], (*shape[:2], n_channels)).astype(np.float64)
        row, curve = images[i].reshape(1, -1), []
        entries = range(shown["indptr"][i], shown["indptr"][i + 1])
        for e in entries:
            j = shown["atom"][e]
            atom = atom_bytes[j] * data["atoms"]["step"][j] * shown["code"][e]
            total = total + placed(atom, sae.atom_shape_, *corner(data, shown["place"][e]), shape)
            curve.append(pearson_correlation(row, total.reshape(1, -1)))
        assert len(entries) == shown["active"][i] > 0
        # Thumbnails of atoms have one byte a pixel.
        scale = images.max()
        np.testing.assert_allclose(total.ravel(), guesses[i], atol=0.03 * scale)
        first = shown["indptr"][i] + i + 1
        np.testing.assert_allclose(
            shown["curve"][first : first + len(curve)] / 32767, curve, atol=0.02
        )
        expected = pearson_correlation(row, guesses[[i]])
        assert shown["correlation"][i] == pytest.approx(expected, abs=1e-5)


def test_figures_of_small_atoms():
    sae = fitted()
    data = page_data(SAEReport(sae, IMAGES, LABELS).html())
    atoms, columns = data["atoms"], data["atoms"]["column"]
    codes = sae.transform(IMAGES).toarray().reshape(len(IMAGES), -1, 12)
    np.testing.assert_allclose(atoms["frequency"], (codes > 0).any(axis=1).mean(axis=0)[columns])
    np.testing.assert_allclose(
        atoms["place_frequency"], (codes > 0).mean(axis=(0, 1))[columns], rtol=1e-5
    )
    spread = codes.var(axis=(0, 1))
    np.testing.assert_allclose(atoms["share"], (spread / spread.sum())[columns], rtol=1e-4)
    largest, top = codes.max(axis=1), atoms["top"].reshape(12, -1)
    places = atoms["top_place"].reshape(12, top.shape[1], -1)
    for j, column in enumerate(columns):
        for t, i in enumerate(top[j]):
            if i < 0:
                assert (places[j, t] == -1).all()
                continue
            assert atoms["top_code"].reshape(12, -1)[j, t] == pytest.approx(largest[i, column])
            found = places[j, t][places[j, t] >= 0]
            fires = codes[i, :, column]
            assert len(found) == min(4, np.count_nonzero(fires))
            np.testing.assert_allclose(fires[found], np.sort(fires)[::-1][: len(found)])
    assert (atoms["example"] >= 0).sum() > 20
    places = atoms["example_place"].reshape(12, atoms["example"].size // 12, -1)
    for j, t in np.argwhere(atoms["example"].reshape(12, -1) >= 0):
        fires = codes[atoms["example"].reshape(12, -1)[j, t], :, columns[j]]
        found = places[j, t][places[j, t] >= 0]
        np.testing.assert_allclose(fires[found], np.sort(fires)[::-1][: len(found)])
        assert fires[found[0]] == pytest.approx(atoms["example_code"].reshape(12, -1)[j, t])
    usage = atom_usage(atom_activations(sae, sae.transform(IMAGES)))
    assert (
        sorted(columns) == list(range(12)) and usage.dead.sum() == (atoms["frequency"] == 0).sum()
    )


def test_normalized_patches_are_shown_but_not_added_up():
    sae = fitted(normalize=True, pooling=2, k=20)
    page = SAEReport(sae, IMAGES).html()
    data = page_data(page)
    assert data["places"]["added"] is False and "curve" not in data["images"]
    assert data["images"]["active"].max() == 20
    expected = sae.score(IMAGES)
    assert f"<dd>{expected:.4f}</dd>" in page
    reconstructed = sae.score_samples(IMAGES)
    np.testing.assert_allclose(data["images"]["correlation"], reconstructed, atol=1e-5)


def test_images_of_another_size_and_shapes_that_do_not_fit():
    sae = fitted()
    wide = np.concatenate([IMAGES[:10], IMAGES[10:20]], axis=2)
    page = SAEReport(sae, wide).html()
    assert "10 grey images of 8x16 pixels · 12 atoms of 4x4 pixels at all places" in page
    assert page_data(page)["places"]["image"] == [8, 16]
    rows = wide.reshape(10, -1)
    assert SAEReport(sae, rows, image_shape=(8, 16)).html() == page
    rows = IMAGES.reshape(len(IMAGES), -1)
    assert SAEReport(sae, rows).html() == SAEReport(sae, rows, image_shape=(8, 8)).html()
    with pytest.raises(ValueError, match="image_shape"):
        SAEReport(sae, rows, image_shape=(5, 16))
    two = fitted(np.stack([IMAGES, IMAGES], axis=3))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        SAEReport(two, np.stack([IMAGES, IMAGES], axis=3))


def test_strongest_codes_alone_are_added_one_by_one(monkeypatch):
    monkeypatch.setattr(_subject, "_MOST_CODES", 3)
    data = page_data(SAEReport(fitted(), IMAGES).html())
    assert (np.diff(data["images"]["indptr"].astype(int)) == 3).all()
    assert data["images"]["active"].max() == 10


@needs_chromium
@pytest.mark.parametrize("size", [(24, 20), (80, 70)], ids=["as it is", "shrunk"])
def test_browser_builds_up_place_by_place(browser, size, tmp_path):
    sae, images = photographed()
    if size != (24, 20):
        large = load_photographs(8, size, subset="test", random_state=0)
        images = large.data.reshape(-1, *large.image_shape)
    path = tmp_path / "report.html"
    SAEReport(sae, images).write_html(path)
    data, complaints = page_data(path.read_text(encoding="utf-8")), []
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.locator(".grid.images > .tile").nth(2).click()
    wait_until(page, "document.querySelector('dialog output').textContent")
    check_steps(page, data, sae, images)
    page.locator("dialog .grid.small .tile").first.click()
    check_frames(page, data)
    page.close()
    assert complaints == []


def check_steps(page, data, sae, images):
    """Each step of the slider, and where its frame stands."""
    shape, shown = images.shape[1:], data["images"]
    first, last = shown["indptr"][2:4]
    built = "dialog .views figure:nth-child(2) canvas"
    total = np.broadcast_to(sae.centers_[0], shape).astype(np.float64)
    order = data["atoms"]["column"]
    for step in range(last - first):
        page.locator("dialog .slider input").fill(str(step))
        expected = _shrunk(total, data["tile"])[..., 0].clip(0, 1) * 255
        got = bytes_of(page, built).reshape(data["tile"][:2])
        np.testing.assert_allclose(got, expected, atol=6)
        entry = first + step
        at = corner(data, shown["place"][entry])
        atom = sae.components_[order[shown["atom"][entry]]] * shown["code"][entry]
        total = total + placed(atom, sae.atom_shape_, *at, shape)
    # The last step is complete, and has no frame; that before it has one on two pictures.
    frames = page.locator("dialog .views .frame")
    assert [frames.nth(i).is_visible() for i in range(2)] == [True, True]
    box, outer = (page.locator(s).first.bounding_box() for s in (
        "dialog .views .frame", "dialog .views .framed"))  # fmt: skip
    top, left = corner(data, shown["place"][last - 2])
    assert box["x"] - outer["x"] == pytest.approx(left / shape[1] * outer["width"], abs=1)
    assert box["y"] - outer["y"] == pytest.approx(top / shape[0] * outer["height"], abs=1)
    assert box["width"] == pytest.approx(6 / shape[1] * outer["width"], abs=1)
    page.locator("dialog .slider input").press("End")
    assert not frames.first.is_visible()


def check_frames(page, data):
    """As many frames in an atom's strongest images as there are places."""
    name = page.locator("#dialog-title").inner_text().removeprefix("Atom ")
    j = list(data["atoms"]["column"]).index(int(name))
    places = data["atoms"]["top_place"].reshape(len(data["atoms"]["column"]), -1)[j]
    assert page.locator("dialog .top .frame").count() == (places >= 0).sum() > 0


def _shrunk(image, tile):
    return shrink(image.reshape(1, -1).astype(np.float32), image.shape)[0].reshape(tile)
