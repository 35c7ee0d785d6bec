"""The estimator: what it learns, and how it goes on learning."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skl_sae import (
    ImageAugmenter,
    TopKSparseAutoencoder,
    pearson_correlation,
    reconstruction_correlation,
)
from skl_sae._engine._model import LinearModel
from skl_sae._engine.init import _principal, _start
from skl_sae._engine.init._start import Code, initial_parameters
from skl_sae._training._loop import Trainer
from skl_sae.datasets import load_photographs


def codes_by_hand(estimator, X):
    """The equations of the class docstring, in float64, member by member; and which rows are clear.

    In others float32 may take the next atom for the k-th.
    """
    parts, clear = [], np.ones(len(X), bool)
    shape = len(estimator.centers_), -1, X.shape[1]
    for atoms, bias, center in zip(
        estimator.encoder_.astype(np.float64).reshape(shape),
        estimator.encoder_bias_.astype(np.float64).reshape(shape[:2]),
        estimator.centers_.astype(np.float64),
        strict=True,
    ):
        codes = np.maximum((X - center) @ atoms.T + bias, 0)
        following, smallest = np.sort(codes, axis=1)[:, -estimator.k_ - 1 :][:, :2].T
        clear &= (smallest - following > 1e-5 * codes.max()) | (smallest == 0)
        parts.append(np.where(codes >= smallest[:, None], codes, 0))
    return np.hstack(parts), clear


@pytest.fixture(scope="module")
def digits():
    return load_digits().data.astype(np.float32)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_estimators", [1, 3])
def test_codes_and_reconstruction_follow_the_equations(digits, tied, n_estimators):
    sae = TopKSparseAutoencoder(
        64, k=6, n_estimators=n_estimators, tied=tied, max_iter=2, random_state=0
    ).fit(digits[:300])
    expected, clear = codes_by_hand(sae, digits.astype(np.float64))
    assert clear.mean() > 0.99
    codes = sae.transform(digits)
    np.testing.assert_allclose(
        codes.toarray()[clear], expected[clear], rtol=1e-4, atol=1e-4 * expected.max()
    )
    assert codes.has_sorted_indices and codes.data.min() > 0
    assert codes.indices.dtype == codes.indptr.dtype == np.int32
    members = [
        expected[:, e * 64 : (e + 1) * 64] @ sae.components_[e * 64 : (e + 1) * 64] + center
        for e, center in enumerate(sae.centers_)
    ]
    np.testing.assert_allclose(
        sae.inverse_transform(codes)[clear], np.mean(members, axis=0)[clear], rtol=1e-3, atol=1e-2
    )
    assert (sae.encoder_ is sae.components_) == tied


def test_mean_codes(digits):
    sae = TopKSparseAutoencoder(64, k=6, n_estimators=3, max_iter=1, random_state=0).fit(digits)
    side_by_side = sae.transform(digits).toarray()
    sae.aggregate = "mean"
    codes = sae.transform(digits)
    np.testing.assert_allclose(
        codes.toarray(), side_by_side.reshape(-1, 3, 64).mean(axis=1), rtol=1e-5
    )
    atoms = sae.components_.reshape(3, 64, -1)
    decoded = [codes @ a + b for a, b in zip(atoms, sae.centers_, strict=True)]
    np.testing.assert_allclose(
        sae.inverse_transform(codes), np.mean(decoded, axis=0), rtol=1e-3, atol=1e-3
    )


def test_digits_beat_pca(digits):
    train, test = digits[:1440], digits[1440:]
    sae = TopKSparseAutoencoder(256, k=8, random_state=0).fit(train)
    assert sae.score(test) > reconstruction_correlation(PCA(8).fit(train), test) + 0.03
    assert sae.loss_curve_[-1] < sae.loss_curve_[0]
    assert len(sae.correlation_curve_) == sae.n_iter_ == 30


def test_photographs_beat_pca():
    train = load_photographs(300, size=(32, 32)).data
    test = load_photographs(100, size=(32, 32), subset="test").data
    sae = TopKSparseAutoencoder(512, k=32, n_estimators=3, max_iter=5, random_state=0).fit(train)
    assert sae.score(test) > reconstruction_correlation(PCA(32, random_state=0).fit(train), test)


def test_atoms_have_unit_norm_and_arrays_are_plain(X, estimator):
    estimator.fit(X)
    np.testing.assert_allclose(np.linalg.norm(estimator.components_, axis=1), 1, rtol=1e-5)
    for name in ("components_", "encoder_", "encoder_bias_", "centers_", "atom_frequency_"):
        array = getattr(estimator, name)
        while isinstance(array, np.ndarray):
            array = array.base
        assert array is None, name


def test_atom_frequency_counts_firing(X, estimator):
    """Without movement the last epoch's frequencies are those of transform."""
    estimator.set_params(learning_rate=1e-12).fit(X)
    expected = estimator.transform(X).getnnz(axis=0) / len(X)
    np.testing.assert_allclose(estimator.atom_frequency_, expected)


