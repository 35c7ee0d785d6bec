"""Files of fitted models."""

import warnings
from dataclasses import dataclass

import numpy as np

from .._engine._model import LinearModel
from .._engine._parameters import Parameters
from .._training._scaling import Scaling
from ._arrays import IN_MODEL, check_arrays, feature_name_arrays, feature_names, n_decoder_arrays
from ._constructor import estimator_from_json, parameters_as_json
from ._format import CURVES, metadata, optimizer_arrays, read, version, with_prefix
from ._safetensors import trouble_with, write_arrays
from ._schema import check_class, check_config


@dataclass
class FittedState:
    """State of a fitted estimator, besides its constructor's parameters."""

    parameters: Parameters  # in the units of the data
    scaling: Scaling
    k: int
    n_iter: int
    curves: dict  # lists of float or None by the names of fitted attributes
    best_validation_score: float | None
    frequency: np.ndarray
    feature_names: np.ndarray | None
    model: LinearModel | None  # in scaled units, with its optimizer
    image: dict | None = None  # sizes of images and atoms, of a convolutional estimator
    n_corrections: int | None = None  # layers after the first, of a deep estimator
    decoder_coefs: list | tuple = ()  # weights of its decoder's hidden layers
    image_shape: tuple | None = None  # of the images of fit, if known


def write_model(path, estimator, *, optimizer):
    """Write a fitted estimator; with its optimizer's moments where it has any and if asked."""
    config, arrays = contents(path, estimator, optimizer=optimizer)
    write_arrays(path, arrays, metadata("model", config, estimator))
    warn_of_checkpoint(estimator)


def contents(path, estimator, *, optimizer):
    """Configuration and arrays of a fitted estimator, which have been checked."""
    constructor, arrays = parameters_as_json(path, estimator)
    state = estimator._get_state()
    config = {
        "parameters": constructor,
        "shape": list(state.parameters.shape),
        "tied": state.parameters.tied,
        "k": state.k,
        "n_iter": state.n_iter,
        "best_validation_score": state.best_validation_score,
        "feature_names": None,
        "thresholds": _kind_of_thresholds(state.parameters.thresholds),
        "optimizer": None,
    }
    if state.image is not None:
        config["image"] = state.image
    elif state.image_shape is not None:
        config["image_shape"] = list(state.image_shape)
    if state.n_corrections is not None:
        config["n_corrections"] = state.n_corrections
        config["decoder_sizes"] = [coef.shape[1] for coef in state.decoder_coefs[:-1]]
    arrays |= _fitted_arrays(state)
    if state.feature_names is not None:
        arrays |= feature_name_arrays(state.feature_names)
        config["feature_names"] = len(arrays["feature_names"])
    # A model that was loaded, or pickled, has no optimizer any more.
    if optimizer and state.model is not None:
        config["optimizer"] = {"n_steps": state.model.n_steps, "sparse": state.model.fused}
        arrays |= optimizer_arrays(state.model)
        exact = state.model.arrays().named()
        arrays |= {f"engine.{name}": exact[name] for name in IN_MODEL if name in exact}
    with trouble_with(path):  # what could not be read is not written
        examined(config, type(estimator))
        check_arrays("model", config, arrays)
    return config, arrays


def warn_of_checkpoint(estimator):
    if estimator.checkpoint is not None:
        warnings.warn(
            "A model's file keeps no path: checkpoint is left out, and None once it is loaded.",
            UserWarning, stacklevel=4,
        )  # fmt: skip


def _kind_of_thresholds(thresholds):
    """Whether there are any; "atoms" if each atom has its own."""
    return "atoms" if np.ndim(thresholds) == 2 else thresholds is not None


