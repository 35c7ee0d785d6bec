"""The correlation against NumPy's, and its corner cases."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skl_sae import pearson_correlation, reconstruction_correlation
from skl_sae.metrics import fraction_of_variance_unexplained


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    rows = rng.random((300, 20))
    return rows, rows + 0.3 * rng.random((300, 20))


def expected_correlation(rows, guess):
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(rows, guess, strict=True)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_numpy(pair, dtype):
    rows, guess = (a.astype(dtype) for a in pair)
    expected = expected_correlation(rows.astype(np.float64), guess.astype(np.float64))
    assert pearson_correlation(rows, guess) == pytest.approx(expected, abs=1e-6)


def test_fault_48_constant_targets_are_left_out(pair):
    rows, guess = pair
    rows = rows.copy()
    rows[:3] = [[0.0], [1.0], [-7.0]]
    with pytest.warns(UserWarning, match=r"3 constant row\(s\) of 300") as record:
        score = pearson_correlation(rows, guess)
    assert len(record) == 1
    assert score == pytest.approx(pearson_correlation(rows[3:], guess[3:]))


class Constant:
    """Reconstructs each row by a constant."""

    def transform(self, X):
        return X

    def inverse_transform(self, X):
        return np.repeat(X.mean(axis=1, keepdims=True), X.shape[1], axis=1)


def test_fault_49_constant_reconstructions_count_as_zero(pair):
    rows, _ = pair
    assert reconstruction_correlation(Constant(), rows) == 0
    guess = rows.copy()
    guess[:150] = 0.5
    assert pearson_correlation(rows, guess) == pytest.approx(0.5)


def test_fault_50_all_targets_constant():
    with pytest.raises(ValueError, match="constant"):
        pearson_correlation(np.ones((4, 5)), np.ones((4, 5)))


@pytest.mark.parametrize("level", [1.0, 1e4, 1e-4])
def test_fault_51_rounding_is_not_variation(level):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 500))
    nearly = (level * (1 + 1e-8 * noise)).astype(np.float32)
    nearly[:, ::2] = np.nextafter(nearly[:, ::2], np.float32(np.inf))
    with pytest.raises(ValueError, match="constant"):
        pearson_correlation(nearly, noise)


def test_fault_52_large_offset(pair):
    rows, guess = ((a + 1000).astype(np.float32) for a in pair)
    expected = expected_correlation(rows.astype(np.float64), guess.astype(np.float64))
    assert pearson_correlation(rows, guess) == pytest.approx(expected, abs=1e-6)


def test_fault_53_range_and_invariance(pair):
    rows, guess = pair
    assert pearson_correlation(rows, rows) == pytest.approx(1)
    assert pearson_correlation(rows, rows) <= 1
    assert pearson_correlation(rows, -rows) == pytest.approx(-1)
    for a, b in ((3.0, -2.0), (1e-12, 0.0), (1e200, 5.0)):
        assert pearson_correlation(a * rows + b, guess) == pytest.approx(
            pearson_correlation(rows, guess)
        )


def test_shapes_must_agree(pair):
    rows, guess = pair
    with pytest.raises(ValueError, match=r"\(300, 20\).*\(300, 19\)"):
        pearson_correlation(rows, guess[:, 1:])
    with pytest.raises(ValueError, match="inconsistent"):
        pearson_correlation(rows, guess[1:])


def test_pipeline_is_compared_at_its_last_step(pair):
    rows, _ = pair
    step = StandardScaler().fit(FunctionTransformer(np.log1p).fit_transform(rows))
    pipeline = make_pipeline(FunctionTransformer(np.log1p), step)
    assert reconstruction_correlation(pipeline, rows) == pytest.approx(1)


def test_fault_125_variance_unexplained():
    rng = np.random.default_rng(0)
    rows = rng.random((600, 5)).astype(np.float32) + np.float32(1e3)
    mean = rows.mean(axis=0, dtype=np.float64)
    noisy = rows + rng.normal(0, 0.1, rows.shape).astype(np.float32)
    expected = np.square(noisy.astype(float) - rows).sum() / np.square(rows - mean).sum()
    fraction = fraction_of_variance_unexplained(rows, noisy, mean)
    assert isinstance(fraction, float)
    assert fraction == pytest.approx(expected, rel=1e-12)
    assert fraction_of_variance_unexplained(rows, rows, mean) == 0
    always_the_mean = np.broadcast_to(mean, rows.shape)
    assert fraction_of_variance_unexplained(rows, always_the_mean, mean) == pytest.approx(1)
    assert np.isnan(fraction_of_variance_unexplained(always_the_mean, rows, mean))
