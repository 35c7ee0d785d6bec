"""Schema of model files: every item of a file, and what is checked of it.

A model or a checkpoint is data, and may come from anyone with a checksum that fits. Nothing in it
may index outside an array, keep a loop busy for hours, name a path, or move a generator out of its
range. So each item has a row in one of the tables below, and is held to it when a file is read;
and when a model is written, so that what is written can be read.

- `ARRAYS` and `OPTIMIZER`, in `_arrays`: dtype, shape and range of the numbers of each array. All
  are finite.
- `CONFIG`, below: sizes, flags and single numbers, which are JSON.
- `PARAMETERS` and `AUGMENTER`: what is asked of parameters of the constructors beyond what these
  ask themselves. A path is no parameter that a file has.

Besides, of several arrays together: an atom was picked, visited and moved in this order and within
the steps made (`_check_steps`); a generator's words are not all 0 (`_check_generator`); the names
of the features are text without control characters (`feature_names`).

Curves and names are arrays, since JSON of which a file may hold any amount takes much memory.
"""

import math
import re

import numpy as np

from .._engine.init._principal import GROUPS, MAX_ROUNDS
from .._engine.init._start import SPARE_RATES
from .._training._history import MOST_FACTOR
from ._arrays import N_WORDS, sizes_of

LARGEST = 2**40  # of any size, so that products of a few stay numbers
# More variants of a picture than this are no augmentation but an attempt to fill the memory.
_MOST_COPIES = 2**16
# Sizes of images that nobody has; of codes, what 32 bits can count.
_LONGEST_SIDE, MOST_NUMBERS = 2**20, 2**31
# The spread of patches, by which float32 numbers are divided.
_LEAST_SPREAD, _MOST_SPREAD = (float(getattr(np.finfo(np.float32), end)) for end in ("tiny", "max"))
# Hidden layers of a decoder; each adds an array, whose size the file must have.
_MOST_HIDDEN = 64
_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:\d{1,3})?")


# --- Configuration ---


def whole(value, smallest, largest=LARGEST - 1):
    return type(value) is int and smallest <= value <= largest


def number(value, low=-math.inf, high=math.inf):
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def numbers(values):
    return isinstance(values, list) and all(map(number, values))


def _flag(value, config):
    return isinstance(value, bool)


def _shape(value, config):
    return isinstance(value, list) and len(value) == 3 and all(whole(size, 1) for size in value)


def _k(value, config):
    return whole(value, 1, n_places(config) * config["shape"][1])


def n_places(config):
    """Number of places of an image; 1 for a flat model."""
    image = config.get("image")
    if image is None:
        return 1
    # As many as of any grid of `Places`.
    return math.prod(
        1 + -(-(side + atom) // step) for side, atom, step in zip(
            image["image_shape"], image["atom_shape"], image["stride"], strict=False
        )
    )  # fmt: skip


def _image(value, config):
    """Sizes of images and atoms that fit one another and the arrays."""
    names = {"image_shape", "atom_shape", "stride", "spread"}
    if not isinstance(value, dict) or set(value) != names:
        return False
    shape, atom, stride = value["image_shape"], value["atom_shape"], value["stride"]
    return (
        are_sides(shape, 3) and are_sides(atom, 3) and are_sides(stride, 2)
        and all(side <= of_image for side, of_image in zip(atom, shape, strict=True))
        and all(step <= side for step, side in zip(stride, atom, strict=False))
        and atom[2] == shape[2] and math.prod(atom) == config["shape"][2]
        and config["shape"][0] == 1 and not config["thresholds"]
        and _can_be_counted(value, config)
        and (value["spread"] is None or number(value["spread"], _LEAST_SPREAD, _MOST_SPREAD))
    )  # fmt: skip


def _can_be_counted(image, config):
    """Whether 32 bits count the numbers of an image, and those of its code."""
    n_codes = n_places({"image": image}) * config["shape"][1]
    return math.prod(image["image_shape"]) < MOST_NUMBERS and n_codes < MOST_NUMBERS


def are_sides(value, n):
    return isinstance(value, list) and len(value) == n and all(
        whole(side, 1, _LONGEST_SIDE) for side in value
    )  # fmt: skip


def _shape_of_images(value, config):
    """(H, W) or (H, W, C) of the images that whole atoms were learned from."""
    return "image" not in config and _image_shape(value, config)


def _n_corrections(value, config):
    """Layers after the first, all tied to the atoms of one member.

    An optimizer goes on with as many as the parameters ask for; a fit begins with none.
    """
    fitting = config["shape"][0] == 1 and config["tied"] and config["thresholds"] != "atoms"
    n_asked = config["parameters"].get("n_encoder_layers")
    may_differ = value == 0 if "stage" in config else config["optimizer"] is None
    return whole(value, 0) and fitting and (may_differ or n_asked == value + 1)


