"""Activations: the absolute values of codes."""

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array


def activations_of(codes):
    """Return the absolute values of codes as a new CSR array, float64, with no stored zeros."""
    codes = check_array(codes, accept_sparse="csr", dtype=np.float64, input_name="codes")
    # A copy, since check_array may return the caller's own array.
    activations = sp.csr_array(codes, copy=True)
    activations.sum_duplicates()
    np.abs(activations.data, out=activations.data)
    activations.eliminate_zeros()
    return activations


def check_atom(atom, n_atoms):
    """Raise a ValueError unless atom is the index of one of n_atoms."""
    if not isinstance(atom, Integral) or not 0 <= atom < n_atoms:
        raise ValueError(f"Expected an atom from 0 to {n_atoms - 1}, got {atom!r}.")
