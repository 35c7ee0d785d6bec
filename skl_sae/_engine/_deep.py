"""DeepModel: linear atoms behind an encoder of several layers.

Shapes: one member of H atoms over D features, batches of B rows, L layers after the first. The
member is the first axis of arrays that `LinearModel` has too.
"""

import numpy as np
import torch

from . import _fused
from ._adam import DenseAdam
from ._model import SILENT, LinearModel
from ._objective import decode_onto, mean_square
from ._parameters import ActiveAtoms, Gradients, Parameters, StepResult
from ._sparsity import dense_codes, top_k
from ._threads import add_products, product, without_autograd

# Part of the residual's products with the atoms by which the layers of a new model correct.
STEP = 0.3


def unrolled(parameters, n_corrections, step=STEP):
    """Parameters of a linear model with further layers: ``W_l = step D``.

    Each layer is then a step of iterative hard thresholding (Blumensath and Davies, 2008) with
    values of at least 0.

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays of one member.
    n_corrections : int
        Number of layers after the first.
    step : float, default=STEP
        0 leaves codes as they are.
    """
    p = parameters
    bias = np.where(p.bias < -SILENT, p.bias, 0)  # atoms that are silent on purpose stay so
    return Parameters(
        p.decoder, (p.decoder if p.tied else p.encoder).copy(), p.bias, p.centers, None,
        np.tile(np.float32(step) * p.decoder, (n_corrections, 1, 1)),
        np.tile(bias.astype(np.float32), (n_corrections, 1)),
    )  # fmt: skip


class DeepAdam(DenseAdam):
    """Adam on whole arrays, those of further layers too."""

    def step(self, gradients, rate):
        """Step down the gradients, and bring the atoms back to unit norm."""
        super().step(gradients, rate)
        for name in ("corrections", "correction_biases"):
            self._step(name, getattr(self.parameters, name), getattr(gradients, name), rate)


class DeepModel(LinearModel):
    """One Top-K sparse autoencoder whose encoder looks again at what its code leaves over.

    The first layer codes a row as that of `LinearModel`; each further one corrects the code::

        z_0 = TopK(ReLU(W_0 (x - b) + c_0), k)
        z_l = TopK(ReLU(z_{l-1} + W_l (x - D' z_{l-1} - b) + c_l), k)

    and the reconstruction is ``D' z_L + b``: LISTA with top-k in place of the shrinkage (Gregor
    and LeCun, "Learning fast approximations of sparse coding", 2010).

    Parameters
    ----------
    parameters : Parameters
        NumPy arrays of one member, untied, with corrections. On a CPU they are trained in place.
    k, device, fused
        As `LinearModel` has them; fused decodes by compiled loops.
    """

    def __init__(self, parameters, *, k, device="cpu", fused=None):
        super().__init__(parameters, k=k, device=device, fused=fused)
        self.optimizer = DeepAdam(self.parameters)

    # --- Forward ---

    @without_autograd
    def encode(self, rows):
        """Active atoms of rows (B, D)."""
        for _, active in self.layers(rows - self.parameters.centers[0]):
            last = active
        return last

    def layers(self, centred):
        """What each layer sees of centred rows (B, D), and its active atoms, from the first on."""
        p = self.parameters
        active = self._largest(centred, p.encoder[0], p.bias[0])
        yield centred, active
        for weights, bias in zip(p.corrections, p.correction_biases, strict=True):
            left = self.left_over(centred, active)
            active = self._largest(left, weights, bias, active)
            yield left, active

    def _largest(self, rows, weights, bias, before=None):
        """The k largest answers of a layer to rows (B, D), added to the code before."""
        answers = self.workspace.get("answers", (len(rows), len(bias)))
        product(rows, weights.T, out=answers)
        answers += bias
        if before is not None:
            answers.scatter_add_(1, before.indices[0], before.values[0])
        active = top_k(answers[None], self.k)
        return active._replace(values=active.values.clamp_(min=0))

    def left_over(self, centred, active):
        """Centred rows (B, D) less their reconstruction by active atoms."""
        left = centred.clone()[None]
        taken = active._replace(values=-active.values)
        if self.fused:
            arrays = ActiveAtoms(*(part.numpy() for part in taken))
            _fused.decode_and_multiply(left.numpy(), self.arrays_in_place.decoder, arrays)
        else:
            decode_onto(left, self.parameters.decoder, taken)
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
        """Loss, reconstruction and gradients of a batch; of the objective nothing is used."""
        p = self.parameters
        centred = batch.rows - p.centers[0]
        lefts, codes = zip(*self.layers(centred), strict=True)
        residual = self.left_over(centred, codes[-1]).neg_()
        slope = 2 / batch.rows.numel()
        if batch.weight is not None:
            slope = slope * batch.weight[0, :, None]
        gradients = Backward(p, centred).all(lefts, codes, slope * residual)
        self._count_firing(codes[-1], batch.weight)
        loss = mean_square(residual[None], batch.weight)
        return StepResult(loss, residual + batch.rows), gradients

    def revive(self, dead_after):
        """Do nothing: a linear model's training has revived what it could."""


class Backward:
    """Gradients of a batch, from the last layer back to the first.

    Parameters
    ----------
    parameters : Parameters
        Tensors.
    centred : tensor of shape (B, D)
        The rows less the centre.
    """

    def __init__(self, parameters, centred):
        self.parameters = parameters
        self.sums = parameters.map(torch.zeros_like)
        self.of_rows = torch.zeros_like(centred)  # gradient at the centred rows

    def all(self, lefts, codes, at_residual):
        """The gradients.

        Parameters
        ----------
        lefts, codes : sequence of tensor and of ActiveAtoms
            What each layer saw, and its active atoms.
        at_residual : tensor of shape (B, D)
            Gradient at the reconstruction less the rows.
        """
        p, sums = self.parameters, self.sums
        at_next = None  # gradient at the next layer's answers, which the code is added to
        for i in reversed(range(len(codes))):
            at_answers = self._at_answers(codes[i], at_residual, at_next)
            if not i:
                self.of_rows += self._through(at_answers, p.encoder[0], lefts[0],
                                              sums.encoder, sums.bias[0])  # fmt: skip
                break
            at_residual = self._through(
                at_answers, p.corrections[i - 1], lefts[i], sums.corrections[i - 1, None],
                sums.correction_biases[i - 1],
            ).neg_()  # fmt: skip
            at_next = at_answers
        # Only the part across the atom: the part along it is undone by the unit norm.
        along = (sums.decoder * p.decoder).sum(2, keepdim=True)
        sums.decoder.addcmul_(p.decoder, along, value=-1)
        sums.centers -= self.of_rows.sum(0)
        return Gradients(**sums.named())

    def _at_answers(self, active, at_residual, at_next):
        """Gradient (B, H) at a layer's answers, which top-k and ReLU pass where they are active.

        The residual is that of the layer's code: z D - (x - b).
        """
        p = self.parameters
        codes = dense_codes(active, p.shape[1])[0]
        add_products(codes.T[None], at_residual[None], self.sums.decoder)
        self.of_rows -= at_residual
        at_codes = product(at_residual, p.decoder[0].T)
        if at_next is not None:
            at_codes += at_next
        return at_codes.mul_(codes > 0)

    def _through(self, at_answers, weights, rows, weight_sums, bias_sums):
        """Gradient at what a layer saw; that of its weights is added up."""
        add_products(at_answers.T[None], rows[None], weight_sums)
        bias_sums += at_answers.sum(0)
        return product(at_answers, weights)
