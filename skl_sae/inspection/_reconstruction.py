"""reconstruction_figures: in which respects reconstructions differ from samples."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from ..images._typing import RandomState
from ._estimators import coded, training_mean_or
from ._intervals import resampled

NAMES = "fvu", "cosine", "length_ratio", "bias", "n_active"


def reconstruction_figures(
    estimator: Any,
    X: Any,
    *,
    mean: ArrayLike | None = None,
    baseline: Any = None,
    random_state: RandomState = 0,
) -> Bunch:
    r"""Measure in which respects reconstructions differ from samples.

    With samples :math:`x` and reconstructions :math:`\hat x`, both less the mean of the training
    samples, it gives

    - fvu, the fraction of variance unexplained :math:`\sum\lVert x - \hat x\rVert^2 /
      \sum\lVert x\rVert^2`: 0 is perfect, 1 is as good as the mean, and it may exceed 1;
    - cosine, the mean of :math:`\cos(x, \hat x)`: 1 is the same direction;
    - length_ratio, the mean of :math:`\lVert\hat x\rVert / \lVert x\rVert`: 1 is the same length;
    - bias, :math:`\sum\lVert\hat x\rVert^2 / \sum x \cdot \hat x`: 1 is none, below 1 is shrinkage;
    - n_active, the mean number of codes that are not 0.

    The bias is 1 for a least-squares reconstruction, whose error is orthogonal to it, though it
    is shorter than the sample; dividing codes by it undoes a shrinkage of all by one factor [1]_.
    The figures are those of SAEBench [2]_, which does not subtract the mean; of images most of a
    cosine would be that of the mean with itself.

    FVU and cosine tell trained from untrained, as random atoms reconstruct less; the bias does not
    always. None says whether atoms mean anything: the identity has an FVU of 0.

    Parameters
    ----------
    estimator : estimator with transform and inverse_transform, or a Pipeline that ends with one
        Fitted estimator, such as an autoencoder or :class:`~sklearn.decomposition.PCA`. A Pipeline
        is compared at the input of its last step.
    X : array-like of shape (n_samples, n_features)
        Samples.
    mean : array-like of shape (n_features,) or None, default=None
        Mean of the training samples. None is that of the estimator, or of X where it has none.
    baseline : estimator or None, default=None
        The estimator untrained, see :func:`untrained_twin`.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    figures : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        names : tuple of str
            Names of the figures, in the order of the arrays below.
        value : ndarray of shape (5,)
            The figures, none of which has a unit.
        interval : ndarray of shape (2, 5)
            95 % intervals by a bootstrap over samples; the estimator stays as it is.
        baseline : ndarray of shape (5,) or None
            The same of the baseline.
        difference, difference_interval : ndarrays of shapes (5,) and (2, 5), or None
            Figures minus those of the baseline on the same samples, and their intervals.
        fvu, cosine, length_ratio, bias, n_active : float
            The figures by name.

    References
    ----------
    .. [1] B. Wright and L. Sharkey, "Addressing feature suppression in SAEs", 2024.
    .. [2] A. Karvonen et al., "SAEBench: a comprehensive benchmark for sparse autoencoders in
       language model interpretability", ICML 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skl_sae.inspection import reconstruction_figures
    >>> X = load_digits().data
    >>> figures = reconstruction_figures(PCA(8).fit(X), X)
    >>> round(figures.fvu, 3), round(figures.bias, 3)
    (0.326, 1.0)
    """
    units, of_baseline = _addends_of(estimator, X, mean), None
    if baseline is not None:
        of_baseline = _addends_of(baseline, X, mean)
    results = resampled(
        units, of_baseline, figures_of_means, paired=True, random_state=random_state
    )
    named = dict(zip(NAMES, results["value"].tolist(), strict=True))
    return Bunch(names=NAMES, **results, **named)


def _addends_of(estimator, X, mean):
    rows, codes, reconstructions = coded(estimator, X)
    if mean is None:
        mean = training_mean_or(estimator, rows)
    n_active = np.diff(sp.csr_array(codes).indptr)
    return addends(rows, reconstructions, n_active, np.asarray(mean, dtype=np.float64))


def addends(rows, reconstructions, n_active, mean):
    """Return for each sample what the figures are means of, an array (7, n_samples)."""
    x, hat = rows - mean, reconstructions - mean
    squares, products = np.square(hat).sum(axis=1), (x * hat).sum(axis=1)
    square = np.square(x).sum(axis=1)
    lengths = np.sqrt(square * squares)
    return np.stack([
        np.square(x - hat).sum(axis=1), square, squares, products,
        np.divide(products, lengths, np.zeros_like(lengths), where=lengths > 0),
        np.sqrt(np.divide(squares, square, np.ones_like(square), where=square > 0)), n_active,
    ])  # fmt: skip


def figures_of_means(means):
    """Return the figures, as `reconstruction_figures` names them, of means over samples."""
    error, square, squares, products, cosine, ratio, n_active = means
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([error / square, cosine, ratio, squares / products, n_active])
