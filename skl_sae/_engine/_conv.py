"""ConvModel: small atoms that are looked for at every place of an image.

Shapes: H atoms of D numbers, P places in an image, batches of B images. There is one member, which
is the first axis of arrays that `LinearModel` has too. The index of an active atom is
``place H + atom``.
"""

import numpy as np
import torch

from . import _fused, kernels
from ._adam import DenseAdam
from ._model import LinearModel, uses_fused_step
from ._objective import Coded, GradientSums, dead_codes
from ._parameters import ActiveAtoms, FiringCounts, Gradients, StepResult
from ._sparsity import dense_codes
from ._threads import n_threads_for, product, without_autograd
from ._tuning import PATCHES_AT_A_TIME

# Answers that differ by less, relatively, are equal but for rounding.
_EQUAL = 1e-6


class ConvModel(LinearModel):
    """One Top-K sparse autoencoder whose atoms are patches, the same at every place.

    An image x is coded as ``z = TopK(ReLU(W patch_p(x - b) + c), k)`` over all places p together,
    and reconstructed as ``b`` plus the atoms, each at its place; where they overlap they add up.
    The centre b is one number for each channel, and no parameter that is learned: the mean.

    Parameters
    ----------
    parameters, k, device, fused
        As `LinearModel` has them; the centres are of shape (1, C).
    places : Places
        Where to look.
    """

    def __init__(self, parameters, *, places, k, device="cpu", fused=None):
        if fused is None:
            fused = uses_fused_step(torch.device(device), k, len(places) * parameters.shape[1])
        super().__init__(parameters, k=k, device=device, fused=fused)
        self.places = places
        # Atoms are small, and most are active somewhere: none is worth leaving behind.
        self.optimizer = DenseAdam(self.parameters)

    # --- Forward ---

    @without_autograd
    def encode(self, rows):
        """Active atoms of images (B, H W C)."""
        return self.code(self.places.patches(self.framed(rows)))[1]

    def centred(self, rows):
        """Images (B, H W C) less the centre."""
        center = self.parameters.centers[0]
        return (rows.view(len(rows), -1, len(center)) - center).view(len(rows), -1)

    def framed(self, rows):
        """Framed images (B, L) less the centre."""
        return self.places.frame(self.centred(rows))

    def code(self, patches, *, training=False, weight=None):
        """Pre-activations (1, B, P H) of patches (B P, D), and the active atoms."""
        p, n_places = self.parameters, len(self.places)
        shape = len(patches), p.shape[1]
        preactivations = self.workspace.get("preactivations", shape)
        product(patches, p.weights[0].T, out=preactivations)
        preactivations += p.bias
        preactivations = preactivations.view(1, -1, n_places * shape[1])
        if training:
            return preactivations, self._largest(preactivations, self.k)
        return preactivations, self._largest_unequal(preactivations)

    def _largest(self, preactivations, n_picks):
        """The largest answers of each image, none negative."""
        return _fused.largest(preactivations, min(n_picks, preactivations.shape[2]), self.fused)

    def _largest_unequal(self, preactivations):
        """The k largest answers of each image; equal ones all or none.

        In a plain part of an image many places answer alike. Where the budget ends among them, a
        choice would depend on where in the image they are; so the next smaller answers follow.
        """
        if self.k >= preactivations.shape[2]:
            return self._largest(preactivations, self.k)
        active = self._largest(preactivations, self.k + 1)
        beyond = active.values.amin(2, keepdim=True)
        active.values[active.values <= beyond * (1 + _EQUAL)] = 0
        is_short = ((active.values > 0).sum(2) < self.k) & (beyond[..., 0] > 0)
        for b in is_short[0].nonzero().flatten().tolist():
            one = slice(b, b + 1)
            of_image = self._filled(preactivations[:, one])
            for part, of_one in zip(active, of_image, strict=True):
                part[:, one] = of_one
        return active

    def _filled(self, preactivations):
        """The largest groups of equal answers of one image that fit into the budget: k + 1 picks.

        More and more answers are sorted, until the budget is spent or all have been seen: an image
        that holds the same thing twice has no single answers at all.
        """
        n_found, n_answers = self.k + 1, preactivations.shape[2]
        while True:
            n_found = min(4 * n_found, n_answers)
            found = self._largest(preactivations, n_found)
            values, order = found.values[0, 0].sort(descending=True)
            is_all = n_found == n_answers or float(values[-1]) == 0
            kept = torch.from_numpy(_groups_that_fit(values.cpu().numpy(), self.k, is_all))
            kept = kept.to(values.device)
            if is_all or int(kept.sum()) == self.k:
                values = values.masked_fill(~kept, 0)
                # Those kept come first; the others fill up, with 0.
                first = kept.int().argsort(descending=True)[: self.k + 1]
                return ActiveAtoms(found.indices[..., order[first]], values[first].expand(1, 1, -1))

    def decode(self, active):
        """Reconstruct images (B, H W C) from active atoms."""
        n_images = active.indices.shape[1]
        framed = self.parameters.decoder.new_zeros(n_images, self.places.n_framed)
        self._add_atoms(active, framed)
        center = self.parameters.centers[0]
        rows = self.places.unframe(framed).reshape(n_images, -1, len(center)) + center
        return rows.view(n_images, -1)

    def _add_atoms(self, active, framed):
        """Add atoms to framed images (B, L), in place."""
        if not self.fused:
            patches = product(self.dense(active, active.values)[0], self.parameters.decoder[0])
            self.places.add_patches(patches, framed)
            return
        picks = ActiveAtoms(*(part[0].numpy() for part in active))
        arguments = self.arrays_in_place.decoder[0], self.places.offsets, picks, framed.numpy()
        n_threads = n_threads_for(picks.values.size * self.places.atom_size)
        kernels.run([(kernels.add_at_places, len(framed), arguments)], n_threads)

    def dense(self, active, values):
        """Codes with their zeros, a row for each place: (1, B P, H)."""
        n_components = self.parameters.shape[1]
        codes = dense_codes(active._replace(values=values), len(self.places) * n_components)
        return codes.view(1, -1, n_components)

    # --- Training ---

    @without_autograd
    def step(self, batch, objective, rate):
        """Take one step of Adam, as `LinearModel.step` does."""
        if self.fused:
            return fused_conv_step(self, batch, objective, rate)
        result, gradients = self.gradients(batch, objective)
        self.apply(gradients, rate)
        return result

    @without_autograd
    def gradients(self, batch, objective):
        """Loss, reconstruction and gradients of a batch, by dense products: the reference."""
        p = self.parameters
        images = self.framed(batch.rows)
        patches = self.places.patches(images)
        preactivations, active = self.code(patches, training=True)
        slope = 2 / batch.rows.numel()
        weight = torch.ones_like(batch.rows[:, 0])[None] if batch.weight is None else batch.weight
        slope = slope * weight[..., None]
        residual = self.residual(images.neg(), active)
        sums = GradientSums(p, self.dense)
        self._add_gradients(sums, active, residual, slope, patches)
        loss = (residual.square().sum(1) * weight[0]).sum() / batch.rows.numel()

        dead = self.counts.rows_since >= objective.dead_after
        if objective.aux_coef and dead.any():
            everywhere = dead.repeat(1, len(self.places))
            aux = dead_codes(Coded(None, preactivations, active, self.k, everywhere))
            slope_aux = objective.aux_coef * slope
            left = self.residual(residual.clone(), aux)
            self._add_gradients(sums, aux, left, slope_aux, patches)
        gradients = sums.result(torch.zeros_like(p.decoder[:, 0]))
        gradients.centers = torch.zeros_like(p.centers)
        self.count_places(active, batch.weight)
        reconstruction = self.places.unframe(residual) + batch.rows
        return StepResult(loss, reconstruction), gradients

    def count_places(self, active, weight):
        """Note which atoms fired at any place."""
        indices = active.indices % self.parameters.shape[1]
        self._count_firing(active._replace(indices=indices), weight)

    def residual(self, framed, active):
        """Add the atoms that are still to come to framed images, in place; return the residual."""
        self._add_atoms(active, framed)
        self.places.clear_margin(framed)
        return framed

    def _add_gradients(self, sums, active, residual, slope, patches):
        """Add to sums the gradients of what active atoms leave."""
        residual = self.places.patches(residual)
        of_all = product(residual, self.parameters.decoder[0].T).view(1, len(slope[0]), -1)
        products = slope * of_all.gather(2, active.indices)
        sums.add(active, products, products, slope, (residual[None], patches[None]))


