"""Adam on the atoms that a step concerns, in one visit to memory.

torch's operators would need several passes over each matrix, and its Adam visits every atom
at every step. Here an atom of the decoder is visited only when it is picked; what Adam's
momentum would have done to it in between is made up for in closed form. Rows of a matrix
are atoms, ``picked_at`` is the last step at which an atom had a gradient (0: never),
``visited_at`` the last step that its moments include, and step numbers begin with 1.
"""

import numpy as np

from ._compile import compiled
from ._rows import TILE, run

BETA1, BETA2 = 0.9, 0.999
# Adam's usual 1e-8 is no longer small beside the gradients of a mean over 12,288 features;
# this keeps a step independent of the number of features, rows and members.
EPSILON = 1e-20
# After so many steps without a gradient momentum moves an atom by less than 1e-11 of the
# learning rate, which no float32 weight notices.
MOMENTUM_STEPS = 256


@compiled
def _gradient(out, parts, picks, source, features):
    """Sum of the picked rows of source, each times its value, for some of the features."""
    rows, values = parts
    out[:] = 0
    for part in range(len(rows)):
        for pick in range(picks[0], picks[1]):
            value = values[part, pick]
            row = source[rows[part, pick], features[0] : features[1]]
            for d in range(len(out)):
                out[d] += value * row[d]


@compiled
def _adam(weight, first, second, gradient, along, decay1, decay2, rate, epsilon):
    """Adam on one tile of an atom; the sum of its squares afterwards.

    The gradient first loses ``along`` times the atom, its component along it.
    """
    gain1, gain2 = np.float32(1 - BETA1), np.float32(1 - BETA2)
    square = np.float32(0)
    for d in range(len(weight)):
        g = gradient[d] - along * weight[d]
        m = decay1 * first[d] + gain1 * g
        v = decay2 * second[d] + gain2 * g * g
        first[d] = m
        second[d] = v
        w = weight[d] - rate * m / (np.sqrt(v) + epsilon)
        weight[d] = w
        square += w * w
    return square


@compiled
def _subtract(total, weight, factor):
    for d in range(len(total)):
        total[d] -= factor * weight[d]


