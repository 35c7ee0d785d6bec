"""Schema of model files: every item of a file, and what is checked of it.

A model or a checkpoint is data, and may come from anyone with a checksum that fits. Nothing in it
may index outside an array, keep a loop busy for hours, name a path, or move a generator out of its
range. So each item has a row in one of the tables below, and is held to it when a file is read;
and when a model is written, so that what is written can be read.

- `ARRAYS` and `OPTIMIZER`: dtype, shape and range of the numbers of each array. All are finite.
- `CONFIG`: sizes, flags and single numbers, which are JSON.
- `PARAMETERS` and `AUGMENTER`: what is asked of parameters of the constructors beyond what these
  ask themselves. A path is no parameter that a file has.

Besides, of several arrays together: an atom was picked, visited and moved in this order and within
the steps made (`_check_steps`); a generator's words are not all 0 (`_check_generator`); the names
of the features are text without control characters (`feature_names`).

Curves and names are arrays, since JSON of which a file may hold any amount takes much memory.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .._engine._adam import optimizer_shapes
from .._engine.init._principal import GROUPS, MAX_ROUNDS
from .._engine.init._start import SPARE_RATES
from .._training._history import MOST_FACTOR

LARGEST = 2**40  # of any size, so that products of a few stay numbers
# Words of the Mersenne twister's state.
_N_WORDS = 624
# How far an atom's norm may be from 1; rounding takes it a thousandth as far.
_NORM_TOLERANCE = 0.01
# More variants of a picture than this are no augmentation but an attempt to fill the memory.
_MOST_COPIES = 2**16
# Sizes of images that nobody has; of codes, what 32 bits can count.
_LONGEST_SIDE, _MOST_NUMBERS = 2**20, 2**31
# The spread of patches, by which float32 numbers are divided.
_LEAST_SPREAD, _MOST_SPREAD = (float(getattr(np.finfo(np.float32), end)) for end in ("tiny", "max"))
# Hidden layers of a decoder; each adds an array, whose size the file must have.
_MOST_HIDDEN = 64
_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:\d{1,3})?")


# --- Ranges: each says whether all numbers of an array are in it ---


def _between(low, high):
    def fine(array, sizes):
        if not array.size:
            return True
        # No array of truths is made, which would take memory.
        least, largest = array.min(), array.max()
        return bool(low <= least and largest <= high and np.isfinite([least, largest]).all())

    return fine


_finite = _between(-math.inf, math.inf)
_not_negative = _between(0, math.inf)
_fraction = _between(0, 1)
_correlation = _between(-1.01, 1.01)  # of float32 sums


def _positive(array, sizes):
    return bool((array > 0).all() and np.isfinite(array).all())


def _atoms(array, sizes):
    """Rows of norm 1, or 0: steps that catch up and pursuit take it for granted."""
    for rows in np.array_split(array, max(1, array.size // 2**22)):
        norms = np.sqrt(np.einsum("...d,...d->...", rows, rows, dtype=np.float64))
        if not ((abs(norms - 1) <= _NORM_TOLERANCE) | (norms == 0)).all():
            return False
    return True


def _steps(array, sizes):
    """Numbers of steps that have been made; 0 is never."""
    return bool(0 <= array.min() and array.max() <= sizes["steps"])


def _counted_steps(array, sizes):
    return bool(array == np.floor(array) and 0 <= array <= np.float32(sizes["steps"]))


# --- Arrays ---


class Rule(NamedTuple):
    """Rule that an array is checked by.

    Sizes in the shape are numbers or names, of which `_sizes` knows the numbers.
    """

    dtype: type
    shape: tuple
    fine: Callable


_F32, _F64 = np.float32, np.float64

ARRAYS = {
    "model": {
        "components": Rule(_F32, ("atoms", "features"), _atoms),
        "encoder": Rule(_F32, ("atoms", "features"), _finite),
        "encoder_bias": Rule(_F32, ("atoms",), _finite),
        "centers": Rule(_F32, ("members", "channels"), _finite),
        "thresholds": Rule(_F32, ("members", "thresholds"), _not_negative),
        "scales": Rule(_F32, ("layers", "components"), _finite),
        "correction_biases": Rule(_F32, ("corrections", "components"), _finite),
        "frequency": Rule(_F32, ("atoms",), _fraction),
        "loss_curve": Rule(_F64, ("epochs",), _not_negative),
        "correlation_curve": Rule(_F64, ("epochs",), _correlation),
        "validation_scores": Rule(_F64, ("epochs",), _correlation),
        "feature_names": Rule(np.uint8, ("name_bytes",), _finite),
        "feature_name_ends": Rule(np.int64, ("inputs",), _not_negative),
    },
    "checkpoint": {
        "frequency": Rule(_F32, ("atoms",), _fraction),
        "best.frequency": Rule(_F32, ("atoms",), _fraction),
        "fired": Rule(_F32, ("members", "components"), _not_negative),
        "random_state": Rule(np.uint32, (_N_WORDS,), _finite),
        "first_random_state": Rule(np.uint32, (_N_WORDS,), _finite),
        "stage_random_state": Rule(np.uint32, (_N_WORDS,), _finite),
        "progress.losses": Rule(_F64, ("epochs",), _not_negative),
        "progress.correlations": Rule(_F64, ("epochs",), _correlation),
        "progress.scores": Rule(_F64, ("scores",), _correlation),
        "progress.errors": Rule(_F64, ("errors",), _not_negative),
    },
    "both": {
        "offset": Rule(_F64, ("channels",), _finite),
        "scale": Rule(_F64, (), _positive),
    },
    # In scaled units, as the engine has them: in a model those that rounding would change, in a
    # checkpoint all, and all those of the best epoch.
    "engine": {
        "decoder": Rule(_F32, ("members", "components", "features"), _atoms),
        "encoder": Rule(_F32, ("members", "components", "features"), _finite),
        "bias": Rule(_F32, ("members", "components"), _finite),
        "centers": Rule(_F32, ("members", "channels"), _finite),
        "thresholds": Rule(_F32, ("members",), _not_negative),
        "scales": Rule(_F32, ("layers", "components"), _finite),
        "correction_biases": Rule(_F32, ("corrections", "components"), _finite),
    },
}
# By the last part of the name; `optimizer_shapes` has their names, dtypes and shapes.
OPTIMIZER = {
    "first": _finite,
    "second": _not_negative,
    "n_steps": _counted_steps,
    "picked_at": _steps,
    "visited_at": _steps,
    "moved_at": _steps,
    "rates": _not_negative,
    "rows_since_fired": _not_negative,
}
IN_MODEL = (
    "bias",
    "centers",
    "thresholds",
    "correction_biases",
)  # of the engine's arrays, where it has an optimizer


def array_rules(kind, config):
    """The rule of each array that a file with this configuration has, by name."""
    sizes = _sizes(config)
    absent = _absent(kind, config)
    rules = {**ARRAYS[kind], **ARRAYS["both"]}
    engine = ARRAYS["engine"]
    if kind == "checkpoint":
        prefixes = ("engine", "best") if config["progress"]["best"] is not None else ("engine",)
        rules |= {f"{prefix}.{name}": engine[name] for prefix in prefixes for name in engine}
    elif config["optimizer"] is not None:
        rules |= {f"engine.{name}": engine[name] for name in IN_MODEL}
    rules = {
        name: rule._replace(shape=_shape_of(rule, sizes))
        for name, rule in rules.items()
        if name.rpartition(".")[2] not in absent and name not in absent
    }
    if isinstance(config["parameters"]["init"], dict):
        rules["init"] = Rule(_F32, tuple(config["parameters"]["init"]["array"]), _finite)
    return rules | _decoder_rules(config) | _optimizer_rules(kind, config)


def n_decoder_arrays(config):
    """Number of matrices of a decoder with hidden layers; 0 of a linear one."""
    n_hidden = len(config.get("decoder_sizes", ()))
    return n_hidden + 1 if n_hidden else 0


def _decoder_rules(config):
    """Matrices between atoms, hidden layers and features."""
    if not n_decoder_arrays(config):
        return {}
    _, n_components, n_features = config["shape"]
    sizes = [n_components, *config["decoder_sizes"], n_features]
    return {f"decoder.{i}": Rule(_F32, shape, _finite) for i, shape in enumerate(pairwise(sizes))}


def _shape_of(rule, sizes):
    """Numbers of a rule's shape; an axis of size None is left out."""
    shape = (sizes.get(size, size) for size in rule.shape)
    return tuple(size for size in shape if size is not None)


