"""The named tuples that compiled loops take.

Shapes: E members of H atoms over D features, batches of B rows. Members' atoms are worked on as
one list: atom h of member e is number ``e H + h``, and its row b is number ``e B + b``.
"""

from typing import NamedTuple

import numpy as np

# Adam's constants, for all that uses it. Changing a beta changes MOMENTUM_STEPS, too.
BETA1, BETA2 = 0.9, 0.999
# Its usual 1e-8 is no longer small beside the gradients of a mean over 12,288 features; this keeps
# a step independent of the number of features, rows and members.
EPSILON = 1e-20
# Loops that estimate 1 / sqrt(v) add this to v instead: the least that keeps it finite where
# estimates take what is smaller for 0.
TINY = 1e-37
# m / sqrt(v) of a row without a gradient decays by this in a step.
DECAY = BETA1 / BETA2**0.5
# After this many steps without a gradient momentum moves an atom by less than 1e-11 of the
# learning rate, which no float32 weight notices.
MOMENTUM_STEPS = 256
# Part of a nested model's gradient that counts at the atoms of smaller ones. With all of it these
# are far from what they are alone, with none the largest is. FVU of three models of MNIST at 0.5,
# 0.8 and 1: 0.216, 0.155, 0.155; 0.220, 0.148, 0.144; 0.233, 0.147, 0.142; alone 0.209, 0.141,
# 0.136 (3, 5 and 5 times the learning rate of one model).
EARLIER_SHARE = 0.7


class Range(NamedTuple):
    """Part of a loop, and who runs it."""

    thread: int
    number: int  # of this range among all
    begin: int
    end: int


class Picks(NamedTuple):
    """Picked atoms of each row, and the gradient of the loss at their activations."""

    indices: np.ndarray  # (E, B, picks), int64
    values: np.ndarray  # (E, B, picks), float32
    products: np.ndarray  # (E, B, picks): of the squared error alone
    gradient: np.ndarray  # (E, B, picks): of the whole loss; counts only where a value is not 0
    weight: np.ndarray  # (E, B), float32: how much each row counts
    slope: np.ndarray  # (E, B), float64: the gradient at a row's reconstruction, by its residual
    rows: np.ndarray  # (E, B, picks), int64: which row of a source a pick looks at
    begins: np.ndarray  # (B,), int64: of atoms before that, a part of the gradient counts


class Explained(NamedTuple):
    """Each row by its active atoms: residual, reconstruction, and products of the former."""

    residual: np.ndarray  # (E, B, D), float32: D' z - (x - b)
    reconstruction: np.ndarray  # (E, B, D), float32: D' z + b
    products: np.ndarray  # (E, B, picks), float32: slope times the picked atoms' with the residual
    squares: np.ndarray  # (E, B), float32: squared lengths of the residuals


class PlaceOffsets(NamedTuple):
    """Where patches lie in an image that is one row: line by line."""

    begins: np.ndarray  # (P,), int64: begin of a patch's first line
    height: int  # lines of a patch
    width: int  # numbers of a line
    pitch: int  # numbers from the begin of a line to that of the next


class ShiftedProducts(NamedTuple):
    """Products of atoms with one another at each shift of places at which they meet."""

    values: np.ndarray  # (shifts, H, H), float32; shifts in C order, from up left to down right
    columns: int  # number of places side by side
    down: int  # places that a shift reaches
    right: int


class Ending(NamedTuple):
    """Where the pursuit of each row ends: NumPy arrays for compiled loops, tensors with CUDA."""

    product: np.ndarray  # (B,): of an atom with the residual, so small that nothing is left
    explained: np.ndarray  # (B,), float64: part of the squared norm that is enough
    dependent: float  # an atom whose part across those picked is so small adds nothing to them


class AtomPicks(NamedTuple):
    """The gradient of atom h is the sum of ``values[p] source[rows[p]]`` over its picks p."""

    indptr: np.ndarray  # (E H + 1,): the picks of atom h are those from indptr[h] to indptr[h + 1]
    rows: np.ndarray  # (picks,), int64
    values: np.ndarray  # (picks,), float32


class Sides(NamedTuple):
    """Numbers that a step needs for each atom besides its picks; both (E H,), float32."""

    projection: np.ndarray  # product of the atom with its own gradient, which that loses
    bias_gradient: np.ndarray  # how often the centres' gradient loses the atom


class AdamState(NamedTuple):
    """Rows of a matrix, and what Adam remembers of them."""

    weights: np.ndarray  # (n, D), float32
    first: np.ndarray  # (n, D), float32
    second: np.ndarray  # (n, D), float32
    picked_at: np.ndarray  # (n,): last step at which a row had a gradient; 0: never
    visited_at: np.ndarray  # (n,): last step that its moments include
    moved_at: np.ndarray  # (n,): last step that its weights include


class AdamRule(NamedTuple):
    """How rows are updated."""

    unit_norm: bool  # whether they are scaled to unit norm after each step
    max_lag: int  # steps for which a row without a gradient is still visited; 0: left behind


class Clock(NamedTuple):
    """The step under way; steps are counted from 1."""

    step: int
    rates: np.ndarray  # learning rate of each step, with Adam's correction for its start
