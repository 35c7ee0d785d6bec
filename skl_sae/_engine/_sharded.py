"""ShardedModel: a model of which each of several processes keeps a part.

Every rank sees the same batches. What a step needs of the others are active atoms, and sums that
have the size of a batch; gradients and Adam's moments never travel.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch

from . import _combination, _fused, kernels
from ._model import LinearModel, uses_fused_step
from ._objective import Coded, GradientSums, consistency_gradient
from ._parameters import ActiveAtoms, Array, FiringCounts, Parameters, StepResult
from ._threads import without_autograd


class Ranks(Protocol):
    """Processes that work on one model, as a model sees them; each method is called by all."""

    rank: int
    size: int

    def gather(self, tensor: Array) -> Array:
        """Tensors of all ranks, which have the same shape, side by side: (ranks, ...)."""

    def add(self, tensor: Array) -> None:
        """Sum of all ranks' tensors, in place."""

    def begin_to_add(self, tensor: Array) -> Callable[[], None]:
        """The same, done when what is returned has been called."""

    def collect(self, part: Array, shapes: list) -> list:
        """Arrays of all ranks, which have these shapes."""


class Own(NamedTuple):
    """Active atoms of the part that is kept here."""

    active: ActiveAtoms  # numbered within the part
    places: torch.Tensor | None  # where they stand among the picks of all; None: at the same place


def _apart(members):
    """Leave members' reconstructions apart, since there may be more elsewhere."""
    return members


