"""What a file keeps of a model, to be loaded without trust; and of a fit, to be resumed.

`_schema` says of every item what is checked.
"""

import json
import math
import platform
import warnings
from numbers import Integral, Real

import numpy as np
import sklearn
import torch

from .._engine._model import TopKEnsemble, use_sparse_products
from .._training._loop import Progress, TrainingState
from ..images._augmenter import ImageAugmenter
from ._safetensors import (
    ModelFileError,
    printable,
    read_arrays,
    strict_json,
    trouble_with,
    write_arrays,
)
from ._schema import (
    array_rules,
    check,
    check_arrays,
    check_config,
    feature_name_arrays,
    feature_names,
    numbers,
)

FORMAT, FORMAT_VERSION = "skl_sae", 2
# Format 1 had curves and names of features in its configuration, and a path among the parameters.
READABLE = "1", "2"
# What a file may hold, by short names; never an import path, which would run code.
ESTIMATOR = "TopKSparseAutoencoder"
AUGMENTERS = {"ImageAugmenter": ImageAugmenter}
# Parameters that may differ between an interrupted fit and the one that resumes it.
FREE_PARAMETERS = {
    "aggregate", "checkpoint_interval", "device", "sparse_output", "verbose", "warm_start",
}  # fmt: skip
# Parameters that no file has: what names a path would let its author choose what is overwritten.
LEFT_OUT = {"checkpoint"}
_FITTED = {"components": "components_", "centers": "centers_", "encoder": "encoder_",
           "encoder_bias": "encoder_bias_", "frequency": "atom_frequency_",
           "thresholds": "activation_thresholds_"}  # fmt: skip
_CURVES = {"loss_curve": "loss_curve_", "correlation_curve": "correlation_curve_",
           "validation_scores": "validation_scores_"}  # fmt: skip
_ENGINE = Progress.BEST[:-1]  # the engine's arrays, in its order


def version():
    """Of this package; it is written in one place, which imports this module."""
    from .. import __version__

    return __version__


# --- A model ---


