"""Loops over rows whose picks several ranks have found, each among its own atoms."""

import numpy as np

from ._compile import compiled
from ._top_k import keep_largest, scratch_for


@compiled
def merge_rows(part, found, starts, active):
    """Pick the largest of what all ranks have picked; of equal ones those of the first rank.

    Parameters
    ----------
    part : Range
        Of the E B rows.
    found : ndarray of shape (ranks, 2, E, B, picks), dtype int32
        Indices within each rank's atoms, and the bits of the values.
    starts : ndarray of shape (ranks,), dtype int64
        First atom of each rank.
    active : ActiveAtoms
        Filled in; 0 where a row has fewer positive values.
    """
    indices, values = active
    n_ranks, _, _, n_rows, n_picks = found.shape
    scratch = scratch_for(n_ranks * n_picks)
    keys, places = scratch[0], scratch[1]
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        for rank in range(n_ranks):
            first = rank * n_picks
            for pick in range(n_picks):
                places[first + pick] = starts[rank] + found[rank, 0, e, b, pick]
                keys[first + pick] = found[rank, 1, e, b, pick]
        keep_largest(keys, places, values[e, b].view(np.int32), indices[e, b])


@compiled
def own_rows(part, active, start, stop, own, places, widths):
    """Collect the picks of some atoms, first in their rows, and then what only fills up.

    Parameters
    ----------
    part : Range
        Of the E B rows.
    active : ActiveAtoms
        Of (E, B, picks).
    start, stop : int
        First of these atoms, and the one after the last.
    own : ActiveAtoms
        Filled in: numbered from 0; -1 with the value 0 where a row has fewer.
    places : ndarray of shape (E, B, picks), dtype int64
        Filled in: where these picks stood.
    widths : ndarray of shape (E B,), dtype int64
        Filled in: how many each row has.
    """
    n_rows, n_picks = active.values.shape[1:]
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        indices, values = active.indices[e, b], active.values[e, b]
        n = 0
        for pick in range(n_picks):
            # NaN counts, so that it shows in the loss.
            if start <= indices[pick] < stop and values[pick] != 0:
                own.indices[e, b, n] = indices[pick] - start
                own.values[e, b, n] = values[pick]
                places[e, b, n] = pick
                n += 1
        widths[i] = n
        for pick in range(n, n_picks):
            own.indices[e, b, pick], own.values[e, b, pick], places[e, b, pick] = -1, 0, 0
