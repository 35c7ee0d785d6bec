"""How the members' reconstructions make one."""

from typing import Protocol

from ._parameters import Array


class Combination(Protocol):
    """Rule by which the reconstructions of all members make one; the loss is each member's own."""

    def __call__(self, members: Array) -> Array:
        """Combine reconstructions (E, B, D), of NumPy or torch, to (B, D)."""


def mean(members):
    """The mean of the members: each explains the whole of a row."""
    return members[0] if len(members) == 1 else members.mean(0)
