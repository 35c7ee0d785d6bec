"""Loops over the picked atoms of images, each at its place."""

import numpy as np

from ._compile import compiled


@compiled
def add_at_places(part, decoder, places, active, images):
    """Add atoms, times their activations, to images at their places.

    Parameters
    ----------
    part : Range
        Of the images.
    decoder : ndarray of shape (H, D), dtype float32
        Atoms.
    places : PlaceOffsets
        Where their lines lie.
    active : ActiveAtoms
        Of shape (B, picks); an index is ``place H + atom``.
    images : ndarray of shape (B, L), dtype float32
        What is added to, in place.
    """
    indices, values = active
    width = places.width
    for b in range(part.begin, part.end):
        for p in range(indices.shape[1]):
            value = values[b, p]
            if value == 0:
                continue
            place, h = divmod(indices[b, p], len(decoder))
            for line in range(places.height):
                begin = places.begins[place] + line * places.pitch
                image = images[b, begin : begin + width]
                atom = decoder[h, line * width : (line + 1) * width]
                for d in range(width):
                    image[d] += value * atom[d]


@compiled
def sum_picks(part, picks, source, gradient):
    """Add to the gradients of atoms: gradient[h] += sum of values[p] source[rows[p]].

    Parameters
    ----------
    part : Range
        Of the atoms.
    picks : AtomPicks
        Which rows an atom's gradient is a sum of.
    source : ndarray of shape (any, D), dtype float32
        These rows.
    gradient : ndarray of shape (H, D), dtype float32
        Added to, in place.
    """
    for h in range(part.begin, part.end):
        total = gradient[h]
        for p in range(picks.indptr[h], picks.indptr[h + 1]):
            value, row = picks.values[p], source[picks.rows[p]]
            for d in range(len(row)):
                total[d] += value * row[d]


@compiled
def multiply_picked(part, decoder, rows, picks, slope, products):
    """Fill in the products of picked atoms with the patches at their places, times a slope.

    Parameters
    ----------
    part : Range
        Of the images.
    decoder : ndarray of shape (H, D), dtype float32
        Atoms.
    rows : ndarray of shape (B P, D), dtype float32
        Patches.
    picks : tuple (atoms, rows), each an ndarray of shape (B, picks), dtype int64
        Which atom, and which patch.
    slope : ndarray of shape (B,), dtype float64
        Factor of an image's products.
    products : ndarray of shape (B, picks), dtype float32
        Filled in.
    """
    atoms, numbers = picks
    for b in range(part.begin, part.end):
        factor = np.float32(slope[b])
        for p in range(atoms.shape[1]):
            atom, row, total = decoder[atoms[b, p]], rows[numbers[b, p]], np.float32(0)
            for d in range(len(row)):
                total += atom[d] * row[d]
            products[b, p] = factor * total
