"""Arrays of model files: dtype, shape and range of the numbers of each, and names of features."""

import math
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .._engine._adam import optimizer_shapes

# Words of the Mersenne twister's state.
N_WORDS = 624
# How far an atom's norm may be from 1; rounding takes it a thousandth as far.
_NORM_TOLERANCE = 0.01


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
fraction = _between(0, 1)
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

    Sizes in the shape are numbers or names, of which `sizes_of` knows the numbers.
    """

    dtype: type
    shape: tuple
    fine: Callable


_F32, F64 = np.float32, np.float64

ARRAYS = {
    "model": {
        "components": Rule(_F32, ("atoms", "features"), _atoms),
        "encoder": Rule(_F32, ("atoms", "features"), _finite),
        "encoder_bias": Rule(_F32, ("atoms",), _finite),
        "centers": Rule(_F32, ("members", "channels"), _finite),
        "thresholds": Rule(_F32, ("members", "thresholds"), _not_negative),
        "scales": Rule(_F32, ("layers", "components"), _finite),
        "correction_biases": Rule(_F32, ("corrections", "components"), _finite),
        "frequency": Rule(_F32, ("atoms",), fraction),
        "loss_curve": Rule(F64, ("epochs",), _not_negative),
        "correlation_curve": Rule(F64, ("epochs",), _correlation),
        "validation_scores": Rule(F64, ("epochs",), _correlation),
        "feature_names": Rule(np.uint8, ("name_bytes",), _finite),
        "feature_name_ends": Rule(np.int64, ("inputs",), _not_negative),
    },
    "checkpoint": {
        "frequency": Rule(_F32, ("atoms",), fraction),
        "best.frequency": Rule(_F32, ("atoms",), fraction),
        "fired": Rule(_F32, ("members", "components"), _not_negative),
        "random_state": Rule(np.uint32, (N_WORDS,), _finite),
        "first_random_state": Rule(np.uint32, (N_WORDS,), _finite),
        "stage_random_state": Rule(np.uint32, (N_WORDS,), _finite),
        "progress.losses": Rule(F64, ("epochs",), _not_negative),
        "progress.correlations": Rule(F64, ("epochs",), _correlation),
        "progress.scores": Rule(F64, ("scores",), _correlation),
        "progress.errors": Rule(F64, ("errors",), _not_negative),
    },
    "both": {
        "offset": Rule(F64, ("channels",), _finite),
        "scale": Rule(F64, (), _positive),
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
    sizes = sizes_of(config)
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
        center_size=sizes_of(config)["channels"], n_corrections=config.get("n_corrections", 0),
    )  # fmt: skip
    return {
        f"optimizer.{name}": Rule(*kind_and_shape, OPTIMIZER[name.rpartition(".")[2]])
        for name, kind_and_shape in shapes.items()
    }


def sizes_of(config):
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
    sizes, rules = sizes_of(config), array_rules(kind, config)
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
        if any(is_control(character) for character in name):
            raise ValueError(f"Expected 'feature_names' of text, got {name[:40]!r}.")
    return names


def is_control(character):
    """Whether it moves a terminal's cursor or the reading direction, but for tab and newline."""
    if character in "\t\n":
        return False
    direction = unicodedata.bidirectional(character)
    return unicodedata.category(character) == "Cc" or direction in _DIRECTIONS


_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