def _groups_that_fit(values, k, is_all):
    """Which of sorted answers to keep: from the largest on, each group of equal ones that fits.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Answers, the largest first; those that are 0 are not kept.
    k : int
        Number of answers to keep, at most.
    is_all : bool
        Whether these are all answers; otherwise the last group may go on beyond them.
    """
    kept, begin, left = np.zeros(len(values), bool), 0, k
    rising = -values[: np.count_nonzero(values)]
    while begin < len(rising) and left:
        end = int(np.searchsorted(rising, rising[begin] * (1 - _EQUAL), side="right"))
        if end == len(rising) and not is_all:
            break
        if end - begin <= left:
            kept[begin:end] = True
            left -= end - begin
        begin = end
    return kept


def fused_conv_step(model, batch, objective, rate):
    """Take one step of Adam, the gradients of active atoms summed up by compiled loops.

    A few images are worked on at a time, while their patches are in cache; the atoms are small, so
    that dense gradients of them are no burden.

    Returns the `StepResult` from before the step.
    """
    p = model.parameters
    gradients = Gradients(*(
        None if part is None else torch.zeros_like(part)
        for part in (p.decoder, p.encoder, p.bias, p.centers)
    ))  # fmt: skip
    projection, loss, parts = torch.zeros_like(p.bias), 0.0, []
    weight = torch.ones(1, len(batch.rows)) if batch.weight is None else batch.weight
    for rows, weight_ in zip(
        batch.rows.split(_n_images(model.places)), weight.split(_n_images(model.places), 1),
        strict=True,
    ):  # fmt: skip
        slope = (2 / batch.rows.numel()) * weight_.double()
        part = _Part(model, rows, weight_.numpy(), slope.numpy())
        residual, active = part.add_to(gradients, projection, objective)
        loss += float((weight_[0] * residual.square().sum(1)).sum(dtype=torch.float64))
        parts.append((model.places.unframe(residual) + rows, active))
    # Only the part across the atom: the part along it is undone by the unit norm.
    gradients.decoder.addcmul_(p.decoder, projection[..., None], value=-1)
    reconstruction, active = zip(*parts, strict=True)
    active = ActiveAtoms(*(torch.cat(part, dim=1) for part in zip(*active, strict=True)))
    model.count_places(active, batch.weight)
    model.apply(gradients, rate)
    return StepResult(loss / batch.rows.numel(), torch.cat(reconstruction))


