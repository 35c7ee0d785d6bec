"""Sizes of a flat model: what n_components and k mean for given rows."""

from numbers import Integral

import numpy as np

# The default number of atoms: at most, for each feature, and for each row. More atoms than there
# are signs of directions in the rows stay dead.
_MOST_ATOMS, _ATOMS_OF_FEATURE, _ATOMS_OF_ROW = 1024, 4, 2
# The default k leaves so many features to each active atom: a code is shorter than its row.
_FEATURES_OF_ACTIVE = 2


def number_of_atoms(n_components, shape, start=None):
    """The number of atoms of a member that n_components means for rows of this shape."""
    if n_components is not None:
        return int(n_components)
    if start is not None:
        return start.shape[1]
    n_rows, n_features = shape
    return min(_MOST_ATOMS, _ATOMS_OF_FEATURE * n_features, _ATOMS_OF_ROW * n_rows)


def smaller_prefixes(prefixes, n_components):
    """The numbers of first atoms, fewer than all, that are to be models of their own."""
    if prefixes is None:
        return ()
    sizes = list(np.asarray(prefixes, dtype=object).ravel())
    are_whole = all(isinstance(n, Integral) and not isinstance(n, (bool, np.bool_)) for n in sizes)
    if not are_whole or np.ndim(prefixes) != 1 or sizes != sorted({*sizes}) or min(sizes) < 1:
        raise ValueError(
            f"Expected prefixes as rising numbers of atoms, each at least 1, got {prefixes!r}."
        )
    if sizes[-1] > n_components:
        raise ValueError(
            f"Expected prefixes <= n_components, got prefixes={prefixes!r} and {n_components}."
        )
    return tuple(int(n) for n in sizes if n < n_components)


def number_active(k, n_components, n_features):
    """The number of active atoms that k means for so many atoms and features."""
    if k is None:
        return max(1, min(int(0.05 * n_components), n_features // _FEATURES_OF_ACTIVE))
    if isinstance(k, Integral):
        if k > n_components:
            raise ValueError(f"Expected k <= n_components, got k={k} > {n_components}.")
        return int(k)
    return max(1, int(k * n_components))
