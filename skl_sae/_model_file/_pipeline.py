"""Files of Pipelines: the contents of their steps' files, side by side in one file.

The kind is "pipeline". A step is an autoencoder, an ensemble, or a transformer of this package that
learns nothing; whatever else may be in a Pipeline is refused when it is written, since to read it
would be to run what a file says.
"""

import warnings
from functools import partial

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._arrays import feature_name_arrays, feature_names
from ._composed import (
    TRANSFORMERS,
    check_order,
    check_pipeline,
    check_transformer,
    feature_name_rules,
)
from ._constructor import plain_parameters
from ._ensemble import Kind, kind_of, numbered
from ._format import metadata, read_metadata, version, with_prefix
from ._safetensors import ModelFileError, read_arrays, trouble_with, write_arrays
from ._schema import check

# Attributes of a Pipeline that its file keeps, if it has them.
KEPT = {"target_names": "target_names_", "held_out": "held_out_"}
_REASONS = {
    "ImageEmbedder": "a network is a program, and no file that is safe to load holds one. Save the "
    "steps behind it, and put them behind an ImageEmbedder again",
    "Pipeline": "put its steps side by side into one Pipeline",
}


def write_pipeline(path, pipeline, classes, *, optimizer):
    """Write a fitted Pipeline of these classes of steps, from name to class."""
    config, arrays = {"steps": [], "verbose": bool(pipeline.verbose)}, {}
    config |= {item: getattr(pipeline, name, None) for item, name in KEPT.items()}
    _check_parameters(path, pipeline)
    for i, (name, step) in enumerate(pipeline.steps):
        _check_step(path, name, step, classes)
        described, own = _kind(type(step), classes).contents(path, step, optimizer=optimizer)
        config["steps"].append({"name": name, "class": type(step).__name__, "config": described})
        arrays |= numbered(i, own)
    with trouble_with(path):  # what could not be read is not written
        _examined(config, classes)
    write_arrays(path, arrays, metadata("pipeline", config, pipeline))
    if pipeline.memory is not None or _has_checkpoint(pipeline):
        warnings.warn(
            "A model's file keeps no path: memory and checkpoint are left out, and None once it is "
            "loaded.", UserWarning, stacklevel=3,
        )  # fmt: skip


def _check_parameters(path, pipeline):
    if pipeline.transform_input is not None:
        raise ModelFileError(path, "Expected transform_input=None of the Pipeline.")


def _has_checkpoint(pipeline):
    return any(getattr(step, "checkpoint", None) is not None for _, step in pipeline.steps)


def _check_step(path, name, step, classes):
    given = type(step).__name__
    if classes.get(given) is not type(step):
        what = repr(step) if isinstance(step, str) or step is None else f"of class {given}"
        reason = _REASONS.get(given, "pickle, joblib and skops keep any Pipeline")
        raise ModelFileError(
            path, f"Expected steps of {', '.join(sorted(classes))}; got {name!r}, {what}: {reason}."
        )
    check_is_fitted(step)


def read_pipeline(path, classes):
    """Read a Pipeline that `write_pipeline` wrote, and the version that did if another."""
    found = {}

    def describe(metadata):
        found["written_by"], config = read_metadata(metadata, "pipeline", Pipeline)
        check("format_version", metadata["format_version"], metadata["format_version"] == "2")
        found["unfitted"], found["config"] = _examined(config, classes), config
        rules = {}
        for i, step in enumerate(config["steps"]):
            rules |= numbered(i, _kind_of(step, classes).rules(step["config"]))
        return {name: rule[:2] for name, rule in rules.items()}

    arrays = read_arrays(path, describe)[1]
    config = found["config"]
    with trouble_with(path):
        steps = [
            (step["name"], _fitted(_kind_of(step, classes), unfitted, step["config"],
                                   with_prefix(arrays, f"{i}.")))
            for i, (step, unfitted) in enumerate(
                zip(config["steps"], found["unfitted"], strict=True)
            )
        ]  # fmt: skip
    pipeline = Pipeline(steps, verbose=config["verbose"])
    for item, name in KEPT.items():
        if config[item] is not None:
            setattr(pipeline, name, config[item])
    return pipeline, None if found["written_by"] == version() else found["written_by"]


def _fitted(kind, unfitted, config, arrays):
    kind.check(config, arrays)
    return kind.fitted(unfitted, config, arrays)


def _examined(config, classes):
    """Unfitted steps, where all of the configuration is as it should be."""
    check_pipeline(config)
    steps = config["steps"]
    for step in steps:
        check("class", step["class"], step["class"] in classes)
    check("steps", "transformers alone", any(step["class"] not in TRANSFORMERS for step in steps))
    unfitted = [_kind_of(step, classes).examined(step["config"]) for step in steps]
    check_order([(step["class"], step["config"]) for step in steps])
    return unfitted


# --- Kinds of steps ---


def _kind_of(step, classes):
    return _kind(classes[step["class"]], classes)


def _kind(cls, classes):
    if cls.__name__ in TRANSFORMERS:
        return Kind(_transformer_contents, partial(_examined_transformer, cls), feature_name_rules,
                    _check_transformer_arrays, _fitted_transformer)  # fmt: skip
    members = {name: one for name, one in classes.items() if name not in TRANSFORMERS}
    return kind_of(cls.__name__, members)


def _transformer_contents(path, step, *, optimizer):
    """Configuration and arrays of a transformer, which has noted features at most."""
    arrays, names = {}, getattr(step, "feature_names_in_", None)
    if names is not None:
        arrays = feature_name_arrays(names)
    config = {
        "parameters": plain_parameters(path, step),
        "n_features": getattr(step, "n_features_in_", None),
        "feature_names": len(arrays["feature_names"]) if arrays else None,
    }
    with trouble_with(path):
        _examined_transformer(type(step), config)
        _check_transformer_arrays(config, arrays)
    return config, arrays


def _examined_transformer(cls, config):
    check_transformer(cls.__name__, config)
    parameters = config["parameters"]
    check("parameters", sorted(parameters)[:20], set(parameters) == set(cls._get_param_names()))
    # JSON has no tuples.
    step = cls(**{
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    })  # fmt: skip
    step._validate_params()
    return step


def _check_transformer_arrays(config, arrays):
    if config["feature_names"] is not None:
        feature_names(arrays)


def _fitted_transformer(step, config, arrays):
    if config["n_features"] is not None:
        step.n_features_in_ = config["n_features"]
    if config["feature_names"] is not None:
        step.feature_names_in_ = np.array(feature_names(arrays), dtype=object)
    return step
