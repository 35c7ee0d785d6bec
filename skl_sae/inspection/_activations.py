"""Activations: the absolute values of codes."""

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array


def activations_of(codes):
    """Return the absolute values of codes as a new CSR array, float64, with no stored zeros."""
    return abs(codes_of(codes))


def codes_of(codes):
    """Return codes as a new CSR array, float64, with no stored zeros."""
    codes = check_array(codes, accept_sparse="csr", dtype=np.float64, input_name="codes")
    # A copy, since check_array may return the caller's own array.
    codes = sp.csr_array(codes, copy=True)
    codes.sum_duplicates()
    codes.eliminate_zeros()
    return codes


def check_atom(atom, n_atoms):
    """Raise a ValueError unless atom is the index of one of n_atoms."""
    if not isinstance(atom, Integral) or not 0 <= atom < n_atoms:
        raise ValueError(f"Expected an atom from 0 to {n_atoms - 1}, got {atom!r}.")
