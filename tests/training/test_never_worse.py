"""A fit is not worse than what it replaces, on data that are no photographs.

Held-out FVU (fraction of variance unexplained, about the training mean) beside PCA with as many
components as a row has active atoms. `benchmarks/robustness.py` has more kinds of data, and more
settings.
"""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from skl_sae import TopKSparseAutoencoder
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Parameters
from skl_sae._engine._sparsity import batch_top_k
from skl_sae._engine.init._start import (
    DORMANT,
    PLAIN,
    Choice,
    Code,
    Start,
    allowed_choices,
    can_judge,
    initial_parameters,
    least_error,
    one_pass_error,
)
from skl_sae._training._loop import Size, Trainer
from skl_sae._training._scaling import Scaling
from skl_sae._training._sources import ArrayRows, n_judges
from skl_sae.datasets import load_photographs

N_TRAIN, N_TEST, N_FEATURES = 600, 300, 64


def normal(rng, n, n_features=N_FEATURES):
    return rng.standard_normal((n, n_features))


def on_sphere(rng, n):
    X = normal(rng, n)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def sparse_dictionary(rng, n):
    atoms, codes = on_sphere(rng, 128), np.zeros((n, 128))
    for code in codes:
        code[rng.choice(128, 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    return codes @ atoms


def with_outlier(rng, n):
    X = load_digits().data[:n].copy()
    X[0] = 1e4
    return X


def with_constant_column(rng, n):
    X = normal(rng, n)
    X[:, 0] = 1e7
    return X


KINDS = {
    "normal": normal,
    "on a sphere": on_sphere,
    "binary": lambda rng, n: rng.integers(2, size=(n, N_FEATURES)).astype(float),
    "Poisson": lambda rng, n: rng.poisson(3, (n, N_FEATURES)).astype(float),
    "lognormal": lambda rng, n: rng.lognormal(size=(n, N_FEATURES)),
    "t": lambda rng, n: rng.standard_t(1.5, (n, N_FEATURES)),
    "Cauchy": lambda rng, n: rng.standard_cauchy((n, N_FEATURES)),
    "sparse dictionary": sparse_dictionary,
    "one outlier": with_outlier,
    "far from 0": lambda rng, n: 1e6 + normal(rng, n),
    "constant column": with_constant_column,
    "1 feature": lambda rng, n: normal(rng, n, 1),
    "3 features": lambda rng, n: normal(rng, n, 3),
}
SETTINGS = {
    "default": {},
    "many": {"n_components": 1024, "k": 51},
    "batch_topk": {"n_components": 256, "k": 8, "sparsity": "batch_topk"},
}


def split(kind, seed=0):
    X = KINDS[kind](np.random.default_rng(seed), N_TRAIN + N_TEST)
    return X[:N_TRAIN], X[N_TRAIN:]


def fvu(model, train, test):
    left = test - model.inverse_transform(model.transform(test))
    return np.square(left).sum() / np.square(test - train.mean(axis=0)).sum()


def quietly_fitted(sae, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # dead atoms are no matter here
        return sae.fit(X)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_101_to_104_never_worse_than_pca_and_the_mean(kind, setting):
    train, test = split(kind)
    sae = TopKSparseAutoencoder(**SETTINGS[setting], max_iter=6, random_state=0)
    quietly_fitted(sae, train)
    ours = fvu(sae, train, test)
    pca = PCA(min(sae.k_, train.shape[1]), random_state=0).fit(train)
    assert ours <= 1
    assert ours <= 1.1 * fvu(pca, train, test) or ours < 0.01


@pytest.mark.parametrize("n_rows", [2, 5, 12, 40])
@pytest.mark.parametrize("setting", SETTINGS)
def test_fault_101_few_rows(n_rows, setting):
    """Where no rows can be held out, the mean is about all that may be asked."""
    digits = load_digits().data[np.random.default_rng(0).permutation(1797)]
    sae = TopKSparseAutoencoder(**SETTINGS[setting], random_state=0).fit(digits[:n_rows])
    assert fvu(sae, digits[:n_rows], digits[n_rows:500]) < 1.1


def test_fault_103_one_column_does_not_hide_the_others():
    rows = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    rows[:, 0] = 1e7
    scaled = Scaling.of(ArrayRows(rows)).scale_rows(rows)
    np.testing.assert_array_equal(scaled[:, 0], 0)
    # Four of five columns vary. float32's rounding, of 200 numbers.
    np.testing.assert_allclose(scaled.var(axis=0, dtype=np.float64).mean(), 1, rtol=1e-5)


def test_fault_103_the_offset_is_exact():
    rows = (1e6 + np.random.default_rng(0).standard_normal((200, 5))).astype(np.float32)
    scaling = Scaling.of(ArrayRows(rows))
    expected = (rows - rows.mean(axis=0, dtype=np.float64)) / scaling.scale
    # One rounding of numbers of about 1, and one of the offset's second part.
    np.testing.assert_allclose(scaling.scale_rows(rows), expected, atol=1e-6)
    constant = np.full((7, 3), 0.1, np.float32)
    assert np.isfinite(Scaling.of(ArrayRows(constant)).scale_rows(constant)).all()


def test_fault_104_a_batch_spends_its_budget_however_many_are_equal():
    values = torch.ones(2, 6, 40)
    active = batch_top_k(values, 3)
    assert ((active.values > 0).sum((1, 2)) == 3 * 6).all()
    assert active.indices.shape == active.values.shape
    values[:, 0] += 1
    assert ((batch_top_k(values, 3).values > 0).sum((1, 2)) == 3 * 6).all()


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform"])
def test_fault_105_numbers_near_the_largest(method):
    rows = np.random.default_rng(0).uniform(-1, 1, (60, 16))
    sae = TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit(rows)
    with pytest.raises(ValueError, match="too large for sums in float32"):
        getattr(sae, method)(3e38 * rows)
    large = clone(sae).fit(1e36 * rows)
    np.testing.assert_allclose(large.score(1e36 * rows), sae.score(rows), rtol=0.01)


def test_fault_106_many_dead_atoms_are_said():
    X = load_photographs(300, (16, 16), random_state=0).data[:, ::12]
    with pytest.warns(ConvergenceWarning, match=r"of 600 atoms \(\d\d%\).*n_components"):
        TopKSparseAutoencoder(600, k=4, max_iter=10, init="random", random_state=0).fit(X)


@pytest.mark.parametrize(
    "shape, n_components, k",
    [((300, 64), 256, 12), ((39, 400), 78, 3), ((600, 400), 1024, 51), ((50, 3), 12, 1)],
)
def test_fault_106_what_is_not_given_follows_the_data(shape, n_components, k):
    X = np.random.default_rng(0).random(shape)
    sae = TopKSparseAutoencoder(max_iter=1, random_state=0).fit(X)
    assert (sae.n_components_, sae.k_) == (n_components, k)
    assert sae.components_.shape == (n_components, shape[1])
    first = TopKSparseAutoencoder(random_state=0).partial_fit(X[:5])  # of how many rows to come?
    assert first.n_components_ == min(1024, 4 * shape[1])
    assert first.partial_fit(X).n_components_ == first.n_components_


def test_an_explicit_value_always_holds():
    X = np.random.default_rng(0).random((60, 12))
    sae = TopKSparseAutoencoder(100, max_iter=1, random_state=0).fit(X)
    assert (sae.n_components_, sae.k_) == (100, 5)
    assert TopKSparseAutoencoder(100, k=20, max_iter=1, random_state=0).fit(X).k_ == 20


# --- The start ---


def start_of(rows, n_atoms, k, judges=None, by_row=True, choices=None):
    generator = torch.Generator().manual_seed(0)
    shape = 1, n_atoms, rows.shape[1]
    p, chosen = initial_parameters("pca", rows, shape, Code(k, by_row), generator, judges, choices)
    return Start(*(torch.from_numpy(array[0]) for array in (p.decoder, p.bias, p.centers))), chosen


@pytest.mark.parametrize("n_atoms, k", [(256, 8), (64, 8), (16, 8), (12, 8), (9, 8), (8, 8)])
def test_the_plainest_start_leaves_no_more_of_any_row_than_pca(n_atoms, k):
    """Also of rows ten times as long, and where there is not a pair of atoms for a direction."""
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(normal(rng, 300, 20) @ normal(rng, 20, 20)).float()
    rows -= rows.mean(0)
    choice = Choice(PLAIN, 0 if 2 * k <= n_atoms else None)
    start, _ = start_of(rows, n_atoms, k, choices=[choice])
    new = torch.from_numpy(normal(rng, 50, 20) @ normal(rng, 20, 20)).float()
    directions = torch.from_numpy(PCA(k).fit(rows.numpy()).components_)
    for factor in (1, 10) if 2 * k <= n_atoms else (0.3,):  # atoms always on have a range
        for row in factor * new:
            left = row.square().sum() - (directions @ row).square().sum()
            # float32 products, beside a sum of squares of some hundreds.
            assert one_pass_error(start, row[None], Code(k, True)) <= 1.001 * left + 0.01


def test_a_start_is_not_taken_that_leaves_more_of_rows_held_out():
    """Normal rows: all other atoms are as long as principal directions, and answer as strongly."""
    rows = torch.from_numpy(normal(np.random.default_rng(0), 400)).float()
    start, (chosen,) = start_of(rows[:300], 1024, 51, judges=rows[300:])
    free = Start(start.atoms, torch.zeros_like(start.bias), start.center)
    code = Code(51, True)
    assert one_pass_error(start, rows[300:], code) < 0.1 * one_pass_error(free, rows[300:], code)
    for choice in allowed_choices(chosen.layout, rows[:300], rows[300:], 1024, 51):
        other, _ = start_of(rows[:300], 1024, 51, choices=[choice])
        # The atoms differ by the draw.
        assert one_pass_error(start, rows[300:], code) <= 1.1 * one_pass_error(
            other, rows[300:], code
        )


def test_the_first_of_equals_is_taken_and_no_worse_one():
    rows, code = torch.eye(4), Code(1, True)
    good = Start(torch.eye(4), torch.zeros(4), torch.zeros(4))
    same = Start(torch.eye(4), -0.0 * torch.ones(4), torch.zeros(4))
    bad = Start(-torch.eye(4), torch.zeros(4), torch.zeros(4))
    first, second, third = Choice(PLAIN, 0.1), Choice(PLAIN, 0.01), Choice(PLAIN, 0)
    starts = [(first, bad), (second, good), (third, same)]
    assert least_error(starts, rows, rows, code)[0] == second
    assert least_error(starts, rows, None, code)[0] == second
    assert least_error(starts[::-1], rows, rows, code)[0] == third


def test_who_can_judge():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(normal(rng, 100)).float()
    assert can_judge(rows, None) and can_judge(rows, rows[:5])
    assert not can_judge(rows, rows[:4]) and not can_judge(rows[:40], None)
    rows[3] *= 1e3
    assert not can_judge(rows, rows[:50])


def test_atoms_that_cannot_be_judged_are_silent():
    rows = torch.from_numpy(normal(np.random.default_rng(0), 30)).float()
    start, _ = start_of(rows - rows.mean(0), 200, 8)
    assert (start.bias == -DORMANT).any() and ((start.bias == 0) | (start.bias == -DORMANT)).all()


# --- Rows that judge the training ---


@pytest.mark.parametrize(
    "n_rows, n", [(1, 0), (49, 0), (50, 5), (200, 16), (400, 20), (10**6, 1024)]
)
def test_at_most_a_tenth_of_the_rows_judge(n_rows, n):
    assert n_judges(n_rows) == n <= n_rows / 10


def rows_seen(monkeypatch, sae, X):
    """The number of rows of each epoch."""
    seen, run_epoch = [], Trainer.run_epoch

    def recorded(self, rows, *args, **kwargs):
        seen.append(rows.n_rows)
        return run_epoch(self, rows, *args, **kwargs)

    monkeypatch.setattr(Trainer, "run_epoch", recorded)
    quietly_fitted(sae, X)
    return seen


def test_judges_are_returned_to_training(monkeypatch):
    X = load_digits().data[:400]
    sae = TopKSparseAutoencoder(64, k=4, max_iter=9, init="random", random_state=0)
    assert rows_seen(monkeypatch, sae, X) == [380] * 6 + [400] * 3
    assert sae.n_iter_ == 9 and sae.validation_scores_ is None


def test_training_that_does_harm_is_undone(monkeypatch):
    """The rate is far too high; rows held out are better served by the start."""
    X = normal(np.random.default_rng(0), 400)
    sae = TopKSparseAutoencoder(128, k=8, max_iter=10, learning_rate=0.3, random_state=0)
    assert rows_seen(monkeypatch, sae, X) == [380] * 9 + [400]
    still = TopKSparseAutoencoder(128, k=8, max_iter=1, learning_rate=1e-12, random_state=0).fit(X)
    # One start was made of all rows, the other of those that did not judge.
    assert fvu(sae, X, X) < 1.1 * fvu(still, X, X)
    # A row near a tie may fall to either side in a batch of another size.
    frequency = sae.transform(X).getnnz(axis=0) / 400
    np.testing.assert_allclose(sae.atom_frequency_, frequency, atol=0.01)


def test_fine_tuning_that_does_harm_keeps_the_fitted_weights():
    X = load_digits().data
    sae = TopKSparseAutoencoder(64, k=4, max_iter=10, random_state=0).fit(X[:1000])
    before = sae.components_.copy(), sae.centers_.copy()
    sae.set_params(warm_start=True, learning_rate=0.3).fit(X[:1000])
    # Scaled once, and scaled back.
    np.testing.assert_allclose(sae.components_, before[0], atol=1e-6)
    np.testing.assert_allclose(sae.centers_, before[1], atol=1e-4)


def numbered(number):
    """A model of two atoms that are told from others by a number."""
    arrays = np.full((1, 2, 3), number), None, np.zeros((1, 2)), np.zeros((1, 3))
    return LinearModel(Parameters(*arrays).map(lambda array: array.astype(np.float32)), k=1)


@pytest.mark.parametrize(
    "errors, kept",
    [
        ([5, 4, 3, 2], 3),  # the last is the best
        ([5, 4, 2, 2.01], 3),  # an earlier one was better by no more than chance
        ([5, 4, 2, 3], 2),  # an earlier one was better
        ([5, 4, 2, 5.01], 2),
        ([1, 4, 2, 3], None),  # none was as good as the start
        ([5], 0),  # no epoch yet
    ],
)
def test_which_epoch_training_goes_on_from(errors, kept):
    trainer = Trainer({}, Size((1, 2, 3), 1), True, None)
    history = trainer.history
    for epoch, error in enumerate(errors):
        trainer.model = numbered(epoch)
        if epoch:
            history.add(1.0, 0.5, np.full(2, epoch))
        history.add_error(error, trainer.model)
    trainer._return_judges()
    assert not history.is_judging and history.has_begun_best == (kept is None)
    best = history.best_arrays["decoder"].max()
    if kept is None:
        assert best == 0 and history.best == -errors[0]
    else:
        assert trainer.model.parameters.decoder.max() == best == kept
        assert history.best == -errors[kept]


def test_batch_topk_has_as_many_atoms_on_rows_that_it_did_not_learn():
    """Few rows of many features are learned so well that they answer more strongly than others."""
    rng = np.random.default_rng(0)
    train, test = normal(rng, 100, 1000), normal(rng, 100, 1000)
    sae = TopKSparseAutoencoder(
        256, k=8, sparsity="batch_topk", max_iter=12, init="random", random_state=0
    )
    assert 2 < quietly_fitted(sae, train).transform(test).nnz / 100 < 32


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_offset_is_the_mean_of_all_rows_learned(early_stopping):
    """Also of those that judged, which are learned in the end."""
    X = np.random.default_rng(0).lognormal(size=(200, 8))
    sae = TopKSparseAutoencoder(
        32, k=2, max_iter=3, init="random", early_stopping=early_stopping, random_state=0
    ).fit(X)
    is_mean = np.allclose(sae._offset, X.mean(axis=0), rtol=1e-6)  # X is float32 in fit
    assert is_mean != early_stopping
