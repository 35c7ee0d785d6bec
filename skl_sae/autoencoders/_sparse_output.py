"""CSR codes of active atoms."""

import copy
import math

import numpy as np
import scipy.sparse as sp
import torch


def to_csr(active, n_components):
    """CSR codes, members side by side, of active atoms."""
    indices, values = active.indices.cpu(), active.values.cpu()
    n_members, n_rows, _ = indices.shape
    first = torch.arange(n_members)[:, None, None] * n_components
    # Sorted within a member; members stand in order, so the whole row is sorted.
    columns, order = (indices + first).sort(dim=2)
    columns = columns.transpose(0, 1).reshape(n_rows, -1).numpy()
    values = values.gather(2, order).transpose(0, 1).reshape(n_rows, -1).numpy()
    fired = values != 0
    indptr = np.zeros(n_rows + 1, np.int32)
    np.cumsum(fired.sum(axis=1), out=indptr[1:])
    return sp.csr_matrix(
        (values[fired], columns[fired].astype(np.int32), indptr),
        shape=(n_rows, n_members * n_components),
    )


def pooled(active, maps_shape, parts, function):
    """CSR codes (n, parts * H) of active atoms (1, n, any), pooled over the places of each part.

    Parameters
    ----------
    active : ActiveAtoms
        An index is ``place H + atom``.
    maps_shape : tuple (rows, columns, H)
        Places and atoms.
    parts : tuple of 2 ints
        Number of parts, vertically and horizontally.
    function : {"mean", "max"}
        What is kept of each atom's activations in a part.
    """
    *places_shape, n_components = maps_shape
    part = part_of_places(places_shape, parts)
    indices, values = active.indices[0].cpu().numpy(), active.values[0].cpu().numpy()
    indices = part[indices // n_components] * n_components + indices % n_components
    codes = sp.csr_matrix(
        (values.ravel(), indices.ravel(), np.arange(len(indices) + 1) * indices.shape[1]),
        shape=(len(indices), math.prod(parts) * n_components),
    )
    return one_a_column(codes, np.bincount(part).repeat(n_components), function)


def part_of_places(places_shape, parts):
    """Number of the part that each place is in, both in C order."""
    down, right = (np.arange(n) * p // n for n, p in zip(places_shape, parts, strict=True))
    return (down[:, None] * parts[1] + right).ravel()


def one_a_column(codes, n_places, function):
    """CSR codes of which a row has several numbers a column, in any order: their mean or maximum.

    Parameters
    ----------
    codes : csr_matrix of shape (n, columns)
        May be changed.
    n_places : ndarray of shape (columns,)
        Number of places that a column is of; those without a number are 0.
    function : {"mean", "max"}
        What is kept.
    """
    codes.sort_indices()
    begins = np.ones(codes.nnz, bool)
    begins[1:] = codes.indices[1:] != codes.indices[:-1]
    firsts = codes.indptr[:-1]
    begins[firsts[firsts < codes.nnz]] = True
    (first,) = begins.nonzero()
    columns = codes.indices[first]
    if function == "mean":
        values = np.add.reduceat(codes.data, first) / n_places[columns].astype(np.float32)
    else:
        values = np.maximum.reduceat(codes.data, first)
        # Somewhere else the atom is not active.
        some = np.diff(first, append=codes.nnz) < n_places[columns]
        values[some] = np.maximum(values[some], 0)
    indptr = np.concatenate([[0], begins.cumsum()])[codes.indptr]
    pooled = sp.csr_matrix((values, columns, indptr), shape=codes.shape)
    pooled.eliminate_zeros()
    return pooled


def mean_codes(codes, n_members):
    """The mean of the members' codes, which stand side by side."""
    n_components = codes.shape[1] // n_members
    mean = sp.csr_matrix(
        (codes.data / np.float32(n_members), codes.indices % n_components, codes.indptr),
        shape=(codes.shape[0], n_components),
    )
    # The same atom of several members is one column.
    mean.sum_duplicates()
    return mean


# --- dask ---


def is_dask_array(X):
    """Whether it is one, found without an import of dask."""
    return type(X).__module__.partition(".")[0] == "dask" and hasattr(X, "map_blocks")


def codes_of_dask_array(estimator, X):
    """Codes that dask computes when they are asked for, of each of its chunks of rows."""
    import dask

    # A whole row, or image, is in one chunk. A later fit must not change what is computed then.
    X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    n_columns = estimator.transform(np.zeros((1, *X.shape[1:]), np.float32)).shape[1]
    kind = sp.csr_matrix if estimator.sparse_output else np.empty
    return X.map_blocks(
        _codes_of_chunk, estimator=dask.delayed(copy.deepcopy(estimator)),
        dtype=np.float32, meta=kind((0, n_columns), dtype=np.float32),
        chunks=(X.chunks[0], (n_columns,)), drop_axis=list(range(2, X.ndim)),
    )  # fmt: skip


def _codes_of_chunk(X, estimator):
    return estimator.transform(X)
