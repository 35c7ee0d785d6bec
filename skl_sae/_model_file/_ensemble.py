"""Files of ensembles: the contents of their members' files, side by side in one file.

The kind is "ensemble", which versions that know no such files refuse by the class or the kind.
"""

import math

import numpy as np
from sklearn.base import clone

from ._constructor import plain_parameters
from ._format import metadata, read_metadata, version
from ._model import contents, examined, from_contents, warn_of_checkpoint
from ._safetensors import ModelFileError, read_arrays, trouble_with, write_arrays
from ._schema import (
    array_rules,
    check,
    check_arrays,
    check_ensemble,
    check_weights,
    feature_name_arrays,
    feature_name_rules,
    feature_names,
    weight_rules,
)

SEEDS = "random_state", "augmenter__random_state"


def write_ensemble(path, ensemble, members, *, optimizer):
    """Write a fitted ensemble of these classes of members, from name to class."""
    config = {
        "parameters": plain_parameters(path, ensemble, {"estimator"}),
        "n_features": ensemble.n_features_in_,
        "feature_names": None,
        "estimator": _templates_as_json(path, ensemble, members),
        "weights": hasattr(ensemble, "estimator_weights_"),
        "members": [],
    }
    arrays = {}
    for i, member in enumerate(ensemble.estimators_):
        described, own = contents(path, member, optimizer=optimizer)
        config["members"].append({"class": type(member).__name__, "config": described})
        arrays |= {f"{i}.{name}": array for name, array in own.items()}
    if config["weights"]:
        arrays["weights"] = ensemble.estimator_weights_
    names = getattr(ensemble, "feature_names_in_", None)
    if names is not None:
        arrays |= feature_name_arrays(names)
        config["feature_names"] = len(arrays["feature_names"])
    with trouble_with(path):  # what could not be read is not written
        _examined(config, type(ensemble), members)
        _check_arrays(config, arrays)
    write_arrays(path, arrays, metadata("ensemble", config, ensemble))
    for member in ensemble.estimators_:
        warn_of_checkpoint(member)


def _templates_as_json(path, ensemble, members):
    """Names and seeds of the unfitted estimators, which have all else of their members."""
    given = ensemble.estimator
    if given is None:
        return None
    named = given if isinstance(given, list) else [(None, given)]
    for (_, template), member in zip(named, ensemble.estimators_, strict=False):
        if members.get(type(template).__name__) is not type(template):
            raise ModelFileError(
                path, f"Expected members of {sorted(members)}, got a {type(template).__name__}. "
                "pickle and joblib keep any ensemble.",
            )  # fmt: skip
        seeds = dict.fromkeys(_seeds(member))
        if repr(clone(template).set_params(**seeds)) != repr(clone(member).set_params(**seeds)):
            raise ModelFileError(path, "Expected estimator to be as it was in fit.")
    return [[name, plain_parameters(path, _Seeds(template))] for name, template in named]


class _Seeds:
    """The seeds of an estimator as its only parameters."""

    def __init__(self, estimator):
        self.estimator = estimator

    def get_params(self, deep):
        return _seeds(self.estimator)


def _seeds(estimator):
    return {name: value for name, value in estimator.get_params().items() if name in SEEDS}


def _examined(config, cls, members):
    """Unfitted members of a configuration, of which all is as it should be."""
    check_ensemble(config)
    unfitted = []
    for member in config["members"]:
        check("class", member["class"], member["class"] in members)
        unfitted.append(examined(member["config"], members[member["class"]]))
        own = array_rules("model", member["config"])
        image = member["config"].get("image", {})
        n_inputs = math.prod(image.get("image_shape", own["offset"].shape))
        check("n_features", config["n_features"], n_inputs == config["n_features"])
    return unfitted


def _rules(config):
    rules = {
        f"{i}.{name}": rule
        for i, member in enumerate(config["members"])
        for name, rule in array_rules("model", member["config"]).items()
    }
    return rules | weight_rules(config) | feature_name_rules(config)


def _check_arrays(config, arrays):
    for i, member in enumerate(config["members"]):
        check_arrays("model", member["config"], _own(arrays, i))
    check_weights(config, arrays)
    if config["feature_names"] is not None:
        feature_names(arrays)


def _own(arrays, i):
    prefix = f"{i}."
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def read_ensemble(path, cls, members):
    """Read an ensemble that `write_ensemble` wrote, and the version that did if another."""
    found = {}

    def describe(metadata):
        found["written_by"], config = read_metadata(metadata, "ensemble", cls)
        check("format_version", metadata["format_version"], metadata["format_version"] == "2")
        found["members"], found["config"] = _examined(config, cls, members), config
        found["ensemble"] = _unfitted(config, cls, found["members"])
        return {name: rule[:2] for name, rule in _rules(config).items()}

    arrays = read_arrays(path, describe)[1]
    config, ensemble = found["config"], found["ensemble"]
    with trouble_with(path):
        _check_arrays(config, arrays)
        fitted = [
            from_contents(member, described["config"], _own(arrays, i))
            for i, (member, described) in enumerate(
                zip(found["members"], config["members"], strict=True)
            )
        ]
        names = None
        if config["feature_names"] is not None:
            names = np.array(feature_names(arrays), dtype=object)
        ensemble._set_members(fitted, arrays.get("weights"), config["n_features"], names)
    return ensemble, None if found["written_by"] == version() else found["written_by"]


def _unfitted(config, cls, members):
    """The ensemble with its parameters, its estimators made from the members' parameters."""
    parameters, named = config["parameters"], config["estimator"]
    expected = set(cls._get_param_names()) - {"estimator"}
    check("parameters", sorted(parameters)[:20], set(parameters) == expected)
    templates = None
    if named is not None:
        is_list = named[0][0] is not None
        check("estimator", len(named), len(named) == (len(members) if is_list else 1))
        templates = []
        for (name, seeds), member in zip(named, members, strict=False):
            check("estimator", sorted(seeds)[:5], set(seeds) == set(_seeds(member)))
            templates.append((name, clone(member).set_params(**seeds)))
            templates[-1][1]._validate_params()
        templates = templates if is_list else templates[0][1]
    ensemble = cls(estimator=templates, **parameters)
    ensemble._validate_params()
    if not isinstance(templates, list):
        check("n_estimators", ensemble.n_estimators, ensemble.n_estimators == len(members))
    else:
        ensemble._named_members()  # refuses names that are none
    return ensemble