def _absent(kind, config):
    """Arrays that are in no file with this configuration, with any prefix or with this one."""
    absent = set()
    if config["tied"]:
        absent.add("encoder")
    if not config["thresholds"]:
        absent.add("thresholds")
    if kind == "model" and config["best_validation_score"] is None:
        absent.add("validation_scores")
    if kind == "model" and not config["n_iter"]:  # how often atoms fired is not known
        absent.add("frequency")
    if kind == "model" and config["feature_names"] is None:
        absent |= {"feature_names", "feature_name_ends"}
    if not config.get("n_corrections"):
        absent |= {"scales", "correction_biases"}
    if kind == "checkpoint" and config["progress"]["best"] is None:
        absent.add("best.frequency")
    if "epoch" not in config:
        absent.add("fired")
    if "stage" not in config:
        absent.add("stage_random_state")
    return absent


def _optimizer_rules(kind, config):
    optimizer = config["optimizer"] if kind == "model" else config
    if optimizer is None:
        return {}
    shapes = optimizer_shapes(
        tuple(config["shape"]), optimizer["n_steps"], tied=config["tied"],
        sparse=optimizer["sparse"] and "image" not in config and not config.get("n_corrections"),
        center_size=_sizes(config)["channels"], n_corrections=config.get("n_corrections", 0),
    )  # fmt: skip
    return {
        f"optimizer.{name}": Rule(*kind_and_shape, OPTIMIZER[name.rpartition(".")[2]])
        for name, kind_and_shape in shapes.items()
    }


