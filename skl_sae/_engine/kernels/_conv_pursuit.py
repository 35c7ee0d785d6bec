"""Matching pursuit over whole images, with the atoms of all places."""

import numpy as np

from ._compile import compiled
from ._pursuit import _part, _pick, _product, _solve
from ._ranges import run


@compiled
def _overlap(grams, first, second):
    """Number of the shift from one place to another; -1 if their patches do not meet."""
    row, column = divmod(first, grams.columns)
    other_row, other_column = divmod(second, grams.columns)
    down, right = other_row - row, other_column - column
    if abs(down) > grams.down or abs(right) > grams.right:
        return -1
    return (down + grams.down) * (2 * grams.right + 1) + right + grams.right


@compiled
def _along(factor, inverses, grams, picks, i):
    """Fill in the factor's row i: the atom's parts along the picks so far; what is left of 1."""
    # A row of the Cholesky factor L of the picked atoms' products G = L L'.
    n_atoms, across = grams.values.shape[1], 1.0
    place, atom = divmod(picks[i], n_atoms)
    for j in range(i):
        other_place, other = divmod(picks[j], n_atoms)
        shift = _overlap(grams, other_place, place)
        part = 0.0 if shift < 0 else np.float64(grams.values[shift, other, atom])
        for m in range(j):
            part -= factor[i, m] * factor[j, m]
        part *= inverses[j]
        factor[i, j] = part
        across -= part * part
    return across


@compiled
def _subtract(left, grams, n_places, pick, change):
    """left -= change times the products of a picked atom with all atoms whose patches meet it."""
    n_atoms, columns = grams.values.shape[1], grams.columns
    place, atom = divmod(pick, n_atoms)
    row, column = divmod(place, columns)
    for down in range(-grams.down, grams.down + 1):
        for right in range(-grams.right, grams.right + 1):
            if not (0 <= row + down < n_places // columns and 0 <= column + right < columns):
                continue
            shift = (down + grams.down) * (2 * grams.right + 1) + right + grams.right
            begin = ((row + down) * columns + column + right) * n_atoms
            products, part = grams.values[shift, atom], left[begin : begin + n_atoms]
            for h in range(n_atoms):
                part[h] -= change * products[h]


@compiled
def _pursue_images(part, data, grams, ending, coefficients, picks):
    patches, atoms, products = data
    k, n_atoms = picks.shape[1], len(atoms)
    n_places = products.shape[1] // n_atoms
    factor, inverses, parts = np.zeros((k, k)), np.zeros(k), np.zeros(k)
    before, solution, right_side = np.zeros(k), np.zeros(k), np.zeros(k)
    left = np.empty(products.shape[1], np.float32)
    for b in range(part.begin, part.end):
        left[:] = products[b]
        before[:] = 0
        n_picks, explained = 0, 0.0
        while n_picks < k and explained < ending.explained[b]:
            i = n_picks
            pick, largest = _pick(left)
            picks[b, i] = pick
            across = _along(factor, inverses, grams, picks[b], i)
            if largest <= ending.product[b] or across <= ending.dependent:
                # Nothing is left, or an atom that those picked make up already.
                picks[b, i] = 0
                break
            inverses[i] = 1 / np.sqrt(across)
            place, atom = divmod(pick, n_atoms)
            product = _product(patches[b * n_places + place], atoms[atom])
            parts[i] = _part(factor, inverses, product, parts, i)
            explained += parts[i] * parts[i]
            n_picks += 1
            # All coefficients change; the products with the residual follow.
            right_side[:n_picks] = parts[:n_picks]
            _solve(factor, inverses, right_side[:n_picks], solution[:n_picks])
            for j in range(n_picks):
                change = np.float32(solution[j] - before[j])
                if change != 0:
                    _subtract(left, grams, n_places, picks[b, j], change)
                before[j] = solution[j]
            for j in range(n_picks):  # but for rounding they are 0
                left[picks[b, j]] = 0
        for j in range(n_picks):
            coefficients[b, j] = solution[j]


def pursue_images(patches, atoms, products, grams, k, ending, n_threads):
    """Coefficients and picks (B, k) of images; an index is ``place H + atom``.

    ``products`` (B, P H) are those of the patches (B P, D) with all atoms, and ``grams`` are
    `ShiftedProducts`.
    """
    coefficients = np.zeros((len(products), k), np.float32)
    picks = np.zeros((len(products), k), np.int64)
    arguments = (patches, atoms, products), grams, ending, coefficients, picks
    run([(_pursue_images, len(products), arguments)], n_threads)
    return coefficients, picks