def _stage(value, config):
    """Epochs before the stage of a fit, and whether it has a start, as all but the first have."""
    if not isinstance(value, dict) or set(value) != {"n_before", "has_start"}:
        return False
    n_before, has_start = value["n_before"], value["has_start"]
    most = config["progress"]["losses"] if config["n_corrections"] else 0
    return whole(n_before, 0, most) and isinstance(has_start, bool) and (
        has_start or not config["n_corrections"]
    )  # fmt: skip


def _decoder_sizes(value, config):
    """Sizes of a decoder's hidden layers, none or some."""
    return isinstance(value, list) and len(value) <= _MOST_HIDDEN and all(
        whole(size, 1) for size in value
    )  # fmt: skip


def _epochs(value, config):
    """At least one; none of a model of another library, which has no optimizer."""
    return whole(value, 0) and (value > 0 or config["optimizer"] is None)


def _thresholds(value, config):
    """Whether members have a threshold; "atoms" for one of each atom, which is not trained."""
    return isinstance(value, bool) or (value == "atoms" and config["n_iter"] == 0)


def _score_or_none(value, config):
    return value is None or number(value, -1.01, 1.01)


def _optimizer(value, config):
    return value is None or (
        isinstance(value, dict) and set(value) == {"n_steps", "sparse"}
        and whole(value["n_steps"], 0) and isinstance(value["sparse"], bool)
    )  # fmt: skip


def _epoch(value, config):
    """Batches of an epoch under way, no more than all steps, and sums over them."""
    if not isinstance(value, dict) or set(value) != {"n_batches", "loss", "correlation"}:
        return False
    return (
        whole(value["n_batches"], 1, config["n_steps"]) and number(value["loss"], 0)
        and numbers(value["correlation"]) and len(value["correlation"]) == 2
        and value["correlation"][1] >= 0
    )  # fmt: skip


def _progress(value, config):
    """Epochs as many as there are losses, at most those planned; what rows held out said."""
    if not isinstance(value, dict) or set(value) != set(_PROGRESS):
        return False
    n_epochs, most = value["losses"], config["parameters"].get("max_iter")
    return (
        whole(n_epochs, 0 if "epoch" in config else 1) and whole(most, n_epochs, math.inf)
        and whole(value["correlations"], n_epochs, n_epochs)
        and (value["best"] is None or number(value["best"], high=1.01))
        and _are_held_out(value, n_epochs) and isinstance(value["is_judging"], bool)
        and _choices(value["choices"], config["shape"][0])
        and _factors(value["threshold_factors"], config["shape"][0], config["thresholds"])
    )  # fmt: skip


_PROGRESS = (
    "losses", "correlations", "scores", "errors", "best", "is_judging", "choices",
    "threshold_factors",
)  # fmt: skip


def _are_held_out(progress, n_epochs):
    """A score of each epoch, or errors of the start and of some epochs; or neither."""
    scores, errors = progress["scores"], progress["errors"]
    if progress["best"] is None:
        return scores == errors == 0
    early_stopping = whole(scores, n_epochs, n_epochs) and errors == 0
    return early_stopping or (scores == 0 and whole(errors, 1, n_epochs + 1))


def _choices(value, n_members):
    """None, or a start for each member: [[groups, rounds], rate]."""
    return value is None or (
        isinstance(value, list) and len(value) in (0, n_members)
        and all(isinstance(choice, list) and len(choice) == 2 for choice in value)
        and all(
            isinstance(layout, list) and len(layout) == 2 and layout[0] in GROUPS
            and whole(layout[1], 0, MAX_ROUNDS) and (rate is None or rate in SPARE_RATES)
            for layout, rate in value
        )
    )  # fmt: skip


def _factors(value, n_members, has_thresholds):
    """None, or what the thresholds of each member are multiplied by."""
    return value is None or (
        has_thresholds and numbers(value) and len(value) == n_members
        and all(0 <= factor <= MOST_FACTOR for factor in value)
    )  # fmt: skip


def _generator(value, config):
    """Place among the words, whether a normal number is left over, and that number."""
    return (
        isinstance(value, list) and len(value) == 3 and whole(value[0], 0, N_WORDS)
        and whole(value[1], 0, 1) and number(value[2])
    )  # fmt: skip


_BOTH = {
    "shape": _shape,  # members, atoms, features
    "tied": _flag,
    "thresholds": _flag,
    "k": _k,
    "parameters": lambda value, config: isinstance(value, dict) and "init" in value,
}
CONFIG = {
    "model": _BOTH | {
        "thresholds": _thresholds,
        "n_iter": _epochs,
        "best_validation_score": _score_or_none,
        # Bytes of their text.
        "feature_names": lambda value, config: value is None or whole(value, 0),
        "optimizer": _optimizer,
    },
    "checkpoint": _BOTH | {
        "n_rows": lambda value, config: whole(value, 1),
        "n_steps": lambda value, config: whole(value, 0),
        "n_steps_before": lambda value, config: whole(value, 0),
        "sparse": _flag,
        "progress": _progress,
        "random_state": _generator,
        "first_random_state": _generator,
    },
}  # fmt: skip


