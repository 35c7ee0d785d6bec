"""The k largest positive numbers of each row.

A row is cut into groups, of more than k. At least k of its numbers reach the k-th largest of the
groups' maxima, and few others do: these candidates are collected, and the k largest of them found.
Positive float32 numbers are in the order of their bits as integers, others are negative then; and
of integers vectors find the largest without caring for NaN.
"""

import numpy as np

from .._tuning import GROUP_SIZE, GROUPS_A_PICK
from ._compile import compiled

_WITHOUT_SIGN = np.int32(0x7FFFFFFF)
_INFINITY = np.int32(0x7F800000)


@compiled
def _kth_largest(keys, k):
    """The k-th largest of some integers, none negative; 0 where fewer than k are positive.

    From the highest bit on, a bit is set if k of them are still as large: n comparisons a bit, of
    which vectors do many at once if the count has as many bits as what is compared.
    """
    found, n = np.int32(0), len(keys)
    for bit in range(30, -1, -1):
        trial, n_smaller = np.int32(found | (np.int32(1) << bit)), np.int32(0)
        for i in range(n):
            n_smaller = np.int32(n_smaller + np.int32(keys[i] < trial))
        if n - n_smaller >= k:
            found = trial
    return found


@compiled
def _group_maxima(row, allowed, maxima):
    """Fill in the maxima of groups of every G-th number, at least 0; return the largest of all.

    For the maxima only allowed numbers count, and of the largest the sign does not.
    """
    largest, n_groups = np.int32(0), len(maxima)
    for g in range(n_groups):
        maxima[g] = 0
    for start in range(0, len(row), n_groups):
        numbers, may = row[start : start + n_groups], allowed[start : start + n_groups]
        for g in range(len(numbers)):
            largest = max(largest, numbers[g] & _WITHOUT_SIGN)
            maxima[g] = max(maxima[g], numbers[g] if may[g] else np.int32(0))
    return largest


@compiled
def _collect(row, allowed, maxima, bound, keys, places):
    """Note the allowed numbers that reach a bound, and where they are; how many there are."""
    n, n_groups = 0, len(maxima)
    for g in range(n_groups):
        if maxima[g] >= bound:
            for h in range(g, len(row), n_groups):
                if row[h] >= bound and allowed[h]:
                    keys[n], places[n] = row[h], h
                    n += 1
    return n


@compiled
def keep_largest(keys, places, values, indices):
    """Fill in the largest of some keys; 0 where there are too few."""
    n, k = len(keys), len(values)
    least = _kth_largest(keys, k) if n > k else np.int32(0)
    n_above, n_equal = 0, 0
    for i in range(n):
        n_above += keys[i] > least
    # Of those equal to the least of them, as many as there is room for.
    kept = 0
    for i in range(n):
        is_equal = keys[i] == least
        if keys[i] > least or (is_equal and n_equal < k - n_above):
            n_equal += is_equal
            values[kept], indices[kept] = keys[i], places[i]
            kept += 1
    for i in range(kept, k):
        values[i], indices[i] = 0, 0


@compiled
def scratch_for(n_numbers):
    """Memory in which `select_in_row` works on rows of so many numbers."""
    return np.empty((3, n_numbers), np.int32)


@compiled
def select_in_row(row, allowed, values, indices, scratch):
    """Fill in the largest positive of a row's allowed numbers, whose bits are given."""
    k = len(values)
    if k == 0:
        return
    n_groups = min(len(row), max(GROUPS_A_PICK * k, len(row) // GROUP_SIZE))
    maxima, keys, places = scratch[0, :n_groups], scratch[1], scratch[2]
    largest = _group_maxima(row, allowed, maxima)
    bound = max(np.int32(1), _kth_largest(maxima, k))
    n = _collect(row, allowed, maxima, bound, keys, places)
    keep_largest(keys[:n], places[:n], values.view(np.int32), indices)
    if largest > _INFINITY:
        for pick in range(k):
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
    bits, scratch = preactivations.view(np.int32), scratch_for(n_atoms)
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        if len(bias):
            _add(preactivations[e, b], bias[e])
        select_in_row(bits[e, b, :n_atoms], allowed[e], values[e, b], indices[e, b], scratch)
