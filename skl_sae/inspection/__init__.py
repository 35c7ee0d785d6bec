"""What the atoms do: how much they are used, for which class, and how members agree.

Everything here reads codes (CSR, or dense) or fitted arrays and returns arrays. An atom fires on
a row where its code is not 0; its activation there is the absolute value of the code, which
matters only for ``transform_algorithm="omp"``, whose codes may be negative.

Images with similar codes need no function of their own:

>>> from sklearn.datasets import load_digits
>>> from sklearn.neighbors import NearestNeighbors
>>> from skl_sae import TopKSparseAutoencoder
>>> X = load_digits().data[:200]
>>> codes = TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit_transform(X)
>>> neighbours = NearestNeighbors(n_neighbors=3, metric="cosine").fit(codes)
>>> distances, rows = neighbours.kneighbors(codes[:5])
>>> rows[:, 0]
array([0, 1, 2, 3, 4])
"""

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtr
from scipy.stats import false_discovery_control
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch, check_array, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

__all__ = [
    "atom_usage",
    "class_selectivity",
    "discriminative_atoms",
    "match_members",
    "top_samples",
]

_AT_LEAST_ONE = [Interval(Integral, 1, None, closed="left")]


def atom_usage(codes, components=None):
    """How often and how strongly each atom fires, and its share of the reconstruction.

    The share of atom :math:`j` is :math:`\\lVert d_j \\rVert^2 \\sum_i z_{ij}^2`, divided by its
    sum over all atoms. It would be the share of the reconstruction's energy if the atoms were
    orthogonal.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    components : array-like of shape (n_atoms, n_features) or None, default=None
        The atoms, one for each column of codes. None stands for atoms of unit norm, such as
        ``components_``.

    Returns
    -------
    usage : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        frequency : ndarray of shape (n_atoms,)
            Fraction of the rows on which an atom fires.
        mean_activation : ndarray of shape (n_atoms,)
            Mean activation over the rows on which an atom fires; 0 if there is none.
        max_activation : ndarray of shape (n_atoms,)
            Largest activation.
        share : ndarray of shape (n_atoms,)
            Share of the reconstruction; sums to 1 unless all codes are 0.
        dead : ndarray of shape (n_atoms,), dtype bool
            Whether an atom fires on no row.
        atoms_for_80 : int
            Smallest number of atoms that together have 80 % of the share.
        fraction_for_80 : float
            The same as a fraction of all atoms.

    Raises
    ------
    ValueError
        If components has not one row for each column of codes.

    Examples
    --------
    >>> from skl_sae.inspection import atom_usage
    >>> usage = atom_usage([[3, 0, 1, 0], [1, 0, 0, 2]])
    >>> usage.frequency, usage.mean_activation, usage.dead
    (array([1. , 0. , 0.5, 0.5]), array([2., 0., 1., 2.]), array([False,  True, False, False]))
    >>> usage.share.round(2), usage.atoms_for_80, usage.fraction_for_80
    (array([0.67, 0.  , 0.07, 0.27]), 2, 0.5)
    """
    activations = activations_of(codes)
    n_rows, n_atoms = activations.shape
    counts = activations.count_nonzero(axis=0)
    energy = activations.power(2).sum(axis=0)
    if components is not None:
        components = check_array(components, dtype=np.float64, input_name="components")
        if len(components) != n_atoms:
            raise ValueError(f"Expected {n_atoms} atoms as codes has, got {len(components)}.")
        energy = energy * np.square(components).sum(axis=1)
    share = energy / (energy.sum() or 1)
    running = np.cumsum(np.sort(share)[::-1])
    # Up to rounding: four of five equal atoms carry 80 %.
    needed = 0.8 * running[-1] * (1 - 1e-12)
    atoms_for_80 = int(np.searchsorted(running, needed)) + 1 if needed else 0
    return Bunch(
        frequency=counts / n_rows,
        mean_activation=activations.sum(axis=0) / np.maximum(counts, 1),
        max_activation=activations.max(axis=0).toarray().ravel(),
        share=share,
        dead=counts == 0,
        atoms_for_80=atoms_for_80,
        fraction_for_80=atoms_for_80 / n_atoms,
    )


