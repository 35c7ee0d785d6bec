"""Schema of files of several models: ensembles and Pipelines, beyond the rules of each part."""

import math

from ._arrays import ARRAYS, F64, Rule, fraction, is_control
from ._schema import AUGMENTER, MOST_NUMBERS, are_sides, check, n_taken, number, whole

# --- Ensembles ---

_ENSEMBLE = {"parameters", "n_features", "feature_names", "estimator", "weights", "members"}
_SUM_TOLERANCE = 1e-6


def check_ensemble(config):
    """A ValueError if the items of an ensemble, without its members', are not usable."""
    check("config", sorted(config)[:20], set(config) == _ENSEMBLE)
    names, estimator, members = (config[k] for k in ("feature_names", "estimator", "members"))
    check("parameters", config["parameters"], isinstance(config["parameters"], dict))
    check("n_features", config["n_features"], whole(config["n_features"], 1))
    check("feature_names", names, names is None or whole(names, 0))
    check("weights", config["weights"], isinstance(config["weights"], bool))
    fine = isinstance(members, list) and members and all(
        isinstance(m, dict) and set(m) == {"class", "config"} and isinstance(m["class"], str)
        and isinstance(m["config"], dict) for m in members
    )  # fmt: skip
    check("members", "others", fine)
    check("estimator", "others", estimator is None or _named_seeds(estimator))


def _named_seeds(estimator):
    """Whether it is a list of names and seeds: a name each, or None of a single one."""
    if not isinstance(estimator, list) or not estimator:
        return False
    if not all(isinstance(one, list) and len(one) == 2 for one in estimator):
        return False
    named = all(isinstance(n, str) and not any(map(is_control, n)) for n, _ in estimator)
    seeds = [seed for _, seeds in estimator if isinstance(seeds, dict) for seed in seeds.values()]
    return (
        (named or (len(estimator) == 1 and estimator[0][0] is None))
        and all(isinstance(seeds, dict) for _, seeds in estimator)
        and all(seed is None or whole(seed, 0, 2**32 - 1) for seed in seeds)
    )


def weight_rules(config):
    """The rule of an ensemble's weights, by name, if it has such."""
    rule = Rule(F64, (len(config["members"]),), fraction)
    return {"weights": rule} if config["weights"] else {}


def check_weights(config, arrays):
    """A ValueError if the weights of the members are not such as sum to 1."""
    for name, rule in weight_rules(config).items():
        weights = arrays[name]
        fine = rule.fine(weights, {}) and abs(weights.sum() - 1) <= _SUM_TOLERANCE
        check(name, "others", weights.shape == rule.shape and fine)


def feature_name_rules(config):
    """The rules of the names of an ensemble's features, by name, if they have any."""
    if config["feature_names"] is None:
        return {}
    sizes = {"name_bytes": config["feature_names"], "inputs": config["n_features"]}
    rules = {name: ARRAYS["model"][name] for name in ("feature_names", "feature_name_ends")}
    return {n: rule._replace(shape=(sizes[rule.shape[0]],)) for n, rule in rules.items()}


# --- Pipelines ---

_PIPELINE = {"steps", "verbose", "target_names", "held_out"}
_MOST_STEPS = 16
# Threads, whose number no file is to decide beyond what a machine has.
_MOST_JOBS = 2**10
_MOST_PIXELS = 2**28  # of an image before it is decoded; Pillow itself refuses fewer
_MOST_PLACES = 2**20  # of an image
# Of names of classes, together; a header has at most 1 MB, in which a letter may take 14 bytes.
_MOST_LETTERS, _LONGEST_NAME = 2**15, 2**8
HELD_OUT = {
    "n_learned": lambda value: whole(value, 1),
    "n_images": lambda value: whole(value, 1),
    "n_active": lambda value: number(value, 0),
    "correlation": lambda value: value is None or number(value, -1.01, 1.01),
    "fvu": lambda value: value is None or number(value, 0),
}


def _size_of_files(value, config):
    return are_sides(value, 2) and 3 * math.prod(value) < MOST_NUMBERS


