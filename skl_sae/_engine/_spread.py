"""How a model is spread over ranks, and whether that is worth it."""

import math

from . import _tuning
from ._model import LinearModel
from ._parts import Parts
from ._sharded_atoms import AtomShards
from ._sharded_members import MemberShards


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
    kind = MemberShards if parts.by_members else AtomShards
    return kind(parameters, ranks=ranks, parts=parts, **options)


def is_worth_spreading(shape, n_ranks):
    """Whether ranks share a model of this shape, which all would have at the same time."""
    has_enough = max(shape[:2]) >= n_ranks > 1
    return has_enough and math.prod(shape) >= _tuning.SPREAD_SIZE
