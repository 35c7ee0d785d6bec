"""A training step over the active atoms alone, by compiled loops; for a CPU.

It does what `_objective` and `_adam` do, without a dense gradient ever reaching memory: the rows
that picked an atom are summed, and the sum is handed to Adam, while the atom is in cache.
"""

import numpy as np
import torch

from . import kernels
from ._objective import consistency_gradient, mean_square
from ._parameters import ActiveAtoms, FiringCounts, StepResult
from ._threads import n_threads_for


def select(preactivations, k, allowed=None):
    """Select the k largest positive pre-activations (E, B, H) of each row.

    ``allowed`` (E, H) says among which atoms; None: all.
    """
    shape = *preactivations.shape[:2], k
    if allowed is None:
        allowed = np.ones(preactivations.shape[::2], bool)
    active = ActiveAtoms(np.empty(shape, np.int64), np.empty(shape, np.float32))
    arguments = preactivations.numpy(), allowed, active
    n_rows = shape[0] * shape[1]
    kernels.run([(kernels.select_rows, n_rows, arguments)], n_threads_for(preactivations.numel()))
    return ActiveAtoms(*map(torch.from_numpy, active))


def decode_onto(rows, decoder, active, slope=None):
    """Add to rows (E, B, D), in place, the atoms times their activations.

    Returns the products of what is there then with the active atoms, times the slope (E, B) of
    their row: (E, B, picks), or None without a slope.
    """
    arrays = ActiveAtoms(*(part.numpy() for part in active))
    products = np.empty((0, 0, 0) if slope is None else arrays.values.shape, np.float32)
    if slope is None:
        slope = np.empty((0, 0))
    arguments = decoder.numpy(), arrays, slope, rows.numpy(), products
    n_threads = n_threads_for(arrays.values.size * rows.shape[2])
    kernels.run([(kernels.decode_rows, rows.shape[0] * rows.shape[1], arguments)], n_threads)
    return torch.from_numpy(products) if len(products) else None


def fused_step(model, batch, objective, rate):
    """Take one step of Adam on a batch.

    Parameters
    ----------
    model : LinearModel
        On the CPU.
    batch : Batch
        Rows and their weights.
    objective : Objective
        Terms of the loss.
    rate : float
        Learning rate.

    Returns
    -------
    result : StepResult
        Before the step.
    """
    parameters, optimizer = model.parameters, model.optimizer
    # The rows that the gradients of atoms are sums of, side by side.
    source = model.workspace.get("source", (3, len(parameters.centers), *batch.rows.shape))
    residual, aux_residual, centred = source
    torch.sub(batch.rows, parameters.centers[:, None], out=centred)
    preactivations, active = model.code(centred, training=True, weight=batch.weight)

    weight = _row_weights(batch, residual.shape[:2])
    torch.neg(centred, out=residual)
    live = _picks(model, residual, active, weight, 2 / residual.numel())
    reconstruction = residual.mean(0).add_(batch.rows)
    loss = mean_square(residual, batch.weight)
    if objective.consistency and len(residual) > 1:
        value, pull = consistency_gradient(active, parameters.shape[1], batch.weight)
        loss += objective.consistency * value
        live = live._replace(gradient=live.products + objective.consistency * pull.numpy())
    dead = _dead_picks(model, (residual, aux_residual), preactivations, live, objective)

    counts = FiringCounts(*(part.numpy() for part in model.counts))
    bias = parameters.bias.numpy()
    picks, sides = kernels.gather_picks(live, dead, bias, parameters.tied, counts)
    model.move_thresholds(active, objective.dead_after)
    slope = torch.from_numpy(live.slope.astype(np.float32))
    centers_gradient = torch.bmm(slope[:, None], residual)[:, 0].numpy()
    optimizer.begin_step(rate)
    optimizer.step_picked(picks, sides, source.flatten(0, 2).numpy(), centers_gradient)
    return StepResult(loss, reconstruction)


def _picks(model, residual, active, weight, slope):
    """Add what active atoms explain to a residual; with the gradient at their activations."""
    model.optimizer.catch_up(active.indices)
    slope = slope * weight.astype(np.float64)
    products = decode_onto(residual, model.parameters.decoder, active, slope).numpy()
    return kernels.Picks(*(part.numpy() for part in active), products, products, weight, slope)


def _dead_picks(model, residuals, preactivations, live, objective):
    """AuxK: dead atoms explain what the live ones left; no picks where there are none."""
    residual, aux_residual = residuals
    if objective.aux_coef:
        is_dead = model.counts.rows_since.numpy() >= objective.dead_after
        k = min(model.k, int(is_dead.sum(axis=1).max()))
        if k:
            aux_residual.copy_(residual)
            active = select(preactivations, k, is_dead)
            slope = objective.aux_coef * (2 / residual.numel())
            return _picks(model, aux_residual, active, live.weight, slope)
    shape = *live.indices.shape[:2], 0
    none = {name: np.empty(shape, getattr(live, name).dtype) for name in live._fields[:4]}
    return live._replace(**none)


def _row_weights(batch, shape):
    return np.ones(shape, np.float32) if batch.weight is None else batch.weight.numpy()
