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


@one_thread()
def pursued(rows, atoms, k, tolerance):
    """CSR codes of centred rows by orthogonal matching pursuit among atoms of any length."""
    lengths = np.maximum(np.linalg.norm(atoms, axis=1), np.finfo(np.float32).tiny)
    (n_atoms, n_features), rows = atoms.shape, np.ascontiguousarray(rows, np.float32)
    biases, center = np.zeros((1, n_atoms), np.float32), np.zeros((1, n_features), np.float32)
    parameters = Parameters((atoms / lengths[:, None])[None], None, biases, center, None)
    pursuit = Pursuit(LinearModel(parameters, k=min(k, n_atoms), device="cpu"), tolerance)
    codes = sp.vstack([
        to_csr(pursuit.encode(torch.from_numpy(rows[part])), n_atoms)
        for part in gen_batches(len(rows), pursuit_batch_size(n_atoms, k))
    ], format="csr")  # fmt: skip
    codes.data /= lengths[codes.indices]
    return codes


@one_thread()
def refitted(rows, codes, atoms, either_sign):
    """CSR codes of centred rows with the values that reconstruct them best by the same atoms.

    Values are of either sign, by least squares; or at least 0, as are those that are given.
    """
    rows = np.ascontiguousarray(rows, np.float32)
    picks, values = _padded(codes)
    if either_sign:
        n = max(1, CODES_AT_A_TIME // (picks.shape[1] * (picks.shape[1] + rows.shape[1])))
        for part in gen_batches(len(rows), n):
            values[part] = _least_squares(rows[part], atoms, picks[part], values[part] != 0)
    else:
        gram = products_of_atoms(torch.tensor(atoms), len(rows), picks.shape[1])
        kernels.refit_rows(
            rows, np.ascontiguousarray(atoms), gram, picks, values, allowed_threads()
        )
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
