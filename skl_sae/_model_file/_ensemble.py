"""Files of ensembles: the contents of their members' files, side by side in one file.

A member may itself be an ensemble, whose arrays then have two numbers in front of their names.
The kind is "ensemble", which versions that know no such files refuse by the class or the kind.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from ._arrays import array_rules, check_arrays, feature_name_arrays, feature_names
from ._composed import check_ensemble, check_weights, feature_name_rules, weight_rules
from ._constructor import ESTIMATORS, plain_parameters
from ._format import metadata, read_metadata, version, with_prefix
from ._model import contents, examined, from_contents, warn_of_checkpoint
from ._safetensors import ModelFileError, read_arrays, trouble_with, write_arrays
from ._schema import check


class Kind(NamedTuple):
    """Functions that keep one kind of estimator, of those that are parts of others."""

    contents: Callable  # path, estimator and optimizer to a configuration and arrays, checked
    examined: Callable  # configuration to what is unfitted; a ValueError if it is not usable
    rules: Callable  # configuration to the rule of each array
    check: Callable  # configuration and arrays; a ValueError if they are not usable
    fitted: Callable  # what is unfitted, configuration and arrays to the estimator


def kind_of(name, members):
    """Kind of the autoencoders of a class; ``members`` are classes by name, also of members."""
    if name in ESTIMATORS:
        return Kind(contents, partial(examined, cls=members[name]), partial(array_rules, "model"),
                    partial(check_arrays, "model"), from_contents)  # fmt: skip
    functions = ensemble_rules, check_ensemble_arrays, ensemble_from_contents
    return Kind(
        partial(ensemble_contents, members=members),
        partial(examined_ensemble, cls=members[name], members=members),
        *(partial(function, members=members) for function in functions),
    )


def write_ensemble(path, ensemble, members, *, optimizer):
    """Write a fitted ensemble of these classes of members, from name to class."""
    config, arrays = ensemble_contents(path, ensemble, members, optimizer=optimizer)
    write_arrays(path, arrays, metadata("ensemble", config, ensemble))
    for member in _single_members(ensemble):
        warn_of_checkpoint(member)


def _single_members(estimator):
    if not hasattr(estimator, "estimators_"):
        return [estimator]
    return [one for member in estimator.estimators_ for one in _single_members(member)]


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
        name = type(member).__name__
        _check_member(path, member, members)
        described, own = kind_of(name, members).contents(path, member, optimizer=optimizer)
        config["members"].append({"class": name, "config": described})
        arrays |= numbered(i, own)
    if config["weights"]:
        arrays["weights"] = ensemble.estimator_weights_
    names = getattr(ensemble, "feature_names_in_", None)
    if names is not None:
        arrays |= feature_name_arrays(names)
        config["feature_names"] = len(arrays["feature_names"])
    with trouble_with(path):  # what could not be read is not written
        examined_ensemble(config, type(ensemble), members)
        check_ensemble_arrays(config, arrays, members)
    return config, arrays


def _check_member(path, member, members):
    if members.get(type(member).__name__) is not type(member):
        raise ModelFileError(
            path, f"Expected members of {sorted(members)}, got a {type(member).__name__}. "
            "pickle and joblib keep any ensemble.",
        )  # fmt: skip


def _templates_as_json(path, ensemble, members):
    """Names and seeds of the unfitted estimators, which have all else of their members."""
    given = ensemble.estimator
    if given is None:
        return None
    named = given if isinstance(given, list) else [(None, given)]
    for (_, template), member in zip(named, ensemble.estimators_, strict=False):
        _check_member(path, template, members)
        seeds = dict.fromkeys(_seeds(member))
        if _said(template, seeds) != _said(member, seeds):
            raise ModelFileError(path, "Expected estimator to be as it was in fit.")
    return [[name, plain_parameters(path, _Seeds(template))] for name, template in named]


def _said(estimator, seeds):
    """The whole of an estimator's text, without its seeds."""
    return clone(estimator).set_params(**seeds).__repr__(N_CHAR_MAX=math.inf)


class _Seeds:
    """The seeds of an estimator as its only parameters."""

    def __init__(self, estimator):
        self.estimator = estimator

    def get_params(self, deep):
        return _seeds(self.estimator)


def _seeds(estimator):
    return {
        name: value for name, value in estimator.get_params().items()
        if f"__{name}".endswith("__random_state")
    }  # fmt: skip


def examined_ensemble(config, cls, members):
    """The unfitted ensemble and its unfitted members, where all is as it should be.

    Those that are ensembles are such a pair, too.
    """
    check_ensemble(config)
    unfitted = []
    for member in config["members"]:
        check("class", member["class"], member["class"] in members)
        unfitted.append(kind_of(member["class"], members).examined(member["config"]))
        n_inputs = _n_inputs(member["class"], member["config"])
        check("n_features", config["n_features"], n_inputs == config["n_features"])
    estimators = [one[0] if isinstance(one, tuple) else one for one in unfitted]
    return _unfitted(config, cls, estimators), unfitted


def _n_inputs(name, config):
    """Numbers of a row that a member learned."""
    if name not in ESTIMATORS:
        return config["n_features"]
    offset = array_rules("model", config)["offset"]
    return math.prod(config.get("image", {}).get("image_shape", offset.shape))


def ensemble_rules(config, members):
    """The rule of each array of an ensemble, by name."""
    rules = weight_rules(config) | feature_name_rules(config)
    for i, member in enumerate(config["members"]):
        rules |= numbered(i, kind_of(member["class"], members).rules(member["config"]))
    return rules


def check_ensemble_arrays(config, arrays, members):
    """A ValueError that names the array whose numbers are not as its rule says."""
    for i, member in enumerate(config["members"]):
        own = with_prefix(arrays, f"{i}.")
        kind_of(member["class"], members).check(member["config"], own)
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
        return {name: rule[:2] for name, rule in ensemble_rules(config, members).items()}

    arrays = read_arrays(path, describe)[1]
    with trouble_with(path):
        check_ensemble_arrays(found["config"], arrays, members)
        ensemble = ensemble_from_contents(found["ensemble"], found["config"], arrays, members)
    return ensemble, None if found["written_by"] == version() else found["written_by"]


def ensemble_from_contents(unfitted, config, arrays, members):
    """The ensemble, fitted as configuration and arrays say, which have been checked.

    ``unfitted`` are the ensemble and its members, as `examined_ensemble` returns them.
    """
    ensemble, parts = unfitted
    fitted = [
        kind_of(described["class"], members).fitted(
            part, described["config"], with_prefix(arrays, f"{i}.")
        )
        for i, (part, described) in enumerate(zip(parts, config["members"], strict=True))
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
