"""The metadata of our files, and how those of an earlier format are brought up to date.

`_schema` says of every item what is checked.
"""

import json
import platform

import numpy as np
import sklearn
import torch

from .._training._history import History
from ._arrays import array_rules, check_arrays, feature_name_arrays
from ._safetensors import printable, read_arrays, strict_json, trouble_with
from ._schema import check, numbers

FORMAT, FORMAT_VERSION = "skl_sae", 2
# Format 1 had curves and names of features in its configuration, and a path among the parameters.
READABLE = "1", "2"
# Fitted attributes by the names that their curves have in a file.
CURVES = {"loss_curve": "loss_curve_", "correlation_curve": "correlation_curve_",
          "validation_scores": "validation_scores_"}  # fmt: skip


def version():
    """Version of this package; it is written in one place, which imports this module."""
    from .. import __version__

    return __version__


def metadata(kind, config, estimator):
    versions = {
        "skl_sae": version(), "python": platform.python_version(), "numpy": np.__version__,
        "scikit-learn": sklearn.__version__, "torch": torch.__version__,
    }  # fmt: skip
    return {
        "format": FORMAT, "format_version": str(FORMAT_VERSION), "kind": kind,
        "class": type(estimator).__name__, "config": json.dumps(config, allow_nan=False),
        "versions": json.dumps(versions),
    }  # fmt: skip


def read(path, kind, cls, examine):
    """Read what an estimator of this class has in a file of this kind.

    Returns a configuration, which is examined first, arrays, and the version that wrote them.
    """
    found = {}

    def describe(metadata):
        found["written_by"], config = read_metadata(metadata, kind, cls)
        moved = {}
        if metadata["format_version"] == "1":
            moved = _from_format_1(kind, config)
        # Sizes in the configuration decide how many bytes each array must have.
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


def read_metadata(metadata, kind, cls):
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
    for name, wanted in (("class", cls.__name__), ("kind", kind)):
        if metadata[name] != wanted:
            raise ValueError(
                f"Expected {name} {wanted!r}, got {metadata[name]!r:.40}. "
                "skl_sae.load reads models and Pipelines of any class."
            )
    versions = strict_json(metadata["versions"])
    if not isinstance(versions, dict) or not isinstance(versions.get("skl_sae"), str):
        raise ValueError("Expected the version that wrote the file.")
    config = strict_json(metadata["config"])
    if not isinstance(config, dict):
        raise ValueError("Expected a configuration with names.")
    return printable(versions["skl_sae"], 40), config


def _from_format_1(kind, config):
    """Bring a configuration up to date in place; the arrays that were in it."""
    curves = CURVES if kind == "model" else ()
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
        config["progress"], curves = without_curves(progress)
        moved |= curves
    return moved


def without_curves(numbers):
    """The numbers of a history with the lengths of its curves in their place; these as arrays."""
    curves = {name: numbers[name] for name in History.CURVES}
    sizes = {**numbers, **{name: len(curve) for name, curve in curves.items()}}
    return sizes, {f"progress.{name}": np.array(c, np.float64) for name, c in curves.items()}


def optimizer_arrays(model):
    """Arrays of a model's optimizer, by the names of a file."""
    return {f"optimizer.{name}": array for name, array in model.optimizer_arrays().items()}


def with_prefix(arrays, prefix):
    """Arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items()
            if name.startswith(prefix)}  # fmt: skip
