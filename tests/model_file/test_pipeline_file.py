"""Files of Pipelines, and of any estimator: the same again, or refused."""

import functools
import json
import operator
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hostile_files import VALUES, changed
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skl_sae
from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    CodePooling,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ImageAugmenter,
    ImageEmbedder,
    ImageLoader,
    ModelFileError,
    TopKSparseAutoencoder,
    find_images,
    load,
    save,
)
from skl_sae._model_file import _safetensors
from skl_sae.datasets import make_cells

SMALL = {"max_iter": 2, "batch_size": 8, "random_state": 0, "device": "cpu"}


def flat(**others):
    return TopKSparseAutoencoder(16, k=3, **SMALL, **others)


def conv(**others):
    return ConvTopKSparseAutoencoder(
        6, image_shape=(6, 8), kernel_size=4, k=6, **SMALL, **others
    )  # fmt: skip


def bagging():
    return BaggingSparseAutoencoder(flat(), 2, random_state=0)


ESTIMATORS = [
    flat(), conv(), DeepTopKSparseAutoencoder(16, k=3, n_encoder_layers=2, **SMALL), bagging(),
    BoostingSparseAutoencoder([("flat", flat()), ("conv", conv())], random_state=0),

]  # fmt: skip


@pytest.fixture(scope="module")
def filenames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    make_cells(folder, n_samples=24, size=16)
    return find_images(folder).filenames


@pytest.fixture(scope="module")
def X(filenames):
    return loader().transform(filenames)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def loader(**others):
    return ImageLoader((6, 8), "L", **others)


def steps():
    return [
        make_pipeline(loader(aspect="pad", n_jobs=2, verbose=False), flat(n_estimators=2)),
        Pipeline(
            [("read", loader()), ("vary", ImageAugmenter((6, 8), n_copies=1, random_state=3)),
             ("code", conv(pooling=(2, 1)))],
            verbose=False,
        ),
        make_pipeline(loader(), bagging()),
        make_pipeline(loader(), clone(ESTIMATORS[4]).set_params(sparse_output=False), flat()),
    ]  # fmt: skip


def same(a, b):
    return (sp.csr_matrix(a) != sp.csr_matrix(b)).nnz == 0


@pytest.mark.parametrize("number", range(4))
def test_pipeline_there_and_back(number, filenames, path):
    pipeline = clone(steps()[number]).fit(filenames)
    save(pipeline, path)
    loaded = load(path)
    assert type(loaded) is Pipeline
    assert repr(loaded.get_params()) == repr(pipeline.get_params())
    assert same(loaded.transform(filenames), pipeline.transform(filenames))
    for (_, step), (_, again) in zip(pipeline.steps, loaded.steps, strict=True):
        fitted = {name for name in vars(step) if name.endswith("_") and name[0] != "_"}
        assert vars(again).keys() >= fitted
    content = path.read_bytes()
    save(loaded, path)
    assert path.read_bytes() == content
    clone(loaded).fit(filenames)  # what is loaded can be fitted anew


def test_small_atoms_in_images_of_another_size(filenames, X, path):
    other = ImageLoader((7, 9), "L")
    pipeline = make_pipeline(other, conv().fit(X).set_params(image_shape=(7, 9, 1)))
    save(pipeline, path)
    assert same(load(path).transform(filenames), pipeline.transform(filenames))


def test_pipeline_of_places_with_names(X, path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"number {i}" for i in range(X.shape[1])])
    pipeline = make_pipeline(flat(), CodePooling((2, 2), "mean", parts=(1, 2))).fit(frame)
    save(pipeline, path)
    loaded = load(path)
    assert loaded[0].feature_names_in_.tolist() == frame.columns.tolist()
    assert loaded[1].n_features_in_ == 16
    assert same(loaded.transform(frame), pipeline.transform(frame))
    pipeline = make_pipeline(ImageAugmenter((6, 8), n_copies=0), flat()).fit(frame)
    save(pipeline, path)
    assert load(path)[0].feature_names_in_.tolist() == frame.columns.tolist()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_single_estimators(estimator, X, path):
    estimator = clone(estimator).fit(X)
    save(estimator, path)
    loaded = load(path)
    assert type(loaded) is type(estimator)
    assert same(loaded.transform(X), estimator.transform(X))
    estimator.save(path)
    assert type(load(path)) is type(estimator)
    if type(estimator) is TopKSparseAutoencoder:
        save(estimator, path, optimizer=True)
        assert load(path)._trainer is not None