def test_correlation_curve_is_that_of_the_training_rows(X, estimator):
    estimator.set_params(learning_rate=1e-12, aux_coef=0).fit(X)
    assert estimator.correlation_curve_[-1] == pytest.approx(estimator.score(X), abs=1e-4)
    single = clone(estimator).set_params(n_estimators=1).fit(X)
    residual = X - single.inverse_transform(single.transform(X))
    unexplained = np.square(residual).sum() / np.square(X - X.mean(axis=0)).sum()
    assert single.loss_curve_[-1] == pytest.approx(unexplained, rel=1e-3)


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_batch_topk_spends_k_on_average(digits, n_estimators):
    train, test = digits[:1440].copy(), digits[1440:]
    train[::2] += 0.6 * (train.mean(axis=0) - train[::2])  # fainter
    sae = TopKSparseAutoencoder(
        256, k=8, sparsity="batch_topk", n_estimators=n_estimators, max_iter=10, random_state=0
    ).fit(train)
    codes = sae.transform(train)
    for member in np.split(codes.toarray() > 0, n_estimators, axis=1):
        counts = member.sum(axis=1)
        assert counts.mean() == pytest.approx(8, rel=0.05)
        assert counts.std() > 1
        assert counts[::2].mean() < 0.7 * counts[1::2].mean()
    by_row = TopKSparseAutoencoder(
        256, k=8, n_estimators=n_estimators, max_iter=10, random_state=0
    ).fit(train)
    of_the_same_count = reconstruction_error(sae, test) * sae.transform(test).nnz
    assert of_the_same_count <= reconstruction_error(by_row, test) * by_row.transform(test).nnz


def test_batch_topk_of_equal_count_leaves_no_more(digits):
    train, test = digits[:1437], digits[1437:]
    left = {"topk": 0, "batch_topk": 0}
    for seed in range(2):
        for sparsity in left:
            sae = TopKSparseAutoencoder(256, k=8, sparsity=sparsity, random_state=seed).fit(train)
            if sparsity == "batch_topk":
                set_mean_count(sae, test, 8)
            assert sae.transform(test).nnz == pytest.approx(8 * len(test), rel=0.01)
            left[sparsity] += reconstruction_error(sae, test)
    # Equal to about a hundredth on digits, which is what two seeds differ by.
    assert left["batch_topk"] < 1.03 * left["topk"]


def set_mean_count(sae, X, count):
    """Move the threshold to where the rows of X have so many active atoms."""
    low, high = 0.5 * sae.activation_thresholds_, 2 * sae.activation_thresholds_
    for _ in range(20):
        sae.activation_thresholds_ = (low + high) / 2
        if sae.transform(X).nnz > count * len(X):
            low = sae.activation_thresholds_
        else:
            high = sae.activation_thresholds_


def reconstruction_error(sae, X):
    return np.square(X - sae.inverse_transform(sae.transform(X))).sum()


def test_batch_topk_codes_a_row_by_the_threshold_alone(X, estimator):
    estimator.set_params(sparsity="batch_topk", n_estimators=2).fit(X)
    pre = (X - estimator.centers_[0]) @ estimator.encoder_[:16].T + estimator.encoder_bias_[:16]
    expected = np.where(pre >= estimator.activation_thresholds_[0], pre, 0)
    codes = estimator.transform(X).toarray()
    np.testing.assert_allclose(codes[:, :16], expected, rtol=1e-4, atol=1e-5)
    # A product of matrices may round by their shape.
    one = estimator.transform(X[:1]).toarray()
    np.testing.assert_allclose(one, codes[:1], rtol=1e-4, atol=1e-5)
    assert clone(estimator).set_params(sparsity="topk").fit(X).activation_thresholds_ is None


