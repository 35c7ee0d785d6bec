"""Hidden layers of a decoder, which correct how active atoms add up.

A hidden layer without biases answers a lone atom in proportion to its activation. What remains of
the last hidden layer f once these answers are taken away,

    phi(z) = f(z) - sum over atoms h of z_h f(e_h),    x_hat = D' z + b + phi(z) V,

is 0 where no more than one atom is active: the atoms keep their meaning.
"""

from itertools import pairwise

import torch

from ._adam import DenseAdam
from ._threads import without_autograd


def hidden(weights, codes):
    """The last hidden layer's answers to codes (B, H), dense tensors."""
    for weight in weights:
        codes = torch.relu(codes @ weight)
    return codes


def alone(weights):
    """The last hidden layer's answers to each atom alone, (H, last size)."""
    return hidden(weights[1:], torch.relu(weights[0]))


def correction(coefs, codes):
    """Addition to the linear reconstruction of codes (B, H)."""
    *weights, last = coefs
    return (hidden(weights, codes) - codes @ alone(weights)) @ last


def initial_coefs(sizes, generator):
    """Weights between layers of these sizes (He et al., 2015); the last are 0."""
    coefs = [
        torch.randn(n_in, n_out, generator=generator) * (2 / n_in) ** 0.5
        for n_in, n_out in pairwise(sizes[:-1])
    ]
    # Of an atom's own row, which is all that a sparse code has of the first layer.
    coefs[0] *= (sizes[0] / 2) ** 0.5
    return [*coefs, torch.zeros(sizes[-2:])]


class ListAdam(DenseAdam):
    """Adam on a list of tensors."""

    @without_autograd
    def step(self, gradients, rate):
        """Step down the gradients."""
        for i, (coef, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            self._step(str(i), coef, gradient, rate)


class InteractionTrainer:
    """Adam on the hidden layers of a decoder, whose codes and linear part stay as they are.

    Parameters
    ----------
    sizes : tuple of int
        Atoms, hidden layers, features.
    generator : torch.Generator
        Source of the weights and of the order of rows.
    device : torch.device
        Where to compute.
    n_steps : int
        Steps over which the learning rate falls to 0.
    rate : float
        Largest learning rate.
    """

    def __init__(self, sizes, generator, device, n_steps, rate):
        self.coefs = [coef.to(device).requires_grad_() for coef in initial_coefs(sizes, generator)]
        self.optimizer, self.n_done = ListAdam(self.coefs), 0
        self.n_steps, self.rate = n_steps, rate

    def step(self, codes, residual):
        """Take one step by codes (B, H) and what their atoms leave over (B, D)."""
        with torch.enable_grad():
            loss = torch.nn.functional.mse_loss(correction(self.coefs, codes), residual)
            gradients = torch.autograd.grad(loss, self.coefs)
        self.optimizer.step(gradients, self.rate * (1 - self.n_done / self.n_steps))
        self.n_done += 1

    @without_autograd
    def arrays(self):
        """Copies of the weights, as NumPy arrays."""
        return [coef.detach().cpu().numpy().copy() for coef in self.coefs]
