"""A training step over the active atoms alone, by compiled loops; for a CPU.

It does what `_objective` and `_adam` do, without a dense gradient ever reaching memory: the rows
that picked an atom are summed, and the sum is handed to Adam, while the atom is in cache. Arrays
are NumPy's here, since on small batches each of torch's operators costs more than its arithmetic.
"""

import functools

import numpy as np
import torch

from . import kernels
from ._objective import consistency_gradient
from ._parameters import ActiveAtoms, FiringCounts, StepResult, n_always_active
from ._sparsity import top_k
from ._threads import n_threads_for

_NO_BIAS = np.empty((0, 0), np.float32)
# What `Picks` have for each pick.
_OF_PICKS = "indices", "values", "products", "gradient", "rows"


def select(preactivations, k, allowed=None, bias=_NO_BIAS):
    """Select the k largest positive pre-activations of each row.

    Parameters
    ----------
    preactivations : ndarray of shape (E, B, H)
        Where to look.
    k : int
        Number of picks of a row.
    allowed : ndarray of shape (E, n_atoms), dtype bool, or None
        Which of the first atoms to look at; None for all H.
    bias : ndarray of shape (E, H), default=none
        Added to the pre-activations first, in place.
    """
    shape = *preactivations.shape[:2], k
    if allowed is None:
        allowed = np.ones(preactivations.shape[::2], bool)
    active = ActiveAtoms(np.empty(shape, np.int64), np.empty(shape, np.float32))
    n_threads = n_threads_for(preactivations.size)
    job = kernels.select_rows, shape[0] * shape[1], (preactivations, bias, allowed, active)
    kernels.run([job], n_threads)
    return active


def merge(found, starts, k):
    """Select the k largest of each row of what ranks have found, as `select` does.

    Parameters
    ----------
    found : ndarray of shape (ranks, 2, E, B, picks), dtype int32
        Indices within each rank's atoms, and the bits of the values.
    starts : ndarray of shape (ranks,), dtype int64
        First atom of each rank.
    k : int
        Number of picks of a row.
    """
    shape = *found.shape[2:4], k
    active = ActiveAtoms(np.empty(shape, np.int64), np.empty(shape, np.float32))
    job = kernels.merge_rows, shape[0] * shape[1], (found, starts, active)
    kernels.run([job], n_threads_for(found.size))
    return active


def own(active, start, stop):
    """Active atoms from start to before stop, numbered from 0, and where they stand among all.

    Rows are as wide as the fullest; an index of -1 fills up.
    """
    shape = active.values.shape
    found = ActiveAtoms(np.empty(shape, np.int64), np.empty(shape, np.float32))
    places, widths = np.empty(shape, np.int64), np.zeros(shape[0] * shape[1], np.int64)
    job = kernels.own_rows, len(widths), (active, start, stop, found, places, widths)
    kernels.run([job], n_threads_for(places.size))
    width = max(1, widths.max(initial=0))
    found = ActiveAtoms(*(np.ascontiguousarray(part[..., :width]) for part in found))
    return found, places[..., :width]


def largest(preactivations, k, fused):
    """Select the k largest of each row as `select` does, of tensors and as tensors; none negative.

    Fused by compiled loops, otherwise by torch, on any device.
    """
    if fused:
        return ActiveAtoms(*map(torch.from_numpy, select(preactivations.numpy(), k)))
    active = top_k(preactivations, k)
    return active._replace(values=active.values.clamp_(min=0))


def correct(products, gram, layers, active):
    """Code rows by some layers of a deep encoder, in place.

    Parameters
    ----------
    products : ndarray of shape (B, H)
        Products of rows with the atoms; without a gram, of what active atoms leave.
    gram : ndarray of shape (H, H), or (0, 0) for none
        Products of the atoms with one another.
    layers : tuple (scales, biases), ndarrays of shape (any, H)
        As `DeepModel` has them.
    active : ActiveAtoms
        NumPy arrays (1, B, k): those of the layer before, all 0 before the first; then of the last.
    """
    n_threads = n_threads_for(products.size * (len(layers[0]) * active.values.shape[2]))
    job = kernels.correct_rows, len(products), (products, gram, *layers, active)
    kernels.run([job], n_threads)


