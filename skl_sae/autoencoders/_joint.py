"""Codes by the atoms of several autoencoders together."""

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import gen_batches

from .._engine import kernels
from .._engine._device import check_fits
from .._engine._model import LinearModel
from .._engine._parameters import ActiveAtoms, Parameters
from .._engine._pursuit import Pursuit, pursuit_batch_size
from .._engine._refit import products_of_atoms
from .._engine._threads import allowed_threads, one_thread
from .._engine._tuning import CODES_AT_A_TIME
from ._ensemble import constant_of, is_flat
from ._sparse_output import to_csr

# Share of a mean square that is added to squares, so that atoms that come twice have a solution.
_RIDGE = 1e-6


def atoms_of(member):
    """Atoms (n_features_out, n_features) that the columns of a member's codes stand for.

    Of small atoms at all places that is a large matrix.
    """
    if len(getattr(member, "decoder_coefs_", ())):
        raise ValueError(
            "Expected members with linear decoders, got one with decoder_hidden_layer_sizes: codes "
            "by all members together are of sums of atoms."
        )
    n_columns, n_features = member._n_features_out, member.n_features_in_
    check_fits(4 * n_columns * n_features, f"The atoms of {n_columns} columns")
    if is_flat(member) and len(member.components_) == n_columns and len(member.centers_) == 1:
        return member.components_
    each = sp.identity(n_columns, np.float32, format="csr")
    return member.inverse_transform(each) - constant_of(member)


class JointPursuit:
    """Codes by orthogonal matching pursuit among atoms of any length.

    Parameters
    ----------
    atoms : ndarray of shape (H, D)
        The atoms.
    k : int
        Largest number of picks.
    tolerance : float or None
        Part of a row's squared norm at which it ends.
    """

    @one_thread()
    def __init__(self, atoms, k, tolerance):
        self.lengths = np.maximum(np.linalg.norm(atoms, axis=1), np.finfo(np.float32).tiny)
        n_atoms, n_features = atoms.shape
        biases, center = np.zeros((1, n_atoms), np.float32), np.zeros((1, n_features), np.float32)
        atoms = (atoms / self.lengths[:, None])[None]
        parameters = Parameters(atoms, None, biases, center, None)
        model = LinearModel(parameters, k=min(k, n_atoms), device="cpu")
        self.pursuit, self.batch_size = Pursuit(model, tolerance), pursuit_batch_size(n_atoms, k)

    @one_thread()
    def codes(self, rows):
        """CSR codes of centred rows."""
        rows = np.ascontiguousarray(rows, np.float32)
        codes = sp.vstack([
            to_csr(self.pursuit.encode(torch.from_numpy(rows[part])), len(self.lengths))
            for part in gen_batches(len(rows), self.batch_size)
        ], format="csr")  # fmt: skip
        codes.data /= self.lengths[codes.indices]
        return codes


class JointRefit:
    """Values that reconstruct rows best by the atoms of several members that a code has.

    Values are of either sign, by least squares; or at least 0, as are those that are given.

    Parameters
    ----------
    atoms : ndarray of shape (H, D)
        Atoms of all members.
    constant : ndarray of shape (1, D)
        Row of an empty code.
    k : int
        Number of active atoms of a row.
    n_rows : int
        Number of rows to come: of many, products of all atoms with one another pay off.
    either_sign : bool
        Whether values may be below 0.
    """

    def __init__(self, atoms, constant, k, n_rows, *, either_sign):
        self.atoms, self.constant = np.ascontiguousarray(atoms), constant
        self.k, self.n_rows, self.either_sign = k, n_rows, either_sign
        self._gram = None

    @one_thread()
    def codes(self, X, codes):
        """CSR codes of rows, with these values."""
        rows = np.ascontiguousarray(X - self.constant, np.float32)
        picks, values = _padded(codes)
        if self.either_sign:
            n = max(1, CODES_AT_A_TIME // (picks.shape[1] * (picks.shape[1] + rows.shape[1])))
            for part in gen_batches(len(rows), n):
                values[part] = _least_squares(
                    rows[part], self.atoms, picks[part], values[part] != 0
                )
        else:
            if self._gram is None:
                self._gram = products_of_atoms(torch.tensor(self.atoms), self.n_rows, self.k)
            kernels.refit_rows(rows, self.atoms, self._gram, picks, values, allowed_threads())
        active = ActiveAtoms(torch.from_numpy(picks)[None], torch.from_numpy(values)[None])
        return to_csr(active, codes.shape[1])


def _padded(codes):
    """Indices and values (n, most non-zeros of a row) of CSR codes, padded by values of 0."""
    counts = np.diff(codes.indptr)
    is_there = np.arange(max(1, counts.max(initial=0))) < counts[:, None]
    picks, values = np.zeros(is_there.shape, np.int64), np.zeros(is_there.shape, np.float32)
    picks[is_there], values[is_there] = codes.indices, codes.data
    return picks, values


def _least_squares(rows, atoms, picks, is_there):
    """Values (n, k) that reconstruct rows best, 0 where there is no atom."""
    # By torch, which here has one thread: NumPy's products may differ with their number.
    is_there = torch.from_numpy(is_there)
    chosen = torch.from_numpy(atoms[picks]).double() * is_there[:, :, None]
    squares = chosen @ chosen.mT
    diagonal = squares.diagonal(dim1=1, dim2=2)
    diagonal += torch.where(is_there, _RIDGE * diagonal, 1.0)
    targets = chosen @ torch.from_numpy(rows).double()[:, :, None]
    factor, _ = torch.linalg.cholesky_ex(squares)
    return torch.cholesky_solve(targets, factor)[..., 0].numpy()
