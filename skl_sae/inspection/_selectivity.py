"""Classes and atoms: AUC, its test, and the atoms that best mark a class."""

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.special import ndtr
from scipy.stats import false_discovery_control
from sklearn.utils import Bunch, column_or_1d
from sklearn.utils._param_validation import Interval

from ..images._typing import SparseOrDense, validate_params
from ._activations import activations_of


def class_selectivity(codes: SparseOrDense, y: ArrayLike) -> Bunch:
    """Measure how well each atom separates each class from the others.

    The AUC of a class and an atom is the probability that the atom's activation is larger on
    a sample of the class than on a sample of the others, where equal activations, such as two
    zeros, count half. It equals Mann and Whitney's U divided by the number of pairs of samples
    [1]_, hence the test: two-sided, by the normal approximation with corrections for ties and
    continuity, as in ``scipy.stats.mannwhitneyu(method="asymptotic")``. The approximation is
    rough if a class, or the others together, have fewer than about 8 samples.

    With thousands of atoms some AUCs are large by chance. ``p_adjusted`` accounts for that: of
    all pairs of class and atom with ``p_adjusted <= 0.05``, at most 5 % are expected to be due
    to chance [2]_. This holds for samples that were not used to choose the pairs; the labels
    are not used to learn the atoms. The cost grows with the number of non-zeros, and with
    n_classes * n_atoms for the result.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    y : array-like of shape (n_samples,)
        Class of each sample: numbers or str.

    Returns
    -------
    selectivity : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        classes : ndarray of shape (n_classes,)
            Classes, sorted.
        frequency : ndarray of shape (n_classes, n_atoms)
            Fraction of the samples of a class on which an atom fires.
        difference : ndarray of shape (n_classes, n_atoms)
            This frequency minus that in all other classes together.
        auc : ndarray of shape (n_classes, n_atoms)
            AUC, between 0 and 1; 0.5 for an atom without information, such as a dead one.
        p_value : ndarray of shape (n_classes, n_atoms)
            p-value of the hypothesis that the atom's activations have the same distribution in
            the class and in the others; 1 for a dead atom.
        p_adjusted : ndarray of shape (n_classes, n_atoms)
            p-value after Benjamini and Hochberg's correction over all classes and atoms.

    Raises
    ------
    ValueError
        If y does not have one entry for each sample, or all samples are of one class.

    References
    ----------
    .. [1] H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is
       stochastically larger than the other", Annals of Mathematical Statistics 18, 1947.
    .. [2] Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate: a practical and
       powerful approach to multiple testing", Journal of the Royal Statistical Society B 57,
       1995. Two classes, or atoms that fire together, are dependent tests: Y. Benjamini and
       D. Yekutieli, "The control of the false discovery rate in multiple testing under
       dependency", Annals of Statistics 29, 2001.

    Examples
    --------
    >>> from skl_sae.inspection import class_selectivity
    >>> codes = [[2, 0, 1], [3, 0, 0], [0, 0, 1], [0, 4, 0]]
    >>> selectivity = class_selectivity(codes, ["cat", "cat", "dog", "dog"])
    >>> selectivity.classes
    array(['cat', 'dog'], dtype='<U3')
    >>> selectivity.auc
    array([[1.  , 0.25, 0.5 ],
           [0.  , 0.75, 0.5 ]])
    >>> selectivity.difference
    array([[ 1. , -0.5,  0. ],
           [-1. ,  0.5,  0. ]])
    """
    activations = activations_of(codes)
    classes, labels = _classes(y, len_expected=activations.shape[0])
    n_samples = len(labels)
    of_class = sp.csr_array((np.ones(n_samples), (labels, np.arange(n_samples))))
    n_in = np.bincount(labels)[:, None]
    n_out = n_samples - n_in

    counts = (of_class @ activations.astype(bool)).toarray()
    ranks, rank_of_zero, ties = _ranks(activations)
    # Zeros are not stored: samples of the class that do not fire all have the rank of zero.
    rank_sums = (of_class @ ranks).toarray() + (n_in - counts) * rank_of_zero
    # U is the sum of ranks less its smallest value, 1 + 2 + ... + n_in.
    auc = (rank_sums - n_in * (n_in + 1) / 2) / (n_in * n_out)
    p_value = _mann_whitney_p(auc, ties, n_in, n_out)
    frequency = counts / n_in
    return Bunch(
        classes=classes,
        frequency=frequency,
        difference=frequency - (counts.sum(axis=0) - counts) / n_out,
        auc=auc,
        p_value=p_value,
        # With axis=None scipy corrects over all of them, and returns them flat.
        p_adjusted=false_discovery_control(p_value, axis=None).reshape(p_value.shape),
    )


