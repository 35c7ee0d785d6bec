"""Adam: on whole arrays, or on the atoms that a step concerns."""

import math

import numpy as np
import torch
from torch.optim.adam import adam

from . import kernels
from ._threads import is_shared, n_threads_for, parts, share_operators
from .kernels._parcels import BETA1, BETA2, EPSILON, MOMENTUM_STEPS, AdamRule, AdamState, Clock

# What torch's Adam remembers of a parameter.
_MOMENTS = "first", "second", "n_steps"


def optimizer_shapes(shape, n_steps, *, tied, sparse, center_size=None, n_corrections=0):
    """dtype and shape of all that `LinearModel.optimizer_arrays` gives, by name."""
    n_members, n_components, n_features = shape
    shapes = {"rows_since_fired": (np.float32, shape[:2])}
    atoms = ("decoder",) if tied else ("decoder", "encoder")
    by_torch = {"bias": shape[:2], "centers": (n_members, center_size or n_features)}
    if n_corrections:
        by_torch["scales"] = 1 + n_corrections, n_components
        by_torch["correction_biases"] = n_corrections, n_components
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


class DenseAdam:
    """Adam on whole arrays, by torch.

    Parameters
    ----------
    parameters : Parameters
        Tensors, changed in place.
    """

    def __init__(self, parameters):
        self.parameters = parameters
        self.n_steps = 0
        self._moments = {}  # by name of the parameter

    def arrays(self):
        """Everything needed to go on as if it had not stopped, by name."""
        return {
            f"{name}.{part}": moment.cpu().numpy()
            for name, moments in self._moments.items()
            for part, moment in zip(_MOMENTS, moments, strict=True)
        }

    def restore(self, arrays, n_steps):
        """Go on after this many steps from what `arrays` gave, which is copied."""
        self.n_steps = n_steps
        device = self.parameters.decoder.device
        self._moments = {
            name.removesuffix(".n_steps"): tuple(
                torch.tensor(arrays[name.replace("n_steps", part)], device=device)
                for part in _MOMENTS
            )
            for name in arrays
            if name.endswith(".n_steps")
        }

    def catch_up(self, indices=None):
        """Do nothing: no atom is ever behind."""

    def step(self, gradients, rate):
        """Step down the gradients, and bring the atoms back to unit norm."""
        self.n_steps += 1
        decoder = self.parameters.decoder
        if not self.parameters.tied:
            self._step("encoder", self.parameters.encoder, gradients.encoder, rate)
        self._step("decoder", decoder, gradients.decoder, rate)
        # A step along the tangent leaves the unit sphere.
        decoder.div_(torch.linalg.vector_norm(decoder, dim=2, keepdim=True))
        self._step("bias", self.parameters.bias, gradients.bias, rate)
        self._step("centers", self.parameters.centers, gradients.centers, rate)

    def _step(self, name, parameter, gradient, rate):
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
                amsgrad=False, beta1=BETA1, beta2=BETA2, lr=rate, weight_decay=0.0,
                eps=EPSILON, maximize=False,
            )  # fmt: skip

        share_operators(step, rows)
        # Each part was given a copy of the counter: torch's Adam advances the one it is given.
        n_steps += 1

    def _moments_of(self, name, parameter):
        if name not in self._moments:
            moments = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self._moments[name] = *moments, torch.zeros((), device=parameter.device)
        return self._moments[name]