@compiled
def update_atoms(
    place, begin, end, state, firsts, parts, source, along, unit, patience, step, rate, epsilon,
    slope, totals,
):  # fmt: skip
    """The atoms from begin to end of the job that `AtomAdam.job` describes."""
    weights, first, second, picked_at, visited_at, moved_at = state
    n_atoms, n_features = weights.shape
    atoms_of_member = n_atoms // totals.shape[1]
    gradient = np.empty(min(TILE, n_features), np.float32)
    for h in range(begin, end):
        picks = (firsts[h], firsts[h + 1])
        if picks[0] < picks[1]:
            picked_at[h] = step
        if picked_at[h] == 0 or step - picked_at[h] > patience:
            continue
        decay1 = np.float32(BETA1 ** (step - visited_at[h]))
        decay2 = np.float32(BETA2 ** (step - visited_at[h]))
        visited_at[h] = step
        moved_at[h] = step
        square = np.float32(0)
        for start in range(0, n_features, TILE):
            stop = min(start + TILE, n_features)
            tile = gradient[: stop - start]
            weight = weights[h, start:stop]
            if slope[h] != 0:
                _subtract(totals[place[1], h // atoms_of_member, start:stop], weight, slope[h])
            _gradient(tile, parts, picks, source, (start, stop))
            square += _adam(
                weight, first[h, start:stop], second[h, start:stop], tile, along[h],
                decay1, decay2, rate, epsilon,
            )  # fmt: skip
        if unit:
            scale = np.float32(1) / np.sqrt(square)
            for d in range(n_features):  # array expressions take seconds to compile
                weights[h, d] *= scale


@compiled
def catch_up_atoms(_, begin, end, wanted, state, rates, step, epsilon):
    """The atoms from begin to end of `AtomAdam.catch_up`."""
    weights, first, second, _, visited_at, moved_at = state
    for h in range(begin, end):
        if not wanted[h]:
            continue
        start, stop = moved_at[h], min(step, visited_at[h] + MOMENTUM_STEPS)
        moved_at[h] = step
        if visited_at[h] == 0 or stop <= start:
            continue
        weight, m, v = weights[h], first[h], second[h]
        # All missed steps move the atom along one direction u = m / sqrt(v), and the unit
        # norm is kept by scaling: the atom becomes a * weight + b * u.
        cross, square = np.float32(0), np.float32(0)
        for d in range(len(weight)):
            u = m[d] / (np.sqrt(v[d]) + epsilon)
            cross += weight[d] * u
            square += u * u
        a, b = 1.0, 0.0
        for s in range(start + 1, stop + 1):
            b -= rates[s] * (BETA1 / np.sqrt(BETA2)) ** (s - visited_at[h])
            norm = np.sqrt(a * a + 2 * a * b * cross + b * b * square)
            a, b = a / norm, b / norm
        scale, shift = np.float32(a), np.float32(b)
        for d in range(len(weight)):
            weight[d] = scale * weight[d] + shift * (m[d] / (np.sqrt(v[d]) + epsilon))


@compiled
def adam_step(weights, first, second, gradient, rate):
    """Adam on one array that is no atom's, and its moments; all flat, in place."""
    _adam(
        weights, first, second, gradient, np.float32(0), np.float32(BETA1), np.float32(BETA2),
        np.float32(rate), np.float32(EPSILON),
    )  # fmt: skip


class AtomAdam:
    """Adam on the rows of one matrix, which stays where it is and is changed in place.

    Parameters
    ----------
    weights : ndarray of shape (n_atoms, n_features), dtype float32
        The matrix, C-contiguous.
    unit : bool
        Whether rows are scaled to unit norm after each step.
    lazy : bool
        Whether a row may be left behind while it is not picked. `catch_up` must then be
        called for rows before they are read.
    """

    def __init__(self, weights, *, unit, lazy):
        n_atoms = len(weights)
        self.state = (
            weights,
            np.zeros_like(weights),
            np.zeros_like(weights),
            *(np.zeros(n_atoms, dtype=np.int64) for _ in range(3)),
        )
        self.manner = unit, 0 if lazy else MOMENTUM_STEPS

    def arrays(self):
        """All that it remembers of the rows, by name."""
        names = "first", "second", "picked_at", "visited_at", "moved_at"
        return dict(zip(names, self.state[1:], strict=True))

    def job(self, picks, source, along, slope, totals, rates, step):
        """One step on the picked rows, and on those that momentum still moves, for `run`.

        Parameters
        ----------
        picks : tuple (firsts, rows, values)
            Atom h has the picks from ``firsts[h]`` to ``firsts[h + 1]``; its gradient is
            the sum over parts and picks of ``values[part, pick] * source[rows[part, pick]]``.
        source : ndarray of shape (n_rows, n_features), dtype float32
            What gradients are sums of.
        along : ndarray of shape (n_atoms,), dtype float32
            How much of each atom is taken from its gradient.
        slope : ndarray of shape (n_atoms,), dtype float32
            Weights of the sums that the totals lose.
        totals : ndarray of shape (n_ranges, n_members, n_features), dtype float32
            Loses, over all ranges, the sum over a member's atoms of slope times atom,
            before the step. The rows of the matrix are those of the members in turn.
        rates : ndarray
            The learning rate of each step, with Adam's correction for its start.
        step : int
            The number of this step.
        """
        firsts, rows, values = picks
        return update_atoms, len(firsts) - 1, (
            self.state, firsts, (rows, values), source, along, *self.manner, step,
            np.float32(rates[step]), np.float32(EPSILON), slope, totals,
        )  # fmt: skip

    def catch_up(self, wanted, rates, step, n_threads):
        """Move the rows where ``wanted`` is true to where they are after a step."""
        arguments = wanted, self.state, rates, step, np.float32(EPSILON)
        run([(catch_up_atoms, len(wanted), arguments)], n_threads)