def decode_and_multiply(rows, decoder, active, slope=None):
    """Add to rows, in place, the atoms times their activations.

    Parameters
    ----------
    rows : ndarray of shape (E, B, D)
        What is added to.
    decoder : ndarray of shape (E, H, D)
        Atoms.
    active : ActiveAtoms
        Of NumPy arrays.
    slope : ndarray of shape (E, B), dtype float64, or None
        Factor of the products; None for no products.

    Returns
    -------
    products : ndarray of shape (E, B, picks)
        Products of what is there then with the active atoms, times the slope of their row.
    squares : ndarray of shape (E, B)
        Squared lengths of the rows.
    """
    shape = (0, 0, 0) if slope is None else active.values.shape
    if slope is None:
        slope = np.empty((0, 0))
    products, squares = np.empty(shape, np.float32), np.empty(shape[:2], np.float32)
    n_threads = n_threads_for(active.values.size * rows.shape[2])
    arguments = decoder, active, slope, rows, products, squares
    kernels.run([(kernels.decode_rows, rows.shape[0] * rows.shape[1], arguments)], n_threads)
    return products, squares


def multiply(rows, decoder, indices, slope):
    """Products and squares of rows as `decode_and_multiply` gives them, with nothing added."""
    products = np.zeros(indices.shape, np.float32)  # what only fills up is not visited
    squares = np.empty(indices.shape[:2], np.float32)
    n_threads = n_threads_for(indices.size * rows.shape[2])
    arguments = decoder, indices, slope, rows, products, squares
    kernels.run([(kernels.multiply_rows, rows.shape[0] * rows.shape[1], arguments)], n_threads)
    return products, squares


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
    p, rows = model.arrays_in_place, batch.rows.numpy()
    # The rows that the gradients of atoms are sums of, side by side.
    n_models = 1 + len(objective.prefixes)
    shared = model.workspace.get("source", (2 + n_models, len(p.centers), *rows.shape))
    source = shared.numpy()
    residual, aux_residual, centred = source[:3]
    center(rows, p.centers, centred)
    # z = TopK(ReLU(W (x - b) + c))
    preactivations, active = model.code(shared[2], training=True, weight=batch.weight)
    active = ActiveAtoms(*map(np.asarray, active))

    weight = _row_weights(batch, residual.shape[:2])
    reconstruction, explain = explaining(model, rows, centred)
    slope = 2 / residual.size / n_models
    live, squares = picks_of(model, residual, active, weight, slope, explain)
    nested, of_nested, further = _nested_picks(
        model, source[2:], preactivations, live, slope, objective.prefixes
    )
    loss = _weighted_sum(weight, squares) + of_nested
    loss /= residual.size * n_models
    # The pull to the other members' codes adds to the gradient at the activations.
    if objective.consistency and len(residual) > 1:
        codes = ActiveAtoms(*map(torch.from_numpy, active))
        value, pull = consistency_gradient(codes, p.shape[1], batch.weight)
        loss += objective.consistency * float(value)
        live = live._replace(gradient=live.products + objective.consistency * pull.numpy())
    dead = _dead_picks(model, (residual, aux_residual), preactivations, live, objective)

    counts = FiringCounts(*(part.numpy() for part in model.counts))
    picks, sides = kernels.gather_picks(
        live, dead, nested, p.bias, p.tied, counts, live.weight.size
    )
    model.move_thresholds(active, objective.dead_after)
    model.optimizer.begin_step(rate)
    flat = source.reshape(-1, rows.shape[1])
    of_centers = centers_gradient((residual, live.slope), *further)
    model.optimizer.step_picked(picks, sides, flat, of_centers)
    return StepResult(loss, torch.from_numpy(model.combine(reconstruction)))


def center(rows, centers, out):
    """Fill in rows (B, D) less each member's centre (E, D)."""
    job = kernels.center_rows, out.shape[0] * out.shape[1], (rows, centers, out)
    kernels.run([job], n_threads_for(out.size))


def explaining(model, rows, centred):
    """An array for reconstructions of rows, and what `picks_of` fills that and residuals in by."""
    reconstruction = model.workspace.get("reconstruction", centred.shape).numpy()
    return reconstruction, functools.partial(_explain, (rows, centred), reconstruction)


def _explain(given, reconstruction, residual, decoder, active, slope):
    """Fill in residuals and reconstructions of given rows; products and squares of residuals.

    The rows (B, D) are given with what they are less the centres (E, B, D).
    """
    products = np.empty(active.values.shape, np.float32)
    out = kernels.Explained(residual, reconstruction, products, np.empty(slope.shape, np.float32))
    n_threads = n_threads_for(active.values.size * residual.shape[2])
    job = kernels.explain_rows, slope.size, (decoder, active, slope, *given, out)
    kernels.run([job], n_threads)
    return out.products, out.squares


