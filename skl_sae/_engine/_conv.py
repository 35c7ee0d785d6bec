"""ConvModel: small atoms that are looked for at every place of an image.

Shapes: H atoms of D numbers, P places in an image, batches of B images. There is one member, which
is the first axis of arrays that `LinearModel` has too. The index of an active atom is
``place H + atom``.
"""

import numpy as np
import torch

from . import _fused, kernels
from ._model import LinearModel, uses_fused_step
from ._objective import Coded, GradientSums, dead_codes
from ._parameters import ActiveAtoms, FiringCounts, StepResult
from ._sparsity import dense_codes, top_k
from ._threads import n_threads_for, product, without_autograd

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

    # --- Forward ---

    @without_autograd
    def encode(self, rows):
        """Active atoms of images (B, H W C)."""
        return self.code(self.places.patches(self._framed(rows)))[1]

    def centred(self, rows):
        """Images (B, H W C) less the centre."""
        center = self.parameters.centers[0]
        return (rows.view(len(rows), -1, len(center)) - center).view(len(rows), -1)

    def _framed(self, rows):
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
        if self.fused:
            active = _fused.select(preactivations.numpy(), n_picks)
            return ActiveAtoms(*map(torch.from_numpy, active))
        active = top_k(preactivations, n_picks)
        return active._replace(values=active.values.clamp_(min=0))

    def _largest_unequal(self, preactivations):
        """The k largest answers of each image; equal ones all or none.

        In a plain part of an image many places answer alike. Where the budget ends among them, a
        choice would depend on where in the image they are; so the next smaller answers follow.
        """
        n_picks = min(self.k + 1, preactivations.shape[2])
        active = self._largest(preactivations, n_picks)
        if n_picks == self.k:
            return active
        for b in range(active.indices.shape[1]):
            one = slice(b, b + 1)
            found = ActiveAtoms(*(part[:, one] for part in active))
            answers = preactivations[:, one]
            while (least := found.values.min()) > 0:
                is_left_out = (answers - least).abs() <= _EQUAL * least
                found.values[found.values <= least * (1 + _EQUAL)] = 0
                if int((found.values > 0).sum()) == self.k:
                    break
                answers = answers.masked_fill(is_left_out, 0)
                found = self._largest(answers, n_picks)
            for part, of_image in zip(active, found, strict=True):
                part[:, one] = of_image
        return active

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
        images = self._framed(batch.rows)
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
        indices = active.indices % p.shape[1]
        self._count_firing(active._replace(indices=indices), batch.weight)
        reconstruction = self.places.unframe(residual) + batch.rows
        return StepResult(loss, reconstruction), gradients

    def residual(self, framed, active):
        """What is left of framed images, of which the atoms are still to come; in place."""
        self.optimizer.catch_up(active.indices.cpu().numpy() % self.parameters.shape[1])
        self._add_atoms(active, framed)
        self.places.clear_margin(framed)
        return framed

    def _add_gradients(self, sums, active, residual, slope, patches):
        """Add to sums the gradients of what active atoms leave."""
        residual = self.places.patches(residual)
        of_all = product(residual, self.parameters.decoder[0].T).view(1, len(slope[0]), -1)
        products = slope * of_all.gather(2, active.indices)
        sums.add(active, products, products, slope, (residual[None], patches[None]))


def fused_conv_step(model, batch, objective, rate):
    """Take one step of Adam by compiled loops, as `fused_step` does for rows.

    Returns the `StepResult` from before the step.
    """
    places, rows = model.places, batch.rows
    n_patches = len(rows) * len(places)
    # The patches that the gradients of atoms are sums of, one below the other.
    source = model.workspace.get("source", (3, n_patches, places.atom_size))
    images = model._framed(rows)
    centred = places.patches(images, out=source[2])
    preactivations, active = model.code(centred, training=True)

    weight = _fused._row_weights(batch, (1, len(rows)))
    slope = (2 / rows.numel()) * weight.astype(np.float64)
    residual = model.residual(images.neg(), active)
    live = _picks(model, places.patches(residual, out=source[0]), active, weight, slope)
    squares = (residual * residual).sum(1).numpy()
    loss = float((weight[0] * squares).sum(dtype=np.float64)) / rows.numel()
    dead = _dead_picks(model, residual, source[1], preactivations, live, objective)

    p = model.arrays_in_place
    counts = FiringCounts(*(part.numpy() for part in model.counts))
    picks, sides = kernels.gather_picks(live, dead, p.bias, p.tied, counts, n_patches)
    model.optimizer.begin_step(rate)
    model.optimizer.step_picked(picks, sides, source.view(-1, places.atom_size).numpy())
    return StepResult(loss, places.unframe(residual) + rows)


def _picks(model, patches, active, weight, slope):
    """Picks of active atoms, with the gradient at their activations."""
    n_components, n_places = model.parameters.shape[1], len(model.places)
    place, atoms = np.divmod(active.indices.numpy(), n_components)
    rows = place + n_places * np.arange(place.shape[1])[:, None]
    products = np.empty(atoms.shape, np.float32)
    arguments = (
        model.arrays_in_place.decoder[0], patches.numpy(), (atoms[0], rows[0]), slope[0],
        products[0],
    )  # fmt: skip
    n_threads = n_threads_for(atoms.size * patches.shape[1])
    kernels.run([(kernels.multiply_picked, len(atoms[0]), arguments)], n_threads)
    return kernels.Picks(atoms, active.values.numpy(), products, products, weight, slope, rows)


def _dead_picks(model, residual, patches, preactivations, live, objective):
    """AuxK: dead atoms explain what the live ones left; no picks where there are none."""
    is_dead = model.counts.rows_since.numpy() >= objective.dead_after
    if not objective.aux_coef or not is_dead.any():
        return _fused.no_picks(live)
    everywhere = np.tile(is_dead, len(model.places))
    k = min(model.k, int(everywhere.sum()))
    active = ActiveAtoms(
        *map(torch.from_numpy, _fused.select(preactivations.numpy(), k, everywhere))
    )
    left = model.residual(residual.clone(), active)
    slope = objective.aux_coef * (2 / model.places.n_features / len(residual))
    slope = slope * live.weight.astype(np.float64)
    left = model.places.patches(left, out=patches)
    return _picks(model, left, active, live.weight, slope)
