"""preservation: what a fitted predictor loses on reconstructions."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils import Bunch, check_array, column_or_1d
from sklearn.utils.validation import check_consistent_length

from ..images._typing import RandomState
from ._estimators import coded, training_mean_or
from ._intervals import resampled


def preservation(
    estimator: Any,
    predictor: Any,
    X: Any,
    y: ArrayLike,
    *,
    mean: ArrayLike | None = None,
    baseline: Any = None,
    random_state: RandomState = 0,
) -> Bunch:
    r"""Measure how much of a predictor's work survives on reconstructions.

    A predictor that was fitted to original samples is scored on samples it has not seen: as they
    are, as their reconstructions, and as the mean, which tells it nothing. The figure

    .. math:: \frac{s(\hat x) - s(\bar x)}{s(x) - s(\bar x)}

    is 1 where nothing is lost and 0 where reconstructions serve no better than the mean; below
    0 they mislead, and above 1 what they leave out misled. For language models this is the loss
    recovered [1]_, where the mean stands for the ablated activation. It tells trained from
    untrained estimators, as the error does; so it tells principal components from them, too.

    Parameters
    ----------
    estimator : estimator with transform and inverse_transform, or a Pipeline that ends with one
        Fitted estimator. Of a Pipeline, samples are taken at its last step, where the predictor
        must have been fitted.
    predictor : classifier or regressor
        Fitted predictor of original samples.
    X : array-like of shape (n_samples, n_features)
        Samples that the predictor was not fitted to.
    y : array-like of shape (n_samples,)
        Their classes, or values.
    mean : array-like of shape (n_features,) or None, default=None
        Mean of the training samples. None is that of the estimator, or of X where it has none.
    baseline : estimator or None, default=None
        The estimator untrained, see :func:`untrained_twin`.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    preserved : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        value : float
            The figure above, without a unit.
        interval : ndarray of shape (2,)
            95 % interval by a bootstrap over samples; estimator and predictor stay as they are.
        baseline : float or None
            The same of the baseline.
        difference, difference_interval : float and ndarray of shape (2,), or None
            Figure beyond that of the baseline on the same samples, and its interval.
        original, reconstruction, constant : float
            Scores s of original samples, reconstructions and the mean: the accuracy of a
            classifier, minus the mean squared error of a regressor.

    Raises
    ------
    ValueError
        If the predictor is no better on original samples than on their mean.

    References
    ----------
    .. [1] A. Karvonen et al., "SAEBench: a comprehensive benchmark for sparse autoencoders in
       language model interpretability", ICML 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.svm import LinearSVC
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.inspection import preservation
    >>> X, y = load_digits(return_X_y=True)
    >>> sae = TopKSparseAutoencoder(64, k=6, max_iter=5, random_state=0).fit(X[:1000])
    >>> classifier = LinearSVC(C=0.001, random_state=0).fit(X[:1000], y[:1000])
    >>> preserved = preservation(sae, classifier, X[1000:], y[1000:])
    >>> 0.5 < preserved.value < 1
    True
    """
    rows, _, reconstructions = coded(estimator, X)
    y = column_or_1d(y)
    check_consistent_length(rows, y)
    if mean is None:
        mean = training_mean_or(estimator, rows)
    mean = check_array(np.reshape(mean, (1, -1)), input_name="mean")

    def merits(samples):
        return _merits(predictor, samples.astype(rows.dtype, copy=False), y)

    original, constant = merits(rows), merits(np.repeat(mean, len(rows), axis=0))
    if not original.mean() > constant.mean():
        raise ValueError(
            "Expected a predictor that is better on samples than on their mean, got scores of "
            f"{original.mean():.4g} and {constant.mean():.4g}."
        )
    units = np.stack([merits(reconstructions), constant, original])
    of_baseline = None
    if baseline is not None:
        of_baseline = np.stack([merits(coded(baseline, X)[2]), constant, original])
    return Bunch(
        **resampled(units, of_baseline, _recovered, paired=True, random_state=random_state),
        original=float(original.mean()),
        reconstruction=float(units[0].mean()),
        constant=float(constant.mean()),
    )


def _merits(predictor, samples, y):
    """Return for each sample whether its class was found, or minus the squared error."""
    predicted = predictor.predict(samples)
    if is_classifier(predictor):
        return (predicted == y).astype(np.float64)
    return -np.square(predicted - y, dtype=np.float64)


def _recovered(scores):
    """Return the share of the way from the score of the mean to that of original samples."""
    reconstruction, constant, original = scores
    return (reconstruction - constant) / (original - constant)