def _jobs(value, config):
    return value is None or (whole(value, -_MOST_JOBS, _MOST_JOBS) and value != 0)


def _places(value, config):
    sides = [value] if isinstance(value, int) else value
    return isinstance(sides, list) and len(sides) in (1, 2) and all(
        whole(side, 1, _MOST_PLACES) for side in sides
    ) and math.prod(sides) <= _MOST_PLACES  # fmt: skip


# Parameters of transformers that are steps, beyond what these ask themselves.
TRANSFORMERS = {
    "ImageLoader": {
        "size": _size_of_files,
        "n_jobs": _jobs,
        "max_pixels": lambda value, config: whole(value, 1, _MOST_PIXELS),
    },
    "ImageAugmenter": AUGMENTER,
    "CodePooling": {"n_places": _places},
}


def check_transformer(name, config):
    """A ValueError if the items of a transformer of this name are not usable."""
    check("config", sorted(config)[:20], set(config) == {"parameters", "n_features",
                                                         "feature_names"})  # fmt: skip
    n_features, names, parameters = (config[k] for k in ("n_features", "feature_names",
                                                         "parameters"))  # fmt: skip
    takes_rows = name != "ImageLoader"  # which takes paths
    check("n_features", n_features, n_features is None or (takes_rows and whole(n_features, 1)))
    fine = names is None or (whole(names, 0) and n_features is not None)
    check("feature_names", names, fine)
    check("parameters", parameters, isinstance(parameters, dict))
    for parameter, fine in TRANSFORMERS[name].items():
        value = parameters.get(parameter)
        check(parameter, value, parameter in parameters and fine(value, config))


def check_pipeline(config):
    """A ValueError if the items of a pipeline, without those of its steps, are not usable."""
    check("config", sorted(config)[:20], set(config) == _PIPELINE)
    steps, names = config["steps"], config["target_names"]
    fine = isinstance(steps, list) and 0 < len(steps) <= _MOST_STEPS and all(
        isinstance(step, dict) and set(step) == {"name", "class", "config"}
        and _name_of_step(step["name"]) and isinstance(step["class"], str)
        and isinstance(step["config"], dict) for step in steps
    )  # fmt: skip
    check("steps", "others", fine)
    step_names = [step["name"] for step in steps]
    check("steps", step_names, len(set(step_names)) == len(steps))
    check("verbose", config["verbose"], isinstance(config["verbose"], bool))
    check("target_names", "others", names is None or are_target_names(names))
    held_out = config["held_out"]
    fine = held_out is None or (
        isinstance(held_out, dict) and set(held_out) == set(HELD_OUT)
        and all(fine(held_out[name]) for name, fine in HELD_OUT.items())
    )  # fmt: skip
    check("held_out", held_out, fine)


# Parameters of a Pipeline, which set_params takes beside the names of steps.
_NO_STEPS = "steps", "memory", "verbose", "transform_input"


def _name_of_step(value):
    return _short_text(value) and "__" not in value and value not in _NO_STEPS


def _short_text(value):
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def are_target_names(names):
    """Whether a file can hold these as names of classes."""
    return (
        isinstance(names, list) and bool(names) and all(map(_short_text, names))
        and sum(map(len, names)) <= _MOST_LETTERS
    )  # fmt: skip


def check_order(configs):
    """A ValueError unless an ImageLoader is the first step only, and its rows what others take.

    So that no more memory is taken for an image than the model's own numbers say.
    """
    (first, config), *others = configs
    check("steps", "ImageLoader", all(name != "ImageLoader" for name, _ in others))
    if first != "ImageLoader":
        return
    parameters = config["parameters"]
    n_numbers = math.prod(parameters["size"]) * (3 if parameters["mode"] == "RGB" else 1)
    for name, config in others:
        taken = n_taken(config)
        if taken != n_numbers:
            raise ValueError(
                f"Expected an ImageLoader of {taken} numbers an image, as the {name} behind it "
                f"takes, got {n_numbers}."
            )
        if name not in TRANSFORMERS:
            return
