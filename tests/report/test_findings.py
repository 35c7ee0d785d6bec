"""Figures of a report against brute force, and as JSON."""

import copy
import json
import re

import numpy as np
import pytest
import scipy.sparse as sp
from pages import DIGITS, HOSTILE, X, Y, fitted, page_data
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.feature_selection import f_classif
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity

from skl_sae import ConvTopKSparseAutoencoder
from skl_sae.inspection import (
    atom_activations,
    atom_usage,
    class_selectivity,
    discriminative_atoms,
    match_members,
    monosemanticity,
    reconstruction_figures,
    shared_atoms,
    spatial_coherence,
)
from skl_sae.report import SAEReport, _contents
from skl_sae.report._map import arranged, scaled
from skl_sae.report._measures import encoder_cosines, purity, threshold_accuracy
from skl_sae.report._together import fired_together, similar_rows


@pytest.fixture(scope="module")
def codes():
    rng = np.random.default_rng(0)
    values = rng.integers(1, 6, size=(90, 15)) * (rng.random((90, 15)) < rng.random(15))
    values[:, 3], values[:, 4], values[:, 5] = 0, 2, values[:, 6]
    return sp.csr_array(values.astype(float))


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, 3, size=90)


# --- Measures ---


def test_purity_is_the_share_of_the_most_frequent_class(codes, labels):
    share, dominant = purity(codes, labels)
    for atom, column in enumerate(codes.toarray().T):
        counts = np.bincount(labels[column > 0], minlength=3)
        if atom == 3:
            assert np.isnan(share[3])
        else:
            assert share[atom] == counts.max() / counts.sum()
            assert dominant[atom] == counts.argmax()


def test_threshold_accuracy_is_that_of_all_thresholds_tried(codes, labels):
    wanted = np.arange(15) % 3
    half = np.empty(90, dtype=int)
    half[np.argsort(labels, kind="stable")] = np.arange(90) % 2
    for atom, column in enumerate(codes.toarray().T):
        expected = []
        for learned in (0, 1):
            is_class, train = labels == wanted[atom], half == learned

            def score(threshold, part, column=column, is_class=is_class):
                return balanced_accuracy_score(is_class[part], column[part] >= threshold)

            # The highest activation that scores best; none below 0.5 is worth a threshold.
            candidates = [np.inf, *np.unique(column[column > 0])[::-1]]
            scores = np.array([score(threshold, train) for threshold in candidates])
            best = np.flatnonzero(scores >= scores.max() - 1e-12)
            expected.append({round(score(candidates[b], ~train), 9) for b in best})
        found = threshold_accuracy(codes, labels, wanted)[atom]
        means = {round((a + b) / 2, 6) for a in expected[0] for b in expected[1]}
        assert round(found, 6) in means


def test_threshold_accuracy_of_an_atom_that_is_the_class(labels):
    codes = sp.csr_array((labels == 1).astype(float)[:, None] * 3 + (labels == 2)[:, None])
    assert threshold_accuracy(codes, labels, np.array([1]))[0] == 1
    assert threshold_accuracy(codes, labels, np.array([0]))[0] == 0.5
    alone = np.where(np.arange(90) == 0, 3, labels)
    assert np.isnan(threshold_accuracy(codes, alone, np.array([3]))[0])


def test_encoder_cosines(sae):
    assert np.isnan(encoder_cosines(fitted(tied=True), 48)).all()
    untied = fitted(tied=False)
    expected = np.diag(cosine_similarity(untied.encoder_, untied.components_))
    np.testing.assert_allclose(encoder_cosines(untied, 48), expected, rtol=1e-5)


