"""What a file keeps of a model, to be loaded without trust; and of a fit, to be resumed."""

import json
import math
import os
import platform
from numbers import Integral, Real

import numpy as np
import sklearn
import torch

from ._augmenter import ImageAugmenter
from ._ensemble import TopKEnsemble, use_sparse_products
from ._optimizer import optimizer_shapes
from ._storage import ModelFileError, read_arrays, strict_json, write_arrays
from ._training import Progress, TrainingState

FORMAT, FORMAT_VERSION = "skl_sae", 1
# What a file may hold, by short names; never an import path, which would run code.
ESTIMATOR = "TopKSparseAutoencoder"
AUGMENTERS = {"ImageAugmenter": ImageAugmenter}
# Parameters that may differ between an interrupted fit and the one that resumes it.
FREE_PARAMETERS = {
    "aggregate", "checkpoint", "checkpoint_interval", "device", "sparse_output", "verbose",
    "warm_start",
}  # fmt: skip
_FITTED = {"components": "components_", "centers": "centers_", "encoder": "encoder_",
           "encoder_bias": "encoder_bias_", "frequency": "feature_frequency_",
           "thresholds": "activation_thresholds_"}  # fmt: skip
_ENGINE = Progress.BEST[:-1]  # the engine's arrays, in its order
_LARGEST = 2**40  # of any size, so that products of a few stay numbers


def version():
    """Of this package; it is written in one place, which imports this module."""
    from . import __version__

    return __version__


# --- A model ---


