"""Saved models: what comes back, what is refused, and fits that are resumed."""

import contextlib
import json
import os
import pickle
import signal
import stat
import struct
import threading
import traceback
import tracemalloc
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from hostile_files import File, changed, interrupted
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skl_sae
from skl_sae import ImageAugmenter, ModelFileError, TopKSparseAutoencoder
from skl_sae._model_file._checkpoint import read_checkpoint
from skl_sae._model_file._safetensors import read_arrays, write_arrays
from skl_sae._training._loop import Trainer

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "model_format_1.safetensors"
by_0_1 = pytest.mark.filterwarnings("ignore:The model was written by skl_sae 0.1.0")
PARAMETERS = {
    "plain": {},
    "untied, by batch": {"tied": False, "sparsity": "batch_topk"},
    "tied, by batch": {"tied": True, "sparsity": "batch_topk"},
    "dense products": {"k": 16, "tied": False},
    "early stopping": {"early_stopping": True, "max_iter": 4},
    "augmenter, omp": {
        "augmenter": ImageAugmenter((3, 4), n_copies=1, random_state=1),
        "transform_algorithm": "omp",
    },
    "given atoms": {"init": np.random.default_rng(0).random((2, 16, 12))},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def fitted_state(estimator):
    """State: what fit learned, and what transform and partial_fit depend on."""
    return {name: value for name, value in vars(estimator).items()
            if name.endswith("_") or name in ("_tied", "_offset", "_scale")}  # fmt: skip


def assert_same(got, expected):
    assert set(got) == set(expected)
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert got[name].dtype == value.dtype and got[name].shape == value.shape, name
            assert got[name].tobytes() == value.tobytes() or value.dtype == object, name
        else:
            assert got[name] == value, name


def header(path):
    """The header of a model file, and what follows it."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(path, entries, rest):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + rest)


# --- Round trips ---


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
@pytest.mark.parametrize("optimizer", [False, True])
def test_fault_99_round_trip(X, estimator, path, parameters, optimizer):
    estimator.set_params(**parameters).fit(np.clip(X, 0, 1) if "augmenter" in parameters else X)
    estimator.save(path, optimizer=optimizer)
    loaded = TopKSparseAutoencoder.load(path)
    assert_same(fitted_state(loaded), fitted_state(estimator))
    kept, given = (sae.get_params(deep=False) for sae in (loaded, estimator))
    if not isinstance(given["init"], str):
        np.testing.assert_array_equal(kept.pop("init"), given.pop("init").astype(np.float32))
    assert str(kept) == str(given)
    assert (loaded.transform(X) != estimator.transform(X)).nnz == 0
    assert loaded.score(X) == estimator.score(X)
    tied = estimator.encoder_ is estimator.components_
    assert (loaded.encoder_ is loaded.components_) == tied
    for fitted in (estimator, loaded):
        fitted.partial_fit(X[:20])
    if optimizer:
        assert_same(fitted_state(loaded), fitted_state(estimator))
    else:  # its moments begin anew
        assert loaded.n_iter_ == estimator.n_iter_
        np.testing.assert_allclose(loaded.components_, estimator.components_, atol=0.1)


def test_parameters_of_other_types_come_back_equal(X, estimator, path):
    estimator.set_params(
        k=np.int64(4), learning_rate=np.float32(1e-3), tied=np.bool_(True), verbose=False
    )
    estimator.fit(X).save(path)
    assert TopKSparseAutoencoder.load(path).get_params() == estimator.get_params()


def test_feature_names_come_back(X, estimator, path):
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(12)])
    estimator.fit(frame).save(path)
    loaded = TopKSparseAutoencoder.load(path)
    assert list(loaded.feature_names_in_) == list(frame.columns)
    assert (loaded.transform(frame) != estimator.transform(frame)).nnz == 0
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(frame[frame.columns[::-1]])


def test_partial_fit_only(X, estimator, path):
    estimator.partial_fit(X).partial_fit(X[:10]).save(path, optimizer=True)
    loaded = TopKSparseAutoencoder.load(path)
    assert_same(fitted_state(loaded.partial_fit(X)), fitted_state(estimator.partial_fit(X)))


def test_other_tools_can_read_the_file(X, estimator, path):
    estimator.set_params(tied=False).fit(X).save(path)
    arrays = load_file(path)
    np.testing.assert_array_equal(arrays["components"], estimator.components_)
    np.testing.assert_array_equal(arrays["encoder"], estimator.encoder_)


@pytest.mark.parametrize("version", [1, 2])
def test_golden_models(version):
    """Written once, by 0.1.0; whatever changes, they must load and code as they did."""
    with pytest.warns(UserWarning, match=r"written by skl_sae 0\.1\.0") as caught:
        loaded = TopKSparseAutoencoder.load(DATA / f"model_format_{version}.safetensors")
    assert len(caught) == 1
    assert (loaded.n_components, loaded.k, loaded.n_estimators) == (8, 2, 2)
    assert not loaded.tied and loaded.sparsity == "batch_topk"
    assert loaded.augmenter.image_shape == (3, 4)
    assert list(loaded.feature_names_in_) == [f"pixel {i}" for i in range(12)]
    assert len(loaded.loss_curve_) == len(loaded.correlation_curve_) == loaded.n_iter_ == 3
    rows = np.random.default_rng(0).random((5, 12), dtype=np.float32)
    expected = load_file(DATA / f"codes_format_{version}.safetensors")["codes"]
    frame = pd.DataFrame(rows, columns=loaded.feature_names_in_)
    np.testing.assert_allclose(loaded.transform(frame).toarray(), expected, rtol=1e-4, atol=1e-5)
    loaded.partial_fit(pd.DataFrame(rows, columns=loaded.feature_names_in_))
    assert loaded.n_iter_ == 4


@pytest.mark.parametrize("version", [1, 2])
def test_golden_checkpoints(version):
    """That they can be read; what a fit makes of them may change with its arithmetic."""
    estimator = TopKSparseAutoencoder(
        n_components=20, k=2, n_estimators=2, tied=False, batch_size=8, max_iter=6,
        early_stopping=True, augmenter=ImageAugmenter((3, 4), n_copies=1), random_state=0,
        checkpoint_interval=3,
    )  # fmt: skip
    path = DATA / f"checkpoint_format_{version}.safetensors"
    checkpoint = read_checkpoint(path, estimator, n_features=12)
    assert checkpoint.config["n_steps"] == 18
    assert len(checkpoint.arrays["progress.losses"]) == 3
    assert checkpoint.random_state("first_random_state")[0] == "MT19937"


def load_skops(path):
    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


@pytest.mark.parametrize("dump, load", [
    (lambda sae, path: path.write_bytes(pickle.dumps(sae)),
     lambda path: pickle.loads(path.read_bytes())),
    (joblib.dump, joblib.load),
    (skops.io.dump, load_skops),
], ids=["pickle", "joblib", "skops"])  # fmt: skip
def test_pickles_warn_of_another_version(X, estimator, path, monkeypatch, dump, load):
    dump(estimator.fit(X), path)
    loaded = load(path)
    assert_same(fitted_state(loaded), fitted_state(estimator))
    assert loaded.encoder_ is loaded.components_
    monkeypatch.setattr(skl_sae, "__version__", "7.0")
    with pytest.warns(UserWarning, match=r"0\.\d.* read by 7\.0"):
        load(path)


# --- What is refused ---


def test_fault_21_unfitted_save_makes_no_file(estimator, path):
    with pytest.raises(NotFittedError, match="TopKSparseAutoencoder"):
        estimator.save(path)
    assert not path.exists()


def test_missing_file_and_folder(X, estimator, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        TopKSparseAutoencoder.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="absent"):
        estimator.fit(X).save(tmp_path / "absent" / "model")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "parameters, name",
    [({"random_state": np.random.RandomState(0)}, "random_state"),
     ({"augmenter": type("Own", (ImageAugmenter,), {})((3, 4))}, "augmenter.*Own")],
)  # fmt: skip
def test_fault_99_parameters_that_cannot_be_kept(X, estimator, path, parameters, name):
    estimator.set_params(**parameters).fit(np.clip(X, 0, 1))
    with pytest.raises(ModelFileError, match=name):
        estimator.save(path)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_fault_99_irregular_files(X, estimator, path, kind):
    """Neither is replaced, and reading from a pipe does not wait for a writer."""
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(ModelFileError, match="regular file"):
        estimator.fit(X).save(path)
    assert path.is_dir() or path.is_fifo()
    with pytest.raises(ModelFileError, match="regular file"):
        TopKSparseAutoencoder.load(path)
    assert os.listdir(path.parent) == [path.name]


def test_fault_99_links_and_permissions_are_kept(X, estimator, path, tmp_path):
    target = tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    path.symlink_to(target)
    estimator.fit(X).save(path)
    assert path.is_symlink() and target.is_file()
    (tmp_path / "new").write_bytes(b"")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)
    target.chmod(0o600)
    estimator.save(path)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(target.parent) == ["target"]


def test_fault_99_saving_over_the_file_just_loaded(X, estimator, path):
    estimator.fit(X).save(path)
    before = path.read_bytes()
    TopKSparseAutoencoder.load(path).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(60),
                struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 2) + b"{}",
                struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 5) + b"\xff\xfe{}!"],
    ids=["empty", "short", "PNG", "zip", "long header", "no metadata", "list", "no text"],
)  # fmt: skip
def test_fault_95_junk(path, content):
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="model"):
        TopKSparseAutoencoder.load(path)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("through", ["pickle", "joblib", "torch"])
def test_fault_96_nothing_is_run(path, tmp_path, through):
    import torch

    payload, marker = Payload(tmp_path / "marker"), tmp_path / "marker"
    if through == "pickle":
        path.write_bytes(pickle.dumps(payload))
    elif through == "joblib":
        joblib.dump(payload, path)
    else:
        torch.save(payload, path)
    with pytest.raises(ModelFileError):
        TopKSparseAutoencoder.load(path)
    assert not marker.exists()


def edited(change):
    """A change of the configuration, or of the header if it takes two arguments."""

    def edit(entries):
        config = json.loads(entries["__metadata__"]["config"])
        change(config)
        entries["__metadata__"]["config"] = json.dumps(config)

    return edit


def set_in(*keys, value):
    def change(nested):
        for key in keys[:-1]:
            nested = nested[key]
        nested[keys[-1]] = value

    return change


HEADERS = {
    "huge model": (edited(set_in("shape", value=[1, 10**9, 10**9])), "components"),
    "absurd size": (edited(set_in("shape", value=[1, 10**30, 12])), "shape"),
    "zero size": (edited(set_in("shape", value=[0, 16, 12])), "shape"),
    "fractional size": (edited(set_in("shape", value=[2, 16.0, 12])), "shape"),
    "k too large": (edited(set_in("k", value=17)), "'k'"),
    "k true": (edited(set_in("k", value=True)), "'k'"),
    "epochs without curves": (edited(set_in("n_iter", value=10**9)), "curve"),
    "names as a list": (edited(set_in("feature_names", value=["x"])), "feature_names"),
    "names without arrays": (edited(set_in("feature_names", value=5)), "feature_name_ends"),
    "unknown item": (edited(set_in("more", value=1)), "configuration"),
    "missing item": (edited(lambda config: config.pop("k")), "configuration"),
    "unknown parameter": (edited(set_in("parameters", "eval", value="1")), "eval"),
    "missing parameter": (edited(lambda c: c["parameters"].pop("tied")), "tied"),
    "parameter out of range": (edited(set_in("parameters", "max_iter", value=-3)), "max_iter"),
    "parameter of another type": (edited(set_in("parameters", "init", value=[])), "init"),
    "initial atoms of no shape": (
        edited(set_in("parameters", "init", value={"array": []})), "init"),
    "augmenter by path": (
        edited(set_in("parameters", "augmenter",
                      value={"class": "os.system", "parameters": {}})), "augmenter"),
    "augmenter by number": (
        edited(set_in("parameters", "augmenter", value={"class": 3, "parameters": {}})),
        "augmenter"),
    "optimizer without steps": (edited(set_in("optimizer", value={})), "optimizer"),
    "optimizer without arrays": (
        edited(set_in("optimizer", value={"n_steps": 3, "sparse": True})), r"engine\.bias"),
    "other class": (set_in("__metadata__", "class", value="os.system"), "class"),
    "checkpoint": (set_in("__metadata__", "kind", value="checkpoint"), "kind"),
    "other format": (set_in("__metadata__", "format", value="pt"), "format"),
    "newer format": (set_in("__metadata__", "format_version", value="3"),
                     r"format_version 1 or 2.*0\.\d.*got '3'"),
    "no checksum": (lambda entries: entries["__metadata__"].pop("sha256"), "checksum"),
    "no version": (set_in("__metadata__", "versions", value="{}"), "version"),
    "other metadata": (set_in("__metadata__", "more", value=""), "metadata"),
    "metadata not of text": (set_in("__metadata__", "more", value=1), "metadata"),
    "deep configuration": (
        set_in("__metadata__", "config", value="[" * 10**5 + "]" * 10**5), "depth"),
    "infinite number": (set_in("__metadata__", "config", value='{"k": 1e999}'), "finite"),
    "not a number": (set_in("__metadata__", "config", value='{"k": NaN}'), "finite"),
    "key twice": (set_in("__metadata__", "config", value='{"k": 1, "k": 2}'), "once"),
    "no JSON": (set_in("__metadata__", "config", value="{"), "Expecting"),
    "missing array": (lambda entries: entries.pop("centers"), "centers"),
    "unknown array": (set_in("more", value={"dtype": "F32", "shape": [], "data_offsets": [0, 4]}),
                      "more"),
    "other dtype": (set_in("centers", "dtype", value="F16"), "centers"),
    "other shape": (set_in("centers", "shape", value=[12, 2]), "centers"),
    "shape of truth": (set_in("offset", "shape", value=[True]), "offset"),
    "no entry": (set_in("centers", value=None), "centers"),
    "offsets of text": (set_in("centers", "data_offsets", value=["0", "96"]), "centers"),
    "offsets too far": (set_in("centers", "data_offsets", value=[0, 10**12]), "centers"),
    "offsets that overlap": (set_in("encoder_bias", "data_offsets", value=[0, 128]), "one after"),
}  # fmt: skip


@pytest.mark.parametrize("change, match", HEADERS.values(), ids=HEADERS)
def test_fault_97_98_crafted_headers(X, estimator, path, monkeypatch, change, match):
    """Refused with the name of the item, before memory is taken for an array."""
    estimator.set_params(tied=False).fit(X).save(path)
    entries, rest = header(path)
    change(entries)
    with_header(path, entries, rest)
    monkeypatch.setattr(np, "empty", None)
    with pytest.raises(ModelFileError, match=match) as caught:
        TopKSparseAutoencoder.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", [b'{"a": 1, "a": 2}', b"[" * 10**5, b'{"a": NaN}', b"null"])
def test_fault_97_headers_that_are_no_plain_json(path, text):
    with_header(path, text, b"")
    with pytest.raises(ModelFileError):
        TopKSparseAutoencoder.load(path)


def test_fault_97_numbers_that_are_not_finite(X, estimator, path):
    """Neither read nor written."""
    estimator.fit(X).save(path)
    changed(path, path, lambda file: file.arrays["components"].__setitem__((3, 4), np.nan))
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match=r"finite.*components"):
        TopKSparseAutoencoder.load(path)
    estimator.components_[3, 4] = np.nan
    with pytest.raises(ModelFileError, match=r"finite.*components"):
        estimator.save(path)
    assert path.read_bytes() == before


def test_fault_98_another_version_wrote_it(X, estimator, path, monkeypatch):
    monkeypatch.setattr(skl_sae, "__version__", "0.0.7")
    estimator.fit(X).save(path)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"0\.0\.7") as caught:
        loaded = TopKSparseAutoencoder.load(path)
    assert len(caught) == 1
    assert_same(fitted_state(loaded), fitted_state(estimator))


def test_fault_98_saved_with_cuda_loads_on_the_cpu(X, estimator, path):
    estimator.fit(X).set_params(device="cuda").save(path, optimizer=True)
    with pytest.warns(UserWarning, match="cuda.*Using the CPU"):
        loaded = TopKSparseAutoencoder.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning is enough
        loaded.transform(X)
    assert loaded.device == "cuda"


# --- Files of which the checksum is right ---


def refused(path, match):
    with pytest.raises(ModelFileError, match=match) as caught:
        TopKSparseAutoencoder.load(path)
    text = "".join(traceback.format_exception(caught.value))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(str(caught.value)) < 1000
    return caught.value


LAZY = {"n_components": 40, "k": 2, "tied": False}  # whose atoms are left behind


@pytest.mark.parametrize("part", ["picked_at", "visited_at", "moved_at"])
@pytest.mark.parametrize("value", [-(10**9), -1, 10**9, 2**62])
def test_fault_107_steps_out_of_range(X, estimator, path, part, value):
    """They index the rates of the steps in a compiled loop."""
    estimator.set_params(**LAZY).fit(X).save(path, optimizer=True)
    name = f"optimizer.decoder.{part}"
    changed(path, path, lambda file: file.arrays[name].__setitem__(3, value))
    refused(path, name)


def test_fault_107_steps_in_no_order(X, estimator, path):
    estimator.set_params(**LAZY).fit(X).save(path, optimizer=True)
    changed(path, path, lambda file: file.arrays["optimizer.encoder.moved_at"].fill(0))
    refused(path, r"optimizer\.encoder.*in order")


OUT_OF_RANGE = {
    "optimizer.decoder.second": -1, "optimizer.bias.n_steps": -1, "optimizer.rates": -1,
    "optimizer.rows_since_fired": -1, "frequency": 1.5, "thresholds": -1, "scale": 0,
    "loss_curve": -1, "correlation_curve": 2, "validation_scores": -2, "components": 0.9,
    "offset": np.inf, "engine.thresholds": -1,
}  # fmt: skip


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_fault_107_numbers_out_of_range(X, estimator, path, name):
    sparsity = "batch_topk" if "thresholds" in name else "topk"
    estimator.set_params(**LAZY, early_stopping=True, sparsity=sparsity)
    estimator.fit(X).save(path, optimizer=True)
    if name.startswith(("optimizer", "engine")):  # early stopping leaves it without steps
        estimator.set_params(early_stopping=False).fit(X).save(path, optimizer=True)
    changed(path, path, lambda file: file.arrays[name].__setitem__(..., OUT_OF_RANGE[name]))
    refused(path, f"in '{name}'")


def interrupted_fit(X, estimator, path):
    """A checkpoint, and an estimator that would resume it."""
    estimator.set_params(**LAZY, checkpoint=path, warm_start=True, max_iter=3)
    with interrupted(after=1):
        estimator.fit(X)
    return estimator


@pytest.mark.parametrize("name, value", [
    ("optimizer.decoder.moved_at", -(10**9)), ("optimizer.encoder.visited_at", 2**40),
    ("engine.decoder", 2), ("best.decoder", 2), ("progress.losses", -1), ("frequency", -1),
])  # fmt: skip
def test_fault_107_checkpoints_out_of_range(X, estimator, path, name, value):
    estimator.set_params(early_stopping=name.startswith("best"))
    interrupted_fit(X, estimator, path)
    changed(path, path, lambda file: file.arrays[name].__setitem__(..., value))
    with pytest.raises(ModelFileError, match=f"'{name}'"):
        estimator.fit(X)


def test_fault_107_a_checkpoint_of_more_epochs_than_planned(X, estimator, path):
    interrupted_fit(X, estimator, path)

    def change(file):
        for name in ("losses", "correlations"):
            file.config["progress"][name] = 4
            file.arrays[f"progress.{name}"] = np.ones(4)

    changed(path, path, change)
    with pytest.raises(ModelFileError, match="'progress'"):
        estimator.fit(X)


def test_fault_108_no_path_is_kept(X, estimator, path, tmp_path):
    """Neither in a model nor in a checkpoint; what an old file holds is ignored."""
    victim = tmp_path / "victim"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a checkpoint says nothing
        estimator.set_params(checkpoint=victim).fit(X)
    assert b"victim" not in victim.read_bytes()
    with pytest.warns(UserWarning, match="checkpoint is left out") as caught:
        estimator.save(path)
    assert caught[0].filename == __file__
    assert b"victim" not in path.read_bytes()
    assert TopKSparseAutoencoder.load(path).checkpoint is None


@by_0_1
def test_fault_108_a_path_in_a_file_is_not_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    changed(GOLDEN, path, lambda file: file.config["parameters"].update(checkpoint=str(victim)))
    loaded = TopKSparseAutoencoder.load(path)
    assert loaded.checkpoint is None
    loaded.set_params(max_iter=1)
    rows = np.random.default_rng(0).random((5, 12))
    for model in (loaded, clone(loaded)):
        model.fit(pd.DataFrame(rows, columns=loaded.feature_names_in_))
    assert victim.read_bytes() == b"precious"
    changed(
        DATA / "model_format_2.safetensors", path,
        lambda file: file.config["parameters"].update(checkpoint=str(victim)),
    )  # fmt: skip
    refused(path, "checkpoint")


@pytest.mark.parametrize("name", ["random_state", "first_random_state"])
@pytest.mark.parametrize("value", [
    [10**9, 0, 0.0], [1.5, 0, 0.0], [5000, 0, 0.0], [2**40, 0, 0.0], [-1, 0, 0.0], [625, 0, 0.0],
    [3, 2, 0.0], [3, 0, "0"], [True, 0, 0.0], [3, 0], None,
])  # fmt: skip
def test_fault_109_generators_out_of_range(X, estimator, path, name, value):
    interrupted_fit(X, estimator, path)
    changed(path, path, lambda file: file.config.update({name: value}))
    with pytest.raises(ModelFileError, match=f"'{name}'"):
        estimator.fit(X)


@pytest.mark.parametrize("words, match", [
    (np.zeros(624, np.uint32), "other than 0 in 'random_state'"),
    (np.zeros(624, np.int64), "as U32"), (np.ones(623, np.uint32), "as U32"),
])  # fmt: skip
def test_fault_109_words_of_generators(X, estimator, path, words, match):
    interrupted_fit(X, estimator, path)
    changed(path, path, lambda file: file.arrays.update(random_state=words))
    with pytest.raises(ModelFileError, match=match):
        estimator.fit(X)


@pytest.mark.parametrize("name", ["loss_curve", "correlation_curve", "validation_scores", "scale",
                                  "best_validation_score", "n_iter", "k"])  # fmt: skip
@pytest.mark.parametrize(
    "value", [10**400, -(10**400), [10**400], 2**64], ids=["large", "negative", "list", "2**64"]
)
def test_fault_110_huge_numbers(path, name, value):
    changed(GOLDEN, path, lambda file: file.config.update({name: value}))
    refused(path, name)


HUGE = ("n_components", "n_estimators", "k", "batch_size", "max_iter", "n_iter_no_change",
        "checkpoint_interval", "random_state", "verbose", "learning_rate", "tol", "aux_coef",
        "consistency")  # fmt: skip


@by_0_1
@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("value", [10**400, 10**12, 2**62], ids=["10**400", "10**12", "2**62"])
def test_fault_110_huge_parameters(path, name, value, capsys):
    """A model that works, or that says what is wrong; at once."""
    changed(GOLDEN, path, lambda file: file.config["parameters"].update({name: value}))
    rows = np.random.default_rng(0).random((5, 12))
    frame = pd.DataFrame(rows, columns=[f"pixel {i}" for i in range(12)])
    try:
        loaded = TopKSparseAutoencoder.load(path)
    except ModelFileError as error:
        assert name in str(error)
    else:
        assert value < 10**400 and name not in ("n_components", "n_estimators")
        loaded.transform(frame)
        with contextlib.suppress(ValueError):  # k above the atoms; a rate that diverges
            loaded.partial_fit(frame)


@pytest.mark.parametrize("name, value", [("batch_size", 10**400), ("max_iter", 2**63)],
                         ids=["10**400", "2**63"])  # fmt: skip
def test_fault_110_huge_parameters_are_not_written(X, estimator, path, name, value):
    estimator.fit(X).set_params(**{name: value})
    with pytest.raises(ModelFileError, match=name):
        estimator.save(path)
    estimator.partial_fit(X)


@pytest.mark.parametrize("name, value", [
    ("n_copies", 10**12), ("n_copies", -1), ("image_shape", [3, 10**9]), ("image_shape", [12]),
    ("image_shape", [-3, -4]), ("rotation", 1e308), ("random_state", 2**40), ("crop", "x"),
])  # fmt: skip
def test_fault_110_augmenters_of_files(path, name, value):
    def change(file):
        file.config["parameters"]["augmenter"]["parameters"][name] = value

    changed(GOLDEN, path, change)
    refused(path, f"{name}|augmenter")


ESCAPES = "\x1b[31mred\x07\x9b2J\u202e\r" + "x" * 10**4


@pytest.mark.parametrize("change", [
    lambda file: file.metadata.update(format=ESCAPES),
    lambda file: file.metadata.update(format_version=ESCAPES),
    lambda file: file.metadata.update({"class": ESCAPES}),
    lambda file: file.metadata.update(kind=ESCAPES),
    lambda file: file.metadata.update(versions=ESCAPES),
    lambda file: file.metadata.update({ESCAPES: ""}),
    lambda file: file.config.update(tied=ESCAPES),
    lambda file: file.config.update({ESCAPES: 1}),
    lambda file: file.config.update(feature_names=[ESCAPES] * 12),
    lambda file: file.config["parameters"].update({ESCAPES: 1}),
    lambda file: file.config["parameters"].update(sparsity=ESCAPES),
    lambda file: file.config["parameters"].update(device=ESCAPES),
    lambda file: file.config["parameters"].update(augmenter={"class": ESCAPES, "parameters": {}}),
    lambda file: file.arrays.update({ESCAPES: np.zeros(3)}),
    lambda file: file.entries.update(centers={"dtype": ESCAPES}),
    lambda file: file.entries.update(centers={"shape": ESCAPES}),
    lambda file: file.entries.update(centers={ESCAPES: 1}),
    lambda file: file.entries.update(centers={"data_offsets": ESCAPES}),
])  # fmt: skip
def test_fault_111_errors_are_printable(path, change):
    refused(changed(GOLDEN, path, change), "Expect|must be")


def test_fault_111_warnings_are_printable(path):
    change = json.dumps({"skl_sae": ESCAPES})
    changed(GOLDEN, path, lambda file: file.metadata.update(versions=change))
    with pytest.warns(UserWarning, match="red") as caught:
        TopKSparseAutoencoder.load(path)
    assert str(caught[0].message).isprintable() and len(str(caught[0].message)) < 200


@pytest.mark.parametrize("name", ["\x1b[31m", "\x9b", "\r", "\u202e", "\0"])
def test_fault_111_names_that_steer_a_terminal(X, estimator, path, name):
    """scikit-learn prints them as they are where a frame has others."""
    estimator.fit(X)
    estimator.feature_names_in_ = np.array(["a", name, *"cdefghijkl"], dtype=object)
    with pytest.raises(ModelFileError, match="feature_names"):
        estimator.save(path)


def test_names_of_any_script_come_back(X, estimator, path):
    names = [
        "",
        "a\nb",
        "a\tb",
        "\xa0",
        "größe",
        "像素",
        "\U0001f600",
        "a,b",
        '"',
        "\u200d",
        "א",
        " ",
    ]
    estimator.fit(pd.DataFrame(X, columns=names)).save(path)
    assert list(TopKSparseAutoencoder.load(path).feature_names_in_) == names


@pytest.mark.parametrize("ends", [[-1, 3], [3, -1], [5, 2], [2**62, 2], [2, 2**62]])
def test_fault_112_ends_of_names(path, ends):
    def change(file):
        file.arrays["feature_name_ends"][-2:] = ends

    changed(DATA / "model_format_2.safetensors", path, change)
    refused(path, "feature_name_ends")


def test_fault_112_long_curves_are_no_header(X, estimator, path):
    """Curves of 100,000 epochs and long names come back, and the header stays short."""
    estimator.fit(pd.DataFrame(X, columns=[f"{i}" * 10**4 for i in range(10, 22)]))
    estimator.loss_curve_ = np.random.default_rng(0).random(10**5).tolist()
    estimator.correlation_curve_, estimator.n_iter_ = estimator.loss_curve_, 10**5
    estimator.save(path)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert length < 10**4
    assert_same(fitted_state(TopKSparseAutoencoder.load(path)), fitted_state(estimator))


@pytest.mark.parametrize("unit", ["[],", '{"a":0},', "0,", '"",'])
@pytest.mark.parametrize("inside", [False, True])
def test_fault_112_headers_take_little_memory(path, unit, inside):
    text = '{"x":[' + unit * ((2**20 - 600) // len(unit) // (2 if inside else 1)) + "0]}"
    if inside:
        text = text.replace('"', "'") if unit.startswith('"') else text
        entries = File(GOLDEN)
        entries.metadata["config"] = text[: 2**19]
        with_header(path, {"__metadata__": {**entries.metadata, "sha256": ""}}, b"")
    else:
        with_header(path, text.encode(), b"")
    tracemalloc.start()
    try:
        refused(path, "Expect")
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_fault_112_a_header_of_more_than_1_MB(path):
    with_header(path, b"{" + b" " * 2**20 + b"}", b"")
    refused(path, "first bytes")


# --- Damage ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    rows = np.random.default_rng(0).random((30, 12), dtype=np.float32)
    TopKSparseAutoencoder(8, k=2, max_iter=1, random_state=0).fit(rows).save(path, optimizer=True)
    return path, rows


def test_fault_95_any_bit_flipped(saved, path):
    """Each of 200 flips is refused."""
    original, _ = saved
    content, rng = original.read_bytes(), np.random.default_rng(0)
    # As many in the header, where they could mean something, as in the arrays.
    n_header = 8 + struct.unpack("<Q", content[:8])[0]
    places = [*rng.integers(0, n_header, 100), *rng.integers(n_header, len(content), 100)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            TopKSparseAutoencoder.load(path)


def test_fault_95_any_cut(saved, path):
    content = saved[0].read_bytes()
    for length in np.linspace(0, len(content) - 1, 50).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            TopKSparseAutoencoder.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError):
        TopKSparseAutoencoder.load(path)


def test_fault_93_a_full_disk_leaves_the_old_file(X, estimator, path, monkeypatch):
    estimator.fit(X).save(path)
    before = path.read_bytes()

    def full(file, data, written=[0]):  # noqa: B006
        written[0] += len(data)
        if written[0] > 4000:
            raise OSError(28, "No space left on device")
        file.write(data)

    monkeypatch.setattr("skl_sae._model_file._safetensors._write_all", full)
    with pytest.raises(OSError, match="No space"):
        estimator.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_files_of_a_disk_that_takes_little_at_a_time(path, monkeypatch):
    """A raw file may take a part of what it is given."""

    class Slow:
        def __init__(self):
            self.content = b""

        def write(self, data):
            self.content += bytes(data[:5])
            return min(5, len(data))

    from skl_sae._model_file._safetensors import _write_all

    slow = Slow()
    _write_all(slow, b"as many bytes as there are")
    assert slow.content == b"as many bytes as there are"


def test_arrays_of_any_layout(path):
    arrays = {
        "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T, "one": np.float32(3),
        "big-endian": np.arange(3, dtype=">f8"), "whole": np.arange(4),
    }  # fmt: skip
    write_arrays(path, arrays, {"a": "b"})
    shapes = {
        name: (np.asarray(a).dtype.newbyteorder("="), np.shape(a)) for name, a in arrays.items()
    }
    metadata, got = read_arrays(path, lambda metadata: shapes)
    assert metadata["a"] == "b"
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype.isnative


def test_threads_may_save_to_one_path(X, estimator, path):
    estimator.fit(X)
    threads = [threading.Thread(target=estimator.save, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(fitted_state(TopKSparseAutoencoder.load(path)), fitted_state(estimator))
    assert os.listdir(path.parent) == [path.name]


# --- Checkpoints ---


class Interrupt:
    """Stands for the user's Ctrl-C, or the machine's end, after so many epochs."""

    def __init__(self, monkeypatch, n_epochs):
        self.run, self.n_left = Trainer.run_epoch, n_epochs
        monkeypatch.setattr(Trainer, "run_epoch", lambda *args: self(*args))

    def __call__(self, *args):
        self.n_left -= 1
        if self.n_left < 0:
            raise KeyboardInterrupt
        return self.run(*args)


GENERATOR = "skl_sae.autoencoders._trained.shared_generator"
CHECKPOINTED = {
    **PARAMETERS,
    "three members": {"n_estimators": 3, "consistency": 0.1},
    "untied, sparse products": {"tied": False, "k": 1},
    "seed from anywhere": {"random_state": None},
    "early stopping, seed from anywhere": {"early_stopping": True, "random_state": None},
}


@pytest.mark.touches_globals("NumPy's generator")  # of which random_state=None draws one number
@pytest.mark.parametrize("parameters", CHECKPOINTED.values(), ids=CHECKPOINTED)
@pytest.mark.parametrize("interval", [1, 2])
def test_fault_89_resumed_fit_equals_uninterrupted(
    X, estimator, path, monkeypatch, parameters, interval
):
    X = np.clip(X, 0, 1)
    estimator.set_params(max_iter=6, n_iter_no_change=6).set_params(**parameters)
    if estimator.random_state is None:
        monkeypatch.setattr(GENERATOR, lambda _: np.random.RandomState(7))
    expected = clone(estimator).fit(X)
    monkeypatch.undo()
    estimator.set_params(checkpoint=path, checkpoint_interval=interval, warm_start=True)
    with pytest.MonkeyPatch.context() as patch:
        Interrupt(patch, 3)
        if estimator.random_state is None:
            patch.setattr(GENERATOR, lambda _: np.random.RandomState(7))
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(X)
    assert not hasattr(estimator, "components_")
    resumed = clone(estimator).fit(X)  # in another process, for all it knows
    assert_same(fitted_state(resumed), fitted_state(expected))
    assert resumed.loss_curve_ == expected.loss_curve_
    # The checkpoint of a finished fit gives its result again.
    assert_same(fitted_state(clone(estimator).fit(X)), fitted_state(expected))


@pytest.mark.touches_globals("NumPy's generator")
@pytest.mark.parametrize("parameters", CHECKPOINTED.values(), ids=CHECKPOINTED)
@pytest.mark.parametrize("n_steps", [4, 40])
def test_a_fit_resumed_within_an_epoch_equals_an_uninterrupted_one(
    X, estimator, path, monkeypatch, parameters, n_steps
):
    """In the first epoch as well as in a later one, of which each fifth is written."""
    X = np.clip(X, 0, 1)
    estimator.set_params(max_iter=6, n_iter_no_change=6, batch_size=-(-len(X) // 15))
    estimator.set_params(**parameters)
    monkeypatch.setattr(GENERATOR, lambda _: np.random.RandomState(7))
    expected = clone(estimator).fit(X)
    estimator.set_params(checkpoint=path, checkpoint_interval=0.2, warm_start=True)
    stopping = clone(estimator)

    def interrupt(done, planned):
        if done == n_steps:
            raise KeyboardInterrupt

    stopping._watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        stopping.fit(X)
    steps = []
    resumed = clone(estimator)
    resumed._watch = lambda done, planned: steps.append(done)
    resumed.fit(X)
    assert n_steps - 3 <= steps[0] <= n_steps
    assert_same(fitted_state(resumed), fitted_state(expected))
    assert resumed.loss_curve_ == expected.loss_curve_
    assert resumed.correlation_curve_ == expected.correlation_curve_


@pytest.mark.parametrize("name, value", [
    ("fired", -1), ("n_batches", 0), ("n_batches", 10**6), ("loss", -1.0), ("loss", None),
    ("correlation", [1.0]), ("correlation", [0.0, -1.0]), ("more", 1),
])  # fmt: skip
@pytest.mark.usefixtures("interruptible")
def test_fault_107_an_epoch_out_of_range(X, estimator, path, name, value):
    estimator.set_params(checkpoint=path, checkpoint_interval=0.1, warm_start=True, batch_size=8)
    stopping = clone(estimator)
    stopping._watch = lambda done, planned: done == 3 and signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        stopping.fit(X)

    def change(file):
        if name == "fired":
            file.arrays[name].fill(value)
        else:
            file.config["epoch"][name] = value

    changed(path, path, change)
    with pytest.raises(ModelFileError, match="fired" if name == "fired" else "epoch"):
        estimator.fit(X)


def test_checkpoint_is_begun_anew_without_warm_start(X, estimator, path):
    estimator.set_params(checkpoint=str(path), max_iter=1).fit(X)
    before = path.read_bytes()
    estimator.set_params(max_iter=2).fit(X)
    assert path.read_bytes() != before
    assert estimator.n_iter_ == 2


@pytest.mark.parametrize("change, match", [
    ({"max_iter": 5}, "max_iter=5"), ({"k": 3}, "k=3"), ({"n_components": 15}, "n_components"),
    ({"init": np.eye(16, 12)}, "init"),
])  # fmt: skip
def test_fault_89_checkpoint_of_another_fit(X, estimator, path, change, match):
    estimator.set_params(checkpoint=path, warm_start=True, n_estimators=1).fit(X)
    other = clone(estimator).set_params(**change)
    with pytest.raises(ModelFileError, match=match):
        other.fit(X)
    assert not hasattr(other, "components_")


def test_fault_89_checkpoint_of_other_rows(X, estimator, path):
    estimator.set_params(checkpoint=path, warm_start=True).fit(X)
    with pytest.raises(ModelFileError, match="rows"):
        clone(estimator).fit(X[:-1])
    with pytest.raises(ModelFileError, match="11 features"):
        clone(estimator).fit(X[:, :-1])
    with pytest.raises(ModelFileError, match="kind"):
        TopKSparseAutoencoder.load(path)
    with pytest.warns(UserWarning, match="checkpoint"):
        estimator.save(path)
    with pytest.raises(ModelFileError, match="kind"):
        clone(estimator).fit(X)


def test_checkpoint_that_cannot_be_written_fails_at_once(X, estimator, path, monkeypatch):
    Interrupt(monkeypatch, 0)
    estimator.set_params(checkpoint=path, random_state=np.random.RandomState(0))
    with pytest.raises(ModelFileError, match="random_state"):
        estimator.fit(X)
