"""Loops over rows: atoms added to them and multiplied with them, and correlations."""

import numpy as np

from .._tuning import TILE
from ._compile import compiled


@compiled
def add_atoms(row, indices, values, decoder):
    """row += sum of values[p] decoder[indices[p]], two atoms at a time."""
    last = len(indices) - 1
    # A tile of the row stays in the first-level cache while all atoms are added to it.
    for start in range(0, len(row), TILE):
        tile = row[start : start + TILE]
        for p in range(0, last, 2):
            x, y = values[p], values[p + 1]
            left = decoder[indices[p], start : start + TILE]
            right = decoder[indices[p + 1], start : start + TILE]
            for d in range(len(tile)):
                tile[d] += x * left[d] + y * right[d]
        if last % 2 == 0:
            x, left = values[last], decoder[indices[last], start : start + TILE]
            for d in range(len(tile)):
                tile[d] += x * left[d]


@compiled
def _square(row):
    total = np.float32(0)
    for d in range(len(row)):
        total += row[d] * row[d]
    return total


@compiled
def _multiply(row, indices, decoder, slope, out):
    """out[p] = slope row . decoder[indices[p]]; the row's square is returned."""
    for p in range(len(indices)):
        atom, total = decoder[indices[p]], np.float32(0)
        for d in range(len(row)):
            total += atom[d] * row[d]
        out[p] = slope * total
    return _square(row)


@compiled
def _n_picked(indices):
    """Number of picks before those that only fill up, whose index is -1."""
    n = len(indices)
    while n and indices[n - 1] < 0:
        n -= 1
    return n


@compiled
def decode_rows(part, decoder, active, slope, rows, products, squares):
    """Add D' z to rows; then multiply what is there with the picked atoms, and with itself.

    Parameters
    ----------
    part : Range
        Of the E B rows.
    decoder : ndarray of shape (E, H, D), dtype float32
        Atoms.
    active : ActiveAtoms
        Their indices and activations.
    slope : ndarray of shape (E, B), dtype float64
        Factor of a row's products.
    rows : ndarray of shape (E, B, D), dtype float32
        What is added to, in place.
    products : ndarray of shape (E, B, picks), dtype float32
        Filled with slope times the products of the rows with their atoms; empty for none.
    squares : ndarray of shape (E, B), dtype float32
        Filled with the rows' squared lengths, unless products are empty.
    """
    indices, values = active
    n_rows = rows.shape[1]
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        n = _n_picked(indices[e, b])
        add_atoms(rows[e, b], indices[e, b, :n], values[e, b, :n], decoder[e])
        if len(products):
            picked, factor = indices[e, b, :n], np.float32(slope[e, b])
            squares[e, b] = _multiply(rows[e, b], picked, decoder[e], factor, products[e, b])


@compiled
def multiply_rows(part, decoder, indices, slope, rows, products, squares):
    """Multiply rows with their picked atoms, and with themselves, as `decode_rows` does."""
    n_rows = rows.shape[1]
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        n = _n_picked(indices[e, b])
        picked, factor = indices[e, b, :n], np.float32(slope[e, b])
        squares[e, b] = _multiply(rows[e, b], picked, decoder[e], factor, products[e, b])


@compiled
def center_rows(part, rows, centers, centred):
    """centred[e, b] = rows[b] - centers[e]; a part of the E B rows."""
    n_rows = len(rows)
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        row, center, out = rows[b], centers[e], centred[e, b]
        for d in range(len(out)):
            out[d] = row[d] - center[d]


@compiled
def explain_rows(part, decoder, active, slope, rows, centred, explained):
    """Decode rows and multiply what is left of them, as `decode_rows` does, from the rows on.

    Parameters
    ----------
    part : Range
        Of the E B rows.
    decoder, active, slope
        As of `decode_rows`.
    rows : ndarray of shape (B, D), dtype float32
        Rows x.
    centred : ndarray of shape (E, B, D), dtype float32
        These less each member's centre, x - b.
    explained : Explained
        Filled in.
    """
    indices, values = active
    n_rows = len(rows)
    for i in range(part.begin, part.end):
        e, b = divmod(i, n_rows)
        n = _n_picked(indices[e, b])
        picked, factor = indices[e, b, :n], np.float32(slope[e, b])
        row, start = rows[b], centred[e, b]
        residual, reconstruction = explained.residual[e, b], explained.reconstruction[e, b]
        for d in range(len(row)):
            residual[d] = -start[d]
        add_atoms(residual, picked, values[e, b, :n], decoder[e])
        products = explained.products[e, b]
        explained.squares[e, b] = _multiply(residual, picked, decoder[e], factor, products)
        for d in range(len(row)):
            reconstruction[d] = residual[d] + row[d]


@compiled
def add_weighted_rows(part, rows, weight, out):
    """out[e] += sum of weight[e, b] rows[e, b] over the rows; a part of the D features."""
    for e in range(len(rows)):
        total = out[e, part.begin : part.end]
        for b in range(rows.shape[1]):
            row, w = rows[e, b, part.begin : part.end], weight[e, b]
            for d in range(len(total)):
                total[d] += w * row[d]


@compiled
def correlate_rows(part, rows, reconstruction, offset, correlations):
    """Fill in the Pearson correlation of each row with its reconstruction; NaN for a constant row.

    Both (B, D) are in scaled units, in which ``offset`` (D,) is the mean of the data. The sums,
    about the means of both, are in float64. A constant reconstruction counts as 0.
    """
    n = rows.shape[1]
    for b in range(part.begin, part.end):
        mean_x, mean_y = 0.0, 0.0
        for d in range(n):
            mean_x += rows[b, d] + offset[d]
            mean_y += reconstruction[b, d] + offset[d]
        mean_x, mean_y = mean_x / n, mean_y / n
        xx, xy, yy = 0.0, 0.0, 0.0
        for d in range(n):
            x = rows[b, d] + offset[d] - mean_x
            y = reconstruction[b, d] + offset[d] - mean_y
            xx += x * x
            xy += x * y
            yy += y * y
        # In scaled units rows that vary have lengths of about the root of n_features.
        if xx <= 1e-12:
            correlations[b] = np.nan
        else:
            correlations[b] = xy / np.sqrt(xx * yy) if yy > 0 else 0.0