def _n_images(places):
    """Number of images worked on at a time."""
    return max(1, PATCHES_AT_A_TIME // (len(places) * places.atom_size))


class _Part:
    """Some images of a batch: (B, H W C), with their weights and slopes (1, B)."""

    def __init__(self, model, rows, weight, slope):
        self.model, self.rows, self.weight, self.slope = model, rows, weight, slope
        self.n_patches = len(rows) * len(model.places)
        size = 3, self.n_patches, model.places.atom_size
        # The patches that the gradients of atoms are sums of, one below the other.
        self.source = model.workspace.get("source", size)

    def add_to(self, gradients, projection, objective):
        """Add to gradients, and to the atoms' products with theirs; residual and active atoms."""
        model, source = self.model, self.source
        images = model.framed(self.rows)
        preactivations, active = model.code(
            model.places.patches(images, out=source[2]), training=True
        )
        residual = model.residual(images.neg_(), active)
        live = self._picks(model.places.patches(residual, out=source[0]), active, self.slope)
        dead = self._dead_picks(residual, preactivations, live, objective)
        self._sum(live, dead, gradients, projection)
        return residual, active

    def _picks(self, patches, active, slope):
        """Picks of active atoms, with the gradient at their activations."""
        model, n_places = self.model, len(self.model.places)
        place, atoms = np.divmod(active.indices.numpy(), model.parameters.shape[1])
        rows = place + n_places * np.arange(place.shape[1])[:, None]
        products = np.empty(atoms.shape, np.float32)
        arguments = (
            model.arrays_in_place.decoder[0], patches.numpy(), (atoms[0], rows[0]), slope[0],
            products[0],
        )  # fmt: skip
        n_threads = n_threads_for(atoms.size * patches.shape[1])
        kernels.run([(kernels.multiply_picked, len(atoms[0]), arguments)], n_threads)
        values = active.values.numpy()
        begins = np.zeros(rows.shape[1], np.int64)
        return kernels.Picks(atoms, values, products, products, self.weight, slope, rows, begins)

    def _dead_picks(self, residual, preactivations, live, objective):
        """AuxK: dead atoms explain what the live ones left; no picks where there are none."""
        model = self.model
        is_dead = model.counts.rows_since.numpy() >= objective.dead_after
        if not objective.aux_coef or not is_dead.any():
            return _fused.no_picks(live)
        everywhere = np.tile(is_dead, len(model.places))
        k = min(model.k, int(everywhere.sum()))
        active = _fused.select(preactivations.numpy(), k, everywhere)
        active = ActiveAtoms(*map(torch.from_numpy, active))
        left = model.residual(residual.clone(), active)
        left = model.places.patches(left, out=self.source[1])
        return self._picks(left, active, objective.aux_coef * self.slope)

    def _sum(self, live, dead, gradients, projection):
        """Add up the patches at which each atom was picked."""
        p = self.model.arrays_in_place
        unused = FiringCounts(np.zeros_like(p.bias), np.zeros_like(p.bias))
        none = _fused.no_picks(live)  # of further models
        picks, sides = kernels.gather_picks(
            live, dead, none, p.bias, p.tied, unused, self.n_patches
        )
        projection += torch.from_numpy(sides.projection)
        gradients.bias += torch.from_numpy(sides.bias_gradient)
        source = self.source.view(-1, self.model.places.atom_size).numpy()
        shares = [(picks._replace(indptr=2 * picks.indptr), gradients.decoder)]
        if not p.tied:
            of_encoder = picks._replace(indptr=picks.indptr + len(picks.rows) // 2)
            shares = [(picks, gradients.decoder), (of_encoder, gradients.encoder)]
        jobs = [
            (kernels.sum_picks, p.bias.size, (picks_, source, gradient[0].numpy()))
            for picks_, gradient in shares
        ]
        kernels.run(jobs, n_threads_for(picks.values.size * source.shape[1]))
