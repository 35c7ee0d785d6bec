"""Dictionaries to start from: unit-norm atoms, drawn independently for each member."""

import numpy as np
import torch

# Principal directions come from a square matrix with a side of n_features or n_rows, the
# smaller. These bound the side, and so the time (seconds) and memory for any amount of data.
MAX_SIDE = 2048
MAX_ROWS = 2**15


def initial_dictionary(kind, rows, shape, k, generator):
    """A dictionary for each member.

    Parameters
    ----------
    kind : {"random", "orthogonal", "pca"}
        "random" draws directions uniformly. "orthogonal" makes as many of them orthogonal
        to one another as the number of features allows. "pca" takes plus and minus the
        principal directions of the rows.
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
    for atoms in torch.from_numpy(dictionary):
        if kind == "pca":
            _fill_principal(atoms, _bootstrap(rows, shape[0] > 1, generator), k, generator)
        elif kind == "orthogonal":
            _fill_orthogonal(atoms, generator)
        else:
            _fill_random(atoms, generator)
    return dictionary


def _bootstrap(rows, resample, generator):
    """All rows or as many as allowed; with replacement where members have to differ."""
    n_rows, n_features = rows.shape
    limit = min(n_rows, MAX_ROWS if n_features <= MAX_SIDE else MAX_SIDE)
    if resample:
        return rows[torch.randint(n_rows, (limit,), generator=generator)]
    if n_rows > limit:
        return rows[torch.randperm(n_rows, generator=generator)[:limit]]
    return rows


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


def _fill_principal(atoms, rows, k, generator):
    """Plus and minus the principal directions, then random ones that start out dormant.

    The rest are random directions of which the leading principal ones have been taken away.
    They answer faintly to any row, so they are not among its k strongest atoms, as a
    mixture of principal directions would be beside the directions it is made of; but they
    do answer, so that the dead atoms' loss can train them.
    """
    n_atoms, n_features = atoms.shape
    directions = _principal_directions(rows.to(torch.float32), -(-n_atoms // 2))
    pairs = torch.stack([directions, -directions], dim=1).flatten(0, 1)[:n_atoms]
    atoms[: len(pairs)] = pairs
    rest = atoms[len(pairs) :]
    if len(rest):
        _fill_random(rest, generator)
        n_leading = min(len(directions) - 1, max(k, len(directions) // 2), n_features - 1)
        leading = directions[: max(0, n_leading)]
        rest -= (rest @ leading.T) @ leading
        torch.nn.functional.normalize(rest, dim=1, out=rest)


def _principal_directions(rows, n_directions):
    """At most n_directions orthonormal directions, by falling variance: (n, D)."""
    n_rows, n_features = rows.shape
    rows = rows - rows.mean(0)
    if n_features <= n_rows:
        gram = (rows.T @ rows).double()
        variances, vectors = torch.linalg.eigh(gram)
        directions = vectors.T.float().flip(0)
    else:
        gram = (rows @ rows.T).double()
        variances, vectors = torch.linalg.eigh(gram)
        directions = (vectors.T.float() @ rows).flip(0)
    variances = variances.flip(0)
    # Below this the direction is rounding: the rows do not span it.
    spanned = variances > 1e-6 * variances[0].clamp(min=1e-12)
    directions = directions[:n_directions][spanned[:n_directions]]
    return torch.nn.functional.normalize(directions, dim=1)