def test_what_the_command_keeps_besides(filenames, path):
    pipeline = clone(steps()[0]).fit(filenames)
    pipeline.target_names_ = ["round", "größer"]
    pipeline.held_out_ = {
        "n_learned": 20, "n_images": 4, "n_active": 3.5, "correlation": None, "fvu": 0.25,
    }  # fmt: skip
    save(pipeline, path)
    loaded = load(path)
    assert loaded.target_names_ == pipeline.target_names_
    assert loaded.held_out_ == pipeline.held_out_
    for names in ([], ["a\x1b[31m"], ["x" * 300], [1], "round", [f"{i:200}" for i in range(200)]):
        pipeline.target_names_ = names
        with pytest.raises(ModelFileError, match="target_names"):
            save(pipeline, path)
    assert load(path).target_names_ == loaded.target_names_  # the file is what it was


class Derived(TopKSparseAutoencoder):
    pass


REFUSED = {
    "network": lambda: (ImageEmbedder(torch.nn.Flatten(), image_shape=(6, 8)), "program"),
    "scaler": lambda: (StandardScaler(), "pickle"),
    "passthrough": lambda: ("passthrough", "passthrough"),
    "derived": lambda: (Derived(16, **SMALL), "got 'odd', of class Derived"),
    "nested": lambda: (make_pipeline(CodePooling(1)), "side by side"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_steps_are_refused_with_the_reason(name, X, path):
    step, reason = REFUSED[name]()
    pipeline = Pipeline([("code", flat().fit(X)), ("odd", step)])
    with pytest.raises(ModelFileError, match=reason) as caught:
        save(pipeline, path)
    assert "Expected steps of" in str(caught.value) and not path.exists()


def test_other_pipelines_are_refused(X, filenames, path):
    sae = flat().fit(X)
    for pipeline, match in [
        (make_pipeline(sae, loader()), "ImageLoader"),
        (make_pipeline(ImageLoader((6, 9), "L"), sae), "48 numbers an image.*got 54"),
        (make_pipeline(ImageLoader((6, 8)), sae), "got 144"),
        (make_pipeline(loader(), CodePooling(1), sae), "CodePooling"),
        (make_pipeline(loader(), conv().fit(X).set_params(image_shape=(6, 9))), "of 54 numbers"),
        (make_pipeline(loader(), CodePooling(1)), "alone"),
        (make_pipeline(sae, CodePooling(2**21)), "n_places"),
        (make_pipeline(loader(n_jobs=5000), sae), "n_jobs"),
        (Pipeline([("a__b", loader()), ("code", sae)]), "steps"),
        (Pipeline([("code", loader()), ("code", sae)]), "steps"),
        (make_pipeline(loader(), sae, transform_input=["X"]), "transform_input"),
        (make_pipeline(loader(), sae, LogisticRegression()), "LogisticRegression"),
        (PCA(2).fit(X), "got a PCA"), (loader(), "got a ImageLoader"),
    ]:  # fmt: skip
        with pytest.raises(ModelFileError, match=match):
            save(pipeline, path)
    for unfitted in (make_pipeline(loader(), flat()), make_pipeline(ImageAugmenter((6, 8)), sae)):
        with pytest.raises(NotFittedError):
            save(unfitted, path)
    assert not path.exists()


def test_no_path_is_kept(X, filenames, path, tmp_path):
    pipeline = make_pipeline(loader(), flat().fit(X), memory=str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="memory and checkpoint are left out"):
        save(pipeline, path)
    assert load(path).memory is None
    assert b"cache" not in path.read_bytes()


@pytest.mark.parametrize("model", [flat, conv, bagging])
def test_a_class_loads_its_autoencoder_from_a_pipeline(X, path, model):
    """As from the command's file, which once held nothing else."""
    fitted = model().fit(X)
    save(make_pipeline(loader(), fitted), path)
    again = type(fitted).load(path)
    assert type(again) is type(fitted)
    np.testing.assert_array_equal(again.transform(X).toarray(), fitted.transform(X).toarray())


def test_load_says_what_a_file_is(X, path, tmp_path):
    save(make_pipeline(loader(), flat().fit(X)), path)
    for cls in (ConvTopKSparseAutoencoder, BaggingSparseAutoencoder):
        with pytest.raises(ModelFileError, match=r"Pipeline of a TopKSp.*skl_sae\.load reads"):
            cls.load(path)
    sae = flat(checkpoint=path)
    sae.fit(X)
    with pytest.raises(ModelFileError, match="checkpoint of a fit"):
        load(path)
    path.write_text("no model")
    with pytest.raises(ModelFileError, match="Expected"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    changed_class = changed(_model(X, path), path, lambda file: file.metadata.update({"class": []}))
    with pytest.raises(ModelFileError, match="metadata of text"):
        load(changed_class)
    with pytest.raises(ModelFileError, match="Expected class"):
        load(changed(_model(X, path), path, lambda f: f.metadata.update({"class": "ImageLoader"})))


def _model(X, path):
    save(flat().fit(X), path)
    return path


@pytest.mark.parametrize("is_pipeline", [True, False])
@pytest.mark.parametrize("model", [flat, bagging])
def test_a_file_is_opened_and_its_header_read_once(X, path, model, is_pipeline):
    """So that no other file comes in its place in between."""
    fitted = model().fit(X)
    save(make_pipeline(loader(), fitted) if is_pipeline else fitted, path)
    for read in (load, type(fitted).load):
        with mock.patch.object(
            _safetensors, "_read_header", wraps=_safetensors._read_header
        ) as headers:
            read(path)
        assert headers.call_count == 1


@pytest.mark.parametrize("read", [load, TopKSparseAutoencoder.load, BaggingSparseAutoencoder.load])
@pytest.mark.parametrize("is_pipeline", [True, False])
def test_another_version_is_told_where_it_is_read(X, path, read, is_pipeline):
    fitted = (bagging() if read == BaggingSparseAutoencoder.load else flat()).fit(X)
    save(make_pipeline(loader(), fitted) if is_pipeline else fitted, path)

    def older(file):
        versions = json.loads(file.metadata["versions"]) | {"skl_sae": "0.0.9"}
        file.metadata["versions"] = json.dumps(versions)

    changed(path, path, older)
    with pytest.warns(UserWarning, match=r"0\.0\.9") as caught:
        read(path)
    assert [warning.filename for warning in caught] == [__file__]


# Items of a file, and values that would take memory, threads or a terminal.
HOSTILE = [
    (["steps", 0, "config", "parameters", "size"], [2**19, 2**19]),
    (["steps", 0, "config", "parameters", "size"], [6]),
    (["steps", 0, "config", "parameters", "mode"], "RGB"),
    (["steps", 0, "config", "parameters", "n_jobs"], 10**6),
    (["steps", 0, "config", "parameters", "max_pixels"], 2**40),
    (["steps", 0, "config", "parameters", "aspect"], "os.system"),
    (["steps", 0, "config", "n_features"], 5),
    (["steps", 0, "class"], "ImageEmbedder"),
    (["steps", 0, "class"], "FunctionTransformer"),
    (["steps", 0, "class"], "TopKSparseAutoencoder"),
    *((["steps", 0, "name"], name) for name in ("codepooling", "memory", "")),
    (["steps", 1, "config", "parameters", "n_copies"], 2**40),
    (["steps", 1, "config", "parameters", "image_shape"], [2**20, 2**20]),
    (["steps", 2, "config", "shape"], [1, 16, 47]),
    (["steps", 3, "config", "parameters", "n_places"], 2**30),
    (["steps", 3, "config", "feature_names"], 2**30),
    (["steps"], []), (["steps"], [{}] * 3), (["held_out"], {"fvu": -1}), (["memory"], "bait"),
    (["target_names"], ["\x1b[2J"]), (["verbose"], 10**9),
]  # fmt: skip


def paths(node, before=()):
    """The places of all values in a configuration."""
    keys = node if isinstance(node, dict) else range(len(node)) if type(node) is list else ()
    for key in keys:
        yield (*before, key)
        yield from paths(node[key], (*before, key))


def with_value(path, place, value):
    """A copy of a file with another value at a place of its configuration."""

    def change(file):
        *holders, last = place
        functools.reduce(operator.getitem, holders, file.config)[last] = value

    return changed(path, path.with_name("hostile"), change)


@pytest.fixture(scope="module")
def whole(filenames, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    pipeline = make_pipeline(loader(), ImageAugmenter((6, 8)), flat(), CodePooling(1))
    save(pipeline.fit(filenames), path)
    return path


@pytest.mark.parametrize(("place", "value"), HOSTILE, ids=str)
def test_hostile_pipelines(whole, place, value):
    with pytest.raises(ModelFileError):
        load(with_value(whole, place, value))


def test_any_value_anywhere_is_refused_or_harmless(whole):
    rng, places = np.random.default_rng(0), []
    changed(whole, whole.with_name("hostile"), lambda file: places.extend(paths(file.config)))
    n_refused = 0
    for place in places:
        hostile = with_value(whole, place, VALUES[rng.integers(len(VALUES))])
        try:
            assert type(load(hostile)) is Pipeline
        except ModelFileError as error:
            assert str(error).isprintable() and len(str(error)) < 1000
            n_refused += 1
    assert n_refused > len(places) // 3


def test_the_names_are_public():
    assert {"load", "save"} <= set(skl_sae.__all__)
