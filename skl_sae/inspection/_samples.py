"""top_samples: where atoms fire most strongly."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval

from ..images._typing import SparseOrDense, validate_params
from ._activations import activations_of, check_atom


@validate_params(
    {"n": [Interval(Integral, 1, None, closed="left")]}, prefer_skip_nested_validation=True
)
def top_samples(codes: SparseOrDense, atom: int, n: int = 10) -> np.ndarray:
    """Find the samples on which an atom fires most strongly.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    atom : int
        Index of the atom: a column of codes.
    n : int, default=10
        Largest number of samples.

    Returns
    -------
    indices : ndarray of shape (n_found,), dtype int64
        Indices of the samples, strongest first, equal ones in ascending order; fewer than n,
        possibly none, if the atom fires on fewer.

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
    indices, _ = strongest_samples(activations[:, [atom]], min(n, activations.shape[0]))
    return indices[indices >= 0]


def strongest_samples(codes, n):
    """Find the n samples of largest absolute code, for all atoms with one sort.

    Parameters
    ----------
    codes : sparse array of shape (n_samples, n_atoms)
        Codes without stored zeros.
    n : int
        Number of samples for each atom.

    Returns
    -------
    indices : ndarray of shape (n_atoms, n), dtype int64
        Indices of samples, strongest first, equal ones in ascending order; -1 if there are fewer.
    values : ndarray of shape (n_atoms, n)
        Their codes; 0 if there are fewer.
    """
    entries = by_strength(codes)
    atom = entries.atom
    # An entry's rank is its distance from the atom's first.
    rank = np.arange(len(atom)) - entries.first[atom]
    kept = rank < n
    indices = np.full((codes.shape[1], n), -1)
    values = np.zeros(indices.shape)
    indices[atom[kept], rank[kept]] = entries.sample[kept]
    values[atom[kept], rank[kept]] = entries.value[kept]
    return indices, values


class Entries(NamedTuple):
    """Codes that are not 0, atom by atom, the strongest of each first."""

    atom: np.ndarray  # column of each
    sample: np.ndarray  # row of each
    value: np.ndarray
    first: np.ndarray  # where each atom's begin, and the end (n_atoms + 1)


def by_strength(codes):
    """Sort the entries of codes by atom, then by absolute value, equal ones by sample."""
    entries = codes.tocoo()
    order = np.lexsort((entries.row, -np.abs(entries.data), entries.col))
    atom = entries.col[order]
    first = np.searchsorted(atom, np.arange(codes.shape[1] + 1))
    return Entries(atom, entries.row[order], entries.data[order], first)
