"""The report as a document; what it shows, against brute force; and in a browser."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import webbrowser
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skl_sae import TopKSparseAutoencoder, pearson_correlation, report
from skl_sae.inspection import atom_usage, class_selectivity, top_samples
from skl_sae.report import SAEReport, _thumbnails

DIGITS = load_digits()
X, Y = DIGITS.data[:120], DIGITS.target[:120]
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '"><svg onload="window.hacked = 1">',
    "../../etc/x", "#?%00.png", "{{data}}", "<!--", "a\u2028b\u202ec", "\udcff.png", "&lt;b&gt;",
]  # fmt: skip


def fitted(**parameters):
    parameters = {"n_components": 24, "k": 4, "n_estimators": 2, "max_iter": 2} | parameters
    return TopKSparseAutoencoder(random_state=0, device="cpu", **parameters).fit(X)


@pytest.fixture(scope="module")
def sae():
    sae = fitted()
    # Of 48 atoms some shall be dead: these fire on no row.
    sae.encoder_bias_ = np.where(np.arange(48) % 16 == 3, np.float32(-1e6), sae.encoder_bias_)
    return sae


class Parser(HTMLParser):
    """Tags with their attributes, and the texts of scripts by their id."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], {}
        self._script = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self._script = dict(attrs).get("id", tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script:
            self.texts[self._script] = self.texts.get(self._script, "") + data


def page_data(page):
    """What the page's script reads, its arrays decoded."""

    def decoded(value):
        if isinstance(value, dict) and len(value) == 1:
            ((dtype, content),) = value.items()
            if re.fullmatch("[fiu][24]", dtype):
                return np.frombuffer(base64.b64decode(content), f"<{dtype}")
        return {k: decoded(v) for k, v in value.items()} if isinstance(value, dict) else value

    return decoded(json.loads(Parser(page).texts["data"]))


def tiles(page, kind, n, shape):
    """The first n thumbnails of one kind, from the page's sheets."""
    texts = Parser(page).texts
    height, width, _ = shape
    result = []
    for i in range(n):
        content = base64.b64decode(texts[f"{kind}-{i // 256}"])
        sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        row, column = divmod(i % 256, 16)
        result.append(sheet[row * height :, column * width :][:height, :width])
    return np.array(result)


# --- The document ---


def test_hostile_names_and_labels_add_no_markup(sae):
    rows = slice(0, len(HOSTILE))
    plain = Parser(SAEReport(sae, X[rows], list("abcdefghij"), image_shape=(8, 8)).html())
    names, labels = HOSTILE, HOSTILE[::-1]
    page = SAEReport(sae, X[rows], labels, image_shape=(8, 8), filenames=names).html()
    parsed = Parser(page)
    assert parsed.tags == plain.tags
    assert not [a for a in parsed.attributes if a[1].startswith("on") or a[1] in ("src", "srcdoc")]
    assert {a[2] for a in parsed.attributes if a[1] == "href"} == {
        "data:,", "#summary", "#training", "#images", "#atoms"
    }  # fmt: skip
    data = page_data(page)
    assert data["images"]["name"] == names
    assert [data["classes"][i] for i in data["images"]["label"]] == labels
    for text in [*HOSTILE[:3], "\u2028", "\u202e"]:
        assert text not in page
    page.encode("utf-8")


def test_hostile_parameters_are_text(sae):
    odd = fitted()
    odd.set_params(augmenter="</td><script>alert(1)</script>" * 50, init=np.ones((24, 64)))
    page = SAEReport(odd, X[:5], image_shape=(8, 8)).html()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page and "array of shape (24, 64)" in page


def test_policy_allows_this_script_and_style_alone(sae):
    parsed = Parser(SAEReport(sae, X[:5], image_shape=(8, 8)).html())
    (policy,) = (a[2] for a in parsed.attributes if a[1] == "content" and "default-src" in a[2])
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(parsed.texts[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_summary(sae):
    page = SAEReport(sae, X, Y, image_shape=(8, 8)).html()
    codes, usage = sae.transform(X), atom_usage(sae.transform(X))
    figures = dict(re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", page))
    fvu = np.square(X - sae.inverse_transform(codes)).sum() / (len(X) * X.var(axis=0).sum())
    assert float(figures["Correlation"]) == pytest.approx(sae.score(X), abs=1e-4)
    assert float(figures["FVU"]) == pytest.approx(fvu, abs=1e-4)
    assert float(figures["Active atoms"]) == pytest.approx(codes.nnz / len(X), abs=0.05)
    assert figures["Dead atoms"] == f"{100 * usage.dead.mean():.1f} %"
    assert figures["Atoms for 80 %"] == f"{100 * usage.fraction_for_80:.1f} %"
    assert 0 < float(figures["Stability"]) < 1
    assert "120 grey images of 8x8 pixels · 2 members of 24 atoms" in page
    assert re.search(r'<tr class="changed"><th scope="row">k</th>\s*<td>4</td>', page)


# --- What it shows ---


def test_figures_of_atoms(sae):
    data = page_data(SAEReport(sae, X, Y, image_shape=(8, 8)).html())
    codes, atoms = sae.transform(X), data["atoms"]
    columns = atoms["column"]
    usage, selectivity = atom_usage(codes), class_selectivity(codes, Y)
    assert sorted(columns) == list(range(48))
    assert (np.diff(atoms["frequency"]) <= 0).all()
    for name in ("frequency", "share", "mean_activation", "max_activation"):
        shown = atoms[name.removesuffix("_activation")]
        np.testing.assert_allclose(shown, usage[name][columns], rtol=1e-5)
    np.testing.assert_array_equal(atoms["member"], columns // 24)

    cosine = sae.components_ @ sae.components_.T
    counts = atoms["histogram"].reshape(48, -1)
    for j, column in enumerate(columns):
        strongest = top_samples(codes, column, 12)
        shown = atoms["top"].reshape(48, -1)[j]
        np.testing.assert_array_equal(shown[: len(strongest)], strongest)
        assert (shown[len(strongest) :] == -1).all()
        (nearest, missing), others = (
            atoms["nearest"].reshape(48, 2)[j],
            columns // 24 != column // 24,
        )
        assert missing == -1
        # Two products of matrices may differ by rounding, and so in which of two equals is first.
        largest = cosine[column, columns[others]].max()
        assert cosine[column, columns[nearest]] == pytest.approx(largest, abs=1e-6)
        values = codes[:, [column]].data
        expected = np.histogram(values, 24, (0, max(values, default=1)))[0]
        np.testing.assert_allclose(counts[j].cumsum(), expected.cumsum(), atol=1)
        best = selectivity.auc[:, column].max()
        assert atoms["auc"].reshape(48, -1)[j, 0] == pytest.approx(best, rel=1e-5)
        assert selectivity.auc[atoms["class"].reshape(48, -1)[j, 0], column] == best


@pytest.mark.parametrize(
    "parameters",
    [{}, {"n_estimators": 1}, {"transform_algorithm": "omp"}, {"aggregate": "mean"},
     {"aggregate": "mean", "n_estimators": 3, "transform_algorithm": "omp"},
     {"sparse_output": False}, {"sparsity": "batch_topk"}, {"n_components": 1, "k": 1},
     {"early_stopping": True}],
    ids=str,
)  # fmt: skip
def test_atoms_add_up_to_the_reconstruction(parameters):
    sae = fitted(**parameters)
    page = SAEReport(sae, X, image_shape=(8, 8)).html()
    data = page_data(page)
    for part in (data["atoms"], data["images"], data["curves"]):
        assert all(np.isfinite(v).all() for v in part.values() if isinstance(v, np.ndarray))
    atom_bytes = tiles(page, "atom", len(data["atoms"]["column"]), data["tile"])[..., 0]
    guess_bytes = tiles(page, "guess", len(X), data["tile"])[..., 0]
    guesses = sae.inverse_transform(sae.transform(X))
    images, (low, high) = data["images"], data["range"]
    assert (low, high) == (0, 16)
    for i in range(0, len(X), 7):
        entries = slice(images["indptr"][i], images["indptr"][i + 1])
        active, total = images["atom"][entries], data["centre"].astype(np.float64)
        curve = [pearson_correlation(X[[i]], total[None])]
        for j, code in zip(active, images["code"][entries], strict=True):
            step = data["atoms"]["step"][j]
            total = total + code * step * (atom_bytes[j].ravel().astype(np.float64) - 128)
            curve.append(pearson_correlation(X[[i]], total[None]))
        # Thumbnails round, hence the tolerance.
        np.testing.assert_allclose(total, guesses[i], atol=0.25)
        shown = images["curve"][images["indptr"][i] + i : images["indptr"][i + 1] + i + 1]
        np.testing.assert_allclose(shown / 32767, curve, atol=0.02)
        assert images["correlation"][i] == pytest.approx(shown[-1] / 32767, abs=1e-3)
        expected = (guesses[i] - low) / (high - low) * 255
        np.testing.assert_allclose(guess_bytes[i].ravel(), expected.clip(0, 255), atol=0.6)


def test_limits(sae, monkeypatch):
    for name, value in {"_MOST_ATOMS": 10, "_MOST_IMAGES": 7, "_MOST_CODES": 3}.items():
        monkeypatch.setattr(report, name, value)
    monkeypatch.setattr(report, "_MOST_TO_MATCH", 0)
    page = SAEReport(sae, X, Y, image_shape=(8, 8)).html()
    data, scores = page_data(page), sae.score_samples(X)
    assert "7 images shown" in page and "the 10 atoms used most shown" in page
    assert "Stability" not in page
    assert len(data["atoms"]["column"]) == 10 and len(data["images"]["row"]) == 7
    assert {scores.argmin(), scores.argmax()} <= set(data["images"]["row"])
    assert np.diff(data["images"]["indptr"].astype(int)).max() == 3
    assert data["images"]["active"].max() == 8


def test_dataframe_and_types_of_labels(sae):
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(64)])
    of_frame = TopKSparseAutoencoder(8, k=2, max_iter=1, sparse_output=False, random_state=0)
    of_frame.set_output(transform="pandas").fit(frame)
    labels = pd.Series(np.where(Y > 4, "large", "small"), dtype="category")
    page = SAEReport(of_frame, frame, labels, image_shape=(8, 8)).html()
    assert page_data(page)["classes"] == ["large", "small"]
    assert (
        page_data(SAEReport(sae, X, Y.astype(float), image_shape=(8, 8)).html())["classes"][1]
        == "1"
    )
    one = page_data(SAEReport(sae, X, np.zeros(len(X), bool), image_shape=(8, 8)).html())
    assert one["classes"] == ["False"] and "auc" not in one["atoms"]


def test_pipeline_shows_the_rows_of_its_last_step(sae):
    pipeline = make_pipeline(FunctionTransformer(lambda X: X[::-1]), sae)
    page = SAEReport(pipeline, X[:9], Y[:9], image_shape=(8, 8)).html()
    assert page == SAEReport(sae, X[8::-1], Y[:9], image_shape=(8, 8)).html()


def test_constant_images(sae):
    page = SAEReport(sae, np.full((2, 64), 3.0), image_shape=(8, 8)).html()
    assert "<dt>Correlation</dt><dd>undefined</dd>" in page
    assert (page_data(page)["images"]["correlation"] == 0).all()
    assert page_data(page)["range"] == [3, 4]


def test_large_images_are_shrunk():
    rng = np.random.default_rng(0)
    rows = rng.random((6, 96 * 128 * 3), dtype=np.float32)
    small = _thumbnails.shrink(rows, (96, 128, 3))
    assert small.shape == (6, 48, 64, 3) == (6, *_thumbnails.tile_shape((96, 128, 3)))
    blocks = rows.reshape(6, 48, 2, 64, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(small, blocks, rtol=1e-5)
    odd = _thumbnails.shrink(rows[:, : 100 * 90], (100, 90))
    assert odd.shape == (6, 64, 58, 1)
    np.testing.assert_allclose(odd.mean(axis=(1, 2, 3)), rows[:, :9000].mean(axis=1), rtol=1e-4)
    assert _thumbnails.tile_shape((1, 500)) == (1, 64, 1)


@pytest.mark.parametrize("budget", [100_000, 300_000])
def test_sheets_keep_to_the_budget(budget):
    noise = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    contents = list(_thumbnails.sheets([noise[:256], noise[256:]], 300, budget))
    assert sum(map(len, contents)) <= budget
    picture = Image.open(io.BytesIO(base64.b64decode(contents[1])))
    assert picture.format == "WEBP" and picture.size == (256, 48)
    assert not picture.getexif() and not picture.info.get("icc_profile")


# --- Checks and files ---


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"image_shape": (8, 9)}, r"Expected image_shape of 64 numbers.*got \(8, 9\)"),
        ({"image_shape": (4, 8, 2)}, "in 1 or 3 channels"),
        ({"image_shape": (-8, -8)}, "positive integers"),
        ({"y": [0, 1]}, "Expected 120 labels, as X has rows, got 2"),
        ({"y": np.linspace(0, 1, 120)}, "Expected classes in y, got numbers"),
        ({"filenames": ["a"]}, "Expected 120 filenames, as X has rows, got 1"),
        ({"filenames": "a" * 120}, "got 1"),
        ({"X": np.full((120, 64), np.nan)}, "NaN"),
    ],
)
def test_errors(sae, arguments, match):
    arguments = {"X": X, "image_shape": (8, 8)} | arguments
    with pytest.raises(ValueError, match=match):
        SAEReport(sae, **arguments)


