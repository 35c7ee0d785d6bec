"""CSR codes of active atoms."""

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