def test_untied_encoders_of_digits_stay_alive(digits):
    for sparsity in ("topk", "batch_topk"):
        sae = TopKSparseAutoencoder(256, k=8, tied=False, sparsity=sparsity, random_state=0)
        codes = sae.fit(digits[:1437]).transform(digits[:1437])
        assert (codes.getnnz(axis=0) == 0).mean() < 0.05
        kept = clone(sae).set_params(aux_coef=0).fit(digits[:1437])
        assert (kept.atom_frequency_ == 0).mean() > 0.1


def test_auto_ties_what_no_threshold_compares(X, estimator):
    def is_tied(sae):
        return sae.encoder_ is sae.components_

    assert clone(estimator).tied == "auto"
    assert is_tied(clone(estimator).fit(X))
    by_batch = clone(estimator).set_params(sparsity="batch_topk")
    assert not is_tied(by_batch.fit(X))
    assert is_tied(clone(by_batch).set_params(tied=True).fit(X))
    assert not is_tied(by_batch.set_params(sparsity="topk").partial_fit(X))
    with pytest.raises(ValueError, match="Expected tied=False as fitted, got tied=True"):
        by_batch.set_params(tied=True).partial_fit(X)


def test_sparsity_may_change_between_fits(X, estimator):
    estimator.set_params(warm_start=True).fit(X)
    estimator.set_params(sparsity="batch_topk").partial_fit(X)
    assert (estimator.activation_thresholds_ > 0).all()
    assert (estimator.fit(X).activation_thresholds_ > 0).all()
    estimator.set_params(sparsity="topk").partial_fit(X)
    assert estimator.activation_thresholds_ is None
    assert np.diff(estimator.transform(X).indptr).max() <= 2 * estimator.k_


def test_consistency_draws_codes_together(digits):
    """Distance of two members' codes, beside the length of one."""

    def distance(consistency):
        sae = TopKSparseAutoencoder(
            128, k=8, n_estimators=2, consistency=consistency, max_iter=5, random_state=0
        ).fit(digits[:500])
        first, second = np.split(sae.transform(digits[:500]).toarray(), 2, axis=1)
        return np.linalg.norm(first - second) / np.linalg.norm(first)

    assert distance(1.0) < 0.7 * distance(0.0)


@pytest.mark.parametrize("init", ["pca", "orthogonal"])
def test_few_rows_do_not_diverge(init):
    train = load_photographs(39, size=(32, 32)).data
    sae = TopKSparseAutoencoder(
        1024, k=50, n_estimators=3, init=init, consistency=0.1, batch_size=16,
        learning_rate=1e-3, random_state=0,
    ).fit(train)  # fmt: skip
    assert max(sae.loss_curve_) < 3
    assert sae.loss_curve_[-1] < sae.loss_curve_[0]
    assert sae.score(train) > 0.8


def test_score_samples_and_score(X, estimator):
    estimator.fit(X)
    rows = np.vstack([X, np.full((1, 12), 0.5)])
    scores = estimator.score_samples(rows)
    assert scores[-1] == 0
    with pytest.warns(UserWarning, match=r"1 constant row"):
        # Reconstructions are float32, and need not come from products of the same shape.
        assert estimator.score(rows) == pytest.approx(scores[:-1].mean(), abs=1e-5)
    guess = estimator.inverse_transform(estimator.transform(X))
    assert estimator.score(X) == pytest.approx(pearson_correlation(X, guess), abs=1e-5)


def test_early_stopping_keeps_the_best_weights(digits):
    sae = TopKSparseAutoencoder(
        64, k=4, max_iter=100, learning_rate=0.02, early_stopping=True, validation_fraction=0.2,
        n_iter_no_change=3, random_state=0,
    ).fit(digits[:200])  # fmt: skip
    assert sae.n_iter_ < 100
    assert len(sae.validation_scores_) == sae.n_iter_
    assert sae.best_validation_score_ == max(sae.validation_scores_)
    order = np.random.RandomState(0).permutation(200)
    assert sae.score(digits[np.sort(order[:40])]) == pytest.approx(
        sae.best_validation_score_, abs=1e-5
    )


