"""Orthogonal matching pursuit over the atoms, many rows at a time; and atoms made to suit it."""

import math

import torch
from torch.nn.functional import embedding_bag

from . import kernels
from ._device import check_fits
from ._parameters import ActiveAtoms
from ._threads import allowed_threads, is_shared_work, product, without_autograd
from ._tuning import CODES_AT_A_TIME
from .kernels._parcels import Ending, ShiftedProducts

# A row whose residual is so small a part of it is done.
_DONE = 1e-6
# An atom whose part across those picked is so small adds nothing to them.
_DEPENDENT = 1e-5
# Images after which convolutional atoms are moved: at most, and such that a round has some moves.
_ADAPTED_IMAGES, _LEAST_UPDATES = 100, 8
# Atoms that are used less, relative to the mean, stay where they are.
_LEAST_USE = 1e-3


class Pursuit:
    """Codes of a model's members by `pursue`.

    Parameters
    ----------
    model : LinearModel
        Its atoms are those to pursue.
    tolerance : float or None
        Part of a row's squared norm at which it ends, as in `pursue`.
    """

    @without_autograd
    def __init__(self, model, tolerance=None):
        self.parameters, self.k, self.tolerance = model.parameters, model.k, tolerance
        n_members, n_atoms = self.parameters.bias.shape
        n_bytes = 4 * (n_members * n_atoms**2 + self.k * n_atoms) + 8 * self.k**2
        check_fits(n_bytes, f"Matching pursuit of {self.k} among {n_atoms} atoms")
        self.grams = [product(atoms, atoms.T) for atoms in self.parameters.decoder]

    @without_autograd
    def encode(self, rows):
        """Active atoms of rows (B, D), with coefficients of either sign."""
        p = self.parameters
        members = zip(p.centers, p.decoder, self.grams, strict=True)
        codes = [
            pursue(rows - center, atoms, gram, self.k, self.tolerance)
            for center, atoms, gram in members
        ]
        coefficients, picks = (torch.stack(part) for part in zip(*codes, strict=True))
        return ActiveAtoms(picks, coefficients)


