"""Thresholds of batch top-k: rows that were not learned have k active atoms on average."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skl_sae import TopKSparseAutoencoder
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Parameters
from skl_sae._training._calibration import held_out_budget, largest_coefficients
from skl_sae._training._judge import Judge
from skl_sae._training._loop import Trainer
from skl_sae._training._sources import ArrayRows


def batch_topk(n_components=64, **parameters):
    sae = TopKSparseAutoencoder(n_components, k=6, sparsity="batch_topk", random_state=0)
    return sae.set_params(device="cpu", **parameters)


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data.astype(np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order[:700]], X[order[700:]]


def mean_count(sae, X):
    return sae.transform(X).nnz / len(X)


def test_complexity_is_the_number_of_large_principal_coefficients(digits):
    rows = digits[0][:90]
    coefficients = np.abs(PCA(64, svd_solver="full").fit_transform(rows.astype(np.float64)))
    threshold = np.sort(coefficients, axis=None)[-6 * 90]
    expected = (coefficients >= threshold).sum(axis=1)
    np.testing.assert_array_equal(largest_coefficients(torch.from_numpy(rows), 6), expected)
    # Fewer rows than k have fewer coefficients, too.
    assert largest_coefficients(torch.from_numpy(rows[:5]), 6).sum() == 2 * 5


def test_budget_is_larger_for_rows_that_are_more_complex_by_chance(digits):
    """The active atoms of the rows learned, fitted to complexity by a line, at those held out."""
    rows = digits[0] - digits[0].mean(axis=0)
    atoms = np.random.default_rng(1).standard_normal((1, 128, 64)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=2, keepdims=True)
    bias, center, threshold = np.zeros((1, 128)), np.zeros((1, 64)), np.ones(1)
    arrays = [a.astype(np.float32) for a in (bias, center, threshold)]
    model = LinearModel(Parameters(atoms, None, *arrays), k=6)
    model.fit_thresholds(torch.from_numpy(rows))
    complex_first = rows[np.argsort(-largest_coefficients(torch.from_numpy(rows), 6).numpy())]
    held_out, learned = complex_first[:200:2], np.delete(complex_first, np.s_[:200:2], axis=0)
    budget = held_out_budget(model, *map(torch.from_numpy, (held_out, learned)))
    both = np.concatenate([held_out, learned])
    complexity = largest_coefficients(torch.from_numpy(both), 6).numpy()
    counts = (learned @ atoms[0].T >= model.parameters.thresholds.numpy()).sum(axis=1)
    slope, _ = np.polyfit(complexity[100:], counts, 1)
    expected = 6 + slope * (complexity[:100].mean() - complexity[100:].mean())
    assert budget == pytest.approx(expected, rel=1e-6) and budget > 6.2
    swapped = held_out_budget(model, *map(torch.from_numpy, (learned[-100:], held_out)))
    assert swapped < 6
    constant = torch.ones(20, 64)  # tells nothing
    assert held_out_budget(model, constant, constant) == 6


def test_thresholds_are_fitted_to_part_of_an_atom_a_row(digits):
    """5.5 atoms on average; and no more than there are."""
    atoms = np.eye(64, dtype=np.float32)[None]
    zeros = np.zeros((1, 64), np.float32)
    model = LinearModel(Parameters(atoms, None, zeros, zeros, np.ones(1, np.float32)), k=6)
    rows = torch.randn(100, 64, generator=torch.Generator().manual_seed(0))
    model.fit_thresholds(rows, 5.5)
    assert int((model.encode(rows).values > 0).sum()) == 550
    model.fit_thresholds(rows, 1000.0)
    assert model.parameters.thresholds[0] > 0


def test_activations_above_part_of_the_thresholds():
    """Each member has its own, in units of its threshold, which stays."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 8)).astype(np.float32)
    atoms, bias, centers = rng.standard_normal((2, 20, 8)), np.zeros((2, 20)), np.zeros((2, 8))
    thresholds = np.array([2, 3], np.float32)
    arrays = (a.astype(np.float32) for a in (bias, centers, thresholds))
    model = LinearModel(Parameters(atoms.astype(np.float32), None, *arrays), k=3)
    judge = Judge(model, SimpleNamespace(scale_rows=lambda X: X))
    found = judge.above_thresholds(ArrayRows(X), 0.5)
    for of_member, threshold, rows in zip(found, thresholds, atoms, strict=True):
        relative = X @ rows.T / threshold
        np.testing.assert_allclose(np.sort(of_member), np.sort(relative[relative > 0.5]), rtol=1e-5)
    np.testing.assert_array_equal(model.parameters.thresholds, thresholds)


