"""The k largest positive numbers of each row."""

import numpy as np

from .._tuning import BLOCK
from ._compile import compiled

_WITHOUT_SIGN = np.int32(0x7FFFFFFF)
_INFINITY = np.int32(0x7F800000)


@compiled
def _sink(keys, indices):
    """Restore the order of a heap, the smallest first, after its first number has grown."""
    at, key, index = 0, keys[0], indices[0]
    while True:
        below = 2 * at + 1
        if below + 1 < len(keys) and keys[below + 1] < keys[below]:
            below += 1
        if below >= len(keys) or keys[below] >= key:
            break
        keys[at], indices[at] = keys[below], indices[below]
        at = below
    keys[at], indices[at] = key, index


@compiled
def _keep_largest(row, allowed, keys, indices):
    """Put the largest of the allowed numbers in a heap of zeros; whether one is no number.

    Positive float32 numbers are in the order of their bits as integers, others are negative then;
    and of integers vectors find the largest without caring for NaN.
    """
    worst = np.int32(0)
    for start in range(0, len(row), BLOCK):
        block, largest = row[start : start + BLOCK], np.int32(-1)
        for number in block:
            largest = max(largest, number)
            worst = max(worst, number & _WITHOUT_SIGN)
        # Most blocks hold none larger than the least of those kept.
        if largest > keys[0]:
            for h in range(len(block)):
                if block[h] > keys[0] and allowed[start + h]:
                    keys[0], indices[0] = block[h], start + h
                    _sink(keys, indices)
    return worst > _INFINITY


@compiled
def select_in_row(row, allowed, values, indices):
    """Fill in the largest positive of a row's allowed numbers, whose bits are given."""
    keys = values.view(np.int32)
    for pick in range(len(keys)):
        keys[pick] = 0
        indices[pick] = 0
    if len(keys) and _keep_largest(row, allowed, keys, indices):
        for pick in range(len(keys)):
            values[pick] = np.nan


@compiled
def _add(row, bias):
    for h in range(len(row)):
        row[h] += bias[h]


@compiled
def select_rows(part, preactivations, bias, allowed, active):
    """Pick the largest positive pre-activations of each row: z = TopK(ReLU(preactivations)).

    Parameters
    ----------
    part : Range
        Of the E B rows.
    preactivations : ndarray of shape (E, B, H), dtype float32
        Where to look.
    bias : ndarray of shape (E, H), dtype float32
        Added to them first, in place; empty for nothing.
    allowed : ndarray of shape (E, n_atoms), dtype bool
        Which of the first atoms to look at.
    active : ActiveAtoms
        Filled in. Where a row has fewer positive numbers than picks, the rest is 0; a NaN in a row
        makes all its values NaN, so that it shows in the loss.
    """
    indices, values = active
    n_rows, n_atoms = preactivations.shape[1], allowed.shape[1]
    bits = preactivations.view(np.int32)
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        if len(bias):
            _add(preactivations[e, b], bias[e])
        select_in_row(bits[e, b, :n_atoms], allowed[e], values[e, b], indices[e, b])
