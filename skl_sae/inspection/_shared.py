"""shared_atoms and dictionary_recovery: which atoms are found again."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch, check_array
from sklearn.utils._param_validation import Interval

from ..images._typing import RandomState, validate_params
from ._estimators import fitted_step
from ._intervals import resampled
from ._matching import matched

_A_COSINE = [Interval(Real, 0, 1, closed="right")]


@validate_params(
    {"estimators": ["array-like"], "threshold": _A_COSINE}, prefer_skip_nested_validation=True
)
def shared_atoms(
    estimators: Any, threshold: float = 0.7, *, baseline: Any = None, random_state: RandomState = 0
) -> Bunch:
    """Measure which share of the atoms is found again from another seed.

    The atoms of each pair of estimators are matched one to one such that the sum of the cosines
    is maximal, and an atom is shared with another estimator if its match has a cosine of at
    least ``threshold`` [1]_. Signs count, since codes are not negative.

    Sparse autoencoders with the default start share much because they start from the same
    principal directions: a start by ``init="random"`` shows what training finds by itself. An
    atom that was never moved counts like any other; leave dead ones out by passing live
    ``components_`` instead of estimators. Untrained estimators share nothing, principal components
    everything: a share is no sign of meaning, and a low one does not make atoms wrong, as a
    dictionary of more atoms than features is not unique.

    Parameters
    ----------
    estimators : list of estimators, or of arrays of shape (n_atoms, n_features)
        At least 2 fitted estimators, or their atoms.
    threshold : float, default=0.7
        Smallest cosine of atoms that are the same, as in [1]_.
    baseline : list of estimators or arrays, or None, default=None
        The estimators untrained, see :func:`untrained_twin`.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    shared : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        value : float
            Mean share of the other estimators in which an atom is found, over all atoms of all.
        interval : ndarray of shape (2,)
            95 % interval by a bootstrap over atoms; it does not say how much other seeds differ.
        baseline : float or None
            The same of the baseline.
        difference, difference_interval : float and ndarray of shape (2,), or None
            Share beyond that of the baseline, and its interval.
        atoms : list of ndarray of shape (n_atoms,)
            For each estimator, the share of the others in which each atom is found.
        pairs : ndarray of shape (n_estimators, n_estimators)
            Share of the atoms of one estimator that are found in another; 1 on the diagonal.
        mean_cosine : float
            Mean cosine of matched atoms, over all pairs of estimators.

    Raises
    ------
    ValueError
        If there are fewer than 2 estimators, or their atoms differ in size.

    References
    ----------
    .. [1] G. Paulo and N. Belrose, "Sparse autoencoders trained on the same data learn different
       features", arXiv:2501.16615, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from skl_sae.inspection import shared_atoms
    >>> shared = shared_atoms([np.eye(3), [[0, 1, 0], [1, 0, 0], [0, 0, -1]]])
    >>> shared.value.__round__(2), shared.atoms[0]
    (0.67, array([1., 1., 0.]))
    """
    atoms, pairs, cosines = _found(estimators, threshold)
    of_baseline = None
    if baseline is not None:
        of_baseline = np.concatenate(_found(baseline, threshold)[0])[None]
    units = np.concatenate(atoms)[None]
    return Bunch(
        **resampled(units, of_baseline, paired=False, random_state=random_state),
        atoms=atoms,
        pairs=pairs,
        mean_cosine=float(np.mean(cosines)),
    )


def _found(estimators, threshold):
    """Return shares of atoms, of pairs of estimators, and the cosines of all matched atoms."""
    dictionaries = [_unit_atoms(estimator) for estimator in estimators]
    if len(dictionaries) < 2:
        raise ValueError(f"Expected at least 2 estimators, got {len(dictionaries)}.")
    for other in dictionaries[1:]:
        _check_sizes(dictionaries[0], other)
    cosines = matched(dictionaries)[1]  # NaN where an atom has no match
    alike = cosines >= threshold
    sizes = np.array([len(atoms) for atoms in dictionaries])
    # Each atom is its own match in the same dictionary.
    shares = (alike.sum(axis=1) - 1) / (len(dictionaries) - 1)
    of_pairs = cosines[np.triu_indices(len(dictionaries), 1)]
    return (
        [share[:size] for share, size in zip(shares, sizes, strict=True)],
        alike.sum(axis=2) / sizes[:, None],
        of_pairs[~np.isnan(of_pairs)],
    )


def _unit_atoms(estimator):
    """Return the atoms of an estimator, or an array of atoms, divided by their lengths."""
    atoms = estimator
    if hasattr(estimator, "fit"):
        atoms = fitted_step(estimator, needs="components_")[0].components_
    return normalize(check_array(atoms, dtype=np.float64, input_name="atoms"))


def _check_sizes(atoms, others):
    """Refuse atoms of different sizes."""
    if atoms.shape[1] != others.shape[1]:
        raise ValueError(
            f"Expected atoms of the same size, got {atoms.shape[1]} and {others.shape[1]} features."
        )


@validate_params({"threshold": _A_COSINE}, prefer_skip_nested_validation=True)
def dictionary_recovery(
    components: ArrayLike,
    dictionary: ArrayLike,
    threshold: float = 0.9,
    *,
    baseline: ArrayLike | None = None,
    random_state: RandomState = 0,
) -> Bunch:
    """Measure how much of a known dictionary was learned.

    Learned atoms are matched one to one with atoms of the dictionary that have a cosine of at
    least ``threshold``, so that the sum of these cosines is maximal. Precision is the share of
    learned atoms that have a match, recall the share of the dictionary that has one. An atom that
    is learned twice has one match, so that surplus atoms lower the precision.

    Parameters
    ----------
    components : array-like of shape (n_atoms, n_features)
        Learned atoms, such as ``components_``; dead ones count, unless they are left out here.
    dictionary : array-like of shape (n_true_atoms, n_features)
        Atoms that the samples were made of, see :func:`~skl_sae.datasets.make_sparse_rows`.
    threshold : float, default=0.9
        Smallest cosine of atoms that are the same.
    baseline : array-like of shape (n_atoms, n_features) or None, default=None
        Atoms of an untrained estimator, see :func:`untrained_twin`.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    recovery : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        names : tuple of str
            ("precision", "recall"), in the order of the arrays below.
        value : ndarray of shape (2,)
            Precision and recall, between 0 and 1.
        interval : ndarray of shape (2, 2)
            Lower, then upper limits of 95 % intervals by bootstraps over learned and over true
            atoms.
        baseline : ndarray of shape (2,) or None
            The same of the baseline.
        difference, difference_interval : ndarrays of shapes (2,) and (2, 2), or None
            Shares beyond those of the baseline, and their intervals.
        precision, recall : float
            The same by name.
        matches : ndarray of shape (n_true_atoms,), dtype int64
            Learned atom that is matched to each atom of the dictionary; -1 for none.
        max_cosine : ndarray of shape (n_true_atoms,)
            Largest cosine of each atom of the dictionary with any learned one.

    Examples
    --------
    >>> from skl_sae.inspection import dictionary_recovery
    >>> atoms = [[2, 0, 0], [1, 0.1, 0], [0, 1, 1]]
    >>> recovery = dictionary_recovery(atoms, [[1, 0, 0], [0, 1, 0]])
    >>> round(recovery.precision, 2), recovery.recall, recovery.matches
    (0.33, 0.5, array([ 0, -1]))
    """
    matches, learned, max_cosine = _matched(components, dictionary, threshold)
    parts = [learned, matches >= 0]
    of_baseline = [None, None]
    if baseline is not None:
        theirs = _matched(baseline, dictionary, threshold)
        of_baseline = [theirs[1], theirs[0] >= 0]
    # The two are shares of different atoms; those of the dictionary are the same for a baseline.
    precision, recall = (
        resampled(*_as_units(part, other), paired=paired, random_state=random_state)
        for part, other, paired in zip(parts, of_baseline, (False, True), strict=True)
    )
    both = {
        name: None if precision[name] is None else np.stack([precision[name], recall[name]], -1)
        for name in precision
    }
    return Bunch(
        names=("precision", "recall"), **both, precision=precision["value"],
        recall=recall["value"], matches=matches, max_cosine=max_cosine,
    )  # fmt: skip


def _as_units(part, baseline):
    return [
        None if shares is None else shares[None].astype(np.float64) for shares in (part, baseline)
    ]


def _matched(components, dictionary, threshold):
    """Return matches of the dictionary, whether learned atoms have one, and largest cosines."""
    learned = _unit_atoms(components)
    true = _unit_atoms(dictionary)
    _check_sizes(true, learned)
    cosine = true @ learned.T
    own, other = linear_sum_assignment(np.where(cosine >= threshold, cosine, 0), maximize=True)
    alike = cosine[own, other] >= threshold
    matches, has_match = np.full(len(cosine), -1), np.zeros(len(learned), dtype=bool)
    matches[own[alike]] = other[alike]
    has_match[other[alike]] = True
    return matches, has_match, cosine.max(axis=1)
