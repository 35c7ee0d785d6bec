"""Containers that are passed between the functions of the engine.

Shapes: E members of H atoms over D features; a batch has B rows. Arrays are NumPy's or torch's.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

# The always active atoms of a small prefix answer so many times the root of the number of features
# more; in scaled units a row is about as long as this root.
PREFIX_SHIFT = 4.0

Array = Any  # numpy.ndarray or torch.Tensor


@dataclass
class Parameters:
    """Learned parameters. Member e codes a row x as ``TopK(ReLU(W_e (x - b_e) + c_e))``.

    Further layers, of a single member, correct the code by what it leaves over; see `DeepModel`.
    """

    decoder: Array  # D, the atoms, (E, H, D); unit norm
    encoder: Array | None  # W, (E, H, D); None ties it to the decoder
    bias: Array  # c, (E, H)
    centers: Array  # b, (E, D)
    # Smallest activation that counts, (E,); of each atom, (E, H), in models of other libraries,
    # which are not trained so; None for top-k.
    thresholds: Array | None = None
    scales: Array | None = None  # of the first layer and L further ones, (1 + L, H); None for none
    correction_biases: Array | None = None  # of the further ones, (L, H)

    @property
    def tied(self):
        return self.encoder is None

    @property
    def weights(self):
        """The encoder's weights W, which are the atoms if tied."""
        return self.decoder if self.tied else self.encoder

    @property
    def shape(self):
        """Members, atoms and features."""
        return tuple(self.decoder.shape)

    def named(self):
        """The arrays that there are, by name."""
        pairs = ((name, getattr(self, name)) for name in NAMES)
        return {name: array for name, array in pairs if array is not None}

    @classmethod
    def from_named(cls, arrays):
        """The inverse of `named`; further names are ignored."""
        return cls(**{name: arrays.get(name) for name in NAMES})

    def map(self, function):
        """Parameters of what a function makes of each array."""
        return self.from_named({name: function(a) for name, a in self.named().items()})

    def copy(self):
        """Copies of NumPy arrays."""
        return self.map(lambda array: array.copy())

    def first(self, n_components):
        """Copies of what each member's first atoms have in NumPy arrays, and of the centres."""
        named = self.named()
        for name in ("decoder", "encoder", "bias"):
            if name in named:
                named[name] = named[name][:, :n_components]
        return self.from_named(named).copy()

    def prefix(self, n_components, k, scale=1.0):
        """Model that each member's first atoms are by themselves, in NumPy arrays of its own.

        In a prefix of fewer than 2 k atoms the first have activations of either sign, see
        `n_always_active`. By itself it has them too: with the atoms v that are always active, the
        centre b moves by -s sum v, and each of them answers any row s more, of which the
        reconstruction loses as much.

        Parameters
        ----------
        n_components : int
            Number of atoms.
        k : int
            Number of active atoms in the code of all atoms.
        scale : float, default=1.0
            Length of the scaled unit in units of the parameters, as `Scaling` has it.
        """
        first = self.first(n_components)
        n_always = n_always_active(n_components, k)
        if not n_always:
            return first
        shift = scale * PREFIX_SHIFT * np.sqrt(self.shape[2])
        moved = -shift * first.decoder[:, :n_always].sum(axis=1, dtype=np.float64)
        # W (x - b') + c' = W (x - b) + c + s,  c' = c + s + W (b' - b)
        bias = first.bias + np.einsum("ehd,ed->eh", first.weights, moved)
        bias[:, :n_always] += shift
        first.bias[:], first.centers[:] = bias, first.centers + moved
        return first


NAMES = tuple(field.name for field in fields(Parameters))


@dataclass
class Gradients:
    """Gradients of the loss by the parameters."""

    decoder: Array  # orthogonal to the atoms, whose norm is kept
    encoder: Array | None  # None if tied
    bias: Array
    centers: Array
    scales: Array | None = None
    correction_biases: Array | None = None


class ActiveAtoms(NamedTuple):
    """Sparse codes of a batch, with the same number of picks for each row.

    Picks come in no order. A pick with the value 0 is no activation and only fills up, whatever its
    index. Values are negative in training only, of `n_always_active` atoms.
    """

    indices: Array  # (E, B, picks), atoms counted within their member
    values: Array  # (E, B, picks), their activations


class Batch(NamedTuple):
    """Rows in scaled units."""

    rows: Array  # (B, D)
    weight: Array | None = None  # (E, B): how much each counts, 1 on average; None: all 1


class Objective(NamedTuple):
    """Terms of the loss besides the squared error."""

    consistency: float = 0.0  # weight of the mean squared difference between two members' codes
    aux_coef: float = 0.0  # weight of AuxK, the dead atoms' loss
    dead_after: float = float("inf")  # rows without firing after which an atom counts as dead
    prefixes: tuple = ()  # numbers of first atoms that are models, too; the loss is their mean


class StepResult(NamedTuple):
    """Outcome of a step, as found before the parameters changed."""

    loss: float  # squared error and consistency, without AuxK, which begins with the first death
    reconstruction: Array  # (B, D), mean over members


def n_always_active(n_components, k):
    """Number of a prefix's first atoms that are active whatever the row, by either sign.

    Top-k has both signs of a direction by a pair of atoms. Fewer than 2 k atoms are no k pairs: as
    many directions as there may be have a pair, and others one atom without ReLU, n_single + 2 (k -
    n_single) = n_components. k atoms and fewer are all active.
    """
    return max(0, min(n_components, 2 * k - n_components))


class FiringCounts(NamedTuple):
    """Counters of firing atoms; both (E, H), float32."""

    fired: Array  # weight of the rows on which an atom fired since it was last set to 0
    rows_since: Array  # rows since an atom fired