# Items that files of some classes have, and a parameter of these classes.
_OF_CLASS = {
    "model": {
        "image": "kernel_size", "n_corrections": "n_encoder_layers",
        "decoder_sizes": "decoder_hidden_layer_sizes",
    },
    "checkpoint": {
        "image": "kernel_size", "n_corrections": "n_encoder_layers", "stage": "n_encoder_layers",
    },
}  # fmt: skip


def check_class(kind, config, cls):
    """A ValueError if the configuration is not of an estimator of this class."""
    for name, parameter in _OF_CLASS[kind].items():
        expected = parameter in cls._get_param_names()
        check(name, config.get(name), (name in config) == expected)


def check_config(kind, config):
    """A ValueError that names the item of a configuration which is not usable."""
    rules = CONFIG[kind]
    if isinstance(config, dict) and "image" in config:
        # It is checked before the items that depend on it.
        rules = {name: rules[name] for name in ("shape", "thresholds")} | {"image": _image} | rules
    if kind == "model" and isinstance(config, dict) and "n_corrections" in config:
        rules = rules | {"n_corrections": _n_corrections, "decoder_sizes": _decoder_sizes}
    if kind == "model" and isinstance(config, dict) and "image_shape" in config:
        rules = rules | {"image_shape": _shape_of_images}
    if kind == "checkpoint" and isinstance(config, dict) and "stage" in config:
        rules = rules | {"n_corrections": _n_corrections, "stage": _stage,
                         "stage_random_state": _generator}  # fmt: skip
    if kind == "checkpoint" and isinstance(config, dict) and "epoch" in config:
        rules = rules | {"epoch": _epoch}
    if not isinstance(config, dict) or set(config) != set(rules):
        raise ValueError(f"Expected a configuration with {sorted(rules)}.")
    for name, fine in rules.items():
        check(name, config[name], fine(config[name], config))
    for name, fine in PARAMETERS.items():
        if name in config["parameters"]:
            value = config["parameters"][name]
            check(name, value, fine(value, config))


def check(name, value, fine):
    if not fine:
        raise ValueError(f"Expected a usable {name!r}, got {repr(value)[:80]}.")


# --- Parameters ---


def _is_size(axis):
    """As in the arrays; None where it follows from the data."""
    return lambda value, config: value is None or whole(value, *[config["shape"][axis]] * 2)


def _init(value, config):
    if not isinstance(value, dict):
        return isinstance(value, str)
    shape = config["shape"]
    fitting = [shape, shape[1:]] if shape[0] == 1 else [shape]
    return set(value) == {"array"} and repr(value["array"]) in map(repr, fitting)


def _prefixes(value, config):
    """None, or rising numbers of first atoms."""
    n_components = config["shape"][1]
    return value is None or (
        isinstance(value, list) and 0 < len(value) <= n_components
        and all(whole(size, 1, n_components) for size in value)
        and value == sorted(set(value)) and not config["thresholds"]
    )  # fmt: skip


def _augmenter(value, config):
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"class", "parameters"}:
        return False
    parameters = value["parameters"]
    return isinstance(parameters, dict) and all(
        name in parameters and fine(parameters[name], config) for name, fine in AUGMENTER.items()
    )


def _one_or_two_sides(value, config):
    """A parameter of one or two sizes in pixels or parts, or None."""
    return value is None or whole(value, 1, _LONGEST_SIDE) or are_sides(value, 2)


def _size_of_images(value, config):
    """A size that images may have now, which need not be that of fit; or None."""
    return value is None or (
        "image" in config and (are_sides(value, 2) or are_sides(value, 3))
        and _can_be_counted(config["image"] | {"image_shape": value}, config)
    )  # fmt: skip


def _image_shape(value, config):
    return (
        isinstance(value, list) and len(value) in (2, 3) and all(whole(side, 1) for side in value)
        and math.prod(value) == _n_learned(config)
    )  # fmt: skip


def _n_learned(config):
    """Numbers of a row that was learned; None of a transformer that has seen none."""
    if "n_features" in config:  # of an ensemble or a transformer
        return config["n_features"]
    return sizes_of(config)["inputs"]


def n_taken(config):
    """Numbers of a row that is taken now: those of images of another size, where one is given."""
    given = config["parameters"].get("image_shape") if "image" in config else None
    if given is None:
        return _n_learned(config)
    return math.prod([*given, config["image"]["image_shape"][2]][:3])


PARAMETERS = {
    "n_components": _is_size(1),
    "n_estimators": _is_size(0),
    "prefixes": _prefixes,
    "init": _init,
    "device": lambda value, config: isinstance(value, str) and bool(_DEVICE.fullmatch(value)),
    "augmenter": _augmenter,
    "image_shape": _size_of_images,
    "n_encoder_layers": lambda value, config: whole(value, 1),
    "transform_tol": lambda value, config: value is None or number(value, 0, 1),
    "decoder_hidden_layer_sizes": _decoder_sizes,
    **dict.fromkeys(("kernel_size", "stride", "pooling"), _one_or_two_sides),
}
AUGMENTER = {
    "image_shape": _image_shape,
    "n_copies": lambda value, config: whole(value, 0, _MOST_COPIES),
}
