"""DeepModel: linear atoms behind an encoder of several layers.

Shapes: one member of H atoms over D features, batches of B rows, L layers after the first. The
member is the first axis of arrays that `LinearModel` has too.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch

from . import _fused
from ._adam import DenseAdam
from ._model import SILENT, LinearModel
from ._objective import decode_onto, mean_square
from ._parameters import ActiveAtoms, Gradients, StepResult
from ._sparsity import dense_codes, fitting_threshold
from ._threads import add_products, gram_of, product, without_autograd

# Part of the residual's products with the atoms by which the layers of a new model correct.
STEP = 0.3
# Weight of the error that each code before the last leaves, in training.
SUPERVISION = 0.3
_NO_PRODUCTS = np.empty((0, 0), np.float32)


def unrolled(parameters, n_corrections, step=STEP):
    """Parameters of a tied linear model with further layers, all of the same step.

    Each layer is then a step of iterative hard thresholding (Blumensath and Davies, 2008) with
    values of at least 0.

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays of one member, tied.
    n_corrections : int
        Number of layers after the first.
    step : float, default=STEP
        0 leaves codes as they are.
    """
    p = parameters.copy()
    p.scales = np.full((1 + n_corrections, p.shape[1]), step, np.float32)
    p.scales[0] = 1
    # Atoms that are silent on purpose stay so.
    bias = np.where(p.bias < -SILENT, p.bias, 0).astype(np.float32)
    p.correction_biases = np.tile(bias, (n_corrections, 1))
    return p


class DeepAdam(DenseAdam):
    """Adam on whole arrays, those of further layers too."""

    def step(self, gradients, rate):
        """Step down the gradients, and bring the atoms back to unit norm."""
        super().step(gradients, rate)
        for name in ("scales", "correction_biases"):
            self._step(name, getattr(self.parameters, name), getattr(gradients, name), rate)


class DeepModel(LinearModel):
    """One Top-K sparse autoencoder whose encoder looks again at what its code leaves over.

    The first layer codes a row as that of a tied `LinearModel`, but for a scale of each atom; each
    further one corrects the code by the residual's products with the same atoms, scaled again::

        z_0 = TopK(ReLU(s_0 * D (x - b) + c_0), k)
        z_l = TopK(ReLU(z_{l-1} + s_l * D (x - D' z_{l-1} - b) + c_l), k)

    and the reconstruction is ``D' z_L + b``. With a threshold, the last code keeps what reaches it
    instead, in training the k B largest answers of a batch. This is LISTA with top-k in place of
    the shrinkage (Gregor and LeCun, "Learning fast approximations of sparse coding", 2010), its
    weights tied to the atoms but for their scales (as in Liu, Chen, Wang and Yin, "ALISTA", 2019).

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays of one member, tied, with scales. On a CPU they are trained in place.
    k, device, fused
        As `LinearModel` has them; fused codes and decodes by compiled loops.
    """

    def __init__(self, parameters, *, k, device="cpu", fused=None):
        super().__init__(parameters, k=k, device=device, fused=fused)
        self.optimizer = DeepAdam(self.parameters)

        self.gram = None  # products of all atoms with one another

    def expect(self, n_rows):
        """Prepare to encode so many rows: of many, products of all atoms with one another pay."""
        p = self.parameters
        # Symmetric, they take about half the time of products with as many rows.
        if 2 * n_rows * len(p.correction_biases) >= p.shape[1]:
            self.gram = gram_of(p.decoder[0])

    # --- Forward ---

    @without_autograd
    def encode(self, rows):
        """Active atoms of rows (B, D)."""
        centred = rows - self.parameters.centers[0]
        if self.parameters.thresholds is not None:
            return self._selected(self._last_answers(centred))
        return self._coded(centred, len(self.parameters.scales))

    @without_autograd
    def fit_thresholds(self, rows, k=None):
        """Make the threshold such that rows have k active atoms on average, by default self.k."""
        answers = self._last_answers(rows - self.parameters.centers[0]).clamp_(min=0)
        self.parameters.thresholds.copy_(fitting_threshold(answers, k or self.k))

    def _last_answers(self, centred):
        """Answers (B, H) of the last layer, from which it selects."""
        p = self.parameters
        before = self._coded(centred, len(p.scales) - 1)
        products = product(self.less(centred, before), p.decoder[0].T)
        return _answers(before, products, p.scales[-1], p.correction_biases[-1])

    def _coded(self, centred, n_layers):
        """Active atoms of centred rows by the first layers, each of which selects k of a row."""
        if self.fused:
            return self._coded_fused(centred, n_layers)
        *_, last = itertools.islice(self.layers(centred), n_layers)
        return last.active

    def _coded_fused(self, centred, n_layers):
        """The same by compiled loops; `layers` is the reference."""
        p = self.parameters
        biases = torch.cat([p.bias, p.correction_biases])
        scales, biases = (array[:n_layers].numpy() for array in (p.scales, biases))
        shape = 1, len(centred), self.k
        active = ActiveAtoms(torch.zeros(shape, dtype=torch.long), torch.zeros(shape))
        arrays = ActiveAtoms(*(part.numpy() for part in active))
        products = product(centred, p.decoder[0].T)
        if self.gram is not None:
            _fused.correct(products.numpy(), self.gram.numpy(), (scales, biases), arrays)
            return active
        for i in range(len(scales)):
            if i:
                product(self.less(centred, active), p.decoder[0].T, out=products)
            layer = scales[i : i + 1], biases[i : i + 1]
            _fused.correct(products.numpy(), _NO_PRODUCTS, layer, arrays)
        return active

    def layers(self, centred, *, training=False, weight=None):
        """The layers, as they see centred rows (B, D), from the first on.

        Of a model with a threshold, the last selects by that, or in training by the budget of all
        rows, which have weights.
        """
        p = self.parameters
        first = product(centred, p.decoder[0].T)
        layer = Layer(centred, first, self._largest(torch.addcmul(p.bias[0], first, p.scales[0])))
        yield layer
        for i, (scales, bias) in enumerate(zip(p.scales[1:], p.correction_biases, strict=True), 2):
            if self.gram is None:
                left = self.less(centred, layer.active)
                products = product(left, p.decoder[0].T)
            else:
                left, products = None, self.less(first, layer.active, self.gram[None])
            answers = _answers(layer.active, products, scales, bias)
            if i == len(p.scales) and p.thresholds is not None:
                active = self._selected(answers, training, weight)
            else:
                active = self._largest(answers)
            layer = Layer(left, products, active)
            yield layer

    def _selected(self, answers, training=False, weight=None):
        """Active atoms of a model with a threshold, by answers (B, H), as a linear one selects."""
        return self._select(answers[None], slice(None), training, weight)

    def _largest(self, answers):
        """The k largest of answers (B, H), none negative."""
        return _fused.largest(answers[None], self.k, False)

    def less(self, rows, active, atoms=None):
        """Rows less the sum of active atoms, or of others in their place (1, H, any)."""
        atoms = self.parameters.decoder if atoms is None else atoms
        left = rows.clone()[None]
        taken = active._replace(values=-active.values)
        if self.fused:
            arrays = ActiveAtoms(*(part.numpy() for part in taken))
            _fused.decode_and_multiply(left.numpy(), atoms.numpy(), arrays)
        else:
            decode_onto(left, atoms, taken)
        return left[0]

    # --- Training ---

    @without_autograd
    def step(self, batch, objective, rate):
        """Take one step of Adam, as `LinearModel.step` does."""
        result, gradients = self.gradients(batch, objective)
        self.apply(gradients, rate)
        return result

    @without_autograd
    def gradients(self, batch, objective):
        """Loss, reconstruction and gradients of a batch; AuxK and consistency are not used.

        The loss is the squared error of the last code; in the gradients those of the codes before
        have a part.
        """
        centred = batch.rows - self.parameters.centers[0]
        layers = [*self.layers(centred, training=True, weight=batch.weight)]
        residual = self.less(centred, layers[-1].active).neg_()
        slope = 2 / batch.rows.numel()
        if batch.weight is not None:
            slope = slope * batch.weight[0, :, None]
        gradients = _gradients(self.parameters, layers, residual, slope)
        self._count_firing(layers[-1].active, batch.weight)
        self.move_thresholds(layers[-1].active, objective.dead_after)
        loss = mean_square(residual[None], batch.weight)
        return StepResult(loss, residual + batch.rows), gradients

    def revive(self, dead_after):
        """Do nothing: a linear model's training has revived what it could."""


class Layer(NamedTuple):
    """A batch as one layer codes it."""

    left: torch.Tensor | None  # (B, D), what it sees; None where only products are needed
    products: torch.Tensor  # (B, H), of that with the atoms
    active: ActiveAtoms


def _answers(before, products, scales, bias):
    """The code before, corrected by products (B, H) of what it leaves, for a layer to select."""
    answers = torch.addcmul(bias, products, scales)
    return answers.scatter_add_(1, before.indices[0], before.values[0])


def _gradients(parameters, layers, residual, slope):
    """Gradients by all parameters, from the last layer back to the first.

    Parameters
    ----------
    parameters : Parameters
        Tensors.
    layers : list of Layer
        From the first on.
    residual : tensor of shape (B, D)
        What the last code gives, less the rows.
    slope : float or tensor of shape (B, 1)
        Factor of the residual in the loss's gradient.
    """
    p, atoms = parameters, parameters.decoder[0]
    sums = p.map(torch.zeros_like)
    sums.thresholds = None  # which follow the answers instead
    weights, rows = [], []  # whose products are the gradient of the atoms
    of_rows = torch.zeros_like(residual)  # gradient at the centred rows
    at_residual, at_next = slope * residual, 0
    for i in reversed(range(len(layers))):
        left, products, active = layers[i]
        codes = dense_codes(active, p.shape[1])[0]
        of_rows -= at_residual
        # Top-k and ReLU pass the gradient where their output is above 0.
        at_answers = (product(at_residual, atoms.T) + at_next) * (codes > 0)
        at_next, at_products = at_answers, at_answers * p.scales[i]
        sums.scales[i] += (at_answers * products).sum(0)
        bias = sums.correction_biases[i - 1] if i else sums.bias[0]
        bias += at_answers.sum(0)
        weights += [codes, at_products]
        rows += [at_residual, left]
        at_left = product(at_products, atoms)
        # What is left is the code before's residual, with the other sign.
        at_residual = -at_left - SUPERVISION * slope * left
    of_rows += at_left
    add_products(torch.cat(weights).T[None], torch.cat(rows)[None], sums.decoder)
    # Only the part across the atom: the part along it is undone by the unit norm.
    along = (sums.decoder * p.decoder).sum(2, keepdim=True)
    sums.decoder.addcmul_(p.decoder, along, value=-1)
    sums.centers -= of_rows.sum(0)
    return Gradients(encoder=None, **sums.named())