def test_measures_of_a_report(sae):
    report = SAEReport(sae, X, Y, image_shape=(8, 8))
    atoms = report.to_dict()["atoms"]
    codes = sae.transform(X)
    usage, selectivity = atom_usage(codes), class_selectivity(codes, Y)
    cosine = cosine_similarity(sae.components_) - 9 * np.eye(48)
    for j, atom in enumerate(atoms):
        assert atom["atom"] == j and atom["member"] == j // 24
        assert atom["dead"] == usage.dead[j]
        assert atom["dead_in_training"] == (sae.atom_frequency_[j] == 0)
        assert atom["frequency"] == usage.frequency[j]
        assert atom["share"] == pytest.approx(usage.share[j])
        own = slice(24 * (j // 24), 24 * (j // 24) + 24)
        assert atom["nearest_cosine"] == pytest.approx(cosine[j, own].max(), abs=1e-5)
        if atom["dead"]:
            assert atom["auc"] is atom["purity"] is atom["best_class"] is None
        else:
            best = selectivity.auc[:, j].argmax()
            assert atom["auc"] == selectivity.auc[best, j]
            assert atom["best_class"] == str(best)


def check_column(report, name, expected, **tolerance):
    """A measure is the expected one in the dict and, where it is defined, on the page."""
    expected = np.asarray(expected, dtype=np.float64)
    atoms = report.to_dict()["atoms"]
    values = np.array([atom[name] for atom in atoms], dtype=np.float64)  # None becomes NaN
    np.testing.assert_allclose(values, expected, **tolerance)
    shown = page_data(report.html())["atoms"]
    expected = expected[shown["column"]]
    dead = shown["frequency"] == 0
    np.testing.assert_allclose(shown[name][~dead], expected[~dead], rtol=1e-6)
    assert np.isfinite(shown[name][dead]).all()
    return values


@pytest.fixture(scope="module")
def embeddings():
    features = np.abs(X @ np.random.default_rng(0).normal(size=(64, 12)))
    return features - features.mean(axis=0)


def test_monosemanticity_is_a_column_with_embeddings(sae, embeddings):
    report = SAEReport(sae, X, image_shape=(8, 8), embeddings=embeddings)
    scores = monosemanticity(sae.transform(X), embeddings)
    values = check_column(report, "monosemanticity", scores.atoms)
    assert np.isnan(values[3]) and np.isfinite(values).sum() > 24
    summary = report.to_dict()["summary"]
    assert summary["monosemanticity"] == scores.value
    assert summary["monosemanticity_chance"] == page_data(report.html())["chance"] == scores.chance
    plain = SAEReport(sae, X, image_shape=(8, 8))
    assert "monosemanticity" not in plain.to_dict()["atoms"][0]
    data = page_data(plain.html())
    assert "monosemanticity" not in data["atoms"] and data["chance"] is None


@pytest.mark.parametrize(
    ("wrong", "match"),
    [(np.ones((119, 3)), "Expected 120 embeddings, as X has rows, got 119"),
     (np.full((120, 3), np.nan), "NaN"), (np.ones(120), "2D array")],
)  # fmt: skip
def test_embeddings_that_do_not_suit(sae, wrong, match):
    with pytest.raises(ValueError, match=match):
        SAEReport(sae, X, image_shape=(8, 8), embeddings=wrong)


def test_an_atom_of_one_image_has_no_monosemanticity(sae, embeddings):
    codes = sae.transform(X).toarray()
    row = int(np.flatnonzero(codes[:, np.count_nonzero(codes, axis=0) > 0].any(axis=1))[0])
    report = SAEReport(sae, X[[row]], image_shape=(8, 8), embeddings=embeddings[[row]])
    data = page_data(report.html())
    alive = data["atoms"]["frequency"] > 0
    assert alive.any() and data["chance"] is None
    assert "monosemanticity" not in data["atoms"]  # no atom has one
    assert report.to_dict()["summary"]["monosemanticity"] is None


def test_class_variance_ranks_atoms_as_analysis_of_variance(sae):
    report, codes = SAEReport(sae, X, Y, image_shape=(8, 8)), sae.transform(X)
    alive = codes.count_nonzero(axis=0) > 0
    f = f_classif(codes.toarray()[:, alive].astype(float), Y)[0]
    between, within = len(np.unique(Y)) - 1, len(Y) - len(np.unique(Y))
    expected = np.full(48, np.nan)
    expected[alive] = f * between / (f * between + within)  # since F is of their ratio
    check_column(report, "class_variance", expected, rtol=1e-5)


def test_matches_of_atoms_are_columns(sae):
    other = fitted(n_components=30, n_estimators=1, max_iter=1)
    report = SAEReport(sae, X, image_shape=(8, 8), compare=other)
    matching = match_members(sae)
    expected = np.concatenate([matching.cosines[0, 1], matching.cosines[1, 0]])
    check_column(report, "member_cosine", expected, rtol=1e-5)
    cosines = np.full(48, np.nan)
    pair = report.to_dict()["comparisons"][0]
    cosines[[i for i, _ in pair["atoms"]]] = pair["cosines"]
    values = check_column(report, "compared_cosine", cosines)
    assert np.isnan(values).sum() == 18
    found = shared_atoms([sae, other], threshold=pair["same_from"]).atoms[0]
    np.testing.assert_array_equal(np.nan_to_num(values) >= pair["same_from"], found)


def test_an_atom_of_three_members_has_a_mean_of_two_matches():
    sae = fitted(n_components=10, n_estimators=3)
    cosines = match_members(sae).cosines
    expected = [np.delete(cosines[e], e, axis=0).mean(axis=0) for e in range(3)]
    report = SAEReport(sae, X, image_shape=(8, 8))
    check_column(report, "member_cosine", np.concatenate(expected), rtol=1e-5)


def test_coherence_of_small_atoms(sae):
    conv = ConvTopKSparseAutoencoder(
        6, kernel_size=3, k=0.15, max_iter=2, pooling=2, random_state=0, device="cpu"
    ).fit(DIGITS.images[:60])
    embeddings = DIGITS.data[:60] - DIGITS.data[:60].mean(axis=0)
    report = SAEReport(conv, DIGITS.images[:60], embeddings=embeddings)
    unpooled = copy.copy(conv).set_params(pooling=None)
    codes = unpooled.transform(DIGITS.images[:60])
    coherence = spatial_coherence(codes, unpooled.maps_shape_).atoms
    assert np.isfinite(coherence).any()
    check_column(report, "spatial_coherence", coherence)
    activations = atom_activations(unpooled, codes)
    check_column(report, "monosemanticity", monosemanticity(activations, embeddings).atoms)
    whole = SAEReport(sae, X, image_shape=(8, 8))
    assert whole.to_dict()["atoms"][0]["spatial_coherence"] is None
    assert "spatial_coherence" not in page_data(whole.html())["atoms"]


# --- Together, and the map ---


def test_atoms_that_fire_together_correlate_most(codes):
    atoms, phi = fired_together(codes, 4)
    fires = codes.toarray() > 0
    both = fires.T.astype(int) @ fires
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(fires.T.astype(float))
    correlation = np.nan_to_num(correlation)
    for j in range(15):
        possible = [c for c in range(15) if c != j and both[j, c] >= 3 and correlation[j, c] > 0]
        expected = sorted((correlation[j, c] for c in possible), reverse=True)[:4]
        np.testing.assert_allclose(phi[j], np.pad(expected, (0, 4 - len(expected))), atol=1e-9)
        for atom, value in zip(atoms[j], phi[j], strict=True):
            assert (atom == -1) if value == 0 else correlation[j, atom] == pytest.approx(value)
    assert (atoms[[3, 4]] == -1).all()  # the dead one, and the one that always fires
    assert atoms[5, 0] == 6 and phi[5, 0] == pytest.approx(1)


def test_similar_rows_are_those_of_largest_cosine(codes):
    rows, cosines = similar_rows(codes, 3)
    expected = cosine_similarity(codes.toarray()) - 9 * np.eye(90)
    np.testing.assert_allclose(cosines, -np.sort(-expected, axis=1)[:, :3])
    np.testing.assert_allclose(np.take_along_axis(expected, rows, axis=1), cosines)


def test_classical_scaling_is_pca_of_unit_atoms():
    atoms = np.random.default_rng(0).normal(size=(20, 7))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(atoms)
    places = scaled(atoms @ atoms.T)
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-3)


def test_the_map_keeps_groups_together():
    atoms, group = make_blobs(60, 12, centers=4, cluster_std=0.5, random_state=0)
    cosines = cosine_similarity(atoms)
    places = arranged(cosines)
    np.testing.assert_array_equal(places, arranged(cosines))
    distances = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(60)
    assert (group[distances.argmin(axis=1)] == group).mean() > 0.95


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_a_map_of_few_atoms(n):
    assert np.isfinite(arranged(np.eye(n))).all() and arranged(np.eye(n)).shape == (n, 2)


# --- Two models ---


def test_two_estimators_side_by_side(sae):
    other = fitted(n_components=30, n_estimators=1, max_iter=1)
    report = SAEReport(sae, X, Y, image_shape=(8, 8), compare=other)
    figures = report.to_dict()
    pair = figures["comparisons"][0]
    shared = shared_atoms([sae, other], threshold=0.7)
    assert pair["names"] == ["This estimator", "Compared estimator"]
    assert len(pair["atoms"]) == 30 and pair["cosines"] == sorted(pair["cosines"], reverse=True)
    cosine = cosine_similarity(sae.components_, other.components_)
    np.testing.assert_allclose([cosine[i, j] for i, j in pair["atoms"]], pair["cosines"], rtol=1e-4)
    assert pair["shared"] == pytest.approx(shared.pairs[1, 0])
    assert pair["mean_cosine"] == pytest.approx(shared.mean_cosine, rel=1e-5)
    of_other = SAEReport(other, X, image_shape=(8, 8)).to_dict()["summary"]
    assert figures["models"][1] == {"name": "Compared estimator"} | of_other

    page = report.html()
    table = page[page.index('class="plain models"') :]
    row = re.search(r"<th scope=\"row\">FVU</th><td>(.+?)</td><td>(.+?)</td>", table)
    assert row.groups() == (f"{figures['summary']['fvu']:.4f}", f"{of_other['fvu']:.4f}")
    entry = page_data(page)["compare"]["entries"][0]
    assert entry["shared"] == pair["shared"] and 'id="other-0"' in page


def test_members_side_by_side(sae):
    figures = SAEReport(sae, X, image_shape=(8, 8)).to_dict()
    (pair,) = figures["comparisons"]
    matching = match_members(sae)
    assert pair["mean_cosine"] == pytest.approx(matching.stability)
    expected = {(i, 24 + j) for i, j in enumerate(matching.matches[0, 1])}
    assert {tuple(atoms) for atoms in pair["atoms"]} == expected
    codes = sae.transform(X)
    assert [model["name"] for model in figures["models"]] == [
        "This estimator", "Member 1", "Member 2"
    ]  # fmt: skip
    for e, model in enumerate(figures["models"][1:]):
        own = slice(24 * e, 24 * e + 24)
        guess = codes[:, own] @ sae.components_[own] + sae.centers_[e]
        fvu = np.square(X - guess).sum() / (len(X) * X.var(axis=0).sum())
        assert model["fvu"] == pytest.approx(fvu, rel=1e-4)
        assert model["active_atoms"] == codes[:, own].nnz / len(X)
        assert model["atoms_for_80"] == atom_usage(codes[:, own]).atoms_for_80


def test_atoms_of_another_size_cannot_be_compared(sae):
    small = ConvTopKSparseAutoencoder(
        6, image_shape=(8, 8), kernel_size=4, max_iter=1, random_state=0
    ).fit(X)
    with pytest.raises(ValueError, match=r"atoms of shape \(8, 8\).*got \(4, 4"):
        SAEReport(sae, X, image_shape=(8, 8), compare=small)
    same = SAEReport(small, X[:20], compare=small).to_dict()["comparisons"][0]
    assert same["shared"] == 1 and all(i == j for i, j in same["atoms"])


# --- As JSON ---


def test_json_has_the_figures_of_the_page(sae, tmp_path):
    names = [HOSTILE[i % len(HOSTILE)] for i in range(len(X))]
    labels = np.array(HOSTILE, dtype=object)[Y]
    report = SAEReport(
        sae, X, labels, image_shape=(8, 8), filenames=names, labels={5: HOSTILE[0]}
    )  # fmt: skip
    figures, page = report.to_dict(), report.html()
    text = report.to_json()
    assert json.loads(text) == figures and text.isascii() and "NaN" not in text
    assert report.to_json(tmp_path / "figures.json") is None
    assert (tmp_path / "figures.json").read_text() == text
    assert (figures["format"], figures["version"]) == ("skl_sae.report", 1)
    assert [image["name"] for image in figures["images"]] == names
    assert [image["class"] for image in figures["images"]] == list(labels)
    assert [atom["label"] for atom in figures["atoms"]] == [None] * 5 + HOSTILE[:1] + [None] * 42
    assert figures["parameters"]["k"] == 4 and figures["parameters"]["aggregate"] == "concat"

    shown = dict(re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", page))
    assert f"{figures['summary']['correlation']:.4f}" == shown["Correlation"]
    assert f"{figures['summary']['fvu']:.4f}" == shown["FVU"]
    atoms = page_data(page)["atoms"]
    for name in ("frequency", "share", "smoothness", "nearest_cosine", "purity", "accuracy"):
        values = [figures["atoms"][column][name] or 0 for column in atoms["column"]]
        np.testing.assert_allclose(atoms[name], values, rtol=1e-6, err_msg=name)
    by_row = [figures["images"][row]["correlation"] for row in range(len(X))]
    np.testing.assert_allclose(page_data(page)["images"]["correlation"], by_row, rtol=1e-5)


def test_classes_of_a_report(sae):
    report = SAEReport(sae, X, Y, image_shape=(8, 8))
    classes, page = report.to_dict()["classes"], page_data(report.html())
    best = discriminative_atoms(class_selectivity(sae.transform(X), Y), n=8)
    scores = sae.score_samples(X)
    for c, figures in enumerate(classes):
        assert figures["name"] == str(c) and figures["n_images"] == (Y == c).sum()
        assert figures["correlation"] == pytest.approx(scores[Y == c].mean(), rel=1e-5)
        assert figures["atoms"] == best[c].tolist()
    shown = page["class_page"]["atom"].reshape(10, 8)
    np.testing.assert_array_equal(page["atoms"]["column"][shown], best)
    means = SAEReport(sae, X, Y, image_shape=(8, 8))._findings.classes.means
    np.testing.assert_allclose(means[3], X[Y == 3].mean(axis=0))


def test_undefined_figures_are_none(sae):
    figures = SAEReport(sae, np.full((2, 64), 3.0), image_shape=(8, 8)).to_dict()
    assert figures["summary"]["correlation"] is None and figures["classes"] == []
    assert figures["images"][0]["correlation"] is None


def test_limits_of_pairs_and_classes(sae, monkeypatch):
    for name, value in {"_MOST_ATOMS": 10, "_MOST_CLASSES": 3}.items():
        monkeypatch.setattr(_contents, name, value)
    page = SAEReport(sae, X, Y, image_shape=(8, 8), compare=sae).html()
    data = page_data(page)
    assert len(data["compare"]["column"]) == 10
    assert len(data["class_page"]["index"]) == 3
    assert set(data["class_page"]["atom"]) <= set(range(-1, 10))


def test_figures_of_reconstructions_are_those_of_inspection(sae):
    report = SAEReport(sae, X, image_shape=(8, 8))
    summary, expected = report.to_dict()["summary"], reconstruction_figures(sae, X)
    for name in ("fvu", "cosine", "length_ratio", "bias"):
        assert summary[name] == pytest.approx(expected[name], rel=1e-4)
    shown = dict(re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", report.html()))
    for name, title in (("cosine", "Cosine"), ("length_ratio", "Length"), ("bias", "Bias")):
        assert shown[title] == f"{summary[name]:.3f}"
