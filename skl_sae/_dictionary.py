"""Dictionaries to start from: unit-norm atoms, drawn independently for each member."""

import numpy as np
import torch

from ._basis import sparse_directions, useful_layout
from ._threads import one_thread, product

# Principal directions come from square matrices with sides of n_features or n_rows, the smaller.
# These bound the side, and so the time (seconds) and memory for any amount of data.
MAX_SIDE = 2048
MAX_ROWS = 2**15


@one_thread()
def initial_dictionary(kind, rows, shape, k, generator):
    """A dictionary for each member.

    Parameters
    ----------
    kind : {"random", "orthogonal", "pca"}
        "random" draws directions uniformly. "orthogonal" makes as many of them orthogonal
        to one another as the number of features allows. "pca" takes plus and minus the
        principal directions of the rows or of groups of their features, rotated to code them
        by few.
    rows : tensor of shape (n_rows, D)
        Centred data.
    shape : tuple (E, H, D)
        Members, atoms, features.
    k : int
        Number of active atoms a row.
    generator : torch.Generator
        Where random numbers come from.

    Returns
    -------
    dictionary : ndarray of shape (E, H, D), dtype float32
    """
    dictionary = np.empty(shape, dtype=np.float32)
    layout = None
    for atoms in torch.from_numpy(dictionary):
        if kind == "pca":
            drawn = _sample(rows, shape[0] == 1, generator)
            n_directions = -(-shape[1] // 2)
            layout = layout or useful_layout(drawn, n_directions, k, _seed(generator))
            directions = sparse_directions(drawn, n_directions, k, layout, _seed(generator))
            _fill_both_ways(atoms, directions, k, generator)
        elif kind == "orthogonal":
            _fill_orthogonal(atoms, generator)
        else:
            _fill_random(atoms, generator)
    return dictionary


def _sample(rows, alone, generator):
    """All rows or as many as allowed; of several members, each draws four fifths of them."""
    n_rows, n_features = rows.shape
    n_drawn = n_rows if alone else max(1, n_rows * 4 // 5)
    n_drawn = min(n_drawn, MAX_ROWS if n_features <= MAX_SIDE else MAX_SIDE)
    return rows[torch.randperm(n_rows, generator=generator)[:n_drawn]]


def _fill_random(atoms, generator):
    atoms.normal_(generator=generator)
    torch.nn.functional.normalize(atoms, dim=1, out=atoms)


def _fill_orthogonal(atoms, generator):
    """Orthonormal rows, in independent sets where there are more atoms than features."""
    for part in atoms.split(atoms.shape[1]):
        part.normal_(generator=generator)
        basis, upper = torch.linalg.qr(part.T)
        # With this sign the directions are uniform (Mezzadri 2007, arXiv:math-ph/0609050).
        part.copy_((basis * upper.diagonal().sign()).T)


def _fill_both_ways(atoms, directions, k, generator):
    """Plus and minus the directions, strongest first, then random ones that start dormant.

    The rest are random directions of which the leading ones have been taken away. They answer
    faintly to any row, so they are not among its k strongest atoms, as a mixture of the
    directions would be beside those it is made of; but they do answer, so that the dead
    atoms' loss can train them.
    """
    n_atoms, n_features = atoms.shape
    pairs = torch.stack([directions, -directions], dim=1).flatten(0, 1)[:n_atoms]
    atoms[: len(pairs)] = pairs
    rest = atoms[len(pairs) :]
    if len(rest):
        _fill_random(rest, generator)
        n_leading = min(len(directions) - 1, max(k, len(directions) // 2), n_features - 1)
        leading = directions[: max(0, n_leading)]
        rest -= product(product(rest, leading.T), leading)
        torch.nn.functional.normalize(rest, dim=1, out=rest)


def _seed(generator):
    return int(torch.randint(2**31 - 1, (), generator=generator))


def given_dictionary(atoms, shape):
    """Atoms that the user gives, at unit norm: an array of shape (E, H, D), dtype float32."""
    given = np.array(atoms, dtype=np.float32)
    expected = shape[1:] if shape[0] == 1 else shape
    if given.shape not in (expected, shape):
        raise ValueError(f"Expected init of shape {expected}, got {given.shape}.")
    norms = np.linalg.norm(given, axis=-1, keepdims=True)
    if not np.isfinite(given).all() or not norms.all():
        raise ValueError("Expected init with finite rows that are not all zero.")
    return (given / norms).reshape(shape)
