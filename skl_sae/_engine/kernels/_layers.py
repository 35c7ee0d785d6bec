"""Layers of a deep encoder, of which each corrects the code before."""

import numpy as np

from ._compile import compiled
from ._rows import add_atoms
from ._top_k import scratch_for, select_in_row


@compiled
def correct_rows(part, products, gram, scales, biases, active):
    """Pick the largest positive answers of each row in one layer after another, in place.

    In layer l that is z <- TopK(ReLU(z + s_l (p - G z) + c_l), k), and all of a row is in cache.

    Parameters
    ----------
    part : Range
        Of the B rows.
    products : ndarray of shape (B, H), dtype float32
        Products p of the rows with the atoms.
    gram : ndarray of shape (H, H) or (0, 0), dtype float32
        Products G of the atoms with one another; (0, 0) if p are already those of what z leaves.
    scales, biases : ndarray of shape (layers, H), dtype float32
        Of each layer.
    active : ActiveAtoms
        z, of shapes (1, B, k): that of the layer before, then of the last.
    """
    indices, values = active.indices[0], active.values[0]
    left, answers = np.empty_like(products[0]), np.empty_like(products[0])
    allowed, scratch = np.ones(len(left), np.bool_), scratch_for(len(left))
    for b in range(part.begin, part.end):
        for layer in range(len(scales)):
            left[:] = products[b]
            if len(gram):
                add_atoms(left, indices[b], -values[b], gram)
            for h in range(len(left)):
                answers[h] = biases[layer, h] + scales[layer, h] * left[h]
            for pick in range(indices.shape[1]):
                answers[indices[b, pick]] += values[b, pick]
            select_in_row(answers.view(np.int32), allowed, values[b], indices[b], scratch)
