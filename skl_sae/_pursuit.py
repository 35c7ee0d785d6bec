"""Orthogonal matching pursuit over the atoms, many rows at a time; and atoms made to suit it."""

import torch
from torch.nn.functional import embedding_bag, normalize

from ._ensemble import without_autograd

# Numbers held at a time, of products and of factors.
_PRODUCTS = 2**21
_FACTORS = 2**24
# A row whose residual is so small a part of it is done.
_DONE = 1e-6
# An atom whose part across those picked is so small adds nothing to them.
_DEPENDENT = 1e-6


class Pursuit:
    """Codes of an engine's members by `pursue`."""

    def __init__(self, engine):
        self.engine = engine
        self.grams = [atoms @ atoms.T for atoms in engine.decoder]

    def encode(self, x):
        """Coefficients and atoms of the rows of x, each of shape (E, B, k)."""
        engine = self.engine
        members = zip(engine.centers, engine.decoder, self.grams, strict=True)
        codes = [pursue(x - center, atoms, gram, engine.k) for center, atoms, gram in members]
        return tuple(torch.stack(part) for part in zip(*codes, strict=True))


def pursuit_batch_size(n_atoms, k):
    """How many rows to pursue at a time."""
    return max(1, min(_PRODUCTS // n_atoms, _FACTORS // k**2))


@without_autograd
def pursue(rows, atoms, gram, k):
    """Codes of rows by orthogonal matching pursuit, with exactly k picks a row.

    Each step picks the atom with the largest product with the residual, and fits the row anew
    by all atoms picked so far: "Batch-OMP" of Rubinstein, Zibulevsky and Elad (2008), which
    works on the atoms' products with one another alone.

    Parameters
    ----------
    rows : tensor of shape (B, D)
        What to code, centred.
    atoms : tensor of shape (H, D)
        Unit-norm atoms.
    gram : tensor of shape (H, H)
        Products of the atoms with one another.
    k : int
        Number of picks.

    Returns
    -------
    coefficients : tensor of shape (B, k)
        Of either sign; 0 for a pick that a row had no need of.
    picks : tensor of shape (B, k)
        Numbers of the atoms, none twice in a row with coefficients other than 0.
    """
    n_rows = len(rows)
    products = rows @ atoms.T
    left = products.clone()  # products of the atoms with the residual
    enough = _DONE * rows.norm(dim=1)
    picks = torch.zeros((n_rows, k), dtype=torch.long, device=rows.device)
    # Cholesky factor of the picked atoms' gram matrix, and their products with the rows.
    factor = torch.zeros((n_rows, k, k), dtype=torch.float64, device=rows.device)
    targets = torch.zeros((n_rows, k, 1), dtype=torch.float64, device=rows.device)
    coefficients = targets
    for i in range(k):
        largest, atom = left.abs().max(dim=1)
        picks[:, i] = atom
        known = gram[picks[:, :i], atom[:, None]].double()
        along = torch.linalg.solve_triangular(factor[:, :i, :i], known[..., None], upper=False)
        across = 1 - along[..., 0].square().sum(1)
        useful = (largest > enough) & (across > _DEPENDENT)
        factor[:, i, :i] = along[..., 0] * useful[:, None]
        factor[:, i, i] = torch.where(useful, across, 1).sqrt()
        targets[:, i, 0] = products.gather(1, atom[:, None])[:, 0] * useful
        coefficients = torch.cholesky_solve(targets[:, : i + 1], factor[:, : i + 1, : i + 1])
        if i + 1 < k:
            weights = coefficients[..., 0].to(rows)
            explained = embedding_bag(picks[:, : i + 1], gram, mode="sum",
                                      per_sample_weights=weights)  # fmt: skip
            left = products - explained
            left.scatter_(1, picks[:, : i + 1], 0)  # but for rounding they are 0
    return coefficients[..., 0].to(rows), picks


@without_autograd
def finish_atoms(rows, atoms, k, n_rounds):
    """Improve unit-norm atoms, in place, for the codes that `pursue` gives centred rows.

    Each round codes all rows and then moves the atoms one by one to where they reconstruct
    best, the codes and the other atoms held: the block-coordinate step of Mairal, Bach, Ponce
    and Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 2010.
    """
    n_atoms = len(atoms)
    for _ in range(n_rounds):
        gram = atoms @ atoms.T
        codes_codes = atoms.new_zeros((n_atoms, n_atoms))
        codes_rows = torch.zeros_like(atoms)
        for part in rows.split(pursuit_batch_size(n_atoms, k)):
            coefficients, picks = pursue(part, atoms, gram, k)
            codes = part.new_zeros((len(part), n_atoms)).scatter_add_(1, picks, coefficients)
            codes_codes.addmm_(codes.T, codes)
            codes_rows.addmm_(codes.T, part)
        for j in torch.nonzero(codes_codes.diagonal() > 0).flatten().tolist():
            step = (codes_rows[j] - codes_codes[j] @ atoms) / codes_codes[j, j]
            atoms[j] = normalize(atoms[j] + step, dim=0)
