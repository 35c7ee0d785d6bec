"""What follows the encoder's product in a training step, in one compiled call.

On a problem like the digits of scikit-learn, calls and operators cost several times the
arithmetic. It is made of the same loops that the engine otherwise calls one by one.
"""

import numpy as np

from ._compile import compiled
from ._lazy_adam import EPSILON, adam_step, catch_up_atoms, update_atoms
from ._rows import count_firing, decode_rows, picks_by_atom, positive_top_k


@compiled
def _catch_up(atoms, decoder_adam, rates, step):
    state, (_, patience) = decoder_adam
    if patience:  # no atom is ever behind
        return
    n_members, n_rows, n_picks = atoms.shape
    n_components = len(state[0]) // n_members
    wanted = np.zeros(len(state[0]), np.bool_)
    for e in range(n_members):
        for b in range(n_rows):
            for pick in range(n_picks):
                wanted[e * n_components + atoms[e, b, pick]] = True
    catch_up_atoms((0, 0), 0, len(wanted), wanted, state, rates, step, np.float32(EPSILON))


@compiled
def _decode_onto(rows, atoms, activations, decoder, slope):
    products = np.empty(atoms.shape, np.float32)
    n_rows = rows.shape[0] * rows.shape[1]
    decode_rows((0, 0), 0, n_rows, decoder, (atoms, activations), rows, np.float32(slope), products)
    return products


@compiled
def _update_atoms(adam, picks, source, along, slope, totals, rates, step):
    state, (unit, patience) = adam
    firsts, rows, values = picks
    update_atoms(
        (0, 0), 0, len(along), state, firsts, (rows, values), source, along, unit, patience, step,
        np.float32(rates[step]), np.float32(EPSILON), slope, totals,
    )  # fmt: skip


@compiled
def _copy(rows, out):
    rows, out = rows.reshape(-1), out.reshape(-1)
    for i in range(len(out)):
        out[i] = rows[i]


@compiled
def _mean_square(rows):
    total, flat = 0.0, rows.reshape(-1)
    for number in flat:
        total += number * number
    return total / len(flat)


@compiled
def _update(source, parts, slopes, weights, adams, moments, rates, step, tied):
    """Adam on all parameters."""
    _, bias, centers = weights
    firsts, rows, values, bias_gradient, along = picks_by_atom(parts, slopes, bias, tied)
    totals = np.zeros((1, *centers.shape), np.float32)
    flat = source.reshape(-1, source.shape[3])
    slope = np.float32(slopes[0])
    for i in range(source.shape[1] * source.shape[2]):
        for d in range(flat.shape[1]):
            totals[0, i // source.shape[2], d] += slope * flat[i, d]
    if tied:
        picks = firsts, rows, values
        _update_atoms(adams[1], picks, flat, along, bias_gradient, totals, rates, step)
    else:
        none = np.zeros_like(along)
        picks = firsts, rows[1:], values[1:]
        _update_atoms(adams[0], picks, flat, none, bias_gradient, totals, rates, step)
        picks = firsts, rows[:1], values[:1]
        _update_atoms(adams[1], picks, flat, along, none, totals, rates, step)
    for parameter, (first, second), gradient in (
        (bias.reshape(-1), moments[0], bias_gradient),
        (centers.reshape(-1), moments[1], totals.reshape(-1)),
    ):
        adam_step(parameter, first.reshape(-1), second.reshape(-1), gradient, rates[step])


@compiled
def small_step(source, pre, k, dead, weights, adams, moments, counts, rates, step, aux_coef, tied):
    """All of a step of `TopKEnsemble.train_step` but the encoder's product; returns the loss.

    Parameters
    ----------
    source : ndarray of shape (3, n_members, n_rows, n_features), dtype float32
        Less the centred rows, anything, the centred rows. The first two become the residual and
        what the dead atoms leave of it.
    pre : ndarray of shape (n_members, n_rows, n_components), dtype float32
        The encoder's product with the centred rows, and the bias.
    k : tuple of int
        Number of active atoms a row, and of dead ones.
    dead : ndarray of shape (n_members, n_components), dtype bool
        Which atoms are dead.
    weights : tuple (decoder, encoder_bias, centers)
        Of all members; changed in place, as is all that follows.
    adams : tuple of tuple (state, (unit, patience))
        Encoder's and decoder's, as in `AtomAdam`.
    moments : tuple of tuple (first, second)
        Adam's, of the bias and of the centres.
    counts : tuple (fired_rows, rows_since_fired)
        For each atom.
    rates : ndarray
        The learning rate of each step, with Adam's correction for its start.
    step : int
        The number of this step.
    aux_coef : float
        Weight of the dead atoms' loss.
    tied : bool
        Whether encoder and decoder are one.
    """
    residual, dead_residual, decoder = source[0], source[1], weights[0]
    slopes = 2 / residual.size, aux_coef * 2 / residual.size

    activations, atoms = positive_top_k(pre, k[0], np.full_like(dead, True))
    _catch_up(atoms, adams[1], rates, step - 1)
    products = _decode_onto(residual, atoms, activations, decoder, slopes[0])
    loss = _mean_square(residual)

    dead_activations, dead_atoms = positive_top_k(pre, k[1], dead)
    _catch_up(dead_atoms, adams[1], rates, step - 1)
    _copy(residual, dead_residual)
    dead_products = _decode_onto(dead_residual, dead_atoms, dead_activations, decoder, slopes[1])

    count_firing(atoms, activations, counts[0], counts[1])
    parts = (
        (atoms, activations, products, products),
        (dead_atoms, dead_activations, dead_products, dead_products),
    )
    _update(source, parts, slopes, weights, adams, moments, rates, step, tied)
    return loss
