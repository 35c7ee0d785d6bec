"""LinearModel, the torch model of all members: encode, decode and one training step.

Shapes: E members of H atoms over D features, batches of B rows, k active atoms a row. All arrays
are in scaled units (see ``TopKSparseAutoencoder``). Nothing here uses autograd: the gradients of a
Top-K autoencoder are a few products, and only the encoder's must be dense.
"""

import math
from typing import Protocol

import torch

from . import _combination, _fused
from ._adam import DenseAdam, LazyAdam
from ._device import Workspace
from ._objective import Coded, consistency_gradient, decode_onto, loss_and_gradients
from ._parameters import (
    ActiveAtoms,
    Array,
    Batch,
    FiringCounts,
    Gradients,
    Objective,
    Parameters,
    StepResult,
)
from ._sparsity import above, batch_top_k, fitting_threshold, stack_padded
from ._threads import add_products, product, without_autograd
from ._tuning import FEW_ATOMS, NARROW_BATCH, SPARSE_DENSITY

# Norm of a dead atom's encoder after it is set to the atom again. At full norm such encoders would
# take rows from live atoms.
REVIVED = 0.5
# Factor, after each epoch, of a bias that keeps a dead atom inactive.
WAKING = 0.9
# An atom with a bias below minus this, in scaled units, is silent on purpose (`DORMANT` in
# init/_start.py), and is not revived.
SILENT = 1e6


def uses_fused_step(device, k, n_components):
    """Whether to work on the active atoms alone; the one place where this is chosen.

    Accelerators do best with dense products, and some lack the sparse operators.
    """
    return device.type == "cpu" and k / n_components < SPARSE_DENSITY


class Model(Protocol):
    """A model that can be trained: the mathematics.

    A `Trainer`, checkpoints and files need besides, as `LinearModel` has it: ``k``, ``device``,
    ``counts``, ``n_steps``; ``arrays`` and ``catch_up``; ``error``, ``reconstruct`` and
    ``fit_thresholds``; ``revive``; ``optimizer_arrays`` and ``restore_optimizer``; ``whole``,
    ``kept_arrays``, ``joined`` and ``cut``.
    """

    parameters: Parameters

    def encode(self, rows: Array) -> ActiveAtoms:
        """Active atoms of rows (B, D)."""

    def decode(self, active: ActiveAtoms) -> Array:
        """Reconstruction (B, D) from active atoms."""

    def gradients(self, batch: Batch, objective: Objective) -> tuple[StepResult, Gradients]:
        """Loss, reconstruction and gradients of a batch, before any step."""

    def apply(self, gradients: Gradients, rate: float) -> None:
        """Step down gradients."""

    def step(self, batch: Batch, objective: Objective, rate: float) -> StepResult:
        """Do both; a model may fuse them."""