class ShardedModel:
    """A `LinearModel` whose members, or atoms, are spread over ranks.

    It takes and gives whole arrays, and does what `LinearModel` does. All ranks must call the same
    methods with the same arguments.

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays of the whole model, the same on all ranks; what is kept here is copied.
    k, device, fused, combine
        As `LinearModel` has them.
    ranks : Ranks
        Who shares the model.
    parts : Parts
        Which part each of them keeps.
    """

    @without_autograd
    def __init__(
        self, parameters, *, k, ranks, parts, device="cpu", fused=None, combine=_combination.mean
    ):
        device = torch.device(device)
        self.k, self.ranks, self.parts, self.combine = k, ranks, parts, combine
        if fused is None:
            fused = uses_fused_step(device, k, parameters.shape[1])
        part = Parameters.from_named(self.cut(parameters.named()))
        self.local = LinearModel(
            part, k=min(k, part.shape[1]), device=device, fused=fused, combine=_apart
        )
        self.counts = FiringCounts(
            *(torch.zeros(parameters.shape[:2], device=device) for _ in range(2))
        )
        # Shapes of the whole model, without numbers, but for the thresholds, which all ranks know.
        self.parameters = parameters.map(lambda array: torch.empty(array.shape, device="meta"))
        if parameters.thresholds is not None:
            self.parameters.thresholds = torch.from_numpy(parameters.thresholds.copy()).to(device)
            self._share_thresholds()

    def _share_thresholds(self):
        """Let the part have the thresholds of the whole model, which move in place."""
        of_part = self.parameters.thresholds
        if self.parts.by_members:
            of_part = of_part[self.parts.here]
        self.local.parameters.thresholds = of_part

    @property
    def device(self):
        return self.local.device

    @property
    def fused(self):
        return self.local.fused

    @property
    def n_steps(self):
        return self.local.n_steps

    def catch_up(self):
        """Bring all atoms of the decoder to the present step."""
        self.local.catch_up()

    # --- The whole ---

    def arrays(self, *, caught_up=True):
        """Parameters of the whole model in NumPy, with all parts collected."""
        return Parameters.from_named(self.joined(self._kept(caught_up)))

    def kept_arrays(self):
        """Parameters that are kept here, by name."""
        return self._kept(True)

    def _kept(self, caught_up):
        named = self.local.arrays(caught_up=caught_up).named()
        if self.parameters.thresholds is not None:
            named["thresholds"] = self.local.parameters.thresholds.cpu().numpy()
        return named

    def optimizer_arrays(self):
        """Return what training needs besides `arrays`, as that of one `LinearModel`."""
        joined = self.joined(self.local.optimizer.arrays())
        return {"rows_since_fired": self.counts.rows_since.cpu().numpy(), **joined}

    def joined(self, named):
        """The whole of named arrays of which each rank has its part."""
        return {
            name: self.parts.join(name, array, self.ranks.collect) for name, array in named.items()
        }

    def cut(self, named):
        """The inverse of `joined`."""
        return {name: self.parts.cut(name, array) for name, array in named.items()}

    @without_autograd
    def restore_optimizer(self, arrays, n_steps):
        """Go on after this many steps from what `optimizer_arrays` gave."""
        self.counts.rows_since.copy_(torch.from_numpy(arrays["rows_since_fired"]))
        self.local.restore_optimizer(self.cut(arrays), n_steps)

    def whole(self):
        """A `LinearModel` of all parts, with Adam's moments."""
        model = LinearModel(
            self.arrays(caught_up=False), k=self.k, device=self.device, fused=self.fused,
            combine=self.combine,
        )  # fmt: skip
        model.restore_optimizer(self.optimizer_arrays(), self.n_steps)
        return model

    def _exchanged(self, active, k=None, batch=None):
        """Active atoms of all parts, of shape (ranks, most members, B, picks)."""
        picks = self._bits_exchanged(active, k, batch)
        return ActiveAtoms(picks[:, 0].long(), picks[:, 1].view(torch.float32))

    def _bits_exchanged(self, active, k, batch):
        """Indices and bits of the values of all parts: (ranks, 2, most members, B, picks).

        Rows of a batch travel as their sum, by which ranks see that they were given the same.
        """
        indices, values = map(torch.as_tensor, active)
        n_members, n_rows, width = values.shape
        if k is None:
            k = int(self.ranks.gather(torch.tensor([width], device=values.device)).max())
        shape = 2, self._most_members, n_rows, k
        message = torch.zeros(math.prod(shape) + 1, dtype=torch.int32, device=values.device)
        picks = message[:-1].view(shape)
        picks[0, :n_members, :, :width] = indices
        picks[1, :n_members, :, :width] = values.view(torch.int32)
        if batch is not None:
            message[-1] = batch.rows.sum().view(torch.int32)
        gathered = self.ranks.gather(message)
        if (gathered[:, -1] != gathered[0, -1]).any():
            raise ValueError(
                "Expected the same rows in each batch of all ranks, got different ones. Give an "
                "augmenter a random_state."
            )
        return gathered[:, :-1].view(-1, *shape)

    @property
    def _most_members(self):
        return max(self.parts.sizes) if self.parts.by_members else self.parameters.shape[0]

    # --- Forward ---

    @without_autograd
    def encode(self, rows):
        """Active atoms of rows (B, D), of all parts."""
        return self._agreed(self.local.encode(rows))

    error, reconstruct = LinearModel.error, LinearModel.reconstruct
    move_thresholds = LinearModel.move_thresholds

    # --- Training ---

    @without_autograd
    def step(self, batch, objective, rate):
        """Take one step of Adam, as `LinearModel.step` does."""
        if self.fused:
            return self._fused_step(batch, objective, rate)
        result, gradients = self.gradients(batch, objective)
        self.apply(gradients, rate)
        return result

    @without_autograd
    def apply(self, gradients, rate):
        """Step down gradients of the part that is kept here."""
        self.local.apply(gradients, rate)

    @without_autograd
    def revive(self, dead_after):
        """Wake dead atoms, as `LinearModel.revive` does."""
        if (self.counts.rows_since >= dead_after).any():
            self.catch_up()  # also where none of the dead atoms is, for the same bits
        self.local.counts.rows_since.copy_(self._here(self.counts.rows_since))
        self.local.revive(dead_after)

    def _here(self, of_atoms):
        """The part of an array (E, H)."""
        here = self.parts.here
        return of_atoms[here] if self.parts.by_members else of_atoms[:, here].contiguous()

    def _n_dead(self, objective):
        """Number of dead atoms that explain a row; 0 without AuxK."""
        if not objective.aux_coef:
            return 0
        dead = self.counts.rows_since >= objective.dead_after
        return min(self.k, int(dead.sum(1).max()))

    def _fused_step(self, batch, objective, rate):
        """The step of `_fused.fused_step`, on this part of the model."""
        local, rows = self.local, batch.rows.numpy()
        p, weight = local.arrays_in_place, self._own_weight(batch)
        shared = local.workspace.get("source", (3, len(p.centers), *rows.shape))
        source = shared.numpy()
        residual, _, centred = source
        _fused.center(rows, p.centers, centred)
        preactivations, active = local.code(shared[2], training=True, weight=weight)
        active = self._agreed(active, batch)
        own = self._own(active)

        slope = 2 / (self.parameters.shape[0] * rows.size)
        weight = np.ones(residual.shape[:2], np.float32) if weight is None else weight.numpy()
        explain = self._explain_from(rows, centred, residual)
        live, squares = self._picks(residual, own, weight, slope, explain)
        loss, reconstruction = self._outcome(shared[0], torch.from_numpy(squares), batch)
        if objective.consistency and self.parameters.shape[0] > 1:
            value, pull = self._consistency(active, own, batch)
            loss += objective.consistency * float(value)
            live = live._replace(gradient=live.products + objective.consistency * pull.numpy())
        dead = self._dead_picks(source, preactivations, live, objective)

        self._count_firing(active, batch.weight)
        unused = FiringCounts(*(part.numpy() for part in local.counts))
        none = _fused.no_picks(live)  # of further models
        picks, sides = kernels.gather_picks(
            live, dead, none, p.bias, p.tied, unused, live.weight.size
        )
        self.move_thresholds(active, objective.dead_after)
        local.optimizer.begin_step(rate)
        flat = source.reshape(-1, rows.shape[1])
        of_centers = _fused.centers_gradient((residual, live.slope))
        local.optimizer.step_picked(picks, sides, flat, of_centers)
        return StepResult(loss, reconstruction)

    def _picks(self, residual, own, weight, slope, explain=None):
        active = ActiveAtoms(*(part.numpy() for part in own.active))
        explain = explain or self._explain
        return _fused.picks_of(self.local, residual, active, weight, slope, explain)

    def _dead_picks(self, source, preactivations, live, objective):
        """Picks of AuxK, of the dead atoms of all parts."""
        residual, aux_residual, _ = source
        k = self._n_dead(objective)
        if not k:
            return _fused.no_picks(live)
        np.copyto(aux_residual, residual)
        is_dead = self._here(self.counts.rows_since >= objective.dead_after).numpy()
        own = self._own_dead(_fused.select(preactivations.numpy(), k, is_dead), k)
        slope = objective.aux_coef * (2 / (self.parameters.shape[0] * aux_residual[0].size))
        return self._picks(aux_residual, own, live.weight, slope)[0]

    def _consistency(self, active, own, batch):
        """Value of consistency, and its gradient at the atoms of this part."""
        value, pull = consistency_gradient(active, self.parameters.shape[1], batch.weight)
        if own.places is not None:
            return value, pull.gather(2, own.places)
        return value, pull[self.parts.here] if self.parts.by_members else pull

    def _own_weight(self, batch):
        """Weights of the rows for the members that are here, or None."""
        if batch.weight is None:
            return None
        return batch.weight[self.parts.here] if self.parts.by_members else batch.weight

    def _count_firing(self, active, weight):
        """Note which atoms of all parts fired."""
        if not self.fused:
            LinearModel._count_firing(self, active, weight)
            return
        indices, values = (part.numpy() for part in active)
        if weight is None:
            weight = torch.ones(values.shape[:2])
        slope = np.empty(values.shape[:2])
        # Of these only the indices, values and weights are looked at.
        unused = values, values, weight.numpy(), slope, indices, np.empty(0, np.int64)
        live = kernels.Picks(indices, values, *unused)
        kernels.count_firing(live, FiringCounts(*(part.numpy() for part in self.counts)))

    @without_autograd
    def gradients(self, batch, objective):
        """Loss, reconstruction, and gradients of this part, by the reference."""
        self.catch_up()
        p, weight = self.local.parameters, self._own_weight(batch)
        centred = batch.rows - p.centers[:, None]
        preactivations, active = self.local.code(centred, training=True, weight=weight)
        active = self._agreed(active, batch)
        own = self._own(active, filler=0)
        slope = 2 / (self.parameters.shape[0] * batch.rows.numel())
        if weight is not None:
            slope = slope * weight[..., None]
        residual = centred.neg()
        gradient = products = self._explain_dense(residual, own.active, slope)
        loss, reconstruction = self._outcome(residual, None, batch)
        if objective.consistency and self.parameters.shape[0] > 1:
            value, pull = self._consistency(active, own, batch)
            loss += objective.consistency * value
            gradient = products + objective.consistency * pull
        sums = GradientSums(p)
        sums.add(own.active, products, gradient, slope, (residual, centred))
        k = self._n_dead(objective)
        if k:
            dead = self._here(self.counts.rows_since >= objective.dead_after)
            coded = Coded(centred, preactivations, own.active, k, dead)
            self._add_dead(sums, coded, residual, slope * objective.aux_coef)
        centers = slope * residual.sum(1) if weight is None else (slope * residual).sum(1)
        self._count_firing(active, batch.weight)
        self.move_thresholds(active, objective.dead_after)
        return StepResult(loss, reconstruction), self._result(sums, centers)

    def _add_dead(self, sums, coded, residual, slope):
        """AuxK: what dead atoms explain of the residual, which is a constant here."""
        masked = torch.where(coded.dead[:, None], coded.preactivations, -torch.inf)
        values, indices = masked.topk(min(coded.k, masked.shape[2]), sorted=False)
        aux = self._own_dead(ActiveAtoms(indices, values.clamp_(min=0)), coded.k, filler=0).active
        left = residual.clone()
        products = self._explain_dense(left, aux, slope)
        sums.add(aux, products, products, slope, (left, coded.centred))
