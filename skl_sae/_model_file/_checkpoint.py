"""Files of fits that may be interrupted, and go on to the same bits."""

import numpy as np
import torch

from .._engine._device import resolve_device
from .._engine._parameters import Parameters
from .._training._collective import is_first
from .._training._sums import EpochSums
from ._constructor import parameters_as_json
from ._format import metadata, optimizer_arrays, read, with_prefix, without_curves
from ._safetensors import ModelFileError, write_arrays
from ._schema import check_class, check_config

# Parameters that may differ between an interrupted fit and the one that resumes it.
FREE_PARAMETERS = {
    "aggregate", "checkpoint_interval", "device", "refit", "sparse_output", "verbose",
    "warm_start",
}  # fmt: skip


class Checkpoint:
    """A fit as it was after some epoch.

    Parameters
    ----------
    path : str or path-like
        The file.
    config : dict
        As JSON holds it.
    arrays : dict
        From str to ndarray.
    """

    def __init__(self, path, config, arrays):
        self.path, self.config, self.arrays = path, config, arrays

    def restore(self, trainer):
        """Let a trainer that has just begun be the one that was interrupted."""
        config, arrays, scaling = self.config, self.arrays, trainer.scaling
        # The mean and spread of the rows tell other data, without keeping a copy of these.
        same_rows = config["n_rows"] == trainer.n_rows and all(
            np.array_equal(arrays[name], getattr(scaling, name)) for name in ("offset", "scale")
        )
        if not same_rows:
            raise ModelFileError(self.path, "Expected the rows of the fit that it was written in.")
        device = resolve_device(trainer.settings.device)
        if config["sparse"] and device.type != "cpu":
            raise ModelFileError(self.path, "Expected device='cpu', on which it was written.")
        if trainer.architecture.as_json() != config.get("image"):
            raise ModelFileError(self.path, "Expected images and atoms of the sizes of that fit.")
        parameters = Parameters.from_named(with_prefix(arrays, "engine."))
        model = trainer.architecture.model(
            parameters, k=config["k"], device=device, fused=config["sparse"]
        )
        model.restore_optimizer(with_prefix(arrays, "optimizer."), config["n_steps"])
        trainer.model, trainer.n_steps_before = model, config["n_steps_before"]
        curves = {name: curve.tolist() for name, curve in with_prefix(arrays, "progress.").items()}
        best = model.cut(with_prefix(arrays, "best."))
        trainer.history.restore(config["progress"] | curves, best, arrays["frequency"])
        trainer.restore_stage(config)
        trainer.rng.set_state(self.random_state("random_state"))
        if "epoch" in config:
            trainer.epoch = EpochSums(**config["epoch"])
            model.counts.fired.copy_(torch.from_numpy(arrays["fired"]))

    def random_state(self, name):
        """State of the generator: when the fit began, or its stage, or at the checkpoint."""
        return ("MT19937", self.arrays[name], *self.config[name])


def write_checkpoint(path, estimator, trainer, first_random_state):
    """Write everything that a fit needs to go on as if it had not been interrupted.

    In the middle of an epoch that is how far it has come, and the generator as it was before.
    """
    model, history, scaling = trainer.model, trainer.history, trainer.scaling
    parameters, arrays = parameters_as_json(path, estimator)
    # Atoms that are behind stay so: catching up now would round differently from later.
    in_model = model.arrays(caught_up=False).named()
    arrays |= {f"engine.{name}": array for name, array in in_model.items()}
    arrays |= optimizer_arrays(model)
    arrays |= {f"best.{name}": array for name, array in model.joined(history.best_arrays).items()}
    arrays |= {"offset": scaling.offset, "scale": np.asarray(scaling.scale)}
    arrays["frequency"] = history.frequency
    if history.frequency is None:  # in the first epoch
        arrays["frequency"] = np.zeros(model.parameters.bias.numel(), np.float32)
    sizes, curves = without_curves(history.as_json())
    arrays |= curves
    config = {
        "parameters": parameters,
        "shape": list(model.parameters.shape),
        "tied": model.parameters.tied,
        "k": model.k,
        "n_rows": trainer.n_rows,
        "thresholds": model.parameters.thresholds is not None,
        "n_steps": model.n_steps,
        "n_steps_before": trainer.n_steps_before,
        "sparse": model.fused,
        "progress": sizes,
    }
    if trainer.architecture.as_json() is not None:
        config["image"] = trainer.architecture.as_json()
    config |= trainer.stage()
    random_state = trainer.rng.get_state()
    if trainer.epoch is not None:
        config["epoch"] = trainer.epoch.as_json()
        arrays["fired"] = model.counts.fired.cpu().numpy()
        random_state = trainer.epoch_random_state
    states = {"random_state": random_state, "first_random_state": first_random_state}
    if trainer.stage_random_state is not None:
        states["stage_random_state"] = trainer.stage_random_state
    for name, state in states.items():
        arrays[name] = state[1]
        config[name] = list(state[2:])
    if is_first():  # the arrays of all ranks were collected by all
        write_arrays(path, arrays, metadata("checkpoint", config, estimator))


def read_checkpoint(path, estimator, n_features):
    """Read the checkpoint of a fit, which must have the estimator's parameters."""
    parameters, own_arrays = parameters_as_json(path, estimator)

    def examine(config):
        check_config("checkpoint", config)
        check_class("checkpoint", config, type(estimator))
        _check_same_fit(config, parameters, n_features)

    config, arrays, _ = read(path, "checkpoint", type(estimator), examine)
    if "init" in arrays and not np.array_equal(arrays["init"], own_arrays["init"]):
        raise ModelFileError(path, "Expected the same init as that of the interrupted fit.")
    return Checkpoint(path, config, arrays)


def _check_same_fit(config, parameters, n_features):
    for name in sorted(set(parameters) - FREE_PARAMETERS):
        got = config["parameters"].get(name)
        if got != parameters[name]:
            raise ValueError(
                f"Expected the checkpoint of a fit with {name}={parameters[name]!r}, "
                f"got {repr(got)[:80]}. Remove the file to begin anew."
            )
    if config["shape"][2] != n_features:
        raise ValueError(
            f"Expected the checkpoint of a fit with {n_features} features, "
            f"got {config['shape'][2]}. Remove the file to begin anew."
        )