def _fitted_arrays(state):
    """Arrays of a fitted state, by the names of a file."""
    p = state.parameters
    n_features = p.shape[2]
    arrays = {
        "offset": state.scaling.offset,
        "scale": np.asarray(state.scaling.scale),
        "components": p.decoder.reshape(-1, n_features),
        "encoder_bias": p.bias.ravel(),
        "centers": p.centers,
    }
    if state.n_iter:
        arrays["frequency"] = state.frequency
    if not p.tied:
        arrays["encoder"] = p.encoder.reshape(-1, n_features)
    if p.thresholds is not None:
        arrays["thresholds"] = p.thresholds
    if p.scales is not None:
        arrays["scales"] = p.scales
        arrays["correction_biases"] = p.correction_biases
    arrays |= {f"decoder.{i}": coef for i, coef in enumerate(state.decoder_coefs)}
    for name, attribute in CURVES.items():
        if state.curves[attribute] is not None:
            arrays[name] = np.asarray(state.curves[attribute], np.float64)
    return arrays


def examined(config, cls):
    """Return the unfitted estimator, where all of the configuration is as it should be."""
    check_config("model", config)
    check_class("model", config, cls)
    return estimator_from_json(config["parameters"], cls)


def read_model(path, cls):
    """Read an estimator that `write_model` wrote, and the version that wrote it if another."""
    made = []
    config, arrays, written_by = read(
        path, "model", cls, lambda config: made.append(examined(config, cls))
    )
    return from_contents(*made, config, arrays), None if written_by == version() else written_by


def from_contents(estimator, config, arrays):
    """The estimator, fitted as configuration and arrays say, which have been checked."""
    if "init" in arrays:
        estimator.init = arrays["init"]
    state = _fitted_state(config, arrays)
    estimator._set_state(state)
    if config["optimizer"] is not None:
        state.model = _resumed_model(state, config, arrays, estimator)
        estimator._set_state(state)
    return estimator


def _fitted_state(config, arrays):
    shape = config["shape"]
    encoder = None if config["tied"] else arrays["encoder"].reshape(shape)
    bias = arrays["encoder_bias"].reshape(shape[:2])
    names = None
    if config["feature_names"] is not None:
        names = np.array(feature_names(arrays), dtype=object)
    return FittedState(
        parameters=Parameters(
            arrays["components"].reshape(shape), encoder, bias, arrays["centers"],
            arrays.get("thresholds"), arrays.get("scales"),
            arrays.get("correction_biases"),
        ),
        scaling=Scaling(arrays["offset"], arrays["scale"][()]),
        k=config["k"],
        n_iter=config["n_iter"],
        curves={
            attribute: arrays[name].tolist() if name in arrays else None
            for name, attribute in CURVES.items()
        },
        best_validation_score=config["best_validation_score"],
        frequency=arrays.get("frequency", unknown_frequency(shape)),
        feature_names=names,
        model=None,
        image=config.get("image"),
        n_corrections=config.get("n_corrections"),
        decoder_coefs=[arrays[f"decoder.{i}"] for i in range(n_decoder_arrays(config))],
        image_shape=tuple(config["image_shape"]) if "image_shape" in config else None,
    )  # fmt: skip


def unknown_frequency(shape):
    """NaN for each of the atoms (E, H, D), whose firing no epoch has counted."""
    return np.full(shape[0] * shape[1], np.nan, np.float32)


def _resumed_model(state, config, arrays, estimator):
    """Make a model that goes on with the moments; None if they do not suit this machine."""
    n_steps, fused = config["optimizer"]["n_steps"], config["optimizer"]["sparse"]
    exact = Parameters.from_named({
        **state.parameters.named(), **{name: arrays.get(f"engine.{name}") for name in IN_MODEL}
    })  # fmt: skip
    architecture, device = estimator._architecture(None), estimator._transform_device()
    model = architecture.model(exact, k=architecture.trained_k(state.k), device=device)
    # Moments of the two kinds of step have other names and shapes.
    if model.fused != fused:
        return None
    model.restore_optimizer(with_prefix(arrays, "optimizer."), n_steps)
    return model
