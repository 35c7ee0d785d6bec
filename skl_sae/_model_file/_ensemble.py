"""Files of ensembles: the contents of their members' files, side by side in one file.

The kind is "ensemble", which versions that know no such files refuse by the class or the kind.
"""

import math

import numpy as np
from sklearn.base import clone

from ._arrays import array_rules, check_arrays, feature_name_arrays, feature_names
from ._composed import check_ensemble, check_weights, feature_name_rules, weight_rules
from ._constructor import plain_parameters
from ._format import metadata, read_metadata, version, with_prefix
from ._model import contents, examined, from_contents, warn_of_checkpoint
from ._safetensors import ModelFileError, read_arrays, trouble_with, write_arrays
from ._schema import check

SEEDS = "random_state", "augmenter__random_state"


def write_ensemble(path, ensemble, members, *, optimizer):
    """Write a fitted ensemble of these classes of members, from name to class."""
    config, arrays = ensemble_contents(path, ensemble, members, optimizer=optimizer)
    write_arrays(path, arrays, metadata("ensemble", config, ensemble))
    for member in ensemble.estimators_:
        warn_of_checkpoint(member)


def ensemble_contents(path, ensemble, members, *, optimizer):
    """Configuration and arrays of a fitted ensemble, which have been checked."""
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
        arrays |= numbered(i, own)
    if config["weights"]:
        arrays["weights"] = ensemble.estimator_weights_
    names = getattr(ensemble, "feature_names_in_", None)
    if names is not None:
        arrays |= feature_name_arrays(names)
        config["feature_names"] = len(arrays["feature_names"])
    with trouble_with(path):  # what could not be read is not written
        examined_ensemble(config, type(ensemble), members)
        check_ensemble_arrays(config, arrays)
    return config, arrays


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


def examined_ensemble(config, cls, members):
    """The unfitted ensemble and its unfitted members, where all is as it should be."""
    check_ensemble(config)
    unfitted = []
    for member in config["members"]:
        check("class", member["class"], member["class"] in members)
        unfitted.append(examined(member["config"], members[member["class"]]))
        own = array_rules("model", member["config"])
        image = member["config"].get("image", {})
        n_inputs = math.prod(image.get("image_shape", own["offset"].shape))
        check("n_features", config["n_features"], n_inputs == config["n_features"])
    return _unfitted(config, cls, unfitted), unfitted


def ensemble_rules(config):
    """The rule of each array of an ensemble, by name."""
    rules = weight_rules(config) | feature_name_rules(config)
    for i, member in enumerate(config["members"]):
        rules |= numbered(i, array_rules("model", member["config"]))
    return rules


def check_ensemble_arrays(config, arrays):
    """A ValueError that names the array whose numbers are not as its rule says."""
    for i, member in enumerate(config["members"]):
        check_arrays("model", member["config"], with_prefix(arrays, f"{i}."))
    check_weights(config, arrays)
    if config["feature_names"] is not None:
        feature_names(arrays)


def numbered(i, named):
    """Names and values of one of several, whose names now begin with its number."""
    return {f"{i}.{name}": value for name, value in named.items()}


def read_ensemble(path, cls, members):
    """Read an ensemble that `write_ensemble` wrote, and the version that did if another."""
    found = {}

    def describe(metadata):
        found["written_by"], config = read_metadata(metadata, "ensemble", cls)
        check("format_version", metadata["format_version"], metadata["format_version"] == "2")
        found["ensemble"], found["config"] = examined_ensemble(config, cls, members), config
        return {name: rule[:2] for name, rule in ensemble_rules(config).items()}

    arrays = read_arrays(path, describe)[1]
    with trouble_with(path):
        check_ensemble_arrays(found["config"], arrays)
        ensemble = ensemble_from_contents(found["ensemble"], found["config"], arrays)
    return ensemble, None if found["written_by"] == version() else found["written_by"]


def ensemble_from_contents(unfitted, config, arrays):
    """The ensemble, fitted as configuration and arrays say, which have been checked.

    ``unfitted`` are the ensemble and its members, as `examined_ensemble` returns them.
    """
    ensemble, members = unfitted
    fitted = [
        from_contents(member, described["config"], with_prefix(arrays, f"{i}."))
        for i, (member, described) in enumerate(zip(members, config["members"], strict=True))
    ]
    names = None
    if config["feature_names"] is not None:
        names = np.array(feature_names(arrays), dtype=object)
    ensemble._set_members(fitted, arrays.get("weights"), config["n_features"], names)
    return ensemble


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
