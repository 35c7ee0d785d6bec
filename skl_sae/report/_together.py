"""Atoms that fire on the same images, and images of similar codes."""

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from ._arrays import largest

_ATOMS_AT_A_TIME = 512
# Atoms of fewer common images are not called correlated: one image makes any two of its rare
# atoms appear to be.
_LEAST_TOGETHER = 3


def fired_together(activations, n):
    r"""Find, for each atom, the n atoms whose firing correlates most with its own.

    The correlation of two binary variables is phi,

    .. math:: \phi = \frac{N n_{ab} - n_a n_b}{\sqrt{n_a (N - n_a) n_b (N - n_b)}},

    of N images, on which the atoms fire n_a and n_b times, and n_ab times both. It is 0 for atoms
    that are independent, where the Jaccard index of two frequent ones is large, and at most 1,
    where lift is largest for pairs of the rarest atoms.

    Parameters
    ----------
    activations : sparse array of shape (n_images, n_atoms)
        Activations.
    n : int
        Number of atoms to find.

    Returns
    -------
    atoms : ndarray of shape (n_atoms, n)
        Indices, the largest phi first; -1 where no further atom has phi above 0 and fires on three
        common images.
    phi : ndarray of shape (n_atoms, n)
        Their phi, 0 where there is none.
    """
    fires = sp.csc_array(activations.astype(bool).astype(np.float64))
    n_images, n_atoms = fires.shape
    counts = fires.sum(axis=0)
    spread = np.sqrt(counts * (n_images - counts))
    found = []
    for part in gen_batches(n_atoms, _ATOMS_AT_A_TIME):
        both = (fires[:, part].T @ fires).toarray()
        product = np.outer(spread[part], spread)
        phi = n_images * both - np.outer(counts[part], counts)
        phi = np.divide(phi, product, np.zeros_like(phi), where=product > 0)
        phi[both < _LEAST_TOGETHER] = 0
        found.append(_others(phi, part, n))
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def similar_rows(codes, n):
    """Find, for each image, the n images of largest cosine of codes; -1 where none is above 0."""
    unit = normalize(sp.csr_array(codes, dtype=np.float64))
    found = [
        _others((unit[part] @ unit.T).toarray(), part, n)
        for part in gen_batches(codes.shape[0], _ATOMS_AT_A_TIME)
    ]
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def _others(values, part, n):
    """Return the n largest of each row but itself, and -1 and 0 where they are not above 0."""
    own = np.arange(part.start, part.stop)
    values[own - part.start, own] = 0
    indices, values = largest(values, n)
    return np.where(values > 0, indices, -1), values.clip(0)
