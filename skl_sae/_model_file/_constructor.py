"""Parameters of constructors as JSON holds them, and estimators made of these."""

import math
from numbers import Integral, Real

import numpy as np
import torch

from ..images._augmenter import ImageAugmenter
from ._safetensors import ModelFileError

# Classes by short names; never an import path, which would run code.
ESTIMATORS = (
    "TopKSparseAutoencoder", "ConvTopKSparseAutoencoder", "DeepTopKSparseAutoencoder",
)  # fmt: skip
AUGMENTERS = {"ImageAugmenter": ImageAugmenter}
# Parameters that no file has: what names a path would let its author choose what is overwritten.
LEFT_OUT = {"checkpoint"}
# Parameters that files of earlier versions lack, which then have their default.
ADDED = {"refit", "transform_tol", "prefixes"}


def parameters_as_json(path, estimator):
    """Constructor parameters as JSON holds them, and the arrays among them; no paths."""
    if type(estimator).__name__ not in ESTIMATORS:
        raise ModelFileError(
            path, f"Expected a {' or '.join(ESTIMATORS)}, got a {type(estimator).__name__}."
        )
    parameters, arrays = {}, {}
    for name, value in estimator.get_params(deep=False).items():
        if name in LEFT_OUT:
            continue
        if name == "init" and not isinstance(value, str):
            arrays["init"] = np.asarray(value, dtype=np.float32)
            value = {"array": list(arrays["init"].shape)}
        elif name == "prefixes" and value is not None:
            value = list(value)
        elif name == "augmenter" and value is not None:
            value = _augmenter_as_json(path, value)
        parameters[name] = _as_json(path, name, value)
    return parameters, arrays


def plain_parameters(path, estimator, left_out=()):
    """Constructor parameters as JSON holds them, of what has neither arrays nor objects."""
    parameters = estimator.get_params(deep=False)
    return {
        name: _as_json(path, name, value)
        for name, value in parameters.items()
        if name not in left_out
    }


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
    odd = set(parameters) ^ expected
    if odd - (ADDED - set(parameters)):
        odd = min(odd)
        raise ValueError(f"Expected the parameters of {cls.__name__}; {odd[:80]!r} differs.")
    augmenter = parameters["augmenter"]
    if augmenter is not None:
        parameters["augmenter"] = _augmenter_from_json(augmenter)
    if isinstance(parameters["init"], dict):
        parameters["init"] = np.zeros((1, 1), np.float32)  # until the file's is read
    # JSON has no tuples.
    estimator = cls(**{
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    })  # fmt: skip
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
