"""One-pass codes whose values are fitted anew, the choice of active atoms held.

An encoder answers each atom by itself, so that two atoms that explain the same thing both count it.
Least squares over the chosen atoms, with values of at least 0, undoes that:

    z = argmin |x - b - D_S' z|^2  over  z >= 0,  S the atoms that top-k chose.

It begins with the encoder's values and moves one after another to where it is best, so that no row
is reconstructed worse than before (Franc, Hlavac and Navara, "Sequential coordinate-wise algorithm
for the non-negative least squares problem", 2005).
"""

import numpy as np
import torch

from . import kernels
from ._parameters import ActiveAtoms
from ._threads import allowed_threads, is_shared_work, product, without_autograd


def _n_threads(n_multiplications):
    return allowed_threads() if is_shared_work(n_multiplications) else None


def products_of_atoms(atoms, n_rows, k):
    """Products (H, H) of atoms with one another, as `kernels.refit_rows` takes them.

    Of few rows with k picks each, those of the picks are formed for each row: (0, 0).
    """
    if n_rows * k**2 < len(atoms) ** 2:
        return np.empty((0, 0), np.float32)
    return product(atoms, atoms.T).cpu().numpy()


class Refit:
    """Codes of a `LinearModel`, fitted anew.

    Parameters
    ----------
    model : LinearModel
        Chooses the atoms.
    n_rows : int
        Number of rows to come: of many, products of all atoms with one another pay off.
    """

    @without_autograd
    def __init__(self, model, n_rows):
        self.model = model
        self.grams = [
            products_of_atoms(atoms, n_rows, model.k) for atoms in model.parameters.decoder
        ]

    @without_autograd
    def encode(self, rows):
        """Active atoms of rows (B, D)."""
        p, active = self.model.parameters, self.model.encode(rows)
        values = active.values.cpu().contiguous().numpy()
        indices = active.indices.cpu().contiguous().numpy()
        n_threads = _n_threads(indices[0].size * rows.shape[1])
        for e, gram in enumerate(self.grams):
            centred = (rows - p.centers[e]).cpu().numpy()
            kernels.refit_rows(
                centred, p.decoder[e].cpu().numpy(), gram, indices[e], values[e], n_threads
            )
        return ActiveAtoms(active.indices, torch.from_numpy(values).to(rows.device))


class ConvRefit:
    """Codes of a `ConvModel`, fitted anew over each whole image.

    Parameters
    ----------
    model : ConvModel
        Chooses the atoms and their places.
    """

    def __init__(self, model):
        self.model = model

    @without_autograd
    def encode(self, rows):
        """Active atoms of images (B, H W C)."""
        model, places = self.model, self.model.places
        active = model.encode(rows)
        images = model.framed(rows).cpu().clone()
        inside = torch.ones(1, places.n_framed)
        for framed in (images, inside):
            places.clear_margin(framed)
        values = active.values.cpu().contiguous().numpy()
        kernels.refit_images(
            images.numpy(), inside[0].numpy(), model.parameters.decoder[0].cpu().numpy(),
            places.offsets, active.indices[0].cpu().contiguous().numpy(), values[0],
            _n_threads(values.size * places.atom_size),
        )  # fmt: skip
        return ActiveAtoms(active.indices, torch.from_numpy(values).to(rows.device))
