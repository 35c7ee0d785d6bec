"""Places of atoms on a map, on which similar atoms are near."""

import numpy as np
from scipy.sparse.linalg import eigsh


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
        places = (vectors * np.sqrt(values.clip(0)))[:, ::-1][:, :2]
        return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    start = np.random.default_rng(0).normal(size=n_atoms)
    values, vectors = eigsh(centred.astype(np.float64), k=2, v0=start, tol=1e-4)
    # Eigenvectors have no sign of their own.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), [0, 1]])
    return (vectors * np.sqrt(values.clip(0)))[:, ::-1]
