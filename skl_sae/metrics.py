"""The Pearson correlation between rows and their reconstructions."""

import warnings

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length, gen_batches

_ROWS_AT_A_TIME = 256


def pearson_correlation(X, X_reconstructed):
    """Mean over rows of the Pearson correlation between rows and their reconstructions.

    The sums are centred and in float64, so a large common offset does no harm. A row of X
    that is constant up to rounding has no correlation and is left out, with one warning
    that counts such rows; a constant reconstruction of a row that varies counts as 0.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows as they are.
    X_reconstructed : array-like of shape (n_samples, n_features)
        The rows as they were reconstructed.

    Returns
    -------
    correlation : float
        Between -1 and 1; never NaN.

    Raises
    ------
    ValueError
        If every row of X is constant, or the shapes differ.

    Examples
    --------
    >>> from skl_sae import pearson_correlation
    >>> pearson_correlation([[1, 2, 3], [1, 2, 3]], [[2, 4, 6], [3, 2, 1]])
    0.0
    """
    correlations = row_correlations(X, X_reconstructed)
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
            stacklevel=2,
        )
    return float(correlations[varying].mean())


def reconstruction_correlation(estimator, X, y=None):
    """Score an estimator by the Pearson correlation of its reconstruction.

    A scorer: pass it as ``scoring=`` wherever scikit-learn takes one.

    Parameters
    ----------
    estimator : fitted estimator with transform and inverse_transform
        Anything that codes and reconstructs, such as
        :class:`~sklearn.decomposition.PCA`. A Pipeline is compared at the input of its last
        step, so earlier steps need no ``inverse_transform``.
    X : array-like of shape (n_samples, n_features)
        What the estimator transforms.
    y : None
        Ignored.

    Returns
    -------
    correlation : float
        See :func:`pearson_correlation`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skl_sae import reconstruction_correlation
    >>> X = load_digits().data
    >>> round(reconstruction_correlation(PCA(8).fit(X), X), 2)
    0.91
    """
    if isinstance(estimator, Pipeline):
        if len(estimator) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    return pearson_correlation(X, estimator.inverse_transform(estimator.transform(X)))


def fraction_of_variance_unexplained(X, X_reconstructed, mean):
    """Fraction of the variance of rows about a mean that their reconstructions leave unexplained.

    That is the sum of squared errors, divided by that of always answering the mean: 0 for a
    perfect reconstruction, 1 for the mean itself. The mean is that of the training rows, which
    is all that a model could answer without looking; so figures of few rows, or of one class,
    compare with others. Sums are in float64.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows as they are.
    X_reconstructed : ndarray of shape (n_samples, n_features)
        The rows as they were reconstructed.
    mean : ndarray of shape (n_features,)
        The mean of the training rows.

    Returns
    -------
    fraction : float
        At least 0; NaN if every row is the mean.
    """
    parts = ((X[rows], X_reconstructed[rows]) for rows in gen_batches(len(X), _ROWS_AT_A_TIME))
    return unexplained_of_parts(parts, mean)


def unexplained_of_parts(parts, mean):
    """The same of pairs of rows and reconstructions, which need not be there all at once."""
    error = spread = 0.0
    for X, X_reconstructed in parts:
        error += np.square(np.subtract(X, X_reconstructed, dtype=np.float64)).sum()
        spread += np.square(np.subtract(X, mean, dtype=np.float64)).sum()
    return float(error / spread) if spread else np.nan


def row_correlations(X, X_reconstructed):
    """Pearson correlation of each row, float64; NaN where the row of X is constant."""
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
        guess, guess_constant = _standardize(X_reconstructed[rows])
        correlation = np.einsum("ij,ij->i", target, guess).clip(-1, 1)
        correlation[guess_constant] = 0
        correlation[target_constant] = np.nan
        result[rows] = correlation
    return result


def _standardize(rows):
    """Rows in float64 with mean 0 and length 1, and which of them are constant.

    Constant means up to rounding in the type that the rows came in.
    """
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    scale = np.where(largest > 0, largest, 1)[:, None]  # so that no square overflows
    centred = rows / scale
    centred -= centred.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    constant = length <= 4 * np.finfo(rows.dtype).eps * np.sqrt(rows.shape[1])
    centred /= np.where(constant, 1, length)[:, None]
    return centred, constant