def test_warm_start_fine_tunes(digits):
    sae = TopKSparseAutoencoder(128, k=8, warm_start=True, max_iter=10, random_state=0)
    sae.fit(digits)
    few = digits[:60] * 3
    cold = clone(sae).set_params(max_iter=1, learning_rate=1e-6).fit(few).loss_curve_[0]
    first = sae.components_.copy()
    sae.set_params(max_iter=1, learning_rate=1e-6).fit(few)
    assert np.abs(sae.components_ - first).max() < 1e-3
    assert sae.loss_curve_[0] < 1
    assert np.isfinite(cold)
    with pytest.raises(ValueError, match=r"\(1, 128, 64\).*\(1, 64, 64\)"):
        sae.set_params(n_components=64).fit(digits)


def test_partial_fit_goes_on_with_the_optimizer(X, estimator, monkeypatch):
    """One call an epoch equals fit, with fit's learning rate held constant."""
    monkeypatch.setattr(Trainer, "_rate_factor", lambda self: 1.0)
    estimator.set_params(batch_size=40, init="orthogonal", max_iter=3, aux_coef=0)
    fitted = clone(estimator).fit(X)
    for _ in range(3):
        estimator.partial_fit(X)
    np.testing.assert_allclose(estimator.components_, fitted.components_, atol=1e-5)
    assert len(estimator.loss_curve_) == estimator.n_iter_ == 3


def test_partial_fit_follows_another_k(X, estimator):
    estimator.fit(X).set_params(k=2).partial_fit(X)
    assert estimator.k_ == 2
    assert estimator.transform(X).getnnz(axis=1).max() <= 4


def test_given_atoms(X, estimator):
    atoms = np.random.default_rng(0).standard_normal((2, 16, 12))
    estimator.set_params(init=atoms, learning_rate=1e-12).fit(X)
    expected = atoms / np.linalg.norm(atoms, axis=2, keepdims=True)
    np.testing.assert_allclose(estimator.components_, expected.reshape(32, 12), atol=1e-5)
    with pytest.raises(ValueError, match=r"\(2, 16, 12\).*\(16, 12\)"):
        estimator.set_params(init=atoms[0]).fit(X)
    with pytest.raises(ValueError, match="zero"):
        estimator.set_params(init=0 * atoms).fit(X)


def test_given_atoms_of_one_member(X, estimator):
    atoms = np.eye(12)
    estimator.set_params(n_components=12, n_estimators=1, init=atoms, learning_rate=1e-12).fit(X)
    np.testing.assert_allclose(estimator.components_, atoms, atol=1e-5)


def test_verbose_prints_a_line_a_call(X, estimator, capsys):
    for _ in range(2):
        estimator.set_params(verbose=1).partial_fit(X)
    loss, correlation = estimator.loss_curve_[-1], estimator.correlation_curve_[-1]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1] == f"Call 2  loss {loss:.4f}  correlation {correlation:.4f}"
    estimator.set_params(verbose=0).partial_fit(X)
    assert capsys.readouterr().out == ""


def test_verbose_prints_a_line_an_epoch(X, estimator, capsys):
    estimator.set_params(verbose=1, early_stopping=True).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert "held out" in lines[0]


# --- Initial dictionaries ---


def draw(kind, rows, shape, k=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    code = Code(k, True)
    return initial_parameters(kind, torch.from_numpy(rows), shape, code, generator)[0].decoder


@pytest.mark.parametrize("kind", ["random", "orthogonal", "pca"])
@pytest.mark.parametrize("n_components", [1, 5, 12, 40])
def test_initial_atoms_have_unit_norm_and_members_differ(X, kind, n_components):
    atoms = draw(kind, X, (3, n_components, 12))
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=2), 1, rtol=1e-4)
    assert not np.allclose(atoms[0], atoms[1])
    np.testing.assert_array_equal(atoms, draw(kind, X, (3, n_components, 12)))


def test_orthogonal_atoms(X):
    atoms = draw("orthogonal", X, (1, 20, 12))[0]
    np.testing.assert_allclose(atoms[:12] @ atoms[:12].T, np.eye(12), atol=1e-5)
    np.testing.assert_allclose(atoms[12:] @ atoms[12:].T, np.eye(8), atol=1e-5)


