"""The loops that take longest to compile, compiled while a fit does what comes before them."""

import functools

import numpy as np

from .._parameters import FiringCounts
from . import _gather, _lazy_adam
from ._compile import compile_ahead
from ._parcels import AdamRule, AdamState, AtomPicks, Clock, Picks, Range, Sides


@functools.cache  # once a process
def compile_training():
    """Begin to compile what the second half of a training step needs, where that is missing."""
    compile_ahead(_jobs())


def _jobs():
    """Loops with arguments of the types that `fused_step` gives them."""
    index, number = np.zeros(1, np.int64), np.zeros(1, np.float32)
    matrix, indices = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.int64)
    of_picks, clock = np.zeros((1, 1, 1), np.float32), Clock(1, np.zeros(1))
    slope = np.zeros((1, 1))
    picks = Picks(indices, of_picks, of_picks, of_picks, matrix, slope, indices, index)
    counts = FiringCounts(matrix, matrix)
    state = AdamState(matrix, matrix, matrix, index, index, index)
    of_atoms, sides = AtomPicks(index, index, number), Sides(number, number)
    atoms = Range(0, 0, 0, 0), state, AdamRule(True, 1), of_atoms, matrix, sides, clock, of_picks
    return [
        (_gather.gather_picks, (picks, picks, picks, matrix, True, counts, 1)),
        (_lazy_adam.update_atoms, atoms),
        (_lazy_adam.adam_step, (number, number, number, number, clock)),
    ]