class LazyAdam(DenseAdam):
    """The same by compiled loops, in one visit to each atom that a step concerns; for a CPU.

    Between visits an atom of an untied decoder may be behind; `catch_up` brings it up to date.
    """

    def __init__(self, parameters):
        super().__init__(parameters)
        self._atoms = {}  # AdamState and AdamRule of the decoder and, if untied, of the encoder
        self._flat = {}  # parameter and moments of what is no matrix of atoms, as flat arrays
        self._rates = np.zeros(1024)
        # Of a part of a larger model: where its atoms lie among all, as `kernels.run` takes it; and
        # what begins to sum the parts' gradients of the centres, if they have these in common, and
        # returns what waits for that.
        self.within, self.add_parts = None, None

    @property
    def clock(self):
        return Clock(self.n_steps, self._rates)

    def arrays(self):
        for _, _, n_steps in self._moments.values():
            n_steps.fill_(self.n_steps)
        arrays = super().arrays()
        for name, (state, _) in self._atoms.items():
            remembered = state._asdict()
            del remembered["weights"]
            arrays |= {f"{name}.{part}": array for part, array in remembered.items()}
        return arrays | {"rates": self._rates[: self.n_steps + 1]}

    def restore(self, arrays, n_steps):
        super().restore(arrays, n_steps)
        if n_steps:
            self._rates = np.concatenate([arrays["rates"], np.zeros(1024)])
            self._make_atoms()
        for name, (state, _) in self._atoms.items():
            for part, array in state._asdict().items():
                if part != "weights":
                    array[...] = arrays[f"{name}.{part}"]

    def _make_atoms(self):
        """Begin to remember atoms, at the first step."""
        p = self.parameters
        if self._atoms:
            return
        # The encoder's product needs all its rows at every step, so none can be left behind.
        self._atoms["decoder"] = _begun(p.decoder, AdamRule(True, MOMENTUM_STEPS * p.tied))
        if not p.tied:
            self._atoms["encoder"] = _begun(p.encoder, AdamRule(False, MOMENTUM_STEPS))
        for name in ("bias", "centers"):
            parameter = getattr(p, name)
            arrays = parameter, *self._moments_of(name, parameter)[:2]
            self._flat[name] = tuple(array.numpy().reshape(-1) for array in arrays)

    def catch_up(self, indices=None):
        """Bring the decoder's atoms, at indices (E, B, any) or all, to the present step."""
        if not self._atoms or self.parameters.tied:
            return
        # Few atoms are picked often: marking them first moves each but once.
        wanted = np.full(self.parameters.bias.shape, indices is None)
        n_atoms = wanted.size
        if indices is not None:
            for of_member, picked in zip(wanted, indices, strict=True):
                of_member[picked.ravel()] = True
            n_atoms = min(n_atoms, indices.size)
        n_threads = n_threads_for(n_atoms * self.parameters.decoder.shape[2])
        arguments = self._atoms["decoder"][0], wanted.ravel(), self.clock
        kernels.run([(kernels.catch_up_atoms, wanted.size, arguments)], n_threads)

    def begin_step(self, rate):
        """Note the learning rate with Adam's correction for its start."""
        self.n_steps += 1
        self._make_atoms()
        # Doubled when full, so that the copies cost no more than the steps.
        if self.n_steps == len(self._rates):
            self._rates = np.concatenate([self._rates, np.zeros_like(self._rates)])
        # The moments begin at 0; Adam divides them by 1 - beta^t (Kingma & Ba 2015, section 3).
        correction = math.sqrt(1 - BETA2**self.n_steps) / (1 - BETA1**self.n_steps)
        self._rates[self.n_steps] = rate * correction

    def step_picked(self, picks, sides, source, centers_gradient):
        """Step on the picked atoms, the biases and the centres.

        Parameters
        ----------
        picks, sides : AtomPicks and Sides
            As `gather_picks` gives them.
        source : ndarray of shape (3 * E * B, D)
            The rows that gradients are sums of.
        centers_gradient : ndarray of shape (E, D)
            Without the part that comes by the encoder.
        """
        p = self.parameters
        n_threads = n_threads_for(p.decoder.numel())
        # Each range adds to an array of its own, and these are added up in their order: the same
        # bits for any number of threads.
        totals = np.zeros((kernels.n_ranges(n_threads), *p.centers.shape), np.float32)
        jobs = [
            (kernels.update_atoms, p.bias.numel(),
             (*self._atoms[name], picks_, source, sides_, self.clock, totals))
            for name, picks_, sides_ in self._shares_of(picks, sides)
        ]  # fmt: skip
        total = self._run(jobs, n_threads, totals)
        gradients = sides.bias_gradient, centers_gradient + total
        for arrays, gradient in zip(self._flat.values(), gradients, strict=True):
            kernels.adam_step(*arrays, gradient.reshape(-1), self.clock)

    def _run(self, jobs, n_threads, totals):
        """Update the atoms; the encoder's part of the centres' gradient, of all parts."""
        if self.add_parts is None:
            kernels.run(jobs, n_threads, self.within)
            return totals.sum(axis=0)
        # The encoder's job comes first; its sums travel while the decoder is updated.
        kernels.run(jobs[:1], n_threads)
        total = totals.sum(axis=0)
        wait = self.add_parts(total)
        kernels.run(jobs[1:], n_threads)
        wait()
        return total

    def _shares_of(self, picks, sides):
        """Split a step into the encoder's and the decoder's part, which are one if tied."""
        if self.parameters.tied:
            return [("decoder", picks._replace(indptr=2 * picks.indptr), sides)]
        of_encoder = picks._replace(indptr=picks.indptr + len(picks.rows) // 2)
        none = np.zeros_like(sides.projection)
        return [
            ("encoder", of_encoder, sides._replace(projection=none)),
            ("decoder", picks, sides._replace(bias_gradient=none)),
        ]


def _begun(matrices, rule):
    """AdamState and AdamRule of (E, H, D) matrices before the first step."""
    weights = matrices.flatten(0, 1).numpy()
    steps = (np.zeros(len(weights), np.int64) for _ in range(3))
    return AdamState(weights, np.zeros_like(weights), np.zeros_like(weights), *steps), rule
