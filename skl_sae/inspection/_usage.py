"""atom_usage: how often and how strongly atoms fire."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_array

from ..images._typing import SparseOrDense
from ._activations import activations_of


def atom_usage(codes: SparseOrDense, components: ArrayLike | None = None) -> Bunch:
    r"""Compute how often and how strongly each atom fires, and its share of the reconstruction.

    The share of atom :math:`j` is :math:`\lVert d_j \rVert^2 \sum_i z_{ij}^2`, divided by its
    sum over all atoms. It would be the share of the reconstruction's energy if the atoms were
    orthogonal.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    components : array-like of shape (n_atoms, n_features) or None, default=None
        Atoms, one for each column of codes. None means atoms of unit norm, such as
        ``components_``.

    Returns
    -------
    usage : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        frequency : ndarray of shape (n_atoms,)
            Fraction of the samples on which an atom fires.
        mean_activation : ndarray of shape (n_atoms,)
            Mean activation over the samples on which an atom fires; 0 if there are none.
        max_activation : ndarray of shape (n_atoms,)
            Largest activation.
        share : ndarray of shape (n_atoms,)
            Share of the reconstruction; sums to 1 unless all codes are 0.
        dead : ndarray of shape (n_atoms,), dtype bool
            Whether an atom fires on no sample.
        atoms_for_80 : int
            Smallest number of atoms that together have 80 % of the share.
        fraction_for_80 : float
            The same as a fraction of all atoms.

    Raises
    ------
    ValueError
        If components does not have one row for each column of codes.

    Examples
    --------
    >>> from skl_sae.inspection import atom_usage
    >>> usage = atom_usage([[3, 0, 1, 0], [1, 0, 0, 2]])
    >>> usage.frequency, usage.mean_activation, usage.dead
    (array([1. , 0. , 0.5, 0.5]), array([2., 0., 1., 2.]), array([False,  True, False, False]))
    >>> usage.share.round(2), usage.atoms_for_80, usage.fraction_for_80
    (array([0.67, 0.  , 0.07, 0.27]), 2, 0.5)
    """
    activations = activations_of(codes)
    n_samples, n_atoms = activations.shape
    counts = activations.count_nonzero(axis=0)
    share = _share(activations, components)
    atoms_for_80 = _atoms_for(0.8, share)
    return Bunch(
        frequency=counts / n_samples,
        mean_activation=activations.sum(axis=0) / np.maximum(counts, 1),
        max_activation=activations.max(axis=0).toarray().ravel(),
        share=share,
        dead=counts == 0,
        atoms_for_80=atoms_for_80,
        fraction_for_80=atoms_for_80 / n_atoms,
    )


def _share(activations, components):
    """Return each atom's share of the sum of squared activations, weighted by squared norms."""
    energy = activations.power(2).sum(axis=0)
    if components is not None:
        components = check_array(components, dtype=np.float64, input_name="components")
        if len(components) != len(energy):
            raise ValueError(f"Expected {len(energy)} atoms as codes has, got {len(components)}.")
        energy = energy * np.square(components).sum(axis=1)
    return energy / (energy.sum() or 1)


def cumulative_share(share):
    """Return the summed shares of no atom, of the atom of largest share, of the two, and so on."""
    return np.concatenate([[0], np.cumsum(np.sort(share)[::-1])])


def _atoms_for(fraction, share):
    """Return the smallest number of atoms that together have a fraction of the share."""
    curve = cumulative_share(share)
    # Sums round, and four of five equal atoms shall carry 80 %: hence a little less.
    return int(np.searchsorted(curve, fraction * curve[-1] * (1 - 1e-12)))