class LinearModel:
    """E Top-K sparse autoencoders over the same input, in one set of tensors.

    Member e codes a row x as ``z = TopK(ReLU(W_e (x - b_e) + c_e), k)`` and reconstructs it
    as ``D_e' z + b_e``.

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays of dtype float32. On a CPU they are trained in place. With thresholds this is
        batch top-k: in a training step each member spends ``k B`` activations on the B rows where
        they are largest, and the smallest of them moves the threshold, which alone decides for
        rows that are only coded (Bussmann, Leask and Nanda, 2024).
    k : int
        Number of active atoms a row and member: at most, or with thresholds on average.
    device : str or torch.device, default="cpu"
        Location of the tensors.
    fused : bool or None, default=None
        Whether to step by `fused_step`. None chooses by device and shape.
    combine : Combination
        What becomes of the members' reconstructions.
    """

    @without_autograd
    def __init__(self, parameters, *, k, device="cpu", fused=None, combine=_combination.mean):
        device = torch.device(device)
        self.combine = combine
        # On a CPU the tensors are views of these.
        self.arrays_in_place = parameters
        self.parameters = parameters.map(lambda array: torch.from_numpy(array).to(device))
        self.k = k
        chosen = uses_fused_step(device, k, parameters.shape[1])
        self.fused = chosen if fused is None else fused
        self.counts = FiringCounts(*(torch.zeros_like(self.parameters.bias) for _ in range(2)))
        self.optimizer = (LazyAdam if self.fused else DenseAdam)(self.parameters)
        self.workspace = Workspace(device)

    @property
    def device(self):
        return self.parameters.decoder.device

    @property
    def n_steps(self):
        return self.optimizer.n_steps

    def arrays(self, *, caught_up=True):
        """Parameters in NumPy; on a CPU the arrays that were given, which were trained in place.

        Without catching up, atoms of the decoder may be behind.
        """
        if caught_up:
            self.catch_up()
        if self.device.type == "cpu":
            return self.arrays_in_place
        return self.parameters.map(lambda tensor: tensor.cpu().numpy())

    def optimizer_arrays(self):
        """Return what training needs besides `arrays` to go on as if it had not stopped, by name.

        Atoms of the decoder may be behind; keep them as they are, by ``arrays(caught_up=False)``.
        """
        return {"rows_since_fired": self.counts.rows_since.cpu().numpy(), **self.optimizer.arrays()}

    @without_autograd
    def restore_optimizer(self, arrays, n_steps):
        """Go on after this many steps from what `optimizer_arrays` gave, which is copied."""
        self.counts.rows_since.copy_(torch.from_numpy(arrays["rows_since_fired"]))
        self.optimizer.restore(arrays, n_steps)

    def whole(self):
        """This model, of which nothing is kept elsewhere."""
        return self

    def kept_arrays(self):
        """Parameters that are kept here, by name: all of `arrays`."""
        return self.arrays().named()

    def joined(self, named):
        """The whole of what `kept_arrays` gave; other names are left as they are."""
        return named

    def cut(self, named):
        """The inverse of `joined`."""
        return named

    def prefix(self, n_components):
        """A copy of the model that each member's first atoms are."""
        first = self.arrays().prefix(n_components, self.k)
        return LinearModel(
            first, k=min(self.k, n_components), device=self.device, combine=self.combine
        )

    def catch_up(self):
        """Bring all atoms of the decoder to the present step."""
        self.optimizer.catch_up()

    # --- Forward ---

    @without_autograd
    def encode(self, rows):
        """Active atoms of rows (B, D)."""
        return self.code(rows - self.parameters.centers[:, None])[1]

    @without_autograd
    def reconstruct(self, rows):
        """Mean of the members' reconstructions of rows (B, D)."""
        self.catch_up()
        return self.decode(self.encode(rows))

    def decode(self, active):
        """Mean of the members' reconstructions from active atoms; no atom may be behind."""
        rows = self.parameters.centers[:, None].repeat(1, active.indices.shape[1], 1)
        if self.fused:
            arrays = ActiveAtoms(*(part.numpy() for part in active))
            _fused.decode_and_multiply(rows.numpy(), self.arrays_in_place.decoder, arrays)
        else:
            decode_onto(rows, self.parameters.decoder, active)
        return self.combine(rows)

    @without_autograd
    def error(self, rows, consistency=0.0):
        """Mean squared error of the mean reconstruction, and consistency as in training."""
        self.catch_up()
        active = self.encode(rows)
        error = float((rows - self.decode(active)).double().square().mean())
        if consistency and len(active.indices) > 1:
            error += consistency * float(consistency_gradient(active, self.parameters.shape[1])[0])
        return error

    @without_autograd
    def fit_thresholds(self, rows, k=None):
        """Make the thresholds such that rows have k active atoms on average, by default self.k."""
        p = self.parameters
        for e, threshold in enumerate(p.thresholds):
            activations = product(rows - p.centers[e], p.weights[e].T)
            activations.add_(p.bias[e]).clamp_(min=0)
            threshold.copy_(fitting_threshold(activations, k or self.k))

    def code(self, centred, *, training=False, weight=None):
        """Pre-activations (E, B, H) of centred rows (E, B, D), and the active atoms.

        In training the budget of batch top-k is that of the batch, whose rows have weights; and the
        fused step's top-k gives NumPy arrays.
        """
        shape = *centred.shape[:2], self.parameters.shape[1]
        preactivations = self.workspace.get("preactivations", shape)
        if self.device.type == "cpu" and shape[1] < NARROW_BATCH:
            self._multiply_narrow(centred, preactivations)
            return preactivations, self._select(preactivations, slice(None), training, weight)
        # A member at a time, while its pre-activations are in cache.
        fuses = training and self.fused and self.parameters.thresholds is None
        selected = []
        for e in range(len(centred)):
            product(self.parameters.weights[e], centred[e].T, out=preactivations[e].T)
            one = slice(e, e + 1)
            if not fuses:
                preactivations[e] += self.parameters.bias[e]
                selected.append(self._select(preactivations[one], one, training, weight))
        if fuses:
            bias = self.arrays_in_place.bias
            return preactivations, _fused.select(preactivations.numpy(), self.k, bias=bias)
        return preactivations, stack_padded(selected)

    def _multiply_narrow(self, centred, preactivations):
        """Fill in W (x - b) + c for few rows."""
        weights, bias = self.parameters.weights, self.parameters.bias[:, None]
        if weights.shape[1] < FEW_ATOMS:
            torch.baddbmm(bias, centred, weights.mT, out=preactivations)
            return
        # Each part of the atoms is read once, and multiplied with all rows.
        transposed = self.workspace.get("transposed", tuple(preactivations.mT.shape))
        add_products(weights, centred.mT, transposed, keep=0)
        torch.add(transposed.mT, bias, out=preactivations)

    def _select(self, preactivations, members, training, weight):
        """Active atoms of some members, none with a negative activation."""
        if self.parameters.thresholds is not None:
            if training:
                weight = None if weight is None else weight[members]
                active = batch_top_k(preactivations, self.k, weight)
            else:
                active = above(preactivations, self.parameters.thresholds[members])
        elif training and self.fused:
            return _fused.select(preactivations.numpy(), self.k)
        else:
            return _fused.largest(preactivations, self.k, self.fused)
        return active._replace(values=active.values.clamp_(min=0))

    # --- Training ---

    @without_autograd
    def step(self, batch, objective, rate):
        """Take one step of Adam.

        Parameters
        ----------
        batch : Batch
            Rows, and what they count for.
        objective : Objective
            Terms of the loss besides the squared error.
        rate : float
            Learning rate.

        Returns
        -------
        result : StepResult
            Before the step.
        """
        if self.fused:
            return _fused.fused_step(self, batch, objective, rate)
        result, gradients = self.gradients(batch, objective)
        self.apply(gradients, rate)
        return result

    @without_autograd
    def gradients(self, batch, objective):
        """Loss, reconstruction and gradients of a batch, by the reference.

        As in every training step, firing is counted and thresholds of batch top-k move.
        """
        self.catch_up()
        # One input, and a centre for each member.
        centred = batch.rows - self.parameters.centers[:, None]
        preactivations, active = self.code(centred, training=True, weight=batch.weight)
        dead = self.counts.rows_since >= objective.dead_after
        coded = Coded(centred, preactivations, active, self.k, dead)
        loss, residual, gradients = loss_and_gradients(self.parameters, coded, batch, objective)
        self._count_firing(active, batch.weight)
        self.move_thresholds(active, objective.dead_after)
        return StepResult(loss, self.combine(residual + batch.rows)), gradients

    @without_autograd
    def apply(self, gradients, rate):
        """Step down gradients."""
        self.optimizer.step(gradients, rate)

    def _count_firing(self, active, weight):
        """Note which atoms fired; one picked by top-k with value 0 has not."""
        # Counted for this batch first, to find the atoms that fired in it.
        counts = torch.zeros_like(self.counts.fired)
        fires = (active.values > 0).to(counts)
        if weight is not None:
            fires *= weight[..., None]
        counts.scatter_add_(1, active.indices.flatten(1), fires.flatten(1))
        self.counts.fired.add_(counts)
        self.counts.rows_since.add_(active.indices.shape[1])
        self.counts.rows_since[counts > 0] = 0

    def move_thresholds(self, active, window):
        """Draw thresholds to each member's smallest activation: a mean over a window of rows."""
        thresholds = self.parameters.thresholds
        if thresholds is None:
            return
        values = torch.as_tensor(active.values)
        # threshold <- threshold + share (smallest - threshold). At first all batches weigh alike,
        # so that the initial value does not count.
        smallest = torch.where(values > 0, values, math.inf).amin((1, 2))
        share = max(1 / (self.n_steps + 1), min(1.0, values.shape[1] / window))
        moved = thresholds.lerp(smallest, share)
        thresholds.copy_(torch.where(smallest < math.inf, moved, thresholds))

    @without_autograd
    def revive(self, dead_after):
        """Make the encoders of dead atoms the atoms themselves again, but fainter.

        An encoder that answers no row gets no gradient, not even from AuxK. Tied ones cannot
        stray so far from their atoms. Biases that keep atoms from answering shrink, but for those
        that are meant to.
        """
        p = self.parameters
        dead = self.counts.rows_since >= dead_after
        if not p.tied and dead.any():
            self.catch_up()
            p.encoder[dead] = REVIVED * p.decoder[dead]
            # Positive biases help an atom to answer already.
            waking = dead & (p.bias > -SILENT) & (p.bias < 0)
            p.bias[waking] *= WAKING
