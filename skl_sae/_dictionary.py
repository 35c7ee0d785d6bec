"""Dictionaries to start from: unit-norm atoms, drawn independently for each member."""

import numpy as np
import torch

# Principal directions come from a square matrix with a side of n_features or n_rows, the
# smaller. These bound the side, and so the time (seconds) and memory for any amount of data.
MAX_SIDE = 2048
MAX_ROWS = 2**15
# Each round of rotating directions decomposes a square matrix, with them as its side. This
# many rounds are made of up to ROTATED directions, and of more so many as take the same time.
MAX_ROUNDS = 30
ROTATED = 512
ROTATED_ROWS = 2**13


def initial_dictionary(kind, rows, shape, k, generator):
    """A dictionary for each member.

    Parameters
    ----------
    kind : {"random", "orthogonal", "pca"}
        "random" draws directions uniformly. "orthogonal" makes as many of them orthogonal
        to one another as the number of features allows. "pca" takes plus and minus the
        principal directions of the rows, rotated to code them by few.
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
            _fill_principal(atoms, _sample(rows, shape[0] == 1, generator), k, generator)
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


def _fill_principal(atoms, rows, k, generator):
    """Plus and minus the rotated principal directions, then random ones that start dormant.

    The rest are random directions of which the leading principal ones have been taken away.
    They answer faintly to any row, so they are not among its k strongest atoms, as a
    mixture of principal directions would be beside the directions it is made of; but they
    do answer, so that the dead atoms' loss can train them.
    """
    n_atoms, n_features = atoms.shape
    rows = rows.to(torch.float32)
    directions = _principal_directions(rows, -(-n_atoms // 2))
    rotated = _rotated(directions, rows[:ROTATED_ROWS], k)
    pairs = torch.stack([rotated, -rotated], dim=1).flatten(0, 1)[:n_atoms]
    atoms[: len(pairs)] = pairs
    rest = atoms[len(pairs) :]
    if len(rest):
        _fill_random(rest, generator)
        n_leading = min(len(directions) - 1, max(k, len(directions) // 2), n_features - 1)
        leading = directions[: max(0, n_leading)]
        rest -= (rest @ leading.T) @ leading
        torch.nn.functional.normalize(rest, dim=1, out=rest)


def _rotated(directions, rows, k):
    """Orthonormal directions of the same span, of which k leave less of each row.

    Each round takes every row's k largest coordinates and turns the directions to fit them
    best (an orthogonal Procrustes problem), as Lesage et al. do in "Learning unions of
    orthonormal bases with thresholded singular value decomposition", ICASSP 2005. Few rows
    of many features are soon known by heart; so there are only as many rounds as help rows
    that take no part.
    """
    n_directions = len(directions)
    n_rounds = int(MAX_ROUNDS * min(1, (ROTATED / max(1, n_directions)) ** 3))
    if n_directions < 2 or len(rows) < 5 or k >= n_directions:
        return directions
    n_rounds = _useful_rounds(rows, n_directions, k, n_rounds)
    coordinates = _coordinates(rows - rows.mean(0), directions)
    rotation = torch.eye(n_directions, dtype=torch.float64)
    for _ in range(n_rounds):
        rotation = _turned(rotation, coordinates, k)
    return rotation.float() @ directions


def _useful_rounds(rows, n_directions, k, n_rounds):
    """How many rounds, of at most n_rounds, serve a fifth of the rows that takes no part."""
    test, train = rows.tensor_split([len(rows) // 5])  # the rows are in random order
    center = train.mean(0)
    basis = _principal_directions(train, n_directions)
    test, train = (_coordinates(part - center, basis) for part in (test, train))
    rotation = torch.eye(len(basis), dtype=torch.float64)
    explained = []
    for i in range(n_rounds + 1):
        if i:
            rotation = _turned(rotation, train, k)
        explained.append(float(_largest(test @ rotation.T, k).square().sum()))
        if len(explained) > 3 and max(explained[-3:]) <= max(explained[:-3]):
            break
    return explained.index(max(explained))


def _coordinates(rows, directions):
    """Products of rows with directions, in float64 as in `_gram`."""
    parts = rows.split(1024)
    directions = directions.double()
    return torch.cat([part.double() @ directions.T for part in parts])


def _turned(rotation, coordinates, k):
    """The rotation that fits best the k largest coordinates after the one given."""
    targets = _largest(coordinates @ rotation.T, k)
    left, _, right = torch.linalg.svd(targets.T @ coordinates)
    return left @ right


def _largest(coordinates, k):
    """Each row with all but its k largest numbers, by magnitude, set to 0."""
    k = min(k, coordinates.shape[1])
    places = coordinates.abs().topk(k, dim=1, sorted=False).indices
    return torch.zeros_like(coordinates).scatter_(1, places, coordinates.gather(1, places))


def _principal_directions(rows, n_directions):
    """At most n_directions orthonormal directions, by falling variance: (n, D)."""
    n_rows, n_features = rows.shape
    rows = rows - rows.mean(0)
    wide = n_features > n_rows
    variances, vectors = torch.linalg.eigh(_gram(rows if wide else rows.T))
    variances, vectors = variances.flip(0), vectors.T.float().flip(0)
    # Below this the direction is rounding: the rows do not span it.
    spanned = variances > 1e-6 * variances[0].clamp(min=1e-12)
    directions = vectors[:n_directions][spanned[:n_directions]]
    return torch.nn.functional.normalize(directions @ rows if wide else directions, dim=1)


def _gram(rows):
    """Products of all rows with one another, in float64, a part of the features at a time.

    What float32 rounds differently from run to run, with the place of the rows in memory,
    would be blown up by each round of rotation.
    """
    gram = rows.new_zeros((len(rows), len(rows)), dtype=torch.float64)
    for part in rows.split(1024, dim=1):
        part = part.double()
        gram.addmm_(part, part.T)
    return gram


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