def test_estimators_that_do_not_suit(sae):
    with pytest.raises(NotFittedError):
        SAEReport(TopKSparseAutoencoder(), X, image_shape=(8, 8))
    with pytest.raises(ValueError, match="Expected an estimator with centers_, got PCA"):
        SAEReport(PCA(2).fit(X), X, image_shape=(8, 8))
    with pytest.raises(ValueError, match="features"):
        SAEReport(sae, X[:, :36], image_shape=(6, 6))


def test_fault_125_variance_is_about_the_mean_of_the_rows_learned(sae):
    """So the figure of one class is not made worse by the class's being alike."""
    alike = X[Y == 0]
    page = SAEReport(sae, alike, image_shape=(8, 8)).html()
    figures = dict(re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", page))
    error = np.square(alike - sae.inverse_transform(sae.transform(alike))).sum()
    expected = error / np.square(alike - X.mean(axis=0)).sum()
    assert float(figures["FVU"]) == pytest.approx(expected, abs=1e-4)
    assert error / np.square(alike - alike.mean(axis=0)).sum() > 1.5 * expected


def test_write_is_atomic(sae, tmp_path, monkeypatch):
    path = tmp_path / "a name ♥.html"
    page = SAEReport(sae, X[:5], image_shape=(8, 8))
    page.write_html(str(path))
    assert path.read_text(encoding="utf-8") == page.html()
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask(tmp_path)

    def fail(*paths):
        raise OSError("no space left")

    path.write_text("old")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
            patch.setattr(os, name, fail)
            page.write_html(path)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(FileNotFoundError):
        page.write_html(tmp_path / "nowhere" / "report.html")


def test_fault_113_116_a_page_is_no_more_open_than_the_one_it_replaces(sae, tmp_path):
    path = tmp_path / "report.html"
    path.touch(0o600)
    SAEReport(sae, X[:5], image_shape=(8, 8)).write_html(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size > 1000


def _umask(folder):
    """Told by a file, as asking for it sets it."""
    path = folder / "probe"
    path.touch()
    mask = 0o666 & ~path.stat().st_mode
    path.unlink()
    return mask


def test_open_and_notebook(sae, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    page = SAEReport(sae, X[:5], image_shape=(8, 8), filenames=HOSTILE[:5])
    path = page.open()
    assert opened == [path.as_uri()] and path.read_text(encoding="utf-8") == page.html()
    assert tmp_path in path.parents
    parsed = Parser(page._repr_html_())
    assert parsed.tags == ["iframe"]
    attributes = {name: value for _, name, value in parsed.attributes}
    assert attributes["srcdoc"] == page.html()
    assert attributes["sandbox"] == "allow-scripts"


# --- In a browser ---

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
DRAWN = "root => [...root.querySelectorAll('canvas')].every(c => c.dataset.drawn)"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report_file(sae, tmp_path_factory):
    names = [HOSTILE[i % len(HOSTILE)] + str(i) for i in range(len(X))]
    labels = np.array(HOSTILE, dtype=object)[Y]
    path = tmp_path_factory.mktemp("report") / "report #1.html"
    SAEReport(sae, X, labels, image_shape=(8, 8), filenames=names).write_html(path)
    return path


@pytest.fixture
def page(browser, report_file):
    """The report, opened from disk; fails if the page complains or asks for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report_file.as_uri())
    page.wait_for_function(f"({DRAWN})(document)")
    yield page
    asked = [url for url in requests if not url.startswith("data:")]
    hacked = page.evaluate("window.hacked")
    context.close()
    assert complaints == []
    assert asked == [report_file.as_uri()]
    assert hacked is None


def shown(page, kind):
    """Numbers of the tiles of a gallery, as they stand."""
    tiles = page.locator(f".grid.{kind}s > .tile")
    return tiles.evaluate_all(f"tiles => tiles.map(t => Number(t.dataset.{kind}))")


def bytes_of(page, selector):
    """The first channel of a canvas."""
    canvas = page.locator(selector)
    script = """canvas => Array.from(canvas.getContext("2d").getImageData(
        0, 0, canvas.width, canvas.height).data).filter((_, i) => i % 4 === 0)"""
    return np.array(canvas.evaluate(script))


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
    page.wait_for_function(f"({DRAWN})(document.querySelector('dialog'))")
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
    page.wait_for_function("document.querySelector('dialog output').textContent")
    original, built, _ = (f"dialog .views figure:nth-child({i}) canvas" for i in (1, 2, 3))
    np.testing.assert_allclose(bytes_of(page, original), X[4] / 16 * 255, atol=0.6)
    np.testing.assert_allclose(bytes_of(page, built), guess.clip(0, 16) / 16 * 255, atol=0.6)

    first, last = data["images"]["indptr"][4:6]
    slider, output = page.locator("dialog input[type=range]"), page.locator("dialog output")
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
    monkeypatch.setattr(report, "_MOST_CODES", 3)
    path = tmp_path / "report.html"
    SAEReport(sae, X[:20], image_shape=(8, 8)).write_html(path)
    page = browser.new_page()
    page.goto(path.as_uri())
    page.locator(".grid.images > .tile").first.click()
    page.wait_for_function("document.querySelector('dialog output').textContent")
    n_active = sae.transform(X[:1]).nnz
    assert f"all {n_active} atoms" in page.locator("dialog output").inner_text()
    guess = sae.inverse_transform(sae.transform(X[:1]))[0]
    built = bytes_of(page, "dialog .views figure:nth-child(2) canvas")
    scale = X[:20].max()
    np.testing.assert_allclose(built, guess.clip(0, scale) / scale * 255, atol=0.6)
    page.locator("dialog input[type=range]").press("ArrowLeft")
    assert f"3 of {n_active} atoms" in page.locator("dialog output").inner_text()
    page.close()