@validate_params(
    {"n": [Interval(Integral, 1, None, closed="left")]}, prefer_skip_nested_validation=True
)
def discriminative_atoms(selectivity: Bunch, n: int = 5) -> np.ndarray:
    """Select the atoms that mark each class best: those of the largest AUC.

    Atoms of an AUC near 0 identify a class too, by not firing on it; they are not selected.
    Whether an AUC exceeds chance is told by ``p_adjusted``.

    Parameters
    ----------
    selectivity : Bunch
        Result of :func:`class_selectivity`.
    n : int, default=5
        Number of atoms for each class.

    Returns
    -------
    atoms : ndarray of shape (n_classes, n), dtype int64
        Indices of atoms, largest AUC first.

    Raises
    ------
    ValueError
        If n is less than 1 or more than the number of atoms.

    Examples
    --------
    >>> from skl_sae.inspection import class_selectivity, discriminative_atoms
    >>> codes = [[2, 0, 1], [3, 0, 0], [0, 0, 1], [0, 4, 0]]
    >>> discriminative_atoms(class_selectivity(codes, ["cat", "cat", "dog", "dog"]), n=2)
    array([[0, 2],
           [1, 2]])
    """
    n_atoms = selectivity.auc.shape[1]
    if n > n_atoms:
        raise ValueError(f"Expected n <= {n_atoms}, the number of atoms, got {n}.")
    return np.argsort(-selectivity.auc, axis=1, kind="stable")[:, :n]


def _classes(y, len_expected):
    """Return the classes, and the index of each sample's class."""
    y = column_or_1d(y)
    if len(y) != len_expected:
        raise ValueError(f"Expected {len_expected} labels as codes has rows, got {len(y)}.")
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"Expected at least 2 classes, got {classes.tolist()[0]!r} only.")
    return classes, labels


def _ranks(activations):
    """Rank the activations of each atom; equal ones share their mean rank.

    Returns
    -------
    ranks : csc_array
        Ranks of the stored entries.
    rank_of_zero : ndarray of shape (n_atoms,)
        Rank that the zeros of an atom share. They are smaller than all stored entries.
    ties : ndarray of shape (n_atoms,)
        Sum of t**3 - t over an atom's groups of t equal activations.
    """
    by_atom = activations.tocsc()
    n_samples, n_atoms = by_atom.shape
    n_stored = np.diff(by_atom.indptr)
    n_zeros = n_samples - n_stored
    atom = np.repeat(np.arange(n_atoms), n_stored)
    order = np.lexsort((by_atom.data, atom))  # within each atom, ascending
    start, size = _groups(atom, by_atom.data[order])

    atom_of_group = atom[start]
    rank = n_zeros[atom_of_group] + start - by_atom.indptr[atom_of_group] + (size + 1) / 2
    ranks = np.empty(len(order))
    ranks[order] = np.repeat(rank, size.astype(np.int64))
    ranks = sp.csc_array((ranks, by_atom.indices, by_atom.indptr), shape=by_atom.shape)

    ties = np.bincount(atom_of_group, weights=size**3 - size, minlength=n_atoms)
    ties += n_zeros.astype(np.float64) ** 3 - n_zeros
    return ranks, (n_zeros + 1) / 2, ties


def _groups(atom, values):
    """Return the starts and sizes (float64) of the runs of equal values of the same atom."""
    is_first = np.ones(len(values), dtype=bool)
    is_first[1:] = (values[1:] != values[:-1]) | (atom[1:] != atom[:-1])
    start = np.flatnonzero(is_first)
    # Floats, because the cube of a size may exceed 64-bit integers.
    return start, np.diff(start, append=len(values)).astype(np.float64)


def _mann_whitney_p(auc, ties, n_in, n_out):
    """Compute two-sided p-values by the normal approximation.

    Without a difference, U has the mean m n / 2 and, with N = m + n, the variance
    m n / 12 (N + 1 - sum(t^3 - t) / (N (N - 1))). Half a pair is the correction for continuity.
    """
    n_samples, n_pairs = n_in + n_out, n_in * n_out
    variance = n_pairs / 12 * (n_samples + 1 - ties / (n_samples * (n_samples - 1)))
    distance = np.abs(auc - 0.5) * n_pairs - 0.5
    # If all activations are equal, the variance is 0 up to rounding, and so is the distance.
    z = distance / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    return np.minimum(2 * ndtr(-z), 1)
