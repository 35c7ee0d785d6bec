"""Orthogonal matching pursuit over the atoms, many rows at a time; and atoms made to suit it."""

import torch
from torch.nn.functional import embedding_bag, normalize

from ._ensemble import without_autograd

# Products held at a time.
_PRODUCTS = 2**23
# A row whose residual is so small a part of it is done.
_DONE = 1e-6
# An atom whose part across those picked is so small adds nothing to them.
_DEPENDENT = 1e-5


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
    return max(1, _PRODUCTS // (k * n_atoms))


@without_autograd
def pursue(rows, atoms, gram, k):
    """Codes of rows by orthogonal matching pursuit, with exactly k picks a row.

    Each step picks the atom with the largest product with the residual, and takes from the
    residual what the atom adds to those picked so far. All is done on the atoms' products with
    one another, as in the "Batch-OMP" of Rubinstein, Zibulevsky and Elad (2008).

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
    n_rows, n_atoms = len(rows), len(atoms)
    products = rows @ atoms.T
    left = products.clone()  # products of the atoms with the residual
    sizes, change = torch.empty_like(left), torch.empty_like(left)
    enough = _DONE * rows.norm(dim=1)
    picks = torch.zeros((n_rows, k), dtype=torch.long, device=rows.device)
    useful = torch.zeros((n_rows, k), dtype=torch.bool, device=rows.device)
    # Products of all atoms with what each pick adds across the picks before it, at unit length.
    added = rows.new_zeros((n_rows, k, n_atoms))
    for i in range(k):
        largest, atom = torch.abs(left, out=sizes).max(dim=1)
        picks[:, i] = atom
        at_atom = atom[:, None]
        along = added[:, :i].gather(2, at_atom[:, None].expand(-1, i, 1))
        across = 1 - along.square().sum((1, 2))
        useful[:, i] = (largest > enough) & (across > _DEPENDENT)
        if i + 1 < k:
            scale = useful[:, i] * across.clamp(min=_DEPENDENT).rsqrt()
            torch.index_select(gram, 0, atom, out=change)
            change[:, None].baddbmm_(along.mT, added[:, :i], alpha=-1)
            torch.mul(change, scale[:, None], out=added[:, i])
            left -= added[:, i] * (left.gather(1, at_atom) * scale[:, None])
            left.scatter_(1, picks[:, : i + 1], 0)  # but for rounding they are 0
    return _fitted(products, gram, picks, useful), picks


def _fitted(products, gram, picks, useful):
    """Coefficients that fit each row best by its picks, those of no use left out."""
    both = useful[:, :, None] & useful[:, None]
    known = gram[picks[:, :, None], picks[:, None]].double() * both
    known.diagonal(dim1=1, dim2=2).masked_fill_(~useful, 1)
    targets = products.gather(1, picks).double() * useful
    factor, _ = torch.linalg.cholesky_ex(known)
    return torch.cholesky_solve(targets[..., None], factor)[..., 0].to(products)


@without_autograd
def finish_atoms(rows, atoms, k, n_rounds):
    """Improve unit-norm atoms, in place, for the codes that `pursue` gives centred rows.

    Each round codes all rows and then moves the atoms one by one to where they reconstruct
    best, the codes and the other atoms held: the block-coordinate step of Mairal, Bach, Ponce
    and Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 2010.
    """
    batch_size = pursuit_batch_size(len(atoms), k)
    for _ in range(n_rounds):
        gram = atoms @ atoms.T
        codes = [pursue(part, atoms, gram, k) for part in rows.split(batch_size)]
        coefficients, picks = (torch.cat(part) for part in zip(*codes, strict=True))
        _refit(rows, atoms, coefficients, picks)


def _refit(rows, atoms, coefficients, picks):
    """Move each atom in turn, in place, to where the rows that use it leave the least."""
    left = rows - embedding_bag(picks, atoms, mode="sum", per_sample_weights=coefficients)
    used = coefficients.flatten() != 0  # what fills up is no use, and may come twice in a row
    by_atom = picks.flatten()[used].argsort(stable=True)
    n_uses = torch.bincount(picks.flatten()[used], minlength=len(atoms)).tolist()
    users = torch.nonzero(used).flatten()[by_atom] // picks.shape[1]
    weights = coefficients.flatten()[used][by_atom]
    parts = zip(users.split(n_uses), weights.split(n_uses), strict=True)
    for j, (user, weight) in enumerate(parts):
        if len(user):
            step = weight @ left[user] / weight.square().sum()
            moved = normalize(atoms[j] + step, dim=0)
            left[user] -= weight[:, None] * (moved - atoms[j])
            atoms[j] = moved
