"""Places of atoms on a map, on which similar atoms are near."""

import numpy as np
from scipy.sparse.linalg import eigsh

from ._arrays import largest

_N_NEIGHBOURS, _N_STEPS, _N_REPELLED = 5, 150, 10
_MOST_FORCE = 4  # a pair of atoms at one place would fly apart
_CLOSEST = 1e-3  # squared distance from which on repulsion no longer grows


def arranged(cosines):
    """Return places on which each atom is near the five of largest cosine with it.

    The places minimize the sum over neighbours i, j of log(1 + d_ij^2), less the same of pairs at
    random, whose gradients are the forces of UMAP and LargeVis [1]_: neighbours attract, all others
    repel. They start from classical scaling. Atoms are nearly orthogonal where there are as many
    features, and then no map keeps all neighbours: of MNIST's 395 live atoms classical scaling had
    a trustworthiness of 0.58, a first version of this map 0.61, and t-SNE, which takes six times as
    long for 3,072 atoms, 0.68.

    Parameters
    ----------
    cosines : ndarray of shape (n_atoms, n_atoms)
        Cosines of the atoms.

    Returns
    -------
    places : ndarray of shape (n_atoms, 2)
        Places, the same for the same cosines.

    References
    ----------
    .. [1] L. McInnes, J. Healy and J. Melville, "UMAP: uniform manifold approximation and
       projection for dimension reduction", arXiv:1802.03426, 2018.
    """
    n_atoms = len(cosines)
    places = scaled(cosines)
    if n_atoms < 3:
        return places
    places *= 10 / max(np.abs(places).max(), 1e-12)
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    near = largest(others, min(_N_NEIGHBOURS, n_atoms - 1))[0]
    first, second = np.repeat(np.arange(n_atoms), near.shape[1]), near.ravel()
    rng = np.random.default_rng(0)
    for step in range(_N_STEPS):
        forces = _attraction(places, first, second) / near.shape[1]
        for _ in range(_N_REPELLED):
            forces += _repulsion(places, rng.permutation(n_atoms)) / 2
        places = places + forces * (1 - step / _N_STEPS)
    return places


def _attraction(places, first, second):
    """Return the force on each atom by its neighbours, and by those whose neighbour it is."""
    apart = places[first] - places[second]
    pulls = -2 * apart / (1 + np.square(apart).sum(axis=1, keepdims=True))
    pulls = pulls.clip(-_MOST_FORCE, _MOST_FORCE)
    sums = [
        np.bincount(first, pull, len(places)) - np.bincount(second, pull, len(places))
        for pull in pulls.T
    ]
    return np.stack(sums, axis=1)


def _repulsion(places, others):
    """Return the force on each atom by another one."""
    apart = places - places[others]
    square = np.square(apart).sum(axis=1, keepdims=True)
    pushes = 2 * apart / ((_CLOSEST + square) * (1 + square))
    return pushes.clip(-_MOST_FORCE, _MOST_FORCE)


def scaled(cosines):
    """Return the classical (Torgerson) scaling of atoms to two dimensions.

    Distances are those of unit atoms, whose square is 2 - 2 cos, so that these are the atoms' first
    two principal components.

    Parameters
    ----------
    cosines : ndarray of shape (n_atoms, n_atoms)
        Cosines of the atoms.

    Returns
    -------
    places : ndarray of shape (n_atoms, 2)
        Places, with a mean of 0.
    """
    n_atoms = len(cosines)
    centred = cosines - cosines.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    if n_atoms < 4:  # as many as eigsh does not take
        values, vectors = np.linalg.eigh(centred)
    else:
        start = np.random.default_rng(0).normal(size=n_atoms)
        values, vectors = eigsh(centred.astype(np.float64), k=2, v0=start, tol=1e-4)
    # Eigenvectors have no sign of their own.
    vectors = vectors * np.where(vectors.sum(axis=0) < 0, -1, 1)
    places = (vectors * np.sqrt(values.clip(0)))[:, ::-1][:, :2]
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
