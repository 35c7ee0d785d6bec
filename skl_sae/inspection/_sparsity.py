"""sparsity_by_class: whether classes need different numbers of active atoms."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kruskal, t
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval

from ..images._typing import SparseOrDense, validate_params
from ._activations import activations_of
from ._selectivity import _classes


@validate_params(
    {"confidence_level": [Interval(Real, 0, 1, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def sparsity_by_class(
    codes: SparseOrDense, y: ArrayLike, *, confidence_level: float = 0.95
) -> Bunch:
    """Compare the numbers of active atoms that samples of different classes have.

    The mean of each class has a confidence interval by Student's t, and the hypothesis that the
    numbers have the same distribution in all classes is tested by Kruskal and Wallis [1]_, which
    for two classes is the test of Mann and Whitney. The test compares ranks, so a few samples with
    very many active atoms decide nothing; it is rough if a class has fewer than about 5 samples.

    It is meant for codes whose numbers of active atoms follow the samples: those of
    ``sparsity="batch_topk"``, or of ``transform_algorithm="omp"`` with a ``transform_tol``. With
    ``sparsity="topk"`` almost every sample has k, in every class.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them; those of members side by side count together.
    y : array-like of shape (n_samples,)
        Class of each sample: numbers or str.
    confidence_level : float, default=0.95
        Probability that an interval holds the class's mean.

    Returns
    -------
    sparsity : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        classes : ndarray of shape (n_classes,)
            Classes, sorted.
        n_samples : ndarray of shape (n_classes,), dtype int64
            Number of samples of each class.
        mean : ndarray of shape (n_classes,)
            Mean number of active atoms of a sample.
        interval : ndarray of shape (n_classes, 2)
            Ends of the confidence interval of the mean; NaN for a class of one sample.
        statistic : float
            Kruskal and Wallis's H; 0 if all samples have the same number.
        p_value : float
            p-value of the hypothesis that classes do not differ; 1 if all samples have the same
            number.

    Raises
    ------
    ValueError
        If y does not have one entry for each sample, or all samples are of one class.

    References
    ----------
    .. [1] W. H. Kruskal and W. A. Wallis, "Use of ranks in one-criterion variance analysis",
       Journal of the American Statistical Association 47, 1952.

    Examples
    --------
    >>> from skl_sae.inspection import sparsity_by_class
    >>> codes = [[2, 0, 1], [3, 1, 1], [0, 0, 1], [0, 4, 0]]
    >>> sparsity = sparsity_by_class(codes, ["cat", "cat", "dog", "dog"])
    >>> sparsity.classes, sparsity.mean
    (array(['cat', 'dog'], dtype='<U3'), array([2.5, 1. ]))
    >>> sparsity.interval.round(2)
    array([[-3.85,  8.85],
           [ 1.  ,  1.  ]])
    >>> round(sparsity.p_value, 2)
    0.1
    """
    active = activations_of(codes)
    classes, labels = _classes(y, len_expected=active.shape[0])
    counts = np.diff(active.indptr)
    groups = [counts[labels == label] for label in range(len(classes))]
    statistic, p_value = (0.0, 1.0) if len(np.unique(counts)) == 1 else kruskal(*groups)
    return Bunch(
        classes=classes,
        n_samples=np.bincount(labels),
        mean=np.array([group.mean() for group in groups]),
        interval=np.array([_interval(group, confidence_level) for group in groups]),
        statistic=float(statistic),
        p_value=float(p_value),
    )


def _interval(counts, confidence_level):
    """Ends of the interval of a mean: mean +- t s / sqrt(n), t of n - 1 degrees of freedom."""
    n = len(counts)
    if n == 1:
        return np.nan, np.nan
    reach = t.ppf((1 + confidence_level) / 2, n - 1) * counts.std(ddof=1) / np.sqrt(n)
    return counts.mean() - reach, counts.mean() + reach
