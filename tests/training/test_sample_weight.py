"""Weights of samples against repeating them."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits

from skl_sae import ImageAugmenter, TopKSparseAutoencoder, pearson_correlation
from skl_sae._training._scaling import Scaling
from skl_sae._training._sources import ArrayRows

SETTINGS = {
    "default": {},
    "random start": {"init": "random"},
    "untied": {"tied": False},
    "members, consistency": {"n_estimators": 2, "consistency": 0.2},
    "early stopping": {"early_stopping": True},
    "pursuit": {"transform_algorithm": "omp"},
    "dense products": {"n_components": 16},
    "prefixes": {"prefixes": (24, 48), "early_stopping": True},
}


@pytest.fixture(scope="module")
def data():
    """Digits, and how often to repeat each; some not at all."""
    X = load_digits().data[:200]
    return X, np.random.default_rng(0).integers(0, 4, len(X))


def fitted(X, weight=None, **settings):
    given = {"k": 6, "batch_size": 1000, "max_iter": 8, "n_components": 96} | settings
    return TopKSparseAutoencoder(**given, random_state=0).fit(X, sample_weight=weight)


def assert_alike(one, other):
    """To 1e-5 of the largest number: sums are in another order.

    Biases to 2e-5. Rows that cancel leave a gradient of little but rounding, and m / sqrt(v) is as
    large for it as for any other: after eight steps one bias was 1.04e-5 off.
    """
    tolerances = {"encoder_bias_": 2e-5}
    for name in ("components_", "encoder_", "encoder_bias_", "centers_", "atom_frequency_"):
        got, wanted = getattr(one, name), getattr(other, name)
        atol = tolerances.get(name, 1e-5) * abs(wanted).max()
        np.testing.assert_allclose(got, wanted, atol=atol, err_msg=name)
    for name in ("loss_curve_", "correlation_curve_", "validation_scores_"):
        if getattr(other, name) is not None:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_whole_weights_equal_repetition(data, settings):
    """In one batch of all; start, judges, schedule and counts are those of the repeated samples."""
    X, times = data
    weighted, repeated = fitted(X, times, **settings), fitted(X.repeat(times, axis=0), **settings)
    assert_alike(weighted, repeated)
    for sae in (weighted, repeated):
        score = sae.score(X, sample_weight=times)
        assert score == pytest.approx(sae.score(X.repeat(times, axis=0)), abs=1e-9)


def test_partial_fit_takes_weights(data):
    X, times = data
    one, other = (TopKSparseAutoencoder(64, k=4, batch_size=1000, random_state=0) for _ in range(2))
    for part in (slice(100), slice(100, 200)):
        one.partial_fit(X[part], sample_weight=times[part])
        other.partial_fit(X[part].repeat(times[part], axis=0))
    assert_alike(one, other)


def test_weight_zero_is_left_out_and_weight_one_changes_nothing(data):
    X, times = data
    kept = times > 0
    for weight, expected in ((kept, fitted(X[kept])), (np.ones(200), fitted(X))):
        sae = fitted(X, weight)
        np.testing.assert_array_equal(sae.components_, expected.components_)
        assert sae.loss_curve_ == expected.loss_curve_


def test_only_the_ratio_of_other_weights_counts(data):
    X, times = data
    small, large = fitted(X, (times + 0.5) / 7), fitted(X, 1e3 * (times + 0.5) / 7)
    np.testing.assert_allclose(small.components_, large.components_, atol=1e-5)


def test_weights_draw_the_fit_to_their_samples():
    """A digit that counts a hundred times as much is reconstructed better, and the rest worse."""
    X, y = load_digits(return_X_y=True)
    weight = np.where(y == 3, 100.0, 1.5)
    settings = {"n_components": 64, "k": 3, "batch_size": 32}
    sae, plain = fitted(X, weight, **settings), fitted(X, **settings)
    assert sae.score(X[y == 3]) > plain.score(X[y == 3]) + 0.02
    assert sae.score(X[y != 3]) < plain.score(X[y != 3])


@pytest.mark.parametrize(
    "weight, message",
    [(-np.ones(200), "(?i)negative"), (np.zeros(200), "non-zero"), (np.ones(3), "shape")],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
def test_weights_that_are_refused(data, weight, message, method):
    X, _ = data
    sae = TopKSparseAutoencoder(32, k=2, max_iter=1, random_state=0)
    if method != "fit":
        sae.fit(X)
    with pytest.raises(ValueError, match=message):
        getattr(sae, method)(X, sample_weight=weight)
    assert hasattr(sae, "n_features_in_") == (method != "fit")


def test_variants_have_the_weight_of_their_sample(data):
    X, times = data
    X = X / 16
    sae = TopKSparseAutoencoder(
        64, k=4, max_iter=2, augmenter=ImageAugmenter((8, 8), n_copies=2), random_state=0
    )
    kept = times > 0
    left_out = clone(sae).fit(X, sample_weight=kept)
    np.testing.assert_array_equal(left_out.components_, clone(sae).fit(X[kept]).components_)
    weighted = clone(sae).fit(X, sample_weight=times)
    assert not np.array_equal(weighted.components_, left_out.components_)
    with pytest.raises(ValueError, match=r"multiple of \d+ rows, which have weights"):
        sae.set_params(augmenter=OneMore()).fit(X, sample_weight=times)


class OneMore(TransformerMixin, BaseEstimator):
    """Makes one variant of all samples together."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.vstack([X, X[:1]])


def test_units_are_those_of_repeated_samples(data):
    X, times = data
    scaling = Scaling.of(ArrayRows.of(X, times.astype(float)))
    expected = Scaling.of(ArrayRows(X.repeat(times, axis=0)))
    np.testing.assert_allclose(scaling.offset, expected.offset, rtol=1e-12)
    assert scaling.scale == pytest.approx(expected.scale, rel=1e-12)


def test_copies_are_held_out_one_by_one(data):
    X, times = data
    rows = ArrayRows.of(X, times.astype(float))
    parts = rows.hold_out(40, np.random.RandomState(0))
    wanted = ArrayRows(X.repeat(times, axis=0)).hold_out(40, np.random.RandomState(0))
    for got, repeated in zip(parts, wanted, strict=True):
        np.testing.assert_array_equal(got.copies(), repeated.X)
    assert [part.n_samples for part in parts] == [times.sum() - 40, 40]


def test_copies_of_broken_weights_are_nearly_as_many():
    rows = ArrayRows(np.arange(1000.0)[:, None], np.random.default_rng(0).uniform(0, 2, 1000))
    copies = rows.copies()[:, 0]
    counts = np.bincount(copies.astype(int), minlength=1000)
    difference = np.cumsum(counts) * rows.weight.sum() / len(copies) - np.cumsum(rows.weight)
    assert abs(difference).max() <= 0.51


def test_correlation_takes_weights():
    X, guess = [[1, 2, 3], [1, 2, 3], [1, 1, 1]], [[2, 4, 6], [3, 2, 1], [0, 1, 0]]
    assert pearson_correlation(X, guess, sample_weight=[3, 1, 0]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="non-zero"):
        pearson_correlation(X, guess, sample_weight=[0, 0, 0])
