"""How the parameters of an ensemble follow their gradients: by Adam, on all atoms or those picked.

Shapes are those of ``TopKEnsemble``: E members of H atoms over D features, batches of B rows.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.optim.adam import adam

from ._sparsity import dense_codes
from ._threads import add_products, is_shared, n_threads_for, parts, share_operators

BETA1, BETA2 = 0.9, 0.999
# Adam's usual 1e-8 is no longer small beside the gradients of a mean over 12,288 features;
# this keeps a step independent of the number of features, rows and members.
EPSILON = 1e-20

# What torch's Adam remembers of a parameter.
_MOMENTS = "first", "second", "n_steps"


def optimizer_shapes(shape, n_steps, *, tied, sparse):
    """dtype and shape of all that `TopKEnsemble.optimizer_arrays` gives, by name."""
    n_members, n_components, n_features = shape
    shapes = {"rows_since_fired": (np.float32, shape[:2])}
    atoms = ("decoder",) if tied else ("decoder", "encoder")
    by_torch = {"bias": shape[:2], "centers": (n_members, n_features)}
    if sparse:
        shapes["rates"] = np.float64, (n_steps + 1,)
    if not n_steps:
        return shapes
    if sparse:
        n_atoms = n_members * n_components
        for name in atoms:
            for part in ("first", "second"):
                shapes[f"{name}.{part}"] = np.float32, (n_atoms, n_features)
            for part in ("picked_at", "visited_at", "moved_at"):
                shapes[f"{name}.{part}"] = np.int64, (n_atoms,)
    else:
        by_torch |= dict.fromkeys(atoms, shape)
    for name, shape_ in by_torch.items():
        for part in _MOMENTS:
            shapes[f"{name}.{part}"] = np.float32, () if part == "n_steps" else shape_
    return shapes


class Weights(NamedTuple):
    """The parameters of all members, changed in place."""

    decoder: torch.Tensor  # (E, H, D)
    encoder: torch.Tensor  # (E, H, D); the decoder if tied
    bias: torch.Tensor  # (E, H)
    centers: torch.Tensor  # (E, D)
    tied: bool


class Picks(NamedTuple):
    """The atoms picked for each row, all (E, B, picks), and what the loss asks of them."""

    atoms: torch.Tensor
    activations: torch.Tensor
    products: torch.Tensor  # gradient at the activations, of the squared error alone
    gradient: torch.Tensor  # the same of the whole loss
    slope: float  # of the loss: its gradient at the reconstruction is slope * residual


class DenseAdam:
    """By dense products and torch's Adam."""

    def __init__(self, weights):
        self.weights = weights
        self.n_steps = 0
        self._moments = {}  # by name of the parameter

    def arrays(self):
        """What it needs to go on as if it had not stopped, by name."""
        return {
            f"{name}.{part}": moment.cpu().numpy()
            for name, moments in self._moments.items()
            for part, moment in zip(_MOMENTS, moments, strict=True)
        }

    def restore(self, arrays, n_steps):
        """Go on after so many steps from what `arrays` gave, which is copied."""
        self.n_steps = n_steps
        device = self.weights.decoder.device
        self._moments = {
            name.removesuffix(".n_steps"): tuple(
                torch.tensor(arrays[name.replace("n_steps", part)], device=device)
                for part in _MOMENTS
            )
            for name in arrays
            if name.endswith(".n_steps")
        }

    def catch_up(self, atoms=None):
        """Nothing to do: no atom is ever behind."""

    def update(self, source, picks, learning_rate):
        """One step.

        Parameters
        ----------
        source : tensor of shape (3, E, B, D)
            The residual, what the dead atoms leave of it, and the centred rows.
        picks : list of Picks
            Of the residual and, if there are any, those of dead atoms.
        learning_rate : float
            Adam's step size.
        """
        decoder, encoder, bias, centers, tied = self.weights
        self.n_steps += 1
        bias_gradient = torch.zeros_like(bias)
        # An atom's product with its own gradient needs no pass over the atom: its products with
        # the residuals, and with the centred rows (activation less bias), are known.
        along = torch.zeros_like(bias)
        gradient = torch.zeros_like(decoder)
        encoder_gradient = gradient if tied else torch.zeros_like(encoder)
        for rows, p in zip(source, picks, strict=False):
            at_encoder = p.gradient * (p.activations > 0)
            tied_part = at_encoder if tied else 0
            _add_at(bias_gradient, p.atoms, at_encoder)
            _add_at(along, p.atoms, p.activations * (p.products + tied_part))
            at_decoder = p.slope * p.activations
            add_products(dense_codes(at_decoder, p.atoms, bias.shape[1]).mT, rows, gradient)
            at_encoder = dense_codes(at_encoder, p.atoms, bias.shape[1])
            add_products(at_encoder.mT, source[2], encoder_gradient)
        if tied:
            along -= bias_gradient * bias
        # Only the part across the atom: the part along it is undone by the unit norm.
        gradient.addcmul_(decoder, along[..., None], value=-1)
        centers_gradient = picks[0].slope * source[0].sum(1)
        centers_gradient -= torch.bmm(bias_gradient[:, None], encoder)[:, 0]
        if not tied:
            self._step("encoder", encoder, encoder_gradient, learning_rate)
        self._step("decoder", decoder, gradient, learning_rate)
        decoder.div_(torch.linalg.vector_norm(decoder, dim=2, keepdim=True))
        self._step("bias", bias, bias_gradient, learning_rate)
        self._step("centers", centers, centers_gradient, learning_rate)

    def _step(self, name, parameter, gradient, learning_rate):
        first, second, n_steps = self._moments_of(name, parameter)
        arrays = [
            array.reshape(-1, array.shape[-1]) for array in (parameter, gradient, first, second)
        ]
        rows = [slice(None)]
        if parameter.device.type == "cpu" and is_shared(parameter.numel()):
            rows = parts(len(arrays[0]))

        def step(part):
            weight, gradient, first, second = ([array[part]] for array in arrays)
            adam(
                weight, gradient, first, second, [], [n_steps.clone()], fused=True,
                amsgrad=False, beta1=BETA1, beta2=BETA2, lr=learning_rate, weight_decay=0.0,
                eps=EPSILON, maximize=False,
            )  # fmt: skip

        share_operators(step, rows)
        n_steps += 1

    def _moments_of(self, name, parameter):
        if name not in self._moments:
            moments = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self._moments[name] = *moments, torch.zeros((), device=parameter.device)
        return self._moments[name]