def class_selectivity(codes, y):
    """How well each atom tells each class from the others.

    The AUC of a class and an atom is the probability that the atom's activation is larger on
    a row of the class than on one of the others, where equal activations, such as two zeros,
    count half. It is Mann and Whitney's U divided by the number of pairs of rows [1]_, hence
    the test: two-sided, by the normal approximation with a correction for ties and for
    continuity, as in ``scipy.stats.mannwhitneyu(method="asymptotic")``. The approximation is
    rough where a class, or the others, have fewer than about 8 rows.

    With thousands of atoms some AUCs are large by chance. ``p_adjusted`` allows for that: of
    all pairs of class and atom with ``p_adjusted <= 0.05``, 5 % at most are expected to be
    chance [2]_. This holds for rows that took no part in choosing what to test; the labels
    take no part in learning the atoms. The cost grows with the number of non-zeros, and with
    n_classes * n_atoms for the result.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    y : array-like of shape (n_samples,)
        The class of each row: numbers or str.

    Returns
    -------
    selectivity : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        classes : ndarray of shape (n_classes,)
            The classes, sorted.
        frequency : ndarray of shape (n_classes, n_atoms)
            Fraction of the rows of a class on which an atom fires.
        difference : ndarray of shape (n_classes, n_atoms)
            That frequency minus the one in the other classes together.
        auc : ndarray of shape (n_classes, n_atoms)
            Between 0 and 1; 0.5 for an atom that says nothing, as a dead one.
        p_value : ndarray of shape (n_classes, n_atoms)
            Of the hypothesis that the atom's activations are distributed alike in the class and
            in the others; 1 for a dead atom.
        p_adjusted : ndarray of shape (n_classes, n_atoms)
            The same after Benjamini and Hochberg's correction over all classes and atoms.

    Raises
    ------
    ValueError
        If y has not one entry for each row, or all rows are of one class.

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
    n_rows = len(labels)
    of_class = sp.csr_array((np.ones(n_rows), (labels, np.arange(n_rows))))
    n_in = np.bincount(labels)[:, None]
    n_out = n_rows - n_in

    ranks, rank_of_zero, ties = _ranks(activations)
    counts = (of_class @ activations.astype(bool)).toarray()
    rank_sums = (of_class @ ranks).toarray() + (n_in - counts) * rank_of_zero
    auc = (rank_sums - n_in * (n_in + 1) / 2) / (n_in * n_out)
    p_value = _mann_whitney_p(auc, ties, n_in, n_out)
    frequency = counts / n_in
    return Bunch(
        classes=classes,
        frequency=frequency,
        difference=frequency - (counts.sum(axis=0) - counts) / n_out,
        auc=auc,
        p_value=p_value,
        # Over all of them: scipy flattens, and leaves it at that.
        p_adjusted=false_discovery_control(p_value, axis=None).reshape(p_value.shape),
    )


@validate_params({"n": _AT_LEAST_ONE}, prefer_skip_nested_validation=True)
def discriminative_atoms(selectivity, n=5):
    """The atoms that mark each class best: those of the largest AUC.

    An AUC near 0 tells a class as well, by an atom that is silent on it; such atoms are those
    of the smallest AUC and are not meant here. An atom's ``p_adjusted`` says whether its AUC
    is more than chance.

    Parameters
    ----------
    selectivity : Bunch
        What :func:`class_selectivity` returns.
    n : int, default=5
        Number of atoms of each class.

    Returns
    -------
    atoms : ndarray of shape (n_classes, n), dtype int64
        Numbers of atoms, those of the largest AUC first.

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


def match_members(estimator):
    """Which atoms of the members correspond, and how closely.

    For each pair of members their atoms are matched one to one such that the sum of the
    cosines between matched atoms is the largest possible (the assignment problem, solved
    exactly [1]_). The mean cosine of matched atoms is 1 for members that learned the same atoms
    in another order.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder
        A fitted estimator of at least 2 members.

    Returns
    -------
    matching : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        stability : float
            Mean cosine of matched atoms over all pairs of two members.
        complementarity : float
            1 - stability: how much of what a member learned the others did not.
        similarity : ndarray of shape (n_estimators, n_estimators)
            Mean cosine of the matched atoms of two members; 1 for a member and itself.
        matches : ndarray of shape (n_estimators, n_estimators, n_components), dtype int64
            ``matches[e, f, i]`` is the atom of member f that is matched to atom i of member e,
            each counted from 0 within its member.
        cosines : ndarray of shape (n_estimators, n_estimators, n_components)
            The cosines of these pairs of atoms.

    Raises
    ------
    ValueError
        If the estimator has one member.

    Notes
    -----
    For each pair of members the time grows with the cube of n_components at worst, and a matrix
    of n_components**2 cosines is held. A pair of members of 3,072 unrelated atoms of 768 features
    took 1.4 seconds on one core, a pair whose atoms correspond 0.3.

    References
    ----------
    .. [1] D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE
       Transactions on Aerospace and Electronic Systems 52, 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.inspection import match_members
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, n_estimators=2, max_iter=2, random_state=0).fit(X)
    >>> matching = match_members(sae)
    >>> matching.matches.shape, 0 < matching.stability < 1
    ((2, 2, 32), True)
    """
    check_is_fitted(estimator, ["components_", "centers_"])
    n_members, n_features = estimator.centers_.shape
    if n_members < 2:
        raise ValueError(f"Expected an estimator of at least 2 members, got {n_members}.")
    atoms = normalize(estimator.components_).reshape(n_members, -1, n_features)
    n_components = atoms.shape[1]
    matches = np.empty((n_members, n_members, n_components), dtype=np.int64)
    matches[:] = np.arange(n_components)
    cosines = np.ones(matches.shape)
    pairs = np.triu_indices(n_members, 1)
    for e, f in zip(*pairs, strict=True):
        cosine = atoms[e] @ atoms[f].T
        own, matched = linear_sum_assignment(cosine, maximize=True)
        matches[e, f], matches[f, e, matched] = matched, own
        cosines[e, f] = cosine[own, matched]
        cosines[f, e, matched] = cosines[e, f]
    similarity = cosines.mean(axis=2)
    stability = float(similarity[pairs].mean())
    return Bunch(
        stability=stability,
        complementarity=1 - stability,
        similarity=similarity,
        matches=matches,
        cosines=cosines,
    )


