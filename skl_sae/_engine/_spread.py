"""How a model is spread over ranks, and whether that is worth it."""

import math

import torch

from . import _tuning
from ._model import LinearModel, uses_fused_step
from ._parts import Parts
from ._sharded_atoms import AtomShards
from ._sharded_members import MemberShards

# Numbers of the longest vectors of processors, float32.
_VECTOR = 16


def spread_model(parameters, ranks, **options):
    """A model of parameters (NumPy arrays), spread over ranks, or whole on each of them.

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays, the same on all ranks.
    ranks : Ranks or None
        Who shares the model; None for this process alone.
    **options
        Those of `LinearModel`.
    """
    shape = parameters.shape
    if ranks is None or not is_worth_spreading(shape, ranks.size):
        return LinearModel(parameters, **options)
    parts = Parts(shape, ranks.size, ranks.rank)
    if parts.by_members and not _keeps_bits(shape, **options):
        return LinearModel(parameters, **options)
    kind = MemberShards if parts.by_members else AtomShards
    return kind(parameters, ranks=ranks, parts=parts, **options)


def is_worth_spreading(shape, n_ranks):
    """Whether ranks share a model of this shape, which all would have at the same time."""
    has_enough = max(shape[:2]) >= n_ranks > 1
    return has_enough and math.prod(shape) >= _tuning.SPREAD_SIZE


def _keeps_bits(shape, k, device="cpu", fused=None):
    """Whether members are the same apart as together, to the bit.

    torch's Adam takes numbers by vectors, and what is left at the end of an array one by one, with
    another rounding; where all arrays of a member are whole vectors, nothing is left.
    """
    device = torch.device(device)
    if fused is None:
        fused = uses_fused_step(device, k, shape[1])
    return fused or device.type != "cpu" or not (shape[1] % _VECTOR or shape[2] % _VECTOR)