def write_model(path, estimator, *, optimizer):
    """Write a fitted estimator; with its optimizer's moments where it has any and if asked."""
    parameters, arrays = parameters_as_json(path, estimator)
    for name, attribute in _FITTED.items():
        value = getattr(estimator, attribute)
        if value is not None and not (name == "encoder" and estimator._tied):
            arrays[name] = value
    arrays["offset"] = estimator._offset
    n_members = len(estimator.centers_)
    config = {
        "parameters": parameters,
        "shape": [n_members, len(estimator.components_) // n_members, estimator.n_features_in_],
        "tied": estimator._tied,
        "k": estimator.k_,
        "scale": float(estimator._scale),
        "n_iter": estimator.n_iter_,
        "loss_curve": estimator.loss_curve_,
        "correlation_curve": estimator.correlation_curve_,
        "validation_scores": estimator.validation_scores_,
        "best_validation_score": estimator.best_validation_score_,
        "feature_names": getattr(estimator, "feature_names_in_", None),
        "thresholds": estimator.activation_thresholds_ is not None,
        "optimizer": None,
    }
    if config["feature_names"] is not None:
        config["feature_names"] = [str(name) for name in config["feature_names"]]
    state = getattr(estimator, "_training_state", None)
    if optimizer and state is not None:
        config["optimizer"] = {"n_steps": state.engine.n_steps, "sparse": state.engine.sparse}
        arrays |= _optimizer_arrays(state.engine)
        # Small, and exact where the fitted ones have been rounded to the units of the data.
        for name, array in zip(_ENGINE[2:], state.engine.arrays()[2:], strict=True):
            if array is not None:
                arrays[f"engine.{name}"] = array
    write_arrays(path, arrays, _metadata("model", config))


def read_model(path, cls):
    """An estimator as `write_model` wrote it, and the version that wrote it if another."""
    found = {}

    def describe(metadata):
        config = found["config"] = _read_config(metadata, "model")
        _check_model_config(config)
        found["estimator"] = estimator_from_json(config["parameters"], cls)
        return _model_shapes(config)

    metadata, arrays = read_arrays(path, describe)
    estimator, config = found["estimator"], found["config"]
    if "init" in arrays:
        estimator.init = arrays["init"]
    for name, attribute in _FITTED.items():
        setattr(estimator, attribute, arrays.get(name))
    if config["tied"]:
        estimator.encoder_ = estimator.components_
    for name in ("loss_curve", "correlation_curve", "validation_scores", "best_validation_score",
                 "n_iter", "k"):  # fmt: skip
        setattr(estimator, f"{name}_", config[name])
    estimator.n_features_in_ = config["shape"][2]
    if config["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(config["feature_names"], dtype=object)
    estimator._tied, estimator._offset = config["tied"], arrays["offset"]
    estimator._scale = np.float32(config["scale"])
    if config["optimizer"] is not None:
        _resume_optimizer(estimator, config, arrays)
    written_by = json.loads(metadata["versions"])["skl_sae"]
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


def _model_shapes(config):
    """dtype and shape of every array of a model."""
    shape = n_members, n_components, n_features = tuple(config["shape"])
    atoms = n_members * n_components
    shapes = {
        "components": (atoms, n_features), "centers": (n_members, n_features),
        "encoder_bias": (atoms,), "frequency": (atoms,), "offset": (n_features,),
    }  # fmt: skip
    if not config["tied"]:
        shapes["encoder"] = atoms, n_features
    if config["thresholds"]:
        shapes["thresholds"] = (n_members,)
    if isinstance(config["parameters"]["init"], dict):
        shapes["init"] = tuple(config["parameters"]["init"]["array"])
    shapes = {name: (np.float32, shape) for name, shape in shapes.items()}
    if config["optimizer"] is not None:
        shapes |= _engine_shapes(config, shape, _ENGINE[2:])
        shapes |= _optimizer_shapes(config, shape, config["optimizer"])
    return shapes


def _check_model_config(config):
    n_components, n_features = config["shape"][1:]
    _check(config, "k", _whole(config["k"], 1) and config["k"] <= n_components)
    _check(config, "n_iter", _whole(config["n_iter"], 1))
    for name in ("loss_curve", "correlation_curve"):
        _check(config, name, _numbers(config[name]))
    scores, best = config["validation_scores"], config["best_validation_score"]
    _check(config, "validation_scores", scores is None or _numbers(scores))
    _check(config, "best_validation_score", best is None or _number(best))
    names = config["feature_names"]
    _check(config, "feature_names", names is None or (
        isinstance(names, list) and len(names) == n_features
        and all(isinstance(name, str) for name in names)
    ))  # fmt: skip
    optimizer = config["optimizer"]
    _check(config, "optimizer", optimizer is None or (
        isinstance(optimizer, dict) and set(optimizer) == {"n_steps", "sparse"}
        and _whole(optimizer["n_steps"], 0) and isinstance(optimizer["sparse"], bool)
    ))  # fmt: skip


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
        same_rows = np.array_equal(arrays["offset"], state.offset) and (
            (config["scale"], config["n_rows"]) == (float(state.scale), state.n_rows)
        )
        if not same_rows:
            raise ModelFileError(path, "Expected the rows of the fit that it was written in.")
        start = (arrays.get(f"engine.{name}") for name in _ENGINE)
        state.engine = TopKEnsemble(*start, k=config["k"], device=device, sparse=config["sparse"])
        state.engine.restore_optimizer(_with_prefix(arrays, "optimizer."), config["n_steps"])
        progress.restore(config["progress"], _with_prefix(arrays, "best."), arrays["frequency"])
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
    arrays |= {"offset": state.offset, "frequency": progress.frequency}
    config = {
        "parameters": parameters,
        "shape": list(engine.decoder.shape),
        "tied": engine.tied,
        "k": engine.k,
        "scale": float(state.scale),
        "n_rows": state.n_rows,
        "thresholds": engine.thresholds is not None,
        "n_steps": engine.n_steps,
        "sparse": engine.sparse,
        "progress": progress.as_json(),
    }
    for name, values in (("random_state", rng.get_state()),
                         ("first_random_state", first_random_state)):  # fmt: skip
        arrays[name] = values[1]
        config[name] = list(values[2:])
    write_arrays(path, arrays, _metadata("checkpoint", config))


def read_checkpoint(path, estimator, n_features):
    """The checkpoint in a file, which must be of a fit with the estimator's parameters."""

    def describe(metadata):
        config = found["config"] = _read_config(metadata, "checkpoint")
        _check_same_fit(config, parameters, n_features)
        return _checkpoint_shapes(config)

    found, (parameters, own_arrays) = {}, parameters_as_json(path, estimator)
    _, arrays = read_arrays(path, describe)
    if "init" in arrays and not np.array_equal(arrays["init"], own_arrays["init"]):
        raise ModelFileError(path, "Expected the same init as that of the interrupted fit.")
    return Checkpoint(found["config"], arrays)


def _check_same_fit(config, parameters, n_features):
    for name in sorted(set(parameters) - FREE_PARAMETERS):
        got = config["parameters"].get(name)
        if got != parameters[name]:
            raise ValueError(
                f"Expected the checkpoint of a fit with {name}={parameters[name]!r}, got {got!r}. "
                "Remove the file to begin anew."
            )
    if config["shape"][2] != n_features:
        raise ValueError(
            f"Expected the checkpoint of a fit with {n_features} features, "
            f"got {config['shape'][2]}. Remove the file to begin anew."
        )


def _checkpoint_shapes(config):
    """dtype and shape of every array of a checkpoint, after a look at its numbers."""
    shape = tuple(config["shape"])
    _check(config, "k", _whole(config["k"], 1) and config["k"] <= shape[1])
    _check(config, "n_rows", _whole(config["n_rows"], 1))
    _check(config, "n_steps", _whole(config["n_steps"], 1))
    _check(config, "sparse", isinstance(config["sparse"], bool))
    shapes = {"offset": (np.float32, shape[2:]), "frequency": (np.float32, (shape[0] * shape[1],))}
    for name in ("random_state", "first_random_state"):
        values = config[name]
        _check(config, name, isinstance(values, list) and len(values) == 3 and _numbers(values))
        shapes[name] = np.uint32, (624,)
    progress = config["progress"]
    _check(config, "progress", isinstance(progress, dict) and set(progress) == {
        "losses", "correlations", "scores", "best"
    })  # fmt: skip
    _check(config, "progress", all(_numbers(progress[name])
                                   for name in ("losses", "correlations", "scores")))  # fmt: skip
    _check(config, "progress", progress["best"] is None or _number(progress["best"]))
    shapes |= _engine_shapes(config, shape, _ENGINE)
    shapes |= _optimizer_shapes(config, shape, config)
    if isinstance(config["parameters"]["init"], dict):
        shapes["init"] = np.float32, tuple(config["parameters"]["init"]["array"])
    if progress["best"] is not None:
        shapes |= {name.replace("engine.", "best."): value
                   for name, value in _engine_shapes(config, shape, _ENGINE).items()}  # fmt: skip
        shapes["best.frequency"] = shapes["frequency"]
    return shapes


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


_CONFIG_KEYS = {
    "model": {"parameters", "shape", "tied", "k", "scale", "thresholds", "n_iter", "loss_curve",
              "correlation_curve", "validation_scores", "best_validation_score", "feature_names",
              "optimizer"},
    "checkpoint": {"parameters", "shape", "tied", "k", "scale", "thresholds", "n_rows", "n_steps",
                   "sparse", "progress", "random_state", "first_random_state"},
}  # fmt: skip


def _read_config(metadata, kind):
    """The configuration, after checks of all that a model and a checkpoint have in common."""
    expected = {"format", "format_version", "kind", "class", "config", "versions", "sha256"}
    if metadata.get("format") != FORMAT:
        raise ValueError(f"Expected format {FORMAT!r}, got {str(metadata.get('format'))[:40]!r}.")
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise ValueError(
            f"Expected format_version {FORMAT_VERSION}, which skl_sae {version()} reads, got "
            f"{str(metadata.get('format_version'))[:40]}. A newer skl_sae may read it."
        )
    if set(metadata) != expected:
        raise ValueError(f"Expected the metadata {sorted(expected)}, got {sorted(metadata)}.")
    for name, wanted in (("class", ESTIMATOR), ("kind", kind)):
        if metadata[name] != wanted:
            raise ValueError(f"Expected {name} {wanted!r}, got {metadata[name][:40]!r}.")
    versions = strict_json(metadata["versions"])
    if not isinstance(versions, dict) or not isinstance(versions.get("skl_sae"), str):
        raise ValueError("Expected the version that wrote the file.")
    config = strict_json(metadata["config"])
    if not isinstance(config, dict) or set(config) != _CONFIG_KEYS[kind]:
        raise ValueError(f"Expected a configuration with {sorted(_CONFIG_KEYS[kind])}.")
    shape, scale = config["shape"], config["scale"]
    _check(config, "parameters", isinstance(config["parameters"], dict)
           and "init" in config["parameters"])  # fmt: skip
    _check(config, "shape", isinstance(shape, list) and len(shape) == 3
           and all(_whole(size, 1) for size in shape))  # fmt: skip
    _check(config, "scale", _number(scale) and 0 < scale < float(np.finfo(np.float32).max))
    _check(config, "tied", isinstance(config["tied"], bool))
    _check(config, "thresholds", isinstance(config["thresholds"], bool))
    _check_init(config["parameters"]["init"])
    return config


def _check_init(init):
    _check({"init": init}, "init", isinstance(init, (str, dict)))
    if isinstance(init, dict):
        shape = init.get("array")
        fine = set(init) == {"array"} and isinstance(shape, list) and len(shape) in (2, 3)
        _check({"init": init}, "init", fine and all(_whole(size, 1) for size in shape))


def _check(config, name, fine):
    if not fine:
        raise ValueError(f"Expected a usable {name!r}, got {str(config[name])[:80]}.")


def _whole(value, smallest):
    return type(value) is int and smallest <= value < _LARGEST


def _number(value):
    return type(value) in (int, float) and math.isfinite(value)


def _numbers(values):
    return isinstance(values, list) and all(map(_number, values))


def _engine_shapes(config, shape, names):
    n_members, n_components, n_features = shape
    shapes = {
        "decoder": shape, "bias": (n_members, n_components), "centers": (n_members, n_features),
    }  # fmt: skip
    if not config["tied"]:
        shapes["encoder"] = shape
    if config["thresholds"]:
        shapes["thresholds"] = (n_members,)
    return {f"engine.{name}": (np.float32, shapes[name]) for name in names if name in shapes}


def _optimizer_arrays(engine):
    return {f"optimizer.{name}": array for name, array in engine.optimizer_arrays().items()}


def _optimizer_shapes(config, shape, optimizer):
    shapes = optimizer_shapes(
        shape, optimizer["n_steps"], tied=config["tied"], sparse=optimizer["sparse"]
    )
    return {f"optimizer.{name}": value for name, value in shapes.items()}


def _with_prefix(arrays, prefix):
    return {name.removeprefix(prefix): array for name, array in arrays.items()
            if name.startswith(prefix)}  # fmt: skip


# --- Parameters ---


def parameters_as_json(path, estimator):
    """Constructor parameters as JSON holds them, and the arrays among them."""
    if type(estimator).__name__ != ESTIMATOR:
        raise ModelFileError(path, f"Expected a {ESTIMATOR}, got a {type(estimator).__name__}.")
    parameters, arrays = {}, {}
    for name, value in estimator.get_params(deep=False).items():
        if name == "init" and not isinstance(value, str):
            arrays["init"] = np.asarray(value, dtype=np.float32)
            value = {"array": list(arrays["init"].shape)}
        elif name == "augmenter" and value is not None:
            value = _augmenter_as_json(path, value)
        elif name == "checkpoint" and value is not None:
            value = os.fsdecode(value)
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
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_as_json(path, name, item) for item in value]
    if isinstance(value, dict):
        return value
    raise ModelFileError(
        path, f"Expected {name} to be a number, text, None or a sequence of these, got a "
        f"{type(value).__name__}.",
    )  # fmt: skip


def estimator_from_json(parameters, cls):
    """An unfitted estimator with these parameters; a ValueError if one is not usable."""
    parameters = dict(parameters)
    if set(parameters) != set(cls._get_param_names()):
        odd = min(set(parameters) ^ set(cls._get_param_names()))
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
    return cls(**{
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    })  # fmt: skip
