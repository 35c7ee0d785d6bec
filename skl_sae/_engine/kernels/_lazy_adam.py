"""Adam on the rows of a matrix that a step concerns, in one visit to memory.

torch's operators would need several passes over each matrix, and its Adam visits every row at
every step. Here a decoder's atom is visited only when it is picked; what Adam's momentum would
have done to it in between is made up for in closed form.
"""

import numpy as np

from .._tuning import TILE
from ._compile import compiled
from ._parcels import BETA1, BETA2, DECAY, MOMENTUM_STEPS, TINY


@compiled
def _sum_rows(out, rows, values, source, start):
    """out = sum of values[p] source[rows[p]] over some features, two rows at a time."""
    n, stop = len(rows), start + len(out)
    if n % 2:
        x, left = values[0], source[rows[0], start:stop]
        for d in range(len(out)):
            out[d] = x * left[d]
    else:
        x, y = values[0], values[1]
        left, right = source[rows[0], start:stop], source[rows[1], start:stop]
        for d in range(len(out)):
            out[d] = x * left[d] + y * right[d]
    for p in range(2 - n % 2, n, 2):
        x, y = values[p], values[p + 1]
        left, right = source[rows[p], start:stop], source[rows[p + 1], start:stop]
        for d in range(len(out)):
            out[d] += x * left[d] + y * right[d]


@compiled(reciprocals=True)
def _direction(first, second):
    """m / sqrt(v), 0 where both are."""
    return first * (np.float32(1) / np.sqrt(second + np.float32(TINY)))


@compiled(reciprocals=True)
def _adam(arrays, gradient, projection, lost, decay1, decay2, rate):
    """Adam on some features of a row; the sum of the squares of its weights afterwards.

    m = decay1 m + (1 - beta1) g,  v = decay2 v + (1 - beta2) g^2,  w = w - rate m / sqrt(v), where
    g is the gradient less projection times w. A total loses ``lost`` times the row as it was.
    """
    weight, first, second, total = arrays
    gain1, gain2, square = np.float32(1 - BETA1), np.float32(1 - BETA2), np.float32(0)
    for d in range(len(gradient)):
        old = weight[d]
        if lost != 0:
            total[d] -= lost * old
        g = gradient[d] - projection * old
        m = decay1 * first[d] + gain1 * g
        v = decay2 * second[d] + gain2 * g * g
        first[d] = m
        second[d] = v
        w = old - rate * _direction(m, v)
        weight[d] = w
        square += w * w
    return square


@compiled(reciprocals=True)
def _drift(arrays, rate):
    """The same without a gradient, where the rate holds how far the moments have decayed.

    m / sqrt(v) decays by beta1 / sqrt(beta2) a step. So neither moment is written.
    """
    weight, first, second = arrays
    square = np.float32(0)
    for d in range(len(weight)):
        w = weight[d] - rate * _direction(first[d], second[d])
        weight[d] = w
        square += w * w
    return square


@compiled
def _scale(weight, square):
    """Bring a row, whose squared length is given, to unit norm."""
    scale = np.float32(1) / np.sqrt(square)
    for d in range(len(weight)):
        weight[d] *= scale