def _add_at(sums, atoms, weights):
    """Add the weights, shape (E, B, any), to their atoms' sums, shape (E, H)."""
    sums.scatter_add_(1, atoms.flatten(1), weights.flatten(1))


class PickedAdam(DenseAdam):
    """The same over the picked atoms alone, in one compiled visit to each; for a CPU."""

    def __init__(self, weights):
        super().__init__(weights)
        self._atom_adams = None  # encoder's and decoder's
        self._rates = np.zeros(1024)

    def arrays(self):
        arrays = super().arrays()
        for name, atom_adam in self._named_atom_adams():
            arrays |= {f"{name}.{part}": array for part, array in atom_adam.arrays().items()}
        return arrays | {"rates": self._rates[: self.n_steps + 1]}

    def restore(self, arrays, n_steps):
        super().restore(arrays, n_steps)
        if n_steps:
            self._rates = np.concatenate([arrays["rates"], np.zeros(1024)])
            self._make_atom_adams()
        for name, atom_adam in self._named_atom_adams():
            for part, array in atom_adam.arrays().items():
                array[...] = arrays[f"{name}.{part}"]

    def _named_atom_adams(self):
        """The tied encoder's is the decoder's."""
        named = zip(("encoder", "decoder"), self._atom_adams or (), strict=False)
        return [
            (name, adam_) for name, adam_ in named if name == "decoder" or not self.weights.tied
        ]

    def _make_atom_adams(self):
        """Those of the encoder's and decoder's atoms; one and the same where tied."""
        if self._atom_adams is not None:
            return self._atom_adams
        from .kernels._lazy_adam import AtomAdam  # here, since importing the compiler takes a while

        decoder, encoder, _, _, tied = self.weights
        # The encoder's product needs all atoms at every step, so they cannot be left behind.
        of_decoder = AtomAdam(decoder.flatten(0, 1).numpy(), unit=True, lazy=not tied)
        of_encoder = of_decoder
        if not tied:
            of_encoder = AtomAdam(encoder.flatten(0, 1).numpy(), unit=False, lazy=False)
        self._atom_adams = of_encoder, of_decoder
        return self._atom_adams

    def catch_up(self, atoms=None):
        """Bring the decoder's atoms, of shape (E, B, any) or all, to the present step."""
        if self._atom_adams is None or self.weights.tied:
            return
        wanted = np.full(self.weights.bias.shape, atoms is None)
        n_atoms = wanted.size
        if atoms is not None:
            for of_member, picked in zip(wanted, atoms.numpy(), strict=True):
                of_member[picked.ravel()] = True
            n_atoms = min(n_atoms, atoms.numel())
        n_threads = n_threads_for(n_atoms * self.weights.decoder.shape[2])
        self._atom_adams[1].catch_up(wanted.ravel(), self._rates, self.n_steps, n_threads)

    def update(self, source, picks, learning_rate):
        from .kernels._rows import n_ranges, picks_by_atom, run

        _, encoder, bias, centers, tied = self.weights
        self._begin_step(learning_rate)
        arrays = [tuple(part.numpy() for part in p[:4]) for p in picks]
        slopes = tuple(p.slope for p in picks)
        if len(picks) == 1:
            arrays.append(tuple(part[..., :0].copy() for part in arrays[0]))
            slopes *= 2
        *by_atom, bias_gradient, along = picks_by_atom(tuple(arrays), slopes, bias.numpy(), tied)
        n_threads = n_threads_for(encoder.numel())
        totals = np.zeros((n_ranges(n_threads), *centers.shape), np.float32)
        run(self._atom_jobs(by_atom, source, along, bias_gradient, totals), n_threads)
        centers_gradient = slopes[0] * source[0].sum(1).numpy() + totals.sum(axis=0)
        self._follow("bias", bias, bias_gradient)
        self._follow("centers", centers, centers_gradient.ravel())

    def _begin_step(self, learning_rate):
        """Note the learning rate with Adam's correction for its start."""
        self.n_steps += 1
        self._make_atom_adams()
        if self.n_steps == len(self._rates):
            self._rates = np.concatenate([self._rates, np.zeros_like(self._rates)])
        correction = math.sqrt(1 - BETA2**self.n_steps) / (1 - BETA1**self.n_steps)
        self._rates[self.n_steps] = learning_rate * correction

    def _atom_jobs(self, by_atom, source, along, bias_gradient, totals):
        """What is to be run for the atoms: the encoder's and the decoder's in one where tied."""
        encoder_adam, decoder_adam = self._atom_adams
        firsts, rows, values = by_atom
        settings = totals, self._rates, self.n_steps
        source = source.flatten(0, 2).numpy()
        if self.weights.tied:
            return [decoder_adam.job(by_atom, source, along, bias_gradient, *settings)]
        none = np.zeros_like(along)
        of_encoder, of_decoder = (
            (firsts, rows[part : part + 1], values[part : part + 1]) for part in (1, 0)
        )
        return [
            encoder_adam.job(of_encoder, source, none, bias_gradient, *settings),
            decoder_adam.job(of_decoder, source, along, none, *settings),
        ]

    def _follow(self, name, parameter, gradient):
        """Adam on a parameter that is no atom."""
        from .kernels._lazy_adam import adam_step

        first, second = self._moments_at_step(name, parameter)
        adam_step(
            *(part.reshape(-1) for part in (parameter.numpy(), first, second)), gradient,
            self._rates[self.n_steps],
        )  # fmt: skip

    def _moments_at_step(self, name, parameter):
        """First and second moment, for a step that is done with them."""
        first, second, n_steps = self._moments_of(name, parameter)
        n_steps.fill_(self.n_steps)
        return first.numpy(), second.numpy()

    def small_step(self, source, picked, learning_rate, aux_coef):
        """All that follows the encoder's product, in one call; returns the loss.

        Parameters
        ----------
        source : tensor of shape (3, E, B, D)
            Less the centred rows, anything, the centred rows.
        picked : tuple (pre, k, dead, counts)
            Pre-activations, a tensor; then as in `_small_step.small_step`.
        learning_rate : float
            Adam's step size.
        aux_coef : float
            Weight of the dead atoms' loss.
        """
        from .kernels._fused_step import small_step

        self._begin_step(learning_rate)
        decoder, _, bias, centers, tied = self.weights
        pre, k, dead, counts = picked
        adams = tuple((adam_.state, adam_.manner) for adam_ in self._atom_adams)
        moments = self._moments_at_step("bias", bias), self._moments_at_step("centers", centers)
        weights = tuple(part.numpy() for part in (decoder, bias, centers))
        loss = small_step(
            source.numpy(), pre.numpy(), k, dead, weights, adams, moments, counts, self._rates,
            self.n_steps, aux_coef, tied,
        )  # fmt: skip
        return torch.tensor(loss)