def test_what_calibrates_does_not_touch_the_fit(digits, monkeypatch):
    """The copy that goes on without the rows held out leaves all other bits as they are."""
    train, test = digits
    sae = batch_topk(max_iter=6).fit(train)
    n_copies = []

    def without(trainer):
        n_copies.append(1)
        return trainer

    monkeypatch.setattr(Trainer, "_without_judges", without)
    monkeypatch.setattr(Trainer, "_threshold_factors", lambda trainer: [1.0])
    plain = batch_topk(max_iter=6).fit(train)
    assert n_copies == [1]
    for name in ("components_", "encoder_", "encoder_bias_", "centers_", "atom_frequency_"):
        np.testing.assert_array_equal(getattr(sae, name), getattr(plain, name))
    assert sae.loss_curve_ == plain.loss_curve_
    # Rows that were learned have k by the plain threshold, and new ones more.
    assert abs(mean_count(sae, test) - 6) < abs(mean_count(plain, test) - 6)
    assert abs(mean_count(plain, train) - 6) < abs(mean_count(sae, train) - 6)


def test_a_model_of_more_rows_suits_them_less(digits, monkeypatch):
    """Thresholds rise less than the copy's, in the ratio of the rows that it learned to all."""
    train, _ = digits
    seen, factors_of = [], Trainer._threshold_factors

    def noted(trainer):
        with trainer.judge.thresholds_fitted_to(
            trainer.held_out, trainer._held_out_budget()
        ) as kept:
            factor = float(trainer.model.parameters.thresholds / kept)
        n_learned = len(train) - trainer.held_out.n_rows
        seen.append((factor, n_learned, factors_of(trainer)[0]))
        return [1.0]

    monkeypatch.setattr(Trainer, "_threshold_factors", noted)
    batch_topk(max_iter=6).fit(train)
    [(of_copy, n_learned, of_model)] = seen
    assert n_learned < len(train)
    assert 1 < of_model < of_copy
    assert np.log(of_model) == pytest.approx(n_learned / len(train) * np.log(of_copy), rel=1e-4)


@pytest.mark.parametrize("parameters", [
    {"max_iter": 15}, {"max_iter": 15, "n_estimators": 2, "batch_size": 50},
    {"max_iter": 15, "early_stopping": True, "validation_fraction": 0.2},
    {"max_iter": 3, "learning_rate": 1e-7},  # the start is as good as any epoch
    {"max_iter": 2, "learning_rate": 1e-7, "init": "random"},
], ids=["default", "two members", "early stopping", "start", "random start"])  # fmt: skip
def test_new_rows_have_k_active_atoms(digits, parameters):
    """Within a tenth: of the few rows held out, the mean itself has an error of a few per cent."""
    train, test = digits
    sae = batch_topk(**parameters).fit(train)
    assert mean_count(sae, test) / len(sae.centers_) == pytest.approx(6, rel=0.1)


def test_start_of_few_rows_is_calibrated_by_parts_left_out(monkeypatch):
    """Rows that lie in the start's directions answer more strongly than others."""
    rng = np.random.default_rng(0)
    directions = 0.8 ** np.arange(40)[:, None] * rng.standard_normal((40, 40))
    train, test = (rng.laplace(size=(n, 40)) @ directions for n in (60, 2000))
    parameters = {"n_components": 40, "max_iter": 3, "learning_rate": 1e-9}
    fitted = batch_topk(**parameters).fit(train)
    monkeypatch.setattr(
        Trainer, "_cross_fit_thresholds", lambda trainer, rows: trainer.judge.fit_thresholds(rows)
    )
    plain = batch_topk(**parameters).fit(train)
    np.testing.assert_array_equal(fitted.components_, plain.components_)
    assert abs(mean_count(fitted, test) - 6) < abs(mean_count(plain, test) - 6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_start_of_constant_rows_is_calibrated():
    """No activation tells a threshold."""
    X = np.ones((60, 10), np.float32)
    sae = batch_topk(n_components=10, max_iter=3, learning_rate=1e-9).fit(X)
    assert sae.activation_thresholds_[0] > 0 and sae.transform(X).nnz == 0
