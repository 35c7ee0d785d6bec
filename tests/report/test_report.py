"""The report as a document, and what it shows, against brute force."""

import base64
import hashlib
import os
import re
import webbrowser

import numpy as np
import pandas as pd
import pytest
from pages import DIGITS, HOSTILE, Parser, X, Y, fitted, page_data, tiles
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    TopKSparseAutoencoder,
    pearson_correlation,
)
from skl_sae.inspection import atom_usage, class_selectivity, picture_coherence, top_samples
from skl_sae.report import SAEReport, _contents, _reading, _subject

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
        "data:,", "#summary", "#training", "#images", "#atoms", "#table", "#map", "#classes",
        "#compare",
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
    glosses = re.findall(r"<dd><strong>(.+?):</strong> (.+?)</dd>", page)
    assert len(glosses) == len(figures) and glosses[1] == (
        "Unexplained variance",
        "what part of these images' variance about the mean of the training images is not "
        "rebuilt; 0 is best".replace("'", "&#x27;"),
    )
    assert f"{usage.atoms_for_80} atoms carry 80 %" in glosses[4][1]
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
    smoothness = picture_coherence(sae.components_, (8, 8)).atoms
    np.testing.assert_allclose(atoms["smoothness"], smoothness[columns], rtol=1e-5)

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


# Stages and members of ensembles: several members of one, and their mean.
FLAT = TopKSparseAutoencoder(12, k=3, max_iter=2)
TWO = TopKSparseAutoencoder(8, k=2, n_estimators=2, max_iter=2)
MEAN = TopKSparseAutoencoder(8, k=2, n_estimators=2, aggregate="mean", max_iter=2)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"n_estimators": 1}, {"transform_algorithm": "omp"}, {"aggregate": "mean"},
     {"aggregate": "mean", "n_estimators": 3, "transform_algorithm": "omp"},
     {"sparse_output": False}, {"sparsity": "batch_topk"}, {"n_components": 1, "k": 1},
     {"early_stopping": True},
     BaggingSparseAutoencoder(FLAT, 2, weights="least_squares", random_state=0),
     BoostingSparseAutoencoder(FLAT, 3, refit=True, random_state=0),
     BoostingSparseAutoencoder([("a", FLAT), ("b", TWO), ("c", MEAN)], random_state=0),
     BaggingSparseAutoencoder(BoostingSparseAutoencoder(TWO, 2), 2, random_state=0)],
    ids=str,
)  # fmt: skip
def test_atoms_add_up_to_the_reconstruction(parameters):
    sae = fitted(**parameters) if isinstance(parameters, dict) else parameters.fit(X)
    page = SAEReport(sae, X, image_shape=(8, 8)).html()
    data = page_data(page)
    for part in (data["atoms"], data["images"], data["curves"]):
        for name, values in part.items():
            is_partial = name == "member_cosine"  # larger members have atoms without a match
            assert is_partial or isinstance(values, list) or np.isfinite(values).all()
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


def test_examples_are_evenly_spaced_in_quantiles(sae):
    data = page_data(SAEReport(sae, DIGITS.data[:600], image_shape=(8, 8)).html())
    codes, atoms = sae.transform(DIGITS.data[:600]).toarray(), data["atoms"]
    samples, values = (atoms[n].reshape(48, 3, 6) for n in ("example", "example_code"))
    sizes, limits = atoms["example_size"].reshape(48, 3), atoms["example_limit"].reshape(48, 3, 2)
    for j, column in enumerate(atoms["column"]):
        ranked = sorted(np.flatnonzero(codes[:, column]), key=lambda i: (-codes[i, column], i))
        quarter = len(ranked) // 4
        for b, (start, end) in enumerate(
            [(0, quarter), (quarter, len(ranked) - quarter), (len(ranked) - quarter, len(ranked))]
        ):
            band = ranked[max(start, 12) : end]
            assert sizes[j, b] == len(band)
            n = min(len(band), 6)
            expected = [band[int((t + 0.5) * len(band) / n)] for t in range(n)]
            assert samples[j, b].tolist() == expected + [-1] * (6 - n)
            np.testing.assert_allclose(values[j, b, :n], codes[expected, column], rtol=1e-6)
            ends = codes[[band[0], band[-1]], column] if band else [0, 0]
            np.testing.assert_allclose(limits[j, b], ends, rtol=1e-6)
    assert (sizes.max(axis=0) > 6).all() and (sizes == 0).any()


def test_limits(sae, monkeypatch):
    for name, value in {"_MOST_ATOMS": 10, "_MOST_IMAGES": 7}.items():
        monkeypatch.setattr(_contents, name, value)
    monkeypatch.setattr(_subject, "_MOST_CODES", 3)
    monkeypatch.setattr(_reading, "_MOST_TO_MATCH", 0)
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