def _sizes(config):
    n_members, n_components, n_features = config["shape"]
    progress = config.get("progress") or {}
    image_shape = config.get("image", {}).get("image_shape")
    steps = config["n_steps"] if "n_steps" in config else (config["optimizer"] or {}).get("n_steps")
    return {
        "members": n_members, "components": n_components, "features": n_features,
        # What a flat model has for each feature, a convolutional one has for each channel.
        "channels": image_shape[2] if image_shape else n_features,
        "inputs": math.prod(image_shape) if image_shape else n_features,
        "atoms": n_members * n_components, "steps": steps,
        "thresholds": n_components if config["thresholds"] == "atoms" else None,
        "epochs": progress.get("losses", config.get("n_iter")), "scores": progress.get("scores"),
        "errors": progress.get("errors"),
        "name_bytes": config.get("feature_names"), "corrections": config.get("n_corrections"),
        "layers": 1 + config.get("n_corrections", 0),
    }  # fmt: skip


def check_arrays(kind, config, arrays):
    """A ValueError that names the array whose numbers are not as its rule says."""
    sizes, rules = _sizes(config), array_rules(kind, config)
    if set(rules) != set(arrays):
        raise ValueError(f"Expected no more and no less than the arrays {sorted(rules)}.")
    for name, array in sorted(arrays.items()):
        if array.shape != rules[name].shape or array.dtype != rules[name].dtype:
            raise ValueError(
                f"Expected {name!r} as {np.dtype(rules[name].dtype)} {rules[name].shape}, "
                f"got {array.dtype} {array.shape}."
            )
        if not rules[name].fine(array, sizes):
            raise ValueError(f"Expected finite numbers in their range, got others in {name!r}.")
    for name in ("optimizer.decoder", "optimizer.encoder"):
        _check_steps(arrays, name)
    for name in ("random_state", "first_random_state", "stage_random_state"):
        _check_generator(arrays, name)
    if "feature_names" in rules:
        feature_names(arrays)


