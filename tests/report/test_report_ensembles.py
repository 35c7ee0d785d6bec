"""Reports of ensembles, against the same by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
from pages import X, Y, needs_chromium, opened, page_data
from scipy.optimize import linear_sum_assignment

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    TopKSparseAutoencoder,
    pearson_correlation,
)
from skl_sae.inspection import match_members
from skl_sae.inspection._members import members_of, scales_of
from skl_sae.plotting import AtomDisplay, ReconstructionDisplay, UsageDisplay
from skl_sae.report import SAEReport

FLAT = TopKSparseAutoencoder(12, k=3, max_iter=2)
TWO = TopKSparseAutoencoder(8, k=2, n_estimators=2, max_iter=3, early_stopping=True)
MEAN = TopKSparseAutoencoder(10, k=2, n_estimators=2, aggregate="mean", max_iter=2)
DEEP = DeepTopKSparseAutoencoder(8, k=2, max_iter=1)
SMALL = ConvTopKSparseAutoencoder(4, image_shape=(8, 8), kernel_size=4, k=4, max_iter=1)
BAGGING = BaggingSparseAutoencoder(FLAT, weights="least_squares", random_state=0).fit(X)
BOOSTING = BoostingSparseAutoencoder(FLAT, 3, random_state=0).fit(X)
STAGES = [("coarse", FLAT), ("Fine", TWO), ("mean", MEAN), ("deep", DEEP)]
HIERARCHY = BoostingSparseAutoencoder(STAGES, random_state=0).fit(X)
NESTED = BaggingSparseAutoencoder(BoostingSparseAutoencoder(TWO, 2), 2, random_state=0).fit(X)
ENSEMBLES = pytest.mark.parametrize(
    "ensemble", [BAGGING, BOOSTING, HIERARCHY, NESTED],
    ids=["mean", "sum", "list", "mean of sums"],
)  # fmt: skip


@pytest.fixture(scope="module")
def report():
    return SAEReport(HIERARCHY, X, Y, image_shape=(8, 8))


@ENSEMBLES
def test_images_are_sums_of_all_members_atoms(ensemble):
    codes, scales = ensemble.transform(X), scales_of(members_of(ensemble))
    centre = ensemble.inverse_transform(sp.csr_matrix((1, codes.shape[1]), dtype=np.float32))
    sums = centre + (codes.toarray() * scales) @ ensemble.components_
    np.testing.assert_allclose(sums, ensemble.inverse_transform(codes), atol=1e-4)


@ENSEMBLES
def test_figures_are_those_of_the_ensemble(ensemble):
    figures = SAEReport(ensemble, X, image_shape=(8, 8)).to_dict()
    assert figures["summary"]["correlation"] == pytest.approx(ensemble.score(X), abs=1e-5)
    assert figures["summary"]["n_atoms"] == ensemble.transform(X).shape[1]
    variance = np.square(X - ensemble._offset).sum()
    error = np.square(X - ensemble.inverse_transform(ensemble.transform(X))).sum()
    assert figures["summary"]["fvu"] == pytest.approx(error / variance, rel=1e-4)
    assert len(figures["members"]) == 1 + max(atom["member"] for atom in figures["atoms"])


def test_members_have_names_and_columns(report):
    figures = report.to_dict()
    assert figures["members"] == [
        "stage 1 (coarse)", "stage 2 (Fine), member 1", "stage 2 (Fine), member 2",
        "stage 3 (mean)", "stage 4 (deep)",
    ]  # fmt: skip
    members = [atom["member"] for atom in figures["atoms"]]
    assert members == np.repeat(range(5), [12, 8, 8, 10, 8]).tolist()
    named = SAEReport(NESTED, X, image_shape=(8, 8)).to_dict()["members"]
    assert named[:3] == ["member 1, stage 1, member 1", "member 1, stage 1, member 2",
                         "member 1, stage 2, member 1"]  # fmt: skip


def test_there_is_a_curve_for_each_fit(report):
    training = report.to_dict()["training"]
    assert training["loss"] == training["correlation"] == training["held_out"] == []
    data = page_data(report.html())
    assert len(data["trainings"]) == 4
    for stage, told, (name, _) in zip(
        HIERARCHY.estimators_, training["members"], STAGES, strict=True
    ):
        assert told["name"].endswith(f"({name})")
        assert told["loss"] == list(stage.loss_curve_)
        assert told["correlation"] == list(stage.correlation_curve_)
        assert told["held_out"] == list(stage.validation_scores_ or [])


def test_members_of_a_mean_stand_beside_it():
    figures = SAEReport(BAGGING, X, image_shape=(8, 8)).to_dict()
    _, *members = figures["models"]
    for member, told in zip(BAGGING.estimators_, members, strict=True):
        assert told["correlation"] == pytest.approx(member.score(X), abs=1e-6)
        assert told["active_atoms"] == member.transform(X).nnz / len(X)
    matching = match_members(BAGGING)
    assert figures["summary"]["stability"] == matching.stability
    for found in figures["comparisons"]:
        e, f = (int(name.removeprefix("Member ")) - 1 for name in found["names"])
        for left, right in found["atoms"]:
            assert matching.matches[e, f, left - 12 * e] == right - 12 * f


def test_the_first_stages_of_a_sum_stand_beside_it():
    figures = SAEReport(BOOSTING, X, image_shape=(8, 8)).to_dict()
    assert [model["name"] for model in figures["models"]][1:] == ["Stage 1", "Stages 1 to 2"]
    codes, total = BOOSTING.transform(X), 0
    for i, told in enumerate(figures["models"][1:]):
        total = total + BOOSTING.estimators_[i].inverse_transform(codes[:, 12 * i : 12 * i + 12])
        assert told["correlation"] == pytest.approx(pearson_correlation(X, total), abs=1e-5)
    assert figures["summary"]["stability"] is None  # stages are to differ
    errors = [model["fvu"] for model in figures["models"]]
    assert errors[0] < errors[2] < errors[1]


def test_matched_atoms_of_members_of_different_sizes(report):
    atoms = HIERARCHY.components_ / np.linalg.norm(HIERARCHY.components_, axis=1, keepdims=True)
    names, sizes = report.to_dict()["members"], [12, 8, 8, 10, 8]
    ends = np.cumsum([0, *sizes])
    comparisons = report.to_dict()["comparisons"]
    assert len(comparisons) == 10
    for found in comparisons:
        e, f = (names.index(name[0].lower() + name[1:]) for name in found["names"])
        cosine = atoms[ends[e] : ends[e + 1]] @ atoms[ends[f] : ends[f + 1]].T
        best = cosine[linear_sum_assignment(cosine, maximize=True)]
        np.testing.assert_allclose(found["cosines"], np.sort(best)[::-1], atol=1e-5)
        for (left, right), own in zip(found["atoms"], found["cosines"], strict=True):
            assert cosine[left - ends[e], right - ends[f]] == pytest.approx(own, abs=1e-5)


def test_data_frames_and_dense_codes():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    for cls in (BaggingSparseAutoencoder, BoostingSparseAutoencoder):
        ensemble = cls(FLAT, 2, sparse_output=False, random_state=0).fit(frame)
        figures = SAEReport(ensemble, frame, image_shape=(8, 8)).to_dict()
        assert figures["summary"]["correlation"] == pytest.approx(ensemble.score(frame), abs=1e-5)


@pytest.mark.parametrize(
    ("ensemble", "given"),
    [(BoostingSparseAutoencoder([("flat", FLAT), ("small", SMALL)]),
      "TopKSparseAutoencoder and ConvTopK"),
     (BaggingSparseAutoencoder(SMALL, 2), "of ConvTopKSparseAutoencoder:")],
    ids=["stages", "members"],
)  # fmt: skip
def test_small_atoms_of_an_ensemble_have_pages_of_their_own(ensemble, given):
    ensemble = ensemble.set_params(random_state=0).fit(X)
    for show in (SAEReport, UsageDisplay.from_estimator, ReconstructionDisplay.from_estimator):
        with pytest.raises(ValueError, match=rf"{given}.*Take each of its estimators_\[i\]"):
            show(ensemble, X)
    first, last = ensemble.estimators_[0], ensemble.estimators_[-1]
    SAEReport(last, X - first.inverse_transform(first.transform(X)), image_shape=(8, 8)).html()


def test_hidden_layers_of_a_member_are_refused():
    deep = DeepTopKSparseAutoencoder(8, k=2, max_iter=1, decoder_hidden_layer_sizes=(4,))
    ensemble = BaggingSparseAutoencoder(deep, 2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="linear decoder, got one with hidden layers"):
        SAEReport(ensemble, X, image_shape=(8, 8))


@ENSEMBLES
def test_displays_show_ensembles(ensemble):
    for display in (
        ReconstructionDisplay.from_estimator(ensemble, X[:2], image_shape=(8, 8)),
        UsageDisplay.from_estimator(ensemble, X),
    ):
        assert display.ax_.figure
    report = SAEReport(ensemble, X, image_shape=(8, 8)).to_dict()
    share = UsageDisplay.from_estimator(ensemble, X).usage.share
    np.testing.assert_allclose(share, [atom["share"] for atom in report["atoms"]])
    names = report["members"]
    shown = AtomDisplay.from_estimator(
        ensemble, image_shape=(8, 8), member=len(names) - 1, order=None
    )
    n_atoms = len(ensemble.components_)
    assert shown.captions[-1] == str(n_atoms - 1)
    assert shown.ax_.get_title().endswith(f"of {names[-1]}")
    with pytest.raises(ValueError, match=f"from 0 to {len(names) - 1}"):
        AtomDisplay.from_estimator(ensemble, image_shape=(8, 8), member=len(names))


def test_use_of_a_mean_in_training_has_one_number_a_column():
    *_, mean, _ = HIERARCHY.estimators_
    expected = mean.atom_frequency_.reshape(2, 10).max(axis=0)
    np.testing.assert_array_equal(HIERARCHY.atom_frequency_[28:38], expected)
    assert len(HIERARCHY.atom_frequency_) == len(HIERARCHY.components_)


@needs_chromium
def test_browser_tells_stages(browser, report, tmp_path):
    path = tmp_path / "report.html"
    report.write_html(path)
    with opened(browser, path) as page:
        assert page.locator("label:has(> #atom-member)").inner_text().startswith("Stage")
        page.select_option("#atom-member", label="2 (Fine), member 2")
        shown = page.locator(".grid.atoms > .tile")
        numbers = shown.evaluate_all("tiles => tiles.map(t => Number(t.dataset.atom))")
        columns = page_data(path.read_text("utf-8"))["atoms"]["column"]
        assert sorted(columns[numbers]) == list(range(20, 28))
        loss, correlation = (page.locator("#training figure").nth(i) for i in (0, 1))
        assert loss.locator("polyline").count() == 4
        assert correlation.locator("polyline").count() == 5  # one is held out
        assert "stage 3 (mean)" in loss.locator("figcaption").inner_text()
        assert "dashed: held out" in correlation.locator("figcaption").inner_text()
        shown.first.click()
        assert page.locator("#dialog-title").inner_text().endswith("of stage 2 (Fine), member 2")