@pytest.mark.parametrize("n_rows", [8, 40])
def test_principal_atoms_span_what_pca_does(X, n_rows):
    rows = X[:n_rows]
    atoms = draw("pca", rows, (1, 6, 12))[0]
    np.testing.assert_allclose(atoms[::2], -atoms[1::2], atol=1e-6)
    np.testing.assert_allclose(atoms[::2] @ atoms[::2].T, np.eye(3), atol=1e-5)
    directions = PCA(3).fit(rows).components_
    np.testing.assert_allclose(atoms[::2].T @ atoms[::2], directions.T @ directions, atol=1e-3)


def left_over(rows, directions, k):
    """Residual that orthonormal directions leave of centred rows, of which k codes are kept."""
    codes = rows @ directions.T
    return np.square(rows).sum() - np.sort(np.square(codes), axis=1)[:, -k:].sum()


def test_rotated_directions_find_a_sparse_basis():
    """Rows that are combinations of two of 16 orthonormal directions, which PCA mixes."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    codes = np.zeros((2000, 16))
    for row in codes:
        row[rng.choice(16, 2, replace=False)] = rng.choice([-1, 1], 2) * rng.uniform(0.5, 1, 2)
    rows = (codes @ basis).astype(np.float32)
    rows -= rows.mean(axis=0)
    atoms = draw("pca", rows, (1, 32, 16), k=2)[0][::2]
    principal = PCA(16).fit(rows).components_
    assert left_over(rows, atoms, 2) < 0.02 * left_over(rows, principal, 2)
    cosines = np.abs(atoms @ basis.T)
    assert np.median(cosines.max(axis=1)) > 0.99


def test_directions_are_rotated_only_as_far_as_other_rows_gain(monkeypatch):
    """Few rows of many features are soon known by heart, and others pay for it."""
    train = load_photographs(200, size=(24, 24)).data
    test = load_photographs(200, size=(24, 24), random_state=1).data - train.mean(axis=0)
    principal = PCA(100, random_state=0).fit(train).components_
    at_first = left_over(test, principal, 16)
    chosen = draw("pca", train, (1, 200, 1728), k=16)[0][::2]
    assert left_over(test, chosen, 16) < 1.01 * at_first
    monkeypatch.setattr(_start, "useful_layout", lambda *_: _principal.Layout(1, 20))
    all_rounds = draw("pca", train, (1, 200, 1728), k=16)[0][::2]
    assert left_over(test, all_rounds, 16) > 1.02 * at_first


def test_few_photographs_beat_the_largest_components_with_hardly_a_dead_atom():
    """Wide rows, fewer than atoms: the start must come from groups of pixels."""
    X = load_photographs(500, (32, 32), random_state=0).data
    train, test = X[:400], X[400:]
    sae = TopKSparseAutoencoder(512, k=32, max_iter=3, random_state=0).fit(train)
    errors = np.square(test - sae.inverse_transform(sae.transform(test))).sum()
    components = PCA(svd_solver="full").fit(train).components_
    assert errors < 0.95 * left_over(test - train.mean(axis=0), components, 32)
    assert (sae.atom_frequency_ == 0).mean() < 0.05


def test_learning_rate_rises_and_falls(X, estimator, monkeypatch):
    rates = []
    step = LinearModel.step

    def recording_step(self, batch, objective, rate):
        rates.append(rate)
        return step(self, batch, objective, rate)

    monkeypatch.setattr(LinearModel, "step", recording_step)
    estimator.set_params(max_iter=10, batch_size=4, learning_rate=0.5, init="random").fit(X)
    assert len(rates) == 100
    assert rates[0] == pytest.approx(0.05) and max(rates) == rates[9] == pytest.approx(0.5 * 0.91)
    np.testing.assert_allclose(np.diff(rates[10:]), -0.005)
    assert rates[-1] == pytest.approx(0.005)
    rates.clear()
    estimator.partial_fit(X)
    assert rates == [0.5] * 10


def test_atoms_beyond_the_principal_ones_start_dormant(digits):
    """As many atoms as pairs of directions, or many more: what is reconstructed is the same."""
    settings = {"k": 8, "learning_rate": 1e-12, "max_iter": 1, "random_state": 0}
    few = TopKSparseAutoencoder(122, **settings).fit(digits)
    many = TopKSparseAutoencoder(500, **settings).fit(digits)
    assert many.loss_curve_[0] < 1.1 * few.loss_curve_[0]


# --- The augmenter ---


class Recorder(TransformerMixin, BaseEstimator):
    """Doubles the rows with noise, and keeps what it was given and gave."""

    calls: ClassVar[list] = []

    def __init__(self, random_state=None, width=None):
        self.random_state = random_state
        self.width = width

    def fit(self, X, y=None):
        return self

    def fit_transform(self, X, y=None):
        noise = np.random.RandomState(self.random_state).normal(0, 0.01, X.shape)
        rows = np.concatenate([X, X + noise])[:, : self.width]
        self.calls.append((self, self.random_state, X, rows))
        return rows

    def transform(self, X):
        raise AssertionError("only rows to learn from are varied")


@pytest.fixture
def calls():
    Recorder.calls.clear()
    return Recorder.calls


def test_augmenter_gives_fresh_rows_to_every_epoch(X, estimator, calls):
    augmenter = Recorder(random_state=7)
    estimator.set_params(augmenter=augmenter, max_iter=3).fit(X)
    assert len(calls) == 1 + 3  # one draw to start from
    assert len({seed for _, seed, *_ in calls}) == 4
    assert all(used is not augmenter for used, *_ in calls)
    assert augmenter.random_state == 7 and not hasattr(augmenter, "n_features_in_")
    for _, _, rows, _ in calls:
        np.testing.assert_array_equal(rows, X)
    counts = estimator.atom_frequency_ * 80
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)
    estimator.transform(X), estimator.score(X), estimator.partial_fit(X)
    assert len(calls) == 4


def test_augmenter_is_seeded_by_the_estimator(X, estimator, calls):
    estimator.set_params(augmenter=Recorder())
    first = estimator.fit(X).components_
    np.testing.assert_array_equal(estimator.fit(X).components_, first)
    estimator.set_params(augmenter=make_pipeline(Recorder()))
    np.testing.assert_array_equal(estimator.fit(X).components_, first)
    estimator.set_params(random_state=1)
    assert not np.allclose(estimator.fit(X).components_, first)


def test_training_follows_the_augmented_rows(X, estimator):
    """An augmenter that returns other rows, always the same, is as good as those rows."""
    other = FunctionTransformer(lambda X: X[::2] + 1)
    expected = clone(estimator).fit(X[::2] + 1)
    got = estimator.set_params(augmenter=other).fit(X)
    for name in ("components_", "encoder_", "encoder_bias_", "centers_", "loss_curve_"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_early_stopping_rows_are_not_augmented(X, estimator, calls):
    estimator.set_params(augmenter=Recorder(), early_stopping=True, validation_fraction=0.25)
    estimator.fit(X)
    assert {rows.shape for _, _, rows, _ in calls} == {(30, 12)}
    trained = {row.tobytes() for row in calls[0][2]}
    held_out = np.array([row for row in X if row.tobytes() not in trained])
    assert len(held_out) == 10
    # That score is taken in scaled units, which rounds otherwise.
    assert estimator.best_validation_score_ == pytest.approx(estimator.score(held_out), abs=1e-5)


def test_augmenter_must_keep_the_features(X, estimator, calls):
    with pytest.raises(ValueError, match=r"augmenter.*12 features.*5"):
        estimator.set_params(augmenter=Recorder(width=5)).fit(X)
    with pytest.raises(ValueError, match="augmenter"):
        estimator.set_params(augmenter=lambda X: X).fit(X)


def test_search_over_the_augmenter_with_labels_in_step():
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(
        TopKSparseAutoencoder(
            32, k=4, max_iter=2, random_state=0,
            augmenter=ImageAugmenter((8, 8), n_copies=1, horizontal_flip=False),
        ),
        LogisticRegression(max_iter=300),
    )  # fmt: skip
    grid = {"topksparseautoencoder__augmenter__rotation": [0, 180]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X[:400] / 16, y[:400])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(set(search.cv_results_["mean_test_score"])) == 2