def _check_steps(arrays, name):
    """An atom is visited when or after it is picked, and moved then or later."""
    parts = [arrays.get(f"{name}.{part}") for part in ("picked_at", "visited_at", "moved_at")]
    if parts[0] is not None:
        picked_at, visited_at, moved_at = parts
        if not ((picked_at <= visited_at) & (visited_at <= moved_at)).all():
            raise ValueError(f"Expected {name!r} with atoms picked, visited and moved in order.")


def _check_generator(arrays, name):
    """A state of zeros gives zeros for ever, and whoever draws until a number suits hangs."""
    words = arrays.get(name)
    if words is not None and not (words[0] >> 31 or words[1:].any()):
        raise ValueError(f"Expected words other than 0 in {name!r}.")


# --- Names of features ---


def feature_name_arrays(names):
    """The arrays that hold the names of the features."""
    texts = [str(name).encode("utf-8", "surrogatepass") for name in names]
    return {
        "feature_names": np.frombuffer(b"".join(texts), np.uint8),
        "feature_name_ends": np.cumsum([len(text) for text in texts]),
    }


def feature_names(arrays):
    """The names in a file's arrays; a ValueError where these are not usable."""
    text, ends = arrays["feature_names"].tobytes(), arrays["feature_name_ends"].tolist()
    starts = [0, *ends[:-1]]
    if ends[-1] != len(text) or any(start > end for start, end in zip(starts, ends, strict=True)):
        raise ValueError("Expected rising 'feature_name_ends', the last that of the text.")
    names = [text[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    for name in names:
        if any(_is_control(character) for character in name):
            raise ValueError(f"Expected 'feature_names' of text, got {name[:40]!r}.")
    return names


def _is_control(character):
    """Whether it moves a terminal's cursor or the reading direction, but for tab and newline."""
    if character in "\t\n":
        return False
    direction = unicodedata.bidirectional(character)
    return unicodedata.category(character) == "Cc" or direction in _DIRECTIONS


_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


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
        _are_sides(shape, 3) and _are_sides(atom, 3) and _are_sides(stride, 2)
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
    return math.prod(image["image_shape"]) < _MOST_NUMBERS and n_codes < _MOST_NUMBERS


def _are_sides(value, n):
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
    fitting = config["shape"][0] == 1 and config["tied"] and not config["thresholds"]
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
        isinstance(value, list) and len(value) == 3 and whole(value[0], 0, _N_WORDS)
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
    return value is None or whole(value, 1, _LONGEST_SIDE) or _are_sides(value, 2)


def _size_of_images(value, config):
    """A size that images may have now, which need not be that of fit; or None."""
    return value is None or (
        "image" in config and (_are_sides(value, 2) or _are_sides(value, 3))
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
    return _sizes(config)["inputs"]


def _n_taken(config):
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
    named = all(isinstance(n, str) and not any(map(_is_control, n)) for n, _ in estimator)
    seeds = [seed for _, seeds in estimator if isinstance(seeds, dict) for seed in seeds.values()]
    return (
        (named or (len(estimator) == 1 and estimator[0][0] is None))
        and all(isinstance(seeds, dict) for _, seeds in estimator)
        and all(seed is None or whole(seed, 0, 2**32 - 1) for seed in seeds)
    )


def weight_rules(config):
    """The rule of an ensemble's weights, by name, if it has such."""
    rule = Rule(_F64, (len(config["members"]),), _fraction)
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
    return _are_sides(value, 2) and 3 * math.prod(value) < _MOST_NUMBERS


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
        n_taken = _n_taken(config)
        if n_taken != n_numbers:
            raise ValueError(
                f"Expected an ImageLoader of {n_taken} numbers an image, as the {name} behind it "
                f"takes, got {n_numbers}."
            )
        if name not in TRANSFORMERS:
            return
