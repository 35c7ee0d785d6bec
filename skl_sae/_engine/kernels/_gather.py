"""Picks of rows put in order by atom, which makes each atom's gradient a short sum of rows."""

import numpy as np

from ._compile import compiled
from ._parcels import EARLIER_SHARE, AtomPicks, Sides


@compiled
def _sum_up(indptr):
    """Turn counts, each one place late, into where each atom's picks begin and end."""
    for atom in range(1, len(indptr)):
        indptr[atom] += indptr[atom - 1]


@compiled
def _count(picks, n_components, counts):
    n_members, n_rows, n_picks = picks.indices.shape
    for e in range(n_members):
        for b in range(n_rows):
            for p in range(n_picks):
                if picks.indices[e, b, p] >= 0:  # -1 only fills up
                    counts[e * n_components + picks.indices[e, b, p] + 1] += 1


@compiled
def count_firing(live, counts):
    """Note which atoms fired; one that top-k picked with value 0 has not."""
    fired, rows_since = counts
    n_members, n_rows, n_picks = live.indices.shape
    for e in range(n_members):
        for h in range(fired.shape[1]):
            rows_since[e, h] += n_rows
        for b in range(n_rows):
            for p in range(n_picks):
                if live.values[e, b, p] > 0:
                    fired[e, live.indices[e, b, p]] += live.weight[e, b]
                    rows_since[e, live.indices[e, b, p]] = 0


@compiled
def _place(picks, first_row, n_rows_of_one, tied, place, out, projection, bias_gradient):
    """Put the picks of residuals, whose rows begin at first_row, in their places.

    Of several residuals those of a member follow one another, so that its rows are as many times
    those of one.
    """
    n_components = len(projection) // len(picks.indices)
    n_members, n_rows, n_picks = picks.indices.shape
    rows, values = out.rows, out.values
    n, n_of_member = len(rows) // 2, n_rows_of_one // n_members
    n_of_residuals = max(n_of_member, n_rows)
    for i in range(n_members * n_rows):
        e, b = divmod(i, n_rows)
        for p in range(n_picks):
            if picks.indices[e, b, p] < 0:
                continue
            atom = e * n_components + picks.indices[e, b, p]
            is_earlier = picks.indices[e, b, p] < picks.begins[b]
            share = np.float32(EARLIER_SHARE if is_earlier else 1)
            value, product = picks.values[e, b, p], share * picks.products[e, b, p]
            gradient = share * picks.gradient[e, b, p] if value != 0 else np.float32(0)
            at = place[atom]
            place[atom] += 1
            # If tied both are picks of one atom, otherwise those of the encoder come after all.
            decoder_at, encoder_at = (2 * at, 2 * at + 1) if tied else (at, n + at)
            row = picks.rows[e, b, p]
            rows[decoder_at] = first_row + row
            values[decoder_at] = picks.slope[e, b] * share * value
            centred = row // n_of_residuals * n_of_member + row % n_of_member
            rows[encoder_at] = 2 * n_rows_of_one + centred
            values[encoder_at] = gradient
            bias_gradient[atom] += gradient
            projection[atom] += value * (product + (gradient if tied else np.float32(0)))


@compiled
def gather_picks(live, dead, nested, bias, tied, counts, n_rows):
    """Write each atom's gradient as a sum of rows, and note which atoms fired.

    With z the activations, g the gradient of the loss at them, r the residual times its slope and
    x the centred row, the gradient of a decoder's atom is the sum of ``z r`` over the rows that
    picked it, that of an encoder's the sum of ``g x``, that of a bias the sum of ``g``. The atom's
    product with its own gradient needs no pass over the atom: its products with r are known, and
    those with x are activation less bias.

    Parameters
    ----------
    live, dead, nested : Picks
        Picks of the residual, of what the dead atoms leave of it, and of further residuals, of
        which those of a member are rows that follow one another.
    bias : ndarray of shape (E, H), dtype float32
        The encoder's biases.
    tied : bool
        Whether encoder and decoder are one.
    counts : FiringCounts
        Brought up to date with the live picks.
    n_rows : int
        Number of rows of a residual.

    Returns
    -------
    picks : AtomPicks
        Rows are numbered over the residuals, the dead atoms' residuals, the centred rows, and
        further residuals.
        If tied, the picks of atom h are those from ``2 indptr[h]`` on; otherwise those of the
        encoder follow all those of the decoder.
    sides : Sides
        Projections and the bias's gradient.
    """
    n_members, n_components = bias.shape
    # A counting sort: count the picks of each atom, sum up, and put each pick in its place.
    indptr = np.zeros(bias.size + 1, np.int64)
    every, first_rows = (live, dead, nested), (0, n_rows, 3 * n_rows)
    for picks in every:  # a loop is compiled once
        _count(picks, n_components, indptr)
    _sum_up(indptr)
    n = indptr[-1]
    place = np.empty(bias.size, np.int64)
    projection, bias_gradient = np.zeros(bias.size, np.float32), np.zeros(bias.size, np.float32)
    for atom in range(bias.size):
        place[atom] = indptr[atom]
    out = AtomPicks(indptr, np.empty(2 * n, np.int64), np.empty(2 * n, np.float32))
    for picks, first_row in zip(every, first_rows):  # noqa: B905 (numba has no strict)
        _place(picks, first_row, n_rows, tied, place, out, projection, bias_gradient)
    # Of an encoder's atom w, w . (x - b) = z - c: the z of the sum were added with the picks.
    if tied:
        for e in range(n_members):
            for h in range(n_components):
                atom = e * n_components + h
                projection[atom] -= bias_gradient[atom] * bias[e, h]
    count_firing(live, counts)
    return out, Sides(projection, bias_gradient)


@compiled
def sort_picks(atoms, n_atoms):
    """Order picks by atom, keeping their order within one: indptr (n_atoms + 1,) and order."""
    indptr = np.zeros(n_atoms + 1, np.int64)
    for atom in atoms:
        indptr[atom + 1] += 1
    _sum_up(indptr)
    place, order = np.empty(n_atoms, np.int64), np.empty(len(atoms), np.int64)
    for atom in range(n_atoms):
        place[atom] = indptr[atom]
    for pick, atom in enumerate(atoms):
        order[place[atom]] = pick
        place[atom] += 1
    return indptr, order
