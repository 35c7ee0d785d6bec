"""The loss of a batch and its gradients, by dense products on any device: the reference.

    loss = mean_e w MSE(x, x_e)  +  consistency mean_{e<f} w MSE(z_e, z_f)  +  aux_coef AuxK

with a weight w for each member and row, and the mean over members, rows and features. Gradients
pass through the top-k as through a choice that is made already, so they are a few products. With
prefixes the first term is the mean over models of the first m atoms, for each m, and of all atoms;
of a model's gradient a part counts at the atoms of smaller ones.
"""

import math
from typing import NamedTuple

import torch

from ._parameters import ActiveAtoms, Gradients, n_always_active
from ._sparsity import dense_codes, top_k
from ._threads import add_products
from .kernels._parcels import EARLIER_SHARE


def mean_square(values, weight=None):
    """Mean of the squares of (E, B, D) values, of which each row counts by its weight (E, B)."""
    if weight is not None:
        return (values.square().sum(2) * weight).sum() / values.numel()
    flat = values.reshape(-1)
    return torch.dot(flat, flat) / flat.numel()


def consistency_gradient(active, n_components, weight=None):
    """Mean squared difference of two members' codes, and its gradient at the active atoms."""
    codes = dense_codes(active, n_components)
    n_members = len(codes)
    pairs = n_members * (n_members - 1) / 2
    total = codes.sum(0)
    # The sum over pairs of (z_e - z_f)^2 is E times the sum of (z_e - mean)^2.
    squares = (codes - total / n_members).square()
    others = total.expand_as(codes).gather(2, active.indices)
    gradient = 2 * (n_members * active.values - others)
    if weight is not None:
        squares, gradient = squares * weight[..., None], gradient * weight[..., None]
    # The mean is over pairs, rows and atoms.
    scale = pairs * total.numel()
    return n_members * squares.sum() / scale, gradient / scale


def dead_codes(coded):
    """At most k of the dead atoms with the largest pre-activations."""
    masked = torch.where(coded.dead[:, None], coded.preactivations, -math.inf)
    values, indices = masked.topk(min(coded.k, int(coded.dead.sum(1).max())), sorted=False)
    return ActiveAtoms(indices, values.clamp_(min=0))


def first_codes(coded, n_components):
    """At most k of the first atoms: those always active, and others of the largest answers."""
    n_always = n_always_active(n_components, coded.k)
    always, others = coded.preactivations[..., :n_components].tensor_split([n_always], dim=2)
    active = top_k(others, min(coded.k, n_components) - n_always)
    first = torch.arange(n_always, device=always.device).expand_as(always)
    return ActiveAtoms(
        torch.cat([first, active.indices + n_always], dim=2),
        torch.cat([always, active.values.clamp_(min=0)], dim=2),
    )


def decode_onto(rows, decoder, active, slope=None):
    """Add to rows (E, B, D), in place, the atoms times their activations.

    Returns slope times the products of what is there then with the active atoms: (E, B, picks).
    """
    codes = dense_codes(active, decoder.shape[1])
    add_products(decoder.mT, codes.mT, rows.mT)
    if slope is None:
        return None
    add_products(decoder, rows.mT, codes.mT, keep=0)
    return slope * codes.gather(2, active.indices)