class ConvPursuit:
    """Codes of whole images by orthogonal matching pursuit, with the atoms of all places.

    Of places that overlap, those inside the image suffice: atoms that reach into its margin would
    have to explain that too.

    Parameters
    ----------
    model : ConvModel
        Its atoms are those to pursue.
    tolerance : float or None
        Part of an image's squared norm about the centre at which it ends. Every pixel counts once;
        so do those of the margin, where the places inside the image do not cover it.
    """

    @without_autograd
    def __init__(self, model, tolerance=None):
        self.model, self.tolerance = model, tolerance
        self.places, self.numbers = model.places.inner()
        places = self.places
        n_atoms = model.parameters.shape[1]
        # Places down and right that an atom's patch reaches.
        self.reach = tuple(
            (side - 1) // step for side, step in zip(places.atom_shape, places.stride, strict=False)
        )
        n_shifts = math.prod(2 * reach + 1 for reach in self.reach)
        n_bytes = 4 * n_shifts * n_atoms**2 + 8 * model.k**2
        what = f"Matching pursuit of {model.k} among {n_atoms} atoms at {n_shifts} shifts"
        check_fits(n_bytes, what)
        self.grams = self._grams()

    def _grams(self):
        """Products of atoms with those at other places: (shifts, H, H)."""
        places, atoms = self.places, self.model.parameters.decoder[0].cpu()
        atoms = atoms.view(-1, *places.atom_shape)
        grams = []
        for down in range(-self.reach[0], self.reach[0] + 1):
            for right in range(-self.reach[1], self.reach[1] + 1):
                first, second = atoms, atoms
                for axis, shift in ((1, down * places.stride[0]), (2, right * places.stride[1])):
                    first, second = _overlapping(first, second, axis, shift)
                grams.append(product(first.flatten(1), second.flatten(1).T))
        return torch.stack(grams)

    @without_autograd
    def encode(self, rows):
        """Active atoms of images (B, H W C), with coefficients of either sign."""
        model, places = self.model, self.places
        framed = places.frame(model.centred(rows))
        patches = places.patches(framed)
        products = product(patches, model.parameters.decoder[0].T).view(len(rows), -1)
        # Of patches that overlap, one counts several times, which only lowers this bound.
        ending = _ending(patches.view(len(rows), -1), self.tolerance, framed)
        ending = ending._replace(product=ending.product / math.sqrt(len(self.grams)))
        arrays = (
            part.cpu().contiguous().numpy()
            for part in (patches, model.parameters.decoder[0], products)
        )
        n_threads = allowed_threads() if len(rows) > 1 else None
        grams = ShiftedProducts(self.grams.numpy(), places.counts[1], *self.reach)
        codes = kernels.pursue_images(*arrays, grams, model.k, _as_arrays(ending), n_threads)
        coefficients, picks = (torch.from_numpy(part)[None] for part in codes)
        n_atoms = model.parameters.shape[1]
        picks = self.numbers[picks // n_atoms] * n_atoms + picks % n_atoms
        return ActiveAtoms(picks.to(rows.device), coefficients.to(rows.device))


@without_autograd
def adapt_conv_atoms(model, rows, rng, n_rounds):
    """Improve a ConvModel's atoms, in place, for the codes that pursuit gives images.

    Each round codes all images, some at a time, and moves every atom by what they leave at its
    places: d <- normalised(d + sum of z r / (2 sum of z^2)), r the residual patches. It is half
    the step that would be best for an atom alone, since all move together.

    Parameters
    ----------
    model : ConvModel
        Its atoms are moved.
    rows : tensor of shape (n, H W C)
        Images, in scaled units.
    rng : RandomState
        Source of their order.
    n_rounds : int
        Number of rounds.
    """
    places, atoms = model.places, model.parameters.decoder[0]
    size = max(1, min(_ADAPTED_IMAGES, len(rows) // _LEAST_UPDATES))
    for _ in range(n_rounds):
        for part in torch.from_numpy(rng.permutation(len(rows))).split(size):
            images = rows[part.to(rows.device)]
            active = ConvPursuit(model).encode(images)
            left = model.residual(places.frame(model.centred(images)).neg(), active).neg()
            codes = model.dense(active, active.values)[0]
            squares = codes.square().sum(0)
            used = squares > _LEAST_USE * squares.mean()
            moves = product(codes.T.contiguous(), places.patches(left))[used]
            atoms[used] += moves / (2 * squares[used, None])
            atoms /= torch.linalg.vector_norm(atoms, dim=1, keepdim=True)


def _overlapping(first, second, axis, shift):
    """The parts of two pictures that meet when the second is shifted along an axis."""
    size = first.shape[axis]
    if shift < 0:
        return first.narrow(axis, 0, size + shift), second.narrow(axis, -shift, size + shift)
    return first.narrow(axis, shift, size - shift), second.narrow(axis, 0, size - shift)


def pursuit_batch_size(n_atoms, k):
    """Number of rows to pursue at a time."""
    return max(1, CODES_AT_A_TIME // (k * n_atoms))


def _ending(rows, tolerance, whole=None):
    """End of the pursuit of rows; the tolerance is of the squared norm of whole rows."""
    product = _DONE * rows.norm(dim=1)
    if tolerance is None:
        return Ending(product, torch.full_like(product, math.inf).cpu().double(), _DEPENDENT)
    whole = rows if whole is None else whole
    if whole.device.type != "cuda":  # others may lack float64
        whole = whole.cpu()
    squares = torch.linalg.vector_norm(whole, dim=1, dtype=torch.float64).square()
    # What is left of the square of a row is what its picks do not explain of it.
    return Ending(product, (1 - tolerance) * squares, _DEPENDENT)


def _as_arrays(ending):
    """An `Ending` as compiled loops take it."""
    return ending._replace(
        product=ending.product.cpu().numpy(), explained=ending.explained.cpu().numpy()
    )


@without_autograd
def pursue(rows, atoms, gram, k, tolerance=None):
    """Codes of rows by orthogonal matching pursuit, with at most k picks a row.

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
        Largest number of picks.
    tolerance : float or None
        A row ends with the pick by which its squared residual is at most this part of its squared
        norm; None ends it where nothing is left.

    Returns
    -------
    coefficients : tensor of shape (B, k)
        Of either sign; 0 for a pick that a row had no need of.
    picks : tensor of shape (B, k)
        Indices of the atoms, none twice in a row with coefficients other than 0.
    """
    products, ending = product(rows, atoms.T), _ending(rows, tolerance)
    if rows.device.type == "cuda":
        return pursue_batch(products, gram, k, ending)
    arrays = (part.cpu().contiguous().numpy() for part in (rows, atoms, products, gram))
    is_shared = len(rows) > 1 and is_shared_work(len(rows) * k**2 * len(atoms))
    n_threads = allowed_threads() if is_shared else None
    codes = kernels.pursue_rows(*arrays, k, _as_arrays(ending), n_threads)
    return tuple(torch.from_numpy(part).to(rows.device) for part in codes)


def pursue_batch(products, gram, k, ending):
    """Do as the compiled `pursue_rows`, a pick of all rows at a time, for CUDA."""
    n_rows, n_atoms = products.shape
    left = products.clone()  # products of the atoms with the residual
    sizes, change = torch.empty_like(left), torch.empty_like(left)
    picks = torch.zeros((n_rows, k), dtype=torch.long, device=products.device)
    useful = torch.zeros((n_rows, k), dtype=torch.bool, device=products.device)
    explained = torch.zeros(n_rows, dtype=torch.float64, device=products.device)
    enough = ending.explained.to(explained)
    # Products of all atoms with what each pick adds across the picks before it, at unit length.
    added = products.new_zeros((n_rows, k, n_atoms))
    for i in range(k):
        largest, atom = torch.abs(left, out=sizes).max(dim=1)
        picks[:, i] = atom
        at_atom = atom[:, None]
        along = added[:, :i].gather(2, at_atom[:, None].expand(-1, i, 1))
        # Of a unit-norm atom: its squared length across those picked before.
        across = 1 - along.square().sum((1, 2))
        useful[:, i] = (largest > ending.product) & (across > ending.dependent)
        useful[:, i] &= explained < enough
        if i + 1 < k:
            scale = useful[:, i] * across.clamp(min=ending.dependent).rsqrt()
            explained += (largest * scale).double().square()
            torch.index_select(gram, 0, atom, out=change)
            change[:, None].baddbmm_(along.mT, added[:, :i], alpha=-1)
            torch.mul(change, scale[:, None], out=added[:, i])
            left -= added[:, i] * (left.gather(1, at_atom) * scale[:, None])
            left.scatter_(1, picks[:, : i + 1], 0)  # but for rounding they are 0
    return _fitted(products, gram, picks, useful), picks


def _fitted(products, gram, picks, useful):
    """Coefficients that fit each row best by its picks, those of no use left out."""
    both = useful[:, :, None] & useful[:, None]
    # Normal equations G z = A x of the picked atoms, in float64; rows and columns of picks of no
    # use become those of the identity.
    known = gram[picks[:, :, None], picks[:, None]].double() * both
    known.diagonal(dim1=1, dim2=2).masked_fill_(~useful, 1)
    targets = products.gather(1, picks).double() * useful
    factor, _ = torch.linalg.cholesky_ex(known)
    return torch.cholesky_solve(targets[..., None], factor)[..., 0].to(products)


@without_autograd
def adapt_atoms(rows, atoms, k, n_rounds):
    """Improve unit-norm atoms, in place, for the codes that `pursue` gives centred rows.

    Each round codes all rows and then moves the atoms one by one to where they reconstruct
    best, the codes and the other atoms held: the block-coordinate step of Mairal, Bach, Ponce
    and Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 2010.
    """
    batch_size = pursuit_batch_size(len(atoms), k)
    for _ in range(n_rounds):
        # Codes for these atoms, then atoms for these codes, in turn.
        gram = product(atoms, atoms.T)
        codes = [pursue(part, atoms, gram, k) for part in rows.split(batch_size)]
        coefficients, picks = (torch.cat(part) for part in zip(*codes, strict=True))
        left = rows - embedding_bag(picks, atoms, mode="sum", per_sample_weights=coefficients)
        moved = atoms.cpu()  # atom after atom is no work for other devices
        kernels.refit_atoms(*(part.cpu().numpy() for part in (left, moved, coefficients, picks)))
        atoms.copy_(moved)