def write_model(path, estimator, *, optimizer):
    """Write a fitted estimator; with its optimizer's moments where it has any and if asked."""
    parameters, arrays = parameters_as_json(path, estimator)
    n_members = len(estimator.centers_)
    config = {
        "parameters": parameters,
        "shape": [n_members, len(estimator.components_) // n_members, estimator.n_features_in_],
        "tied": estimator._tied,
        "k": estimator.k_,
        "n_iter": estimator.n_iter_,
        "best_validation_score": estimator.best_validation_score_,
        "feature_names": None,
        "thresholds": estimator.activation_thresholds_ is not None,
        "optimizer": None,
    }
    arrays |= _fitted_arrays(estimator)
    if hasattr(estimator, "feature_names_in_"):
        arrays |= feature_name_arrays(estimator.feature_names_in_)
        config["feature_names"] = len(arrays["feature_names"])
    state = getattr(estimator, "_training_state", None)
    if optimizer and state is not None:
        config["optimizer"] = {"n_steps": state.engine.n_steps, "sparse": state.engine.sparse}
        arrays |= _optimizer_arrays(state.engine)
        # Small, and exact where the fitted ones have been rounded to the units of the data.
        for name, array in zip(_ENGINE[2:], state.engine.arrays()[2:], strict=True):
            if array is not None:
                arrays[f"engine.{name}"] = array
    with trouble_with(path):  # what could not be read is not written
        _check_model(config, type(estimator))
        check_arrays("model", config, arrays)
    write_arrays(path, arrays, _metadata("model", config))
    if estimator.checkpoint is not None:
        warnings.warn(
            "A model's file keeps no path: checkpoint is left out, and None once it is loaded.",
            UserWarning, stacklevel=3,
        )  # fmt: skip


def _fitted_arrays(estimator):
    arrays = {"offset": estimator._offset, "scale": np.asarray(estimator._scale)}
    for name, attribute in _FITTED.items():
        value = getattr(estimator, attribute)
        if value is not None and not (name == "encoder" and estimator._tied):
            arrays[name] = value
    for name, attribute in _CURVES.items():
        if getattr(estimator, attribute) is not None:
            arrays[name] = np.asarray(getattr(estimator, attribute), np.float64)
    return arrays


def _check_model(config, cls):
    """The unfitted estimator, where all of the configuration is as it should be."""
    check_config("model", config)
    return estimator_from_json(config["parameters"], cls)


def read_model(path, cls):
    """An estimator as `write_model` wrote it, and the version that wrote it if another."""
    made = []
    config, arrays, written_by = _read(
        path, "model", lambda config: made.append(_check_model(config, cls))
    )
    (estimator,) = made
    if "init" in arrays:
        estimator.init = arrays["init"]
    for name, attribute in _FITTED.items():
        setattr(estimator, attribute, arrays.get(name))
    if config["tied"]:
        estimator.encoder_ = estimator.components_
    for name, attribute in _CURVES.items():
        setattr(estimator, attribute, arrays[name].tolist() if name in arrays else None)
    for name in ("best_validation_score", "n_iter", "k"):
        setattr(estimator, f"{name}_", config[name])
    _, estimator.n_components_, estimator.n_features_in_ = config["shape"]
    if config["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(feature_names(arrays), dtype=object)
    estimator._tied, estimator._offset = config["tied"], arrays["offset"]
    estimator._scale = arrays["scale"][()]
    if config["optimizer"] is not None:
        _resume_optimizer(estimator, config, arrays)
    return estimator, None if written_by == version() else written_by


def _resume_optimizer(estimator, config, arrays):
    """Let partial_fit go on with the moments, if they suit the products of this machine."""
    device = estimator._transform_device()
    n_steps, sparse = config["optimizer"]["n_steps"], config["optimizer"]["sparse"]
    if use_sparse_products(device, config["k"], config["shape"][1]) != sparse:
        return
    state = TrainingState(estimator._offset, estimator._scale)
    decoder, encoder = estimator._fitted_arrays()[:2]
    small = (arrays.get(f"engine.{name}") for name in _ENGINE[2:])
    state.engine = TopKEnsemble(decoder, encoder, *small, k=config["k"], device=device)
    state.engine.restore_optimizer(_with_prefix(arrays, "optimizer."), n_steps)
    estimator._training_state = state


# --- A fit that may be interrupted ---


class Checkpoint:
    """A fit as it was after some epoch.

    Parameters
    ----------
    config : dict
        As JSON holds it.
    arrays : dict
        From str to ndarray.
    """

    def __init__(self, config, arrays):
        self.config, self.arrays = config, arrays

    @property
    def first_random_state(self):
        return self._random_state("first_random_state")

    def restore(self, path, state, progress, rng, device):
        """Let a new state, progress and generator be those of the file."""
        config, arrays = self.config, self.arrays
        same_rows = config["n_rows"] == state.n_rows and all(
            np.array_equal(arrays[name], getattr(state, name)) for name in ("offset", "scale")
        )
        if not same_rows:
            raise ModelFileError(path, "Expected the rows of the fit that it was written in.")
        if config["sparse"] and device.type != "cpu":
            raise ModelFileError(path, "Expected device='cpu', on which it was written.")
        start = (arrays.get(f"engine.{name}") for name in _ENGINE)
        state.engine = TopKEnsemble(*start, k=config["k"], device=device, sparse=config["sparse"])
        state.engine.restore_optimizer(_with_prefix(arrays, "optimizer."), config["n_steps"])
        state.n_steps_before = config["n_steps_before"]
        curves = {name: curve.tolist() for name, curve in _with_prefix(arrays, "progress.").items()}
        progress.restore(
            config["progress"] | curves, _with_prefix(arrays, "best."), arrays["frequency"]
        )
        rng.set_state(self._random_state("random_state"))

    def _random_state(self, name):
        return ("MT19937", self.arrays[name], *self.config[name])


def write_checkpoint(path, estimator, state, progress, rng, first_random_state):
    """Write all that a fit needs to go on as if it had not been interrupted."""
    engine = state.engine
    parameters, arrays = parameters_as_json(path, estimator)
    arrays |= {f"engine.{name}": array
               for name, array in zip(_ENGINE, engine.arrays(caught_up=False), strict=True)
               if array is not None}  # fmt: skip
    arrays |= _optimizer_arrays(engine)
    arrays |= {f"best.{name}": array for name, array in progress.best_arrays.items()}
    arrays |= {"offset": state.offset, "scale": np.asarray(state.scale),
               "frequency": progress.frequency}  # fmt: skip
    sizes, curves = _without_curves(progress.as_json())
    arrays |= curves
    config = {
        "parameters": parameters,
        "shape": list(engine.decoder.shape),
        "tied": engine.tied,
        "k": engine.k,
        "n_rows": state.n_rows,
        "thresholds": engine.thresholds is not None,
        "n_steps": engine.n_steps,
        "n_steps_before": state.n_steps_before,
        "sparse": engine.sparse,
        "progress": sizes,
    }
    for name, values in (("random_state", rng.get_state()),
                         ("first_random_state", first_random_state)):  # fmt: skip
        arrays[name] = values[1]
        config[name] = list(values[2:])
    write_arrays(path, arrays, _metadata("checkpoint", config))


def _without_curves(progress):
    """A progress with the lengths of its curves in their place, and the curves as arrays."""
    curves = {name: progress[name] for name in Progress.CURVES}
    sizes = {**progress, **{name: len(curve) for name, curve in curves.items()}}
    return sizes, {f"progress.{name}": np.array(c, np.float64) for name, c in curves.items()}


def read_checkpoint(path, estimator, n_features):
    """The checkpoint in a file, which must be of a fit with the estimator's parameters."""
    parameters, own_arrays = parameters_as_json(path, estimator)

    def examine(config):
        check_config("checkpoint", config)
        _check_same_fit(config, parameters, n_features)

    config, arrays, _ = _read(path, "checkpoint", examine)
    if "init" in arrays and not np.array_equal(arrays["init"], own_arrays["init"]):
        raise ModelFileError(path, "Expected the same init as that of the interrupted fit.")
    return Checkpoint(config, arrays)


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


# --- Both ---


def _metadata(kind, config):
    versions = {
        "skl_sae": version(), "python": platform.python_version(), "numpy": np.__version__,
        "scikit-learn": sklearn.__version__, "torch": torch.__version__,
    }  # fmt: skip
    return {
        "format": FORMAT, "format_version": str(FORMAT_VERSION), "kind": kind,
        "class": ESTIMATOR, "config": json.dumps(config, allow_nan=False),
        "versions": json.dumps(versions),
    }  # fmt: skip


def _read(path, kind, examine):
    """Configuration, which is examined first, and arrays of a file; the version that wrote it."""
    found = {}

    def describe(metadata):
        found["written_by"], config = _read_metadata(metadata, kind)
        moved = {}
        if metadata["format_version"] == "1":
            moved = _from_format_1(kind, config)
        examine(config)
        found["config"], found["moved"] = config, moved
        rules = {name: rule[:2] for name, rule in array_rules(kind, config).items()}
        if metadata["format_version"] == "1":
            rules["offset"] = np.float32, rules["offset"][1]
        return {name: rules[name] for name in rules if name not in moved}

    arrays = read_arrays(path, describe)[1] | found["moved"]
    arrays["offset"] = arrays["offset"].astype(np.float64, copy=False)
    with trouble_with(path):
        check_arrays(kind, found["config"], arrays)
    return found["config"], arrays, found["written_by"]


def _read_metadata(metadata, kind):
    """The version that wrote the file, and its configuration, of which nothing is known yet."""
    expected = {"format", "format_version", "kind", "class", "config", "versions", "sha256"}
    if metadata.get("format") != FORMAT:
        raise ValueError(f"Expected format {FORMAT!r}, got {metadata.get('format')!r:.40}.")
    if metadata.get("format_version") not in READABLE:
        raise ValueError(
            f"Expected format_version {' or '.join(READABLE)}, which skl_sae {version()} reads, "
            f"got {metadata.get('format_version')!r:.40}. A newer skl_sae may read it."
        )
    if set(metadata) != expected:
        raise ValueError(f"Expected the metadata {sorted(expected)} and no others.")
    for name, wanted in (("class", ESTIMATOR), ("kind", kind)):
        if metadata[name] != wanted:
            raise ValueError(f"Expected {name} {wanted!r}, got {metadata[name]!r:.40}.")
    versions = strict_json(metadata["versions"])
    if not isinstance(versions, dict) or not isinstance(versions.get("skl_sae"), str):
        raise ValueError("Expected the version that wrote the file.")
    config = strict_json(metadata["config"])
    if not isinstance(config, dict):
        raise ValueError("Expected a configuration with names.")
    return printable(versions["skl_sae"], 40), config


def _from_format_1(kind, config):
    """Bring a configuration up to date in place; the arrays that were in it."""
    curves = _CURVES if kind == "model" else ()
    if not {"scale", "parameters", *curves} <= set(config):
        raise ValueError("Expected a configuration of format 1.")
    if isinstance(config["parameters"], dict):
        config["parameters"].pop("checkpoint", None)
    scale = config.pop("scale")
    check("scale", scale, numbers([scale]) and abs(scale) < np.finfo(np.float32).max)
    moved = {"scale": np.asarray(scale, np.float64)}
    for name in curves:
        curve = config.pop(name)
        check(name, curve, numbers(curve) or (name == "validation_scores" and curve is None))
        if curve is not None:
            moved[name] = np.array(curve, np.float64)
    names = config.get("feature_names")
    if names is not None:
        fine = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
        check("feature_names", names, fine)
        moved |= feature_name_arrays(names)
        config["feature_names"] = len(moved["feature_names"])
    progress = config.get("progress")
    if isinstance(progress, dict):
        fine = all(numbers(value) for value in progress.values() if isinstance(value, list))
        check("progress", progress, fine and {"losses", "correlations", "scores"} <= set(progress))
        # No rows judged a fit then.
        progress |= {"errors": [], "is_judging": False, "choices": None, "threshold_factors": None}
        config["n_steps_before"] = 0
        config["progress"], curves = _without_curves(progress)
        moved |= curves
    return moved


def _optimizer_arrays(engine):
    return {f"optimizer.{name}": array for name, array in engine.optimizer_arrays().items()}


def _with_prefix(arrays, prefix):
    return {name.removeprefix(prefix): array for name, array in arrays.items()
            if name.startswith(prefix)}  # fmt: skip


# --- Parameters ---


def parameters_as_json(path, estimator):
    """Constructor parameters as JSON holds them, and the arrays among them; no paths."""
    if type(estimator).__name__ != ESTIMATOR:
        raise ModelFileError(path, f"Expected a {ESTIMATOR}, got a {type(estimator).__name__}.")
    parameters, arrays = {}, {}
    for name, value in estimator.get_params(deep=False).items():
        if name in LEFT_OUT:
            continue
        if name == "init" and not isinstance(value, str):
            arrays["init"] = np.asarray(value, dtype=np.float32)
            value = {"array": list(arrays["init"].shape)}
        elif name == "augmenter" and value is not None:
            value = _augmenter_as_json(path, value)
        parameters[name] = _as_json(path, name, value)
    return parameters, arrays


def _augmenter_as_json(path, augmenter):
    name = type(augmenter).__name__
    if AUGMENTERS.get(name) is not type(augmenter):
        raise ModelFileError(
            path, f"Expected augmenter to be None or one of {sorted(AUGMENTERS)}, got a {name}. "
            "set_params(augmenter=None) leaves it out; transform does without.",
        )  # fmt: skip
    parameters = augmenter.get_params(deep=False)
    return {"class": name, "parameters": {
        key: _as_json(path, f"augmenter__{key}", value) for key, value in parameters.items()
    }}  # fmt: skip


def _as_json(path, name, value):
    """A value that JSON gives back equal."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        if -(2**63) <= value < 2**63:
            return int(value)
    elif isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_as_json(path, name, item) for item in value]
    if isinstance(value, dict):
        return value
    raise ModelFileError(
        path, f"Expected {name} to be a number of at most 64 bits, text, None or a sequence of "
        f"these, got a {type(value).__name__}.",
    )  # fmt: skip


def estimator_from_json(parameters, cls):
    """An unfitted estimator with these parameters; a ValueError if one is not usable."""
    parameters = dict(parameters)
    expected = set(cls._get_param_names()) - LEFT_OUT
    if set(parameters) != expected:
        odd = min(set(parameters) ^ expected)
        raise ValueError(f"Expected the parameters of {cls.__name__}; {odd[:80]!r} differs.")
    augmenter = parameters["augmenter"]
    if augmenter is not None:
        parameters["augmenter"] = _augmenter_from_json(augmenter)
    if isinstance(parameters["init"], dict):
        parameters["init"] = np.zeros((1, 1), np.float32)  # until the file's is read
    estimator = cls(**parameters)
    estimator._validate_params()
    return estimator


def _augmenter_from_json(given):
    if not isinstance(given, dict) or set(given) != {"class", "parameters"}:
        raise ValueError("Expected the class and parameters of the augmenter.")
    cls = AUGMENTERS.get(given["class"]) if isinstance(given["class"], str) else None
    if cls is None:
        raise ValueError(f"Expected an augmenter of {sorted(AUGMENTERS)}.")
    parameters = given["parameters"]
    if not isinstance(parameters, dict) or set(parameters) != set(cls._get_param_names()):
        raise ValueError(f"Expected the parameters of {cls.__name__}.")
    augmenter = cls(**{
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    })  # fmt: skip
    augmenter._validate_params()
    return augmenter