class GradientSums:
    """Gradients of the parameters, added up over residuals.

    Parameters
    ----------
    parameters : Parameters
        Tensors.
    spread : callable or None
        Makes (E, rows, H) of active atoms and the values that they are to have; None for a row of
        a batch each.
    """

    def __init__(self, parameters, spread=None):
        self.parameters = parameters
        self.spread = spread or self._spread
        self.decoder = torch.zeros_like(parameters.decoder)
        self.encoder = self.decoder
        if not parameters.tied:
            self.encoder = torch.zeros_like(parameters.encoder)
        self.bias = torch.zeros_like(parameters.bias)
        # An atom's product with its own gradient needs no pass over the atom: its products with
        # the residual, and with the centred rows (activation less bias), are known.
        self.projection = torch.zeros_like(parameters.bias)

    def _spread(self, active, values):
        return dense_codes(active._replace(values=values), self.bias.shape[1])

    def add(self, active, products, gradient, slope, rows, begin=0):
        """Add what a residual asks for by the gradient at the activations, and by its products.

        decoder += (slope z)' residual,  encoder += gradient' centred,  bias += sum of gradient,
        where the rows are the residual and the centred ones. Of atoms before ``begin``, which are
        a smaller model's, a part counts.
        """
        residual, centred = rows
        n_components = self.bias.shape[1]
        indices = active.indices % n_components
        share = 1
        if begin:
            share = torch.ones_like(products).masked_fill_(indices < begin, EARLIER_SHARE)
        # ReLU passes no gradient where its output is 0.
        gradient, products = share * gradient * (active.values != 0), share * products
        _add_at(self.bias, indices, gradient)
        tied_part = gradient if self.parameters.tied else 0
        _add_at(self.projection, indices, active.values * (products + tied_part))
        # Sums over rows are products with the transposed, dense codes: W' residual.
        weights = self.spread(active, slope * share * active.values)
        add_products(weights.mT, residual, self.decoder)
        weights = self.spread(active, gradient)
        add_products(weights.mT, centred, self.encoder)

    def result(self, centers):
        """The gradients, given the part of the centres' that comes by the residual."""
        p = self.parameters
        if p.tied:
            self.projection -= self.bias * p.bias
        # Only the part across the atom: the part along it is undone by the unit norm.
        self.decoder.addcmul_(p.decoder, self.projection[..., None], value=-1)
        # The centre b enters the decoder by +b, and the encoder by -b.
        centers -= torch.bmm(self.bias[:, None], p.weights)[:, 0]
        return Gradients(self.decoder, None if p.tied else self.encoder, self.bias, centers)


def _add_at(sums, indices, values):
    """Add values (E, B, any) to the sums (E, H) at their indices."""
    sums.scatter_add_(1, indices.flatten(1), values.flatten(1))


class Coded(NamedTuple):
    """A batch as the encoder codes it."""

    centred: torch.Tensor  # (E, B, D), the rows less the centres
    preactivations: torch.Tensor  # (E, B, H)
    active: ActiveAtoms
    k: int
    dead: torch.Tensor  # (E, H), dtype bool: the atoms that AuxK trains


def loss_and_gradients(parameters, coded, batch, objective):
    """Loss, residual and gradients of a batch.

    Parameters
    ----------
    parameters : Parameters
        Tensors.
    coded : Coded
        The batch as these parameters code it.
    batch : Batch
        Rows and their weights.
    objective : Objective
        Further terms of the loss.

    Returns
    -------
    loss : tensor of shape ()
        Squared error and consistency.
    residual : tensor of shape (E, B, D)
        Reconstructions of the members less the rows.
    gradients : Gradients
        By the parameters.
    """
    active, decoder = coded.active, parameters.decoder
    n_models = 1 + len(objective.prefixes)
    slope = 2 / coded.centred.numel() / n_models
    if batch.weight is not None:
        slope = slope * batch.weight[..., None]
    residual = coded.centred.neg()
    gradient = products = decode_onto(residual, decoder, active, slope)

    # d loss / d reconstruction = slope residual, and d loss / d z = slope D residual.
    loss = mean_square(residual, batch.weight) / n_models
    if objective.consistency and len(residual) > 1:
        value, pull = consistency_gradient(active, decoder.shape[1], batch.weight)
        loss += objective.consistency * value
        gradient = products + objective.consistency * pull
    sums = GradientSums(parameters)
    rows, begin = (residual, coded.centred), max(objective.prefixes, default=0)
    sums.add(active, products, gradient, slope, rows, begin)

    if objective.aux_coef and coded.dead.any():
        # The residual is a constant here: AuxK moves dead atoms towards it, and no live one.
        aux, slope_aux = dead_codes(coded), objective.aux_coef * n_models * slope
        left = residual.clone()
        products = decode_onto(left, decoder, aux, slope_aux)
        sums.add(aux, products, products, slope_aux, (left, coded.centred))
    centers = slope * residual.sum(1) if batch.weight is None else (slope * residual).sum(1)
    begins = 0, *objective.prefixes[:-1]
    for begin, n_components in zip(begins, objective.prefixes, strict=False):
        active, left = first_codes(coded, n_components), coded.centred.neg()
        products = decode_onto(left, decoder, active, slope)
        loss += mean_square(left, batch.weight) / n_models
        sums.add(active, products, products, slope, (left, coded.centred), begin)
        centers += (slope * left).sum(1)
    return loss, residual, sums.result(centers)
