"""Sizes of a flat model: what n_components and k mean for given rows."""

from itertools import pairwise
from numbers import Integral

import numpy as np

# The default number of atoms: at most, for each feature, and for each row. More atoms than there
# are signs of directions in the rows stay dead.
_MOST_ATOMS, _ATOMS_OF_FEATURE, _ATOMS_OF_ROW = 1024, 4, 2
# The default k leaves so many features to each active atom: a code is shorter than its row.
_FEATURES_OF_ACTIVE = 2


def number_of_atoms(n_components, shape, start=None, prefixes=()):
    """The number of atoms of a member that n_components means for rows of this shape."""
    if n_components is None and prefixes:
        return prefixes[-1]
    if n_components is not None:
        return int(n_components)
    if start is not None:
        return start.shape[1]
    n_rows, n_features = shape
    return min(_MOST_ATOMS, _ATOMS_OF_FEATURE * n_features, _ATOMS_OF_ROW * n_rows)


def checked_prefixes(prefixes):
    """Numbers of first atoms that are to be models of their own, as rising integers."""
    if prefixes is None:
        return ()
    sizes = np.asarray(prefixes, dtype=object)
    are_whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in sizes.flat)
    if sizes.ndim != 1 or not (len(sizes) and are_whole and _rise([0, *sizes])):
        raise ValueError(
            "Expected prefixes as rising integers of at least 1, such as (32, 128, 512), "
            f"got {prefixes!r}."
        )
    return tuple(map(int, sizes))


def number_active(k, n_components, n_features):
    """The number of active atoms that k means for so many atoms and features."""
    if k is None:
        return max(1, min(int(0.05 * n_components), n_features // _FEATURES_OF_ACTIVE))
    if isinstance(k, Integral):
        if k > n_components:
            raise ValueError(f"Expected k <= n_components, got k={k} > {n_components}.")
        return int(k)
    return max(1, int(k * n_components))


def _rise(numbers):
    return all(first < second for first, second in pairwise(numbers))