@compiled
def update_atoms(part, state, rule, picks, source, sides, clock, totals):
    """Step Adam on the picked rows of a matrix, and on those that momentum still moves.

    Parameters
    ----------
    part : Range
        Of the rows of the matrix.
    state : AdamState
        Changed in place.
    rule : AdamRule
        How rows are updated.
    picks : AtomPicks
        Gradients as sums of rows.
    source : ndarray of shape (any, D), dtype float32
        The rows that gradients are sums of.
    sides : Sides
        Projections; how often the totals lose a row of the matrix, as it was before the step.
    clock : Clock
        The step and its learning rate.
    totals : ndarray of shape (n_ranges, E, D), dtype float32
        Added up over the ranges they are part of the centres' gradient.
    """
    weights, first, second, picked_at, visited_at, moved_at = state
    n_atoms, n_features = weights.shape
    atoms_of_member = n_atoms // totals.shape[1]
    step, rate = clock.step, np.float32(clock.rates[clock.step])
    gradient = np.empty(min(TILE, n_features), np.float32)
    for h in range(part.begin, part.end):
        begin, end = picks.indptr[h], picks.indptr[h + 1]
        if begin < end:
            picked_at[h] = step
        if picked_at[h] == 0 or step - picked_at[h] > rule.max_lag:
            continue
        moved_at[h] = step
        if begin == end:
            decayed = rate * np.float32(DECAY ** (step - visited_at[h]))
            square = _drift((weights[h], first[h], second[h]), decayed)
            if rule.unit_norm:
                _scale(weights[h], square)
            continue
        # Steps without a gradient only let the moments decay, so several are made up for at once.
        decay1 = np.float32(BETA1 ** (step - visited_at[h]))
        decay2 = np.float32(BETA2 ** (step - visited_at[h]))
        visited_at[h] = step
        square, lost = np.float32(0), sides.bias_gradient[h]
        for start in range(0, n_features, TILE):
            stop = min(start + TILE, n_features)
            tile, total = gradient[: stop - start], totals[part.number, h // atoms_of_member]
            _sum_rows(tile, picks.rows[begin:end], picks.values[begin:end], source, start)
            # The centres' gradient loses the atom as it was before the step, which is in cache now.
            weight, m, v = weights[h, start:stop], first[h, start:stop], second[h, start:stop]
            arrays = weight, m, v, total[start:stop]
            square += _adam(arrays, tile, sides.projection[h], lost, decay1, decay2, rate)
        if rule.unit_norm:
            _scale(weights[h], square)


@compiled(reciprocals=True)
def catch_up_atoms(part, state, wanted, clock):
    """Move the rows that are wanted to where momentum has brought them by now.

    All missed steps move a unit-norm row along one direction u = m / sqrt(v), and the norm is kept
    by scaling. So it becomes a w + b u, with a and b from one number a step.
    """
    weights, first, second, _, visited_at, moved_at = state
    direction = np.empty(weights.shape[1], np.float32)
    for h in range(part.begin, part.end):
        if not wanted[h]:
            continue
        start, stop = moved_at[h], min(clock.step, visited_at[h] + MOMENTUM_STEPS)
        moved_at[h] = clock.step
        if visited_at[h] == 0 or stop <= start:
            continue
        weight, m, v = weights[h], first[h], second[h]
        # |a w + b u|^2 = a^2 + 2 a b (w . u) + b^2 (u . u)
        cross, square = np.float32(0), np.float32(0)
        for d in range(len(weight)):
            u = _direction(m[d], v[d])
            direction[d] = u
            cross += weight[d] * u
            square += u * u
        # Both moments decay on the way: a step s moves by rate (beta1 / sqrt(beta2))^lag u.
        a, b = 1.0, 0.0
        for s in range(start + 1, stop + 1):
            b -= clock.rates[s] * DECAY ** (s - visited_at[h])
            norm = np.sqrt(a * a + 2 * a * b * cross + b * b * square)
            a, b = a / norm, b / norm
        scale, shift = np.float32(a), np.float32(b)
        for d in range(len(weight)):
            weight[d] = scale * weight[d] + shift * direction[d]


@compiled
def adam_step(weights, first, second, gradient, clock):
    """Step Adam on one flat array that is no matrix of atoms, in place.

    Exactly, as an estimate's last bit may depend on where in the array a number lies, and a member
    trained elsewhere lies elsewhere.
    """
    gain1, gain2 = np.float32(1 - BETA1), np.float32(1 - BETA2)
    rate = np.float32(clock.rates[clock.step])
    for d in range(len(weights)):
        m = np.float32(BETA1) * first[d] + gain1 * gradient[d]
        v = np.float32(BETA2) * second[d] + gain2 * gradient[d] * gradient[d]
        first[d] = m
        second[d] = v
        weights[d] -= rate * m / np.sqrt(v + np.float32(TINY))
