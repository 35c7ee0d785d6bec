"""Model files made to hurt and signed again; and, run as a script, a process that opens them.

    python tests/model_file/hostile_files.py FOLDER SCRATCH < names of files, one a line

says of each file before it opens it that it begins, and afterwards how it ended; whoever started
it sees which one it died of.
"""

import contextlib
import copy
import json
import math
import os
import signal
import struct
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.pipeline import make_pipeline

import skl_sae
from skl_sae import (
    CodePooling,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ImageAugmenter,
    ImageLoader,
    ModelFileError,
    TopKSparseAutoencoder,
)
from skl_sae._model_file._safetensors import _DTYPES, _NAMES, _digest
from skl_sae._training._loop import Trainer

# What may go wrong with a file's model later on: numbers that overflow, a machine too small.
DOCUMENTED = (ValueError, MemoryError, OSError)
SECONDS = 30  # for one file
MEMORY = 2**34  # bytes of addresses, most of which are libraries
ESCAPES = "\x1b[31mred\x07\x9b2J\u202e"
VALUES = [
    0, 1, 2, 3, -1, 5000, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, -(2**62),
    10**400, -(10**400), 0.5, -0.5, 1.5, 1e-45, 1e-300, 1e30, 3e38, -3e38, 1e308, math.nan,
    math.inf, -math.inf, None, True, False, "", "topk", "omp", "batch_topk", "cuda:1", "meta",
    ESCAPES, "bait", "../bait", "x" * 10**5, [], {}, [[]], [10**400], [ESCAPES], [0] * 1000,
    {"array": [16, 12]}, {"array": [10**9, 10**9]}, {"array": [-1, 2]}, {"class": "os.system"},
]  # fmt: skip
NUMBERS = [v for v in VALUES if type(v) is float or (type(v) is int and abs(v) < 2**64)]
SHAPES = [[], [0], [1], [-1], [2**62], [2**62, 4], [16, 12], [32], [True], [1.0], "32", None]
# Sides of images, atoms, strides and parts; and these in the form that a file has.
SIDES = [
    1, 2, 3, 4, 5, 12, 40, 0, -1, 2**10, 2**15, 2**20, 2**31, 2**63, 10**400, 1.0, 2.5, math.nan,
    None, True, "2", [2],
]  # fmt: skip
IMAGE_SHAPES = [
    [3, 4, 1], [4, 3, 1], [2, 2, 1], [2, 2], [1, 1], [12, 1, 1], [2, 2, 3], [3, 4, 3], [40, 30, 1],
    [5000, 5000, 1], [2**15, 2**15, 1], [2**20, 2**20, 1], [2**20, 2**20], [2**20, 1, 1],
    [2**62, 2**62, 1], [-3, -4, 1], [0, 4, 1], [3.0, 4, 1], [True, 4, 1], [3, 4, 1, 1], [12], [],
]  # fmt: skip
SIZES = "image_shape", "atom_shape", "stride", "spread", "kernel_size", "pooling"
KINDS = ("elements", "elements", "elements", "config", "config", "config", "metadata", "entry",
         "array", "steps", "absent", "random", "random", "order")  # fmt: skip
CONV_KINDS = KINDS + 8 * ("image",)


class File:
    """A model file to change: its metadata, its configuration, its arrays by name."""

    def __init__(self, path):
        content = Path(path).read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        entries = json.loads(content[8 : 8 + length])
        self.metadata = entries.pop("__metadata__")
        self.config = json.loads(self.metadata.pop("config"))
        self.arrays, self.entries = {}, {}  # entries: what is said of an array beside the truth
        for name, entry in entries.items():
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            array = np.frombuffer(content[begin:end], _DTYPES[entry["dtype"]])
            self.arrays[name] = array.reshape(entry["shape"]).copy()

    def write(self, path):
        """With a checksum that fits."""
        metadata = {"config": json.dumps(self.config), **self.metadata}
        entries, end = {}, 0
        for name, array in sorted(self.arrays.items()):
            begin, end = end, end + array.nbytes
            truth = {
                "dtype": _NAMES[array.dtype], "shape": list(array.shape),
                "data_offsets": [begin, end],
            }  # fmt: skip
            entries[name] = truth | self.entries.get(name, {})
        digest = _digest(metadata, entries)
        data = b"".join(self.arrays[name].tobytes() for name in sorted(self.arrays))
        digest.update(data)
        metadata["sha256"] = digest.hexdigest()
        header = json.dumps({"__metadata__": metadata, **entries}).encode()
        Path(path).write_bytes(struct.pack("<Q", len(header)) + header + data)


