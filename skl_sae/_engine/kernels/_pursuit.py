"""Compiled loops for matching pursuit: over rows to code them, over atoms to fit them anew."""

import numpy as np

from .._tuning import BLOCK
from ._compile import compiled
from ._gather import sort_picks
from ._ranges import run

_WITHOUT_SIGN = np.int32(0x7FFFFFFF)


@compiled
def _pick(left):
    """Number of the atom whose product with the residual is largest, and its size.

    Without their signs float32 numbers are in the order of their bits as integers, and the
    largest of those is found many at a time.
    """
    bits = left.view(np.int32)
    largest, first = np.int32(-1), 0
    for start in range(0, len(bits), BLOCK):
        of_block = np.int32(0)
        for number in bits[start : start + BLOCK]:
            of_block = max(of_block, number & _WITHOUT_SIGN)
        if of_block > largest:
            largest, first = of_block, start
    for atom in range(first, len(bits)):
        if bits[atom] & _WITHOUT_SIGN == largest:
            return atom, abs(left[atom])
    return 0, np.float32(0)  # of no atoms


@compiled
def _along(factor, inverses, gram, picks, atom, i):
    """Fill in the factor's row i: the atom's parts along the i picks so far; what is left of 1."""
    # A row of the Cholesky factor L of the picked atoms' products G = L L', by forward
    # substitution.
    across = 1.0
    for j in range(i):
        part = np.float64(gram[picks[j], atom])
        for m in range(j):
            part -= factor[i, m] * factor[j, m]
        part *= inverses[j]
        factor[i, j] = part
        across -= part * part
    return across


@compiled
def _add(added, gram_row, parts, i):
    """Products of all atoms with what pick i adds across those before it, four at a time."""
    new = added[i]
    for h in range(len(new)):
        new[h] = gram_row[h]
    whole = i - i % 4
    for j in range(0, whole, 4):
        a, b, c, d = added[j], added[j + 1], added[j + 2], added[j + 3]
        of_a, of_b = np.float32(parts[j]), np.float32(parts[j + 1])
        of_c, of_d = np.float32(parts[j + 2]), np.float32(parts[j + 3])
        for h in range(len(new)):
            new[h] -= of_a * a[h] + of_b * b[h] + of_c * c[h] + of_d * d[h]
    for j in range(whole, i):
        a, of_a = added[j], np.float32(parts[j])
        for h in range(len(new)):
            new[h] -= of_a * a[h]


@compiled
def _take(left, added, scale, change):
    """Bring what a pick adds to unit length, and take it from what is left."""
    for h in range(len(left)):
        added[h] *= scale
        left[h] -= change * added[h]


# The coefficients z of the picked atoms solve L L' z = products: first L y = products, a number
# for each pick, whose square is what the pick explains; then L' z = y, when all are picked.


@compiled
def _part(factor, inverses, product, parts, i):
    """Return a row's part y_i along what pick i adds, from its product with the atom."""
    for j in range(i):
        product -= factor[i, j] * parts[j]
    return product * inverses[i]


@compiled
def _solve(factor, inverses, parts, out):
    """Solve ``factor' out = parts`` for a lower triangular factor; the parts are lost."""
    k = len(out)
    for i in range(k - 1, -1, -1):
        for j in range(i + 1, k):
            parts[i] -= factor[j, i] * parts[j]
        parts[i] *= inverses[i]
        out[i] = parts[i]


@compiled
def _product(row, atom):
    """In float64: the encoder's product rounds differently with the number of rows."""
    total = 0.0
    for d in range(len(row)):
        total += np.float64(row[d]) * np.float64(atom[d])
    return total


@compiled
def _pursue(part, data, gram, ending, work, coefficients, picks):
    rows, atoms, products = data
    all_added, factors, vectors = work
    added, factor = all_added[part.thread], factors[part.thread]
    parts, inverses = vectors[part.thread, 0], vectors[part.thread, 1]
    k = picks.shape[1]
    left = np.empty(products.shape[1], np.float32)
    for row in range(part.begin, part.end):
        for h in range(len(left)):
            left[h] = products[row, h]
        n_picks, explained = 0, 0.0
        while n_picks < k and explained < ending.explained[row]:
            i = n_picks
            atom, largest = _pick(left)
            if largest <= ending.product[row]:
                break
            n_picks += 1
            picks[row, i] = atom
            across = _along(factor, inverses, gram, picks[row], atom, i)
            if across > ending.dependent:
                inverses[i] = 1 / np.sqrt(across)
                product = _product(rows[row], atoms[atom])
                parts[i] = _part(factor, inverses, product, parts, i)
                explained += parts[i] * parts[i]
                # The residual loses its part along what the atom adds, at unit length.
                scale = np.float32(inverses[i])
                _add(added, gram[atom], factor[i], i)
                _take(left, added[i], scale, left[atom] * scale)
            else:  # 0 for 1 / L_ii leaves it out of all that follows
                inverses[i] = 0
                parts[i] = 0
                for j in range(i):
                    factor[i, j] = 0
                for h in range(len(left)):
                    added[i, h] = 0
            for j in range(i + 1):  # but for rounding they are 0
                left[picks[row, j]] = 0
        _solve(factor, inverses, parts, coefficients[row, :n_picks])


def pursue_rows(rows, atoms, products, gram, k, ending, n_threads):
    """Coefficients and picks of rows; ``products`` are those with all atoms, to pick by.

    A row that has ended has picks of atom 0 from there on, with coefficients of 0.
    """
    n_rows, n_atoms = products.shape
    coefficients = np.zeros((n_rows, k), np.float32)
    picks = np.zeros((n_rows, k), np.int64)
    n_scratch = n_threads or 1
    work = (
        np.empty((n_scratch, k, n_atoms), np.float32),
        np.zeros((n_scratch, k, k)),
        np.zeros((n_scratch, 2, k)),
    )
    arguments = (rows, atoms, products), gram, ending, work, coefficients, picks
    run([(_pursue, n_rows, arguments)], n_threads)
    return coefficients, picks


@compiled
def _refit(left, atoms, firsts, users, weights):
    moved = np.empty(atoms.shape[1], np.float32)
    for j in range(len(atoms)):
        picks = range(firsts[j], firsts[j + 1])
        moved[:] = 0
        square = np.float32(0)
        for p in picks:
            square += weights[p] * weights[p]
            for d in range(len(moved)):
                moved[d] += weights[p] * left[users[p], d]
        # atom <- normalised(atom + sum of z r / sum of z^2), r the residual with the atom in place
        if square == 0:
            continue
        atom, length = atoms[j], np.float32(0)
        for d in range(len(moved)):
            moved[d] = atom[d] + moved[d] / square
            length += moved[d] * moved[d]
        for d in range(len(moved)):
            moved[d] = moved[d] / np.sqrt(length) - atom[d]
            atom[d] += moved[d]
        # The residual follows, so that the next atom sees it as it is now.
        for p in picks:
            for d in range(len(moved)):
                left[users[p], d] -= weights[p] * moved[d]


def refit_atoms(left, atoms, coefficients, picks):
    """Move each atom in turn to where the rows that use it leave the least; all in place.

    ``left`` is what the codes, of shape (n_rows, k), leave of the rows.
    """
    firsts, order = sort_picks(picks.ravel(), len(atoms))
    _refit(left, atoms, firsts, order // picks.shape[1], coefficients.ravel()[order])
