"""Values of active atoms by non-negative least squares, the choice of atoms held."""

import numpy as np

from ._compile import compiled
from ._ranges import run

# A row is done when no value moves by more than this part of the largest; or after so many sweeps.
# Images have more values, which depend less on one another.
_STILL, _STILL_IN_IMAGES, _MOST_SWEEPS = 1e-5, np.float32(1e-3), 200


@compiled
def _dot(row, atom):
    total = np.float32(0)
    for d in range(len(row)):
        total += row[d] * atom[d]
    return total


@compiled
def _descend(values, gram, slopes, n):
    """Minimise z' G z / 2 - p' z over z >= 0, one value after another; slopes are p - G z.

    Each move is the best for its value, so the error never rises.
    """
    for _ in range(_MOST_SWEEPS):
        moved = largest = 0.0
        for j in range(n):
            before = values[j]
            after = max(0.0, before + slopes[j] / gram[j, j])
            change = after - before
            if change != 0:
                values[j] = after
                for i in range(n):
                    slopes[i] -= change * gram[i, j]
            moved, largest = max(moved, abs(change)), max(largest, after)
        if moved <= _STILL * largest:
            break


@compiled
def _refit_rows(part, rows, atoms, grams, picks, values):
    k, has_grams = picks.shape[1], len(grams) > 0
    active = np.empty(k, np.int64)
    found, slopes, gram = np.empty(k), np.empty(k), np.empty((k, k))
    for row in range(part.begin, part.end):
        n = 0
        for i in range(k):
            if values[row, i] > 0:
                active[n], found[n] = i, values[row, i]
                slopes[n] = _dot(rows[row], atoms[picks[row, i]])
                n += 1
        for i in range(n):
            atom = picks[row, active[i]]
            for j in range(i + 1):
                other = picks[row, active[j]]
                product = grams[atom, other] if has_grams else _dot(atoms[atom], atoms[other])
                gram[i, j] = gram[j, i] = product
        for i in range(n):
            for j in range(n):
                slopes[i] -= gram[i, j] * found[j]
        _descend(found, gram, slopes, n)
        for i in range(n):
            values[row, active[i]] = found[i]


def refit_rows(rows, atoms, grams, picks, values, n_threads):
    """Change the positive values (B, k) of picks, in place, to what reconstructs rows best.

    ``grams`` are the atoms' products with one another, or of shape (0, 0) where those of the picks
    are formed for each row.
    """
    run([(_refit_rows, len(rows), (rows, atoms, grams, picks, values))], n_threads)


# --- Small atoms at places of images ---


@compiled
def _product_at(image, atom, places, place):
    """Product of an atom with the patch at its place."""
    total, width = np.float32(0), places.width
    for line in range(places.height):
        begin = places.begins[place] + line * places.pitch
        for d in range(width):
            total += image[begin + d] * atom[line * width + d]
    return total


@compiled
def _subtract_at(image, inside, atom, places, place, change):
    """image -= change times an atom at its place, but for the margin, where inside is 0."""
    width = places.width
    for line in range(places.height):
        begin = places.begins[place] + line * places.pitch
        for d in range(width):
            image[begin + d] -= change * atom[line * width + d] * inside[begin + d]


@compiled
def _square_at(inside, atom, places, place):
    """Squared length of what an atom has inside the image."""
    total, width = np.float32(0), places.width
    for line in range(places.height):
        begin = places.begins[place] + line * places.pitch
        for d in range(width):
            part = atom[line * width + d]
            total += part * part * inside[begin + d]
    return total


@compiled
def _refit_images(part, images, inside, atoms, places, picks, values):
    k = picks.shape[1]
    squares = np.empty(k, np.float32)
    for b in range(part.begin, part.end):
        left = images[b]
        for i in range(k):
            squares[i] = 0
            if values[b, i] > 0:
                place, h = divmod(picks[b, i], len(atoms))
                squares[i] = _square_at(inside, atoms[h], places, place)
                _subtract_at(left, inside, atoms[h], places, place, values[b, i])
        for _ in range(_MOST_SWEEPS):
            moved = largest = np.float32(0)
            for i in range(k):
                before = values[b, i]
                # One that has become 0 may rise again; one that was never picked has no square.
                if squares[i] == 0:
                    continue
                place, h = divmod(picks[b, i], len(atoms))
                slope = _product_at(left, atoms[h], places, place)
                after = max(np.float32(0), before + slope / squares[i])
                change = after - before
                if change != 0:
                    values[b, i] = after
                    _subtract_at(left, inside, atoms[h], places, place, change)
                moved, largest = max(moved, abs(change)), max(largest, after)
            if moved <= _STILL_IN_IMAGES * largest:
                break


def refit_images(images, inside, atoms, places, picks, values, n_threads):
    """Change positive values (B, k) of picks, in place, to what reconstructs images best.

    ``images`` (B, L) are framed and centred, with a margin of 0, and lost; ``inside`` (L,) is 1
    but for the margin; an index of ``picks`` is ``place H + atom``.
    """
    arguments = images, inside, atoms, places, picks, values
    run([(_refit_images, len(images), arguments)], n_threads)
