"""Budget of rows held out, by which batch top-k finds the threshold that suits new rows.

Encoders suit the rows that they have learned: of others, more activations reach a threshold at
which those have k. So the threshold is fitted to rows that were not learned; but these are few, and
may be simpler or more complex than all by chance. That part is told by a control variate: the
number z of a row's principal coefficients that are among the largest of all rows, to which no row
is new. With c, the number of active atoms of learned rows, the budget of the rows held out is

    k + slope (mean z of those held out - mean z of those learned),  slope = cov(c, z) / var(z).
"""

import torch

from .._engine._sparsity import fitting_threshold
from .._engine._threads import product


def held_out_budget(model, held_out, learned):
    """Mean number of active atoms that rows held out should have, so that all have k.

    Parameters
    ----------
    model : LinearModel
        Its thresholds are such that learned rows have about k.
    held_out, learned : tensor of shape (n, D)
        Rows in scaled units.
    """
    counts = (model.encode(learned).values > 0).sum(2).double().mean(0)
    complexity = largest_coefficients(torch.cat([held_out, learned]), model.k)
    of_learned = complexity[len(held_out) :]
    centred = of_learned - of_learned.mean()
    square = float(centred.square().sum())
    slope = float((centred * counts).sum()) / square if square else 0.0
    differs = float(complexity[: len(held_out)].mean() - of_learned.mean())
    # A mean far from k would not be told from so few rows.
    return min(max(model.k + slope * differs, model.k / 2), 2 * model.k)


def largest_coefficients(rows, k):
    """Number of each row's principal coefficients that are among the k n largest of n rows.

    The directions are those of the rows themselves. Instead of a k of more than half of them, half
    of them are taken.
    """
    centred = rows - rows.mean(0)
    # X X' = U S^2 U', and U S are the coefficients.
    squares, vectors = torch.linalg.eigh(product(centred, centred.T).double())
    coefficients = (vectors * squares.clamp(min=0).sqrt()).abs()
    k = max(1, min(k, min(rows.shape) // 2))
    return (coefficients >= fitting_threshold(coefficients, k)).sum(1).double()