def changed(path, target, change):
    """Write a file's copy with a change, signed again."""
    file = File(path)
    change(file)
    file.write(target)
    return target


# --- Changes, each drawn as (kind, two numbers that choose an item, number of a value) ---


def apply(file, kind, i, j, value):
    """Make one hostile change."""
    value = value % len(VALUES)
    names = sorted(file.arrays)
    # What indexes something else is drawn as often as all the rest.
    indices = [name for name in names if file.arrays[name].dtype.kind == "i"]
    names += indices * (len(names) // len(indices) if indices else 0)
    name = names[i % len(names)] if names else None
    if kind == "config":
        _change_config(file, i, j, copy.deepcopy(VALUES[value]))
    elif kind == "metadata":
        key = sorted({*file.metadata, "config"} - {"sha256"})[i % 6]
        file.metadata[key] = (
            VALUES[value] if isinstance(VALUES[value], str) else json.dumps(VALUES[value])
        )
    elif kind == "image":
        _change_image(file, i, j, value)
    elif kind == "steps":
        _change_steps(file, j)
    elif kind == "order":
        _change_order(file, j)
    elif name is None:
        return
    elif kind == "random":
        _change_to_random(file.arrays[name], j)
    elif kind == "elements":
        _change_elements(file.arrays[name], j, NUMBERS[value % len(NUMBERS)])
    elif kind == "entry":
        shape = SHAPES[value % len(SHAPES)]
        dtypes = [*_DTYPES, "F16", ESCAPES]
        offsets = [[0, 2**62], [-8, 0], [0, 0], [2**62, 2**62]][value % 4]
        said = [{"shape": shape}, {"dtype": dtypes[value % len(dtypes)]},
                {"data_offsets": offsets}][j % 3]  # fmt: skip
        file.entries[name] = said
    elif kind == "array":
        dtype = [*_DTYPES.values()][j % len(_DTYPES)]
        with np.errstate(invalid="ignore"):
            file.arrays[name] = np.resize(file.arrays[name], max(0, j % 40 - 3)).astype(dtype)
    elif kind == "absent":
        del file.arrays[name]


def _change_elements(array, j, number):
    """One number of an array, some, or all."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if array.dtype.kind in "iu":
            limits = np.iinfo(array.dtype)
            number = 0 if math.isnan(number) else min(max(number, limits.min), limits.max)
            number = int(number)
        flat = array.reshape(-1)
        if len(flat):
            places = [slice(j % len(flat), j % len(flat) + 1), slice(None, None, 2), slice(None)]
            flat[places[j % 3]] = number


def _change_to_random(array, seed):
    """Other numbers, many of which a file may hold: of any size, one in eight negative."""
    rng = np.random.default_rng(seed)
    if array.dtype.kind in "iu":
        array[...] = rng.integers(0, 2 ** rng.integers(1, 8), array.shape)
        return
    with np.errstate(all="ignore"):
        size = 10 ** rng.uniform(*[(-1, 0), (-40, 38), (-3, 3)][seed % 3], array.shape)
        array[...] = size * rng.choice(
            [1, -1], array.shape, p=[7 / 8, 1 / 8] if seed % 2 else [1, 0]
        )


def _change_order(file, seed):
    """Any steps at which atoms may have been picked, visited and moved."""
    rng = np.random.default_rng(seed)
    most = len(file.arrays.get("optimizer.rates", [0]))
    for name in ("optimizer.decoder", "optimizer.encoder"):
        parts = [f"{name}.{part}" for part in ("picked_at", "visited_at", "moved_at")]
        if all(part in file.arrays for part in parts):
            shape = 3, file.arrays[parts[0]].size
            for part, steps in zip(
                parts, np.sort(rng.integers(0, most, shape), axis=0), strict=True
            ):
                file.arrays[part] = steps


def _change_config(file, i, j, value):
    """Any node of the configuration gets another value, goes, or gets company."""
    # Most are parameters, so these are left out half of the time.
    nodes = list(_nodes(file.config, {"parameters"} if j % 2 else set()))
    holder, key = nodes[i % len(nodes)]
    if j % 10 == 0 and isinstance(holder, dict):
        del holder[key]
    elif j % 10 == 1 and isinstance(holder, dict):
        holder[f"{key} {ESCAPES}"] = value
    else:
        holder[key] = value


def _nodes(value, without=frozenset()):
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in sorted(set(keys) - without):
        yield value, key
        yield from _nodes(value[key])


def _change_image(file, i, j, value):
    """A size of images or atoms, or a parameter that says where these are."""
    holders = [file.config.get("image"), file.config.get("parameters")]
    nodes = [
        (holder, key) for holder in holders if isinstance(holder, dict)
        for key in SIZES if key in holder
    ]  # fmt: skip
    if not nodes:
        return
    holder, key = nodes[i % len(nodes)]
    side, shape = SIDES[value % len(SIDES)], IMAGE_SHAPES[value % len(IMAGE_SHAPES)]
    if key == "spread":
        holder[key] = copy.deepcopy(VALUES[value])
    elif j % 8 == 0:
        del holder[key]
    elif j % 8 == 1:
        holder[key] = copy.deepcopy(side)
    elif j % 2 and isinstance(holder[key], list) and holder[key]:
        holder[key][j % len(holder[key])] = copy.deepcopy(side)
    else:
        holder[key] = list(shape)


def _change_steps(file, j):
    """More or fewer steps, with as many rates, so that all shapes agree."""
    n_steps = [0, 1, 2, 255, 256, 257, 10**4, 2**24 + 1, 2**39][j % 9]
    holder = file.config if "n_steps" in file.config else file.config.get("optimizer")
    if isinstance(holder, dict):
        holder["n_steps"] = n_steps
        if "optimizer.rates" in file.arrays and n_steps < 10**5:
            file.arrays["optimizer.rates"] = np.resize(file.arrays["optimizer.rates"], n_steps + 1)


# --- Files to change ---

SMALL = {"n_components": 20, "k": 2, "max_iter": 4, "batch_size": 16, "random_state": 0,
         "device": "cpu"}  # fmt: skip
PARAMETERS = {
    "tied": {},
    "untied": {"tied": False, "n_estimators": 2},
    "within an epoch": {"tied": False, "batch_size": 16, "checkpoint_interval": 0.1},
    "dense": {"k": 8, "tied": False, "consistency": 0.1, "n_estimators": 2, "aggregate": "mean"},
    "batch": {"sparsity": "batch_topk", "n_estimators": 2},
    "omp": {"transform_algorithm": "omp", "transform_tol": 0.1},
    "early": {"early_stopping": True, "augmenter": ImageAugmenter((3, 4), n_copies=1)},
    "atoms": {"init": np.random.default_rng(0).random((20, 12), dtype=np.float32)},
    "large": {"n_components": 600, "tied": False, "max_iter": 3},  # beyond the small step
}
PLACED = {"image_shape": (3, 4), "kernel_size": 2, "k": 4}
PARAMETERS |= {
    "conv": PLACED,
    "conv pooled": PLACED | {"pooling": (2, 1), "tied": True, "init": "random"},
    "conv normalized": PLACED | {"normalize": True, "early_stopping": True},
    "conv omp": PLACED | {"transform_algorithm": "omp", "stride": 2},
    "deep": {"n_encoder_layers": 3},
    "deep decoder": {"n_encoder_layers": 2, "decoder_hidden_layer_sizes": (5, 3)},
}


def rows():
    return np.random.default_rng(0).random((40, 12), dtype=np.float32)


def estimator(name, **others):
    return kind(name)(**{**SMALL, **PARAMETERS[name], **others})


def kind(name):
    """The class of a file of this name; of a Pipeline's, the module that loads it."""
    if name.startswith("pipeline"):
        return skl_sae
    kinds = {"conv": ConvTopKSparseAutoencoder, "deep": DeepTopKSparseAutoencoder}
    return kinds.get(name.partition(".")[0].split()[0], TopKSparseAutoencoder)


def write_bases(folder):
    """A model and an unfinished checkpoint of each kind, and an old model; their names."""
    import pandas as pd

    old = Path(__file__).parent / "data" / "model_format_1.safetensors"
    (folder / "old.model").write_bytes(old.read_bytes())
    for name in PARAMETERS:
        X = pd.DataFrame(rows(), columns=[f"pixel {i}" for i in range(12)])
        X = X if name == "untied" else X.to_numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fits as short as these do not converge
            _write_checkpoint(folder / f"{name}.checkpoint", name, X)
            model = estimator(name, max_iter=2).fit(X)
            if name == "untied":
                model.partial_fit(X)
            model.save(folder / f"{name}.model", optimizer=True)
    _write_pipelines(folder)
    return sorted(path.name for path in folder.iterdir())


def _write_pipelines(folder):
    """Pipelines of rows and of files, of which there is an image in a folder of its own."""
    augmenter, sae = ImageAugmenter((3, 4), n_copies=1), estimator("early", augmenter=None)
    of_rows = make_pipeline(augmenter, sae.fit(rows()), CodePooling((2, 2), parts=2))
    of_rows[0].fit(rows())
    skl_sae.save(of_rows, folder / "pipeline of rows.model")
    ensemble = skl_sae.BaggingSparseAutoencoder(estimator("tied"), 2, random_state=0).fit(rows())
    of_files = make_pipeline(ImageLoader((3, 4), "L"), ensemble)
    of_files.target_names_ = ["one", "another"]
    skl_sae.save(of_files, folder / "pipeline of files.model")


def _write_checkpoint(path, name, X):
    begun = estimator(name, checkpoint=path)
    if name == "within an epoch":
        begun._watch = interrupt_after_a_step
    with interrupted(after=2):
        begun.fit(X)


def interrupt_after_a_step(done, planned):
    """After the first step of the second epoch, of three each, a checkpoint was written."""
    if done == 5:
        raise KeyboardInterrupt


@contextlib.contextmanager
def interrupted(after):
    """As if Ctrl-C had been pressed after so many epochs of a fit."""
    run, n_left = Trainer.run_epoch, [after]

    def run_epoch(*args):
        n_left[0] -= 1
        if n_left[0] < 0:
            raise KeyboardInterrupt
        return run(*args)

    Trainer.run_epoch = run_epoch
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        Trainer.run_epoch = run


# --- Opening them, in a process of its own ---


def open_all(folder, names, scratch):
    """Open the files in child processes: how each ended, by name.

    A child that dies of a file is followed by one that goes on with the next.
    """
    scratch.mkdir()
    (scratch / "work").mkdir()
    ended, left = {}, list(names)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(scratch / "work")}
    while left:
        child = subprocess.run(
            [sys.executable, __file__, str(folder.resolve()), str(scratch.resolve())],
            input="\n".join(left), capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        begun = None
        for line in child.stdout.splitlines():
            word, name, outcome = json.loads(line)
            begun = name
            if word == "end":
                ended[name], begun = outcome, None
        if begun is not None:
            ended[begun] = f"died: {child.returncode} {child.stderr[-2000:]}"
        elif not all(name in ended for name in left):
            raise RuntimeError(f"The child ended early, {child.returncode}: {child.stderr}")
        left = [name for name in left if name not in ended]
    return ended


def tell(word, name, outcome=""):
    print(json.dumps([word, name, outcome]), flush=True)


def main(folder, scratch):
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(scratch / "work")
    Image.new("L", (8, 8), 99).save(scratch / "image.png")
    (scratch / "saved").unlink(missing_ok=True)  # of a child that died
    for name in sys.stdin.read().splitlines():
        tell("begin", name)
        signal.alarm(SECONDS)  # whose default action ends the process, also in compiled code
        before = listing(scratch)
        try:
            outcome = try_file(folder / name, scratch / "saved")
        except BaseException as error:
            outcome = f"fault: {''.join(traceback.format_exception(error))}"
        signal.alarm(0)
        (scratch / "saved").unlink(missing_ok=True)
        if listing(scratch) != before:
            outcome = f"fault: wrote {listing(scratch)}"
        tell("end", name, outcome)


def listing(folder):
    return sorted(
        (str(path), path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")
    )


def try_file(path, saved):
    """Return what became of one file, in a word; an exception is a fault."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = (try_checkpoint if ".checkpoint" in path.name else try_model)(path, saved)
    for warning in caught:
        check_text(str(warning.message))
    return outcome


def try_model(path, saved):
    try:
        model = kind(path.name).load(path)
    except ModelFileError as error:
        check_text(str(error), "".join(traceback.format_exception(error)))
        assert str(path) in str(error)
        return "refused"
    X, outcome = rows(), "used"
    if kind(path.name) is skl_sae:
        return use_pipeline(model, X, saved)
    uses = [
        lambda: there_and_back(model, X),
        # Hidden layers of a decoder refuse to go on.
        lambda: getattr(model, "decoder_coefs_", None) or model.partial_fit(X),
        lambda: there_and_back(model, X),
        lambda: model.save(saved, optimizer=True),
        *uses_of_places(model, X),
        # A fit may take as long as its parameters say, and as many variants.
        lambda: model.set_params(max_iter=1, augmenter=None, verbose=0).fit(X),
    ]
    for number, use in enumerate(uses):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                use()
        except DOCUMENTED as error:
            check_text(str(error))
            outcome = "error later"
        else:
            if number == 3:
                kind(path.name).load(saved)
    return outcome


def use_pipeline(pipeline, X, saved):
    """Code rows, or a file, save it and load it."""
    if isinstance(pipeline[0], ImageLoader):
        X = ["../image.png"] * 30
    outcome = "used"
    for use in (
        lambda: pipeline.transform(X),
        lambda: skl_sae.save(pipeline, saved, optimizer=True),
        lambda: skl_sae.load(saved),
    ):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                use()
        except DOCUMENTED as error:
            check_text(str(error))
            outcome = "error later"
    return outcome


def there_and_back(model, X):
    """Codes and reconstructions, of which those of pooled and normalized codes are in the score."""
    codes = model.transform(X)
    if getattr(model, "pooling", None) is None and not getattr(model, "normalize", False):
        model.inverse_transform(codes)
    model.score(X)


def uses_of_places(model, X):
    """Further uses of a model of small atoms, with images of its own size and of another."""
    if not isinstance(model, ConvTopKSparseAutoencoder):
        return []
    others = np.resize(X, (3, 6, 8, model.centers_.shape[1]))
    return [
        lambda: names(model),
        lambda: there_and_back(model.set_params(image_shape=None, pooling=None), X),
        lambda: names(model),
        lambda: there_and_back(model.set_params(image_shape=others.shape[1:]), others),
        lambda: model.set_params(image_shape=None),
    ]


def names(model):
    """Names of columns, of which there may be as many as the sizes of images say."""
    if model._n_features_out < 10**6:
        model.get_feature_names_out()


def try_checkpoint(path, saved):
    kept = path.read_bytes()
    saved.write_bytes(kept)
    base = path.name.partition(".")[0]
    model = estimator(base, checkpoint=saved, warm_start=True)
    try:
        model.fit(rows())
        model.set_params(checkpoint=None).save(saved, optimizer=True)
    except ModelFileError as error:
        check_text(str(error), "".join(traceback.format_exception(error)))
        return "refused"
    except DOCUMENTED as error:
        check_text(str(error))
        return "error later"
    kind(base).load(saved)
    return "used"


def check_text(*texts):
    """Text for a terminal: printable, and the message itself short."""
    assert len(texts[0]) < 1500, texts[0]
    for text in texts:
        odd = [c for c in text if not c.isprintable() and c not in "\n\t"]
        assert not odd, repr(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