def centers_gradient(*parts):
    """The sum of residuals (E, any, D), each row by its slope (E, any): (E, D)."""
    total = np.zeros(parts[0][0].shape[::2], np.float32)
    for residual, slope in parts:
        job = kernels.add_weighted_rows, total.shape[1], (residual, slope.astype(np.float32), total)
        kernels.run([job], n_threads_for(residual.size))
    return total


def _weighted_sum(weight, squares):
    return float((weight * squares).sum(dtype=np.float64))


def _row_weights(batch, shape):
    return np.ones(shape, np.float32) if batch.weight is None else batch.weight.numpy()


def picks_of(model, residual, active, weight, slope, explain=decode_and_multiply):
    """Add what active atoms explain to a residual; with the gradient at their activations."""
    model.optimizer.catch_up(active.indices)
    slope = slope * weight.astype(np.float64)
    products, squares = explain(residual, model.arrays_in_place.decoder, active, slope)
    n_picks = active.values.shape[2]
    rows = np.repeat(np.arange(weight.size), n_picks).reshape(active.values.shape)
    begins = np.zeros(weight.shape[1], np.int64)
    return kernels.Picks(*active, products, products, weight, slope, rows, begins), squares


def _nested_picks(model, source, preactivations, live, slope, prefixes):
    """Picks of the models of the first atoms, and the sum of squared errors, each by its weight.

    Each model picks the k largest of its own pre-activations. Of the source (1 + len(prefixes), E,
    B, D) the first are the centred rows; the others are filled with residuals, those of a member
    side by side, which are returned in a list with their slopes. All picks, the live ones too, are
    told which atoms are those of a smaller model.
    """
    if not prefixes:
        return no_picks(live), 0.0, []
    n_members, n_rows, n_features = source[0].shape
    residuals = source[1:].reshape(n_members, len(prefixes), n_rows, n_features)
    np.negative(source[0][:, None], out=residuals)
    residuals = residuals.reshape(n_members, -1, n_features)
    active = _first_picks(preactivations.numpy(), model.k, prefixes)
    weight = np.tile(live.weight, len(prefixes))
    picks, squares = picks_of(model, residuals, active, weight, slope)
    *begins, last = 0, *prefixes
    picks.begins[:], live.begins[:] = np.repeat(begins, n_rows), last
    return picks, _weighted_sum(weight, squares), [(residuals, picks.slope)]


def _first_picks(preactivations, k, prefixes):
    """Active ones of the first atoms, for each prefix: (E, prefixes times B, k).

    Those are what is always active, and the largest of the others.
    """
    n_members, n_rows, _ = preactivations.shape
    shape = n_members, len(prefixes), n_rows, k
    indices, values = np.full(shape, -1), np.zeros(shape, np.float32)
    for i, n_components in enumerate(prefixes):
        n_always = n_always_active(n_components, k)
        indices[:, i, :, :n_always] = np.arange(n_always)
        values[:, i, :, :n_always] = preactivations[..., :n_always]
        others = np.ones((n_members, n_components), bool)
        others[:, :n_always] = False
        active = select(preactivations, min(k, n_components) - n_always, others)
        for of_all, found in zip((indices, values), active, strict=True):
            of_all[:, i, :, n_always : n_always + found.shape[2]] = found
    return ActiveAtoms(*(part.reshape(n_members, -1, k) for part in (indices, values)))


def _dead_picks(model, residuals, preactivations, live, objective):
    """AuxK: dead atoms explain what the live ones left; no picks where there are none."""
    residual, aux_residual = residuals
    if objective.aux_coef:
        is_dead = model.counts.rows_since.numpy() >= objective.dead_after
        k = min(model.k, int(is_dead.sum(axis=1).max()))
        if k:
            # Only dead atoms are picked, so no gradient of this part reaches a live one.
            np.copyto(aux_residual, residual)
            active = select(preactivations.numpy(), k, is_dead)
            slope = objective.aux_coef * (2 / residual.size)
            return picks_of(model, aux_residual, active, live.weight, slope)[0]
    return no_picks(live)


def no_picks(like):
    """As many rows of picks, all empty."""
    return like._replace(**{name: getattr(like, name)[..., :0].copy() for name in _OF_PICKS})