@validate_params({"n": _AT_LEAST_ONE}, prefer_skip_nested_validation=True)
def top_samples(codes, atom, n=10):
    """The rows on which an atom fires most strongly.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    atom : int
        Number of the atom: a column of codes.
    n : int, default=10
        Number of rows, at most.

    Returns
    -------
    rows : ndarray of shape (n_found,), dtype int64
        Numbers of the rows, strongest first, equal ones in their order; fewer than n, even
        none, where the atom fires on fewer.

    Raises
    ------
    ValueError
        If there is no such atom, or n is less than 1.

    Examples
    --------
    >>> from skl_sae.inspection import top_samples
    >>> codes = [[0, 1], [3, 0], [2, 0], [5, 0]]
    >>> top_samples(codes, 0, n=2), top_samples(codes, 1)
    (array([3, 1]), array([0]))
    """
    activations = activations_of(codes)
    check_atom(atom, activations.shape[1])
    entries = np.flatnonzero(activations.indices == atom)
    strongest = entries[np.argsort(-activations.data[entries], kind="stable")[:n]]
    # The row of a stored entry is where the row pointers pass it.
    return np.searchsorted(activations.indptr, strongest, side="right").astype(np.int64) - 1


def activations_of(codes):
    """Absolute values of codes as a CSR array of our own, float64, with no stored zeros."""
    codes = check_array(codes, accept_sparse="csr", dtype=np.float64, input_name="codes")
    activations = sp.csr_array(codes, copy=True)
    activations.sum_duplicates()
    np.abs(activations.data, out=activations.data)
    activations.eliminate_zeros()
    return activations


def check_atom(atom, n_atoms):
    """Refuse what is not the number of an atom."""
    if not isinstance(atom, Integral) or not 0 <= atom < n_atoms:
        raise ValueError(f"Expected an atom from 0 to {n_atoms - 1}, got {atom!r}.")


def _classes(y, len_expected):
    """The classes, and the number of each row's."""
    y = column_or_1d(y)
    if len(y) != len_expected:
        raise ValueError(f"Expected {len_expected} labels as codes has rows, got {len(y)}.")
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"Expected at least 2 classes, got {classes.tolist()[0]!r} only.")
    return classes, labels


def _ranks(activations):
    """Ranks within each atom, equal activations sharing their mean rank.

    Returns the ranks of the stored entries, in their places; the rank that the zeros of an
    atom share; and each atom's sum of t**3 - t over its groups of t equal activations.
    """
    by_atom = activations.tocsc()
    n_rows, n_atoms = by_atom.shape
    n_stored = np.diff(by_atom.indptr)
    n_zeros = n_rows - n_stored
    atom = np.repeat(np.arange(n_atoms), n_stored)
    order = np.lexsort((by_atom.data, atom))
    values = by_atom.data[order]

    first = np.ones(len(values), dtype=bool)
    first[1:] = (values[1:] != values[:-1]) | (atom[1:] != atom[:-1])
    group = np.cumsum(first) - 1
    start = np.flatnonzero(first)
    size = np.diff(start, append=len(values)).astype(np.float64)
    atom_of_group = atom[start]
    rank = n_zeros[atom_of_group] + start - by_atom.indptr[atom_of_group] + (size + 1) / 2
    ranks = np.empty(len(values))
    ranks[order] = rank[group]
    ranks = sp.csc_array((ranks, by_atom.indices, by_atom.indptr), shape=by_atom.shape)

    ties = np.bincount(atom_of_group, weights=size**3 - size, minlength=n_atoms)
    ties += n_zeros.astype(np.float64) ** 3 - n_zeros
    return ranks, (n_zeros + 1) / 2, ties


def _mann_whitney_p(auc, ties, n_in, n_out):
    """Two-sided p-values, by the normal approximation."""
    n_rows, n_pairs = n_in + n_out, n_in * n_out
    variance = n_pairs / 12 * (n_rows + 1 - ties / (n_rows * (n_rows - 1)))
    # Where all activations are equal the variance is 0 up to rounding, and so is the distance.
    distance = np.abs(auc - 0.5) * n_pairs - 0.5
    z = distance / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    return np.minimum(2 * ndtr(-z), 1)
