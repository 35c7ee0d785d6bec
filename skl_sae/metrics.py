"""Measures of how well samples are reconstructed: correlation and unexplained variance.

Sums are in float64, and over a few hundred samples at a time, so that no large copy is made.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length, gen_batches
from sklearn.utils.validation import _check_sample_weight

from .images._arrays import rows_of_images

_ROWS_AT_A_TIME = 256  # in float64; few enough for a processor's cache


def pearson_correlation(
    X: ArrayLike, X_reconstructed: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Mean Pearson correlation between samples and their reconstructions.

    The sums are centred and in float64, so a large common offset does no harm. A sample that
    is constant up to rounding has no correlation and is left out, with one warning that
    counts such samples; a constant reconstruction of a varying sample counts as 0.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.
    X_reconstructed : array-like of shape (n_samples, n_features)
        Their reconstructions.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean; None for equal weights.

    Returns
    -------
    correlation : float
        Mean correlation, between -1 and 1; never NaN.

    Raises
    ------
    ValueError
        If every sample is constant, the shapes differ, or weights are negative or all 0.

    Examples
    --------
    >>> from skl_sae import pearson_correlation
    >>> pearson_correlation([[1, 2, 3], [1, 2, 3]], [[2, 4, 6], [3, 2, 1]])
    0.0
    """
    return mean_correlation(row_correlations(X, X_reconstructed), sample_weight)


def mean_correlation(correlations, sample_weight=None):
    """Mean of the correlations of samples, of which constant ones have NaN and are left out."""
    weight = None
    if sample_weight is not None:
        weight = check_weights(sample_weight, correlations)
        correlations, weight = correlations[weight > 0], weight[weight > 0]
    # A constant sample has no correlation, which is not the same as one of 0.
    varying = ~np.isnan(correlations)
    n_constant = len(correlations) - np.count_nonzero(varying)
    if n_constant == len(correlations):
        raise ValueError(
            f"Expected rows that vary, got {n_constant} constant row(s) only: "
            "the correlation of a constant row is undefined."
        )
    if n_constant:
        warnings.warn(
            f"{n_constant} constant row(s) of {len(correlations)} left out: "
            "their correlation is undefined.",
            UserWarning,
            stacklevel=3,
        )
    if weight is not None:
        weight = weight[varying]
    return float(np.average(correlations[varying], weights=weight))


def check_weights(sample_weight, X):
    """Weights of samples in float64; a ValueError if any is negative or all are 0."""
    return _check_sample_weight(
        sample_weight, X, dtype=np.float64, copy=True, ensure_non_negative=True
    )


def reconstruction_correlation(
    estimator: Any, X: Any, y: object = None, *, sample_weight: ArrayLike | None = None
) -> float:
    """Score an estimator by the Pearson correlation of its reconstruction.

    This is a scorer: pass it as ``scoring=`` wherever scikit-learn takes one.

    Parameters
    ----------
    estimator : fitted estimator with transform and inverse_transform
        Any estimator that codes and reconstructs, such as
        :class:`~sklearn.decomposition.PCA`. A Pipeline is compared at the input of its last
        step, so earlier steps need no ``inverse_transform``.
    X : array-like of shape (n_samples, n_features)
        Samples to transform; for an estimator that takes them, also images.
    y : None
        Ignored.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the samples in the mean; None for equal weights.

    Returns
    -------
    correlation : float
        Mean correlation, as by :func:`pearson_correlation`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skl_sae import reconstruction_correlation
    >>> X = load_digits().data
    >>> round(reconstruction_correlation(PCA(8).fit(X), X), 2)
    0.91
    """
    estimator, X = unwrap_pipeline(estimator, X)
    X_reconstructed = estimator.inverse_transform(estimator.transform(X))
    X, _ = rows_of_images(X)
    return pearson_correlation(X, X_reconstructed, sample_weight=sample_weight)


def unwrap_pipeline(estimator, X=None):
    """Return the last step of a Pipeline and its input; any other estimator with X itself."""
    if isinstance(estimator, Pipeline):
        if X is not None and len(estimator) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    return estimator, X


def fraction_of_variance_unexplained(X, X_reconstructed, mean):
    """Fraction of the variance about a mean that reconstructions leave unexplained (FVU).

    With samples x, their reconstructions x' and the mean m of the training samples, it is

        sum ||x - x'||^2 / sum ||x - m||^2

    which is 0 for a perfect reconstruction and 1 for the constant answer m. The mean is that of
    the training samples because no model knows another, so figures of few samples, or of one
    class, are comparable.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    X_reconstructed : ndarray of shape (n_samples, n_features)
        Their reconstructions.
    mean : ndarray of shape (n_features,)
        Mean of the training samples.

    Returns
    -------
    fraction : float
        At least 0; NaN if every sample is the mean.
    """
    parts = ((X[rows], X_reconstructed[rows]) for rows in gen_batches(len(X), _ROWS_AT_A_TIME))
    return unexplained_of_parts(parts, mean)


def unexplained_of_parts(parts, mean):
    """Compute the same from an iterable of samples and reconstructions, part by part."""
    error = spread = 0.0
    for X, X_reconstructed in parts:
        error += np.square(np.subtract(X, X_reconstructed, dtype=np.float64)).sum()
        spread += np.square(np.subtract(X, mean, dtype=np.float64)).sum()
    return float(error / spread) if spread else np.nan


def row_correlations(X, X_reconstructed):
    """Pearson correlation of each sample, float64; NaN where the sample is constant.

    It is the scalar product of the standardized sample and reconstruction.
    """
    X = check_array(X, dtype=(np.float64, np.float32), input_name="X")
    X_reconstructed = check_array(
        X_reconstructed, dtype=(np.float64, np.float32), input_name="X_reconstructed"
    )
    check_consistent_length(X, X_reconstructed)
    if X.shape != X_reconstructed.shape:
        raise ValueError(
            f"Expected a reconstruction of shape {X.shape}, got {X_reconstructed.shape}."
        )
    result = np.empty(len(X))
    for rows in gen_batches(len(X), _ROWS_AT_A_TIME):
        target, target_constant = _standardize(X[rows])
        reconstruction, reconstruction_constant = _standardize(X_reconstructed[rows])
        # Rounding may lead beyond 1.
        correlation = np.einsum("ij,ij->i", target, reconstruction).clip(-1, 1)
        correlation[reconstruction_constant] = 0
        correlation[target_constant] = np.nan
        result[rows] = correlation
    return result


def _standardize(rows):
    """Return rows in float64 with mean 0 and length 1, and which of them are constant.

    Constant means up to rounding in the dtype of the rows.
    """
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    scale = np.where(largest > 0, largest, 1)[:, None]  # so that no square overflows
    centred = rows / scale
    centred -= centred.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    # Values that differ by rounding only are at most a few eps from their mean, each of them.
    constant = length <= 4 * np.finfo(rows.dtype).eps * np.sqrt(rows.shape[1])
    centred /= np.where(constant, 1, length)[:, None]
    return centred, constant
