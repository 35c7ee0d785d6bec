"""Files of the convolutional estimator: round trips, resumed fits, and sizes that do not fit."""

import math
import pickle

import numpy as np
import pytest
from hostile_files import File, interrupted

from skl_sae import ConvTopKSparseAutoencoder, ModelFileError, TopKSparseAutoencoder

KINDS = [
    {},
    {"stride": 4},
    {"normalize": True},
    {"transform_algorithm": "omp"},
    {"tied": True, "pooling": (2, 2), "image_shape": (12, 10, 2)},
    {"normalize": True, "tied": False, "early_stopping": True},
    {"kernel_size": (4, 3), "stride": (2, 3), "init": "random", "aux_coef": 0.0},
]


def make(**parameters):
    given = {"kernel_size": 4, "k": 9, "max_iter": 4, "random_state": 0} | parameters
    return ConvTopKSparseAutoencoder(12, **given)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((60, 12, 10, 2)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def state(estimator):
    names = "_stride", "_spread", "_tied", "_scale"
    return {
        name: value if not isinstance(value, np.ndarray) else value.tobytes()
        for name, value in vars(estimator).items() if name.endswith("_") or name in names
    }  # fmt: skip


@pytest.mark.parametrize("optimizer", [False, True])
@pytest.mark.parametrize("parameters", KINDS)
def test_round_trip(images, path, parameters, optimizer):
    estimator = make(**parameters).fit(images)
    estimator.save(path, optimizer=optimizer)
    loaded = ConvTopKSparseAutoencoder.load(path)
    assert state(loaded) == state(estimator)
    assert loaded.get_params() == estimator.get_params()
    assert (loaded.transform(images) != estimator.transform(images)).nnz == 0
    if optimizer:
        for each in (estimator, loaded):
            each.partial_fit(images)
        assert state(loaded) == state(estimator)
    unpickled = pickle.loads(pickle.dumps(estimator))
    assert (unpickled.transform(images) != estimator.transform(images)).nnz == 0


@pytest.mark.parametrize("parameters", KINDS)
def test_resumed_fit_equals_uninterrupted(images, path, parameters):
    whole = make(**parameters).fit(images)
    parameters = parameters | {"checkpoint": path, "warm_start": True}
    with interrupted(2):
        make(**parameters).fit(images)
    resumed = make(**parameters).fit(images)
    assert state(resumed) == state(whole)


def test_a_checkpoint_of_images_of_another_shape(images, path):
    parameters = {"checkpoint": path, "warm_start": True, "normalize": True}
    with interrupted(2):
        make(**parameters).fit(images)
    with pytest.raises(ModelFileError, match="images and atoms of the sizes"):
        make(**parameters).fit(images.reshape(60, 10, 12, 2))


@pytest.mark.parametrize("classes", [(0, 1), (1, 0)])
def test_a_file_of_another_class_is_refused(images, path, classes):
    kinds = TopKSparseAutoencoder, ConvTopKSparseAutoencoder
    written, read = (kinds[i] for i in classes)
    written(12, max_iter=1, random_state=0).fit(images.reshape(60, -1)).save(path)
    with pytest.raises(ModelFileError, match=f"{read.__name__}.*{written.__name__}"):
        read.load(path)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("image", "image_shape"), [12, 10, 3]),
        (("image", "image_shape"), [2, 10, 2]),
        (("image", "image_shape"), [12, 10]),
        (("image", "image_shape"), [2**30, 2**30, 2]),
        (("image", "image_shape"), [12.0, 10, 2]),
        (("image", "image_shape"), [12, True, 2]),
        (("image", "atom_shape"), [4, 5, 2]),
        (("image", "atom_shape"), [13, 4, 2]),
        (("image", "stride"), [0, 2]),
        (("image", "stride"), [5, 2]),
        (("image", "stride"), [2]),
        (("image", "spread"), 0),
        (("image", "spread"), -1.0),
        (("image", "spread"), "1"),
        (("image", "spread"), math.nan),
        (("image", "spread"), math.inf),
        (("image", "spread"), 1e200),
        (("image", "spread"), 1e-300),
        (("image", "spread"), True),
        (("image", "spread"), [1.0]),
        (("image", "image_shape"), [-12, -10, 2]),
        (("image", "image_shape"), [2**20, 2**20, 2]),
        (("image", "image_shape"), [10**400, 10, 2]),
        (("image", "image_shape"), ["12", 10, 2]),
        (("image", "atom_shape"), [-4, -4, 2]),
        (("image", "atom_shape"), [4, 4]),
        (("image", "atom_shape"), None),
        (("image", "stride"), -1),
        (("image", "stride"), [2.0, 2]),
        (("image", "stride"), [2**40, 2]),
        (("image",), {}),
        (("image",), None),
        (("image",), [12, 10, 2]),
        (("image", "further"), 1),
        (("k",), 10**6),
        (("parameters", "pooling"), 2**40),
        (("parameters", "pooling"), [2, 2, 2]),
        (("parameters", "pooling"), [0, 2]),
        (("parameters", "pooling"), math.nan),
        (("parameters", "pooling_function"), "sum"),
        (("parameters", "normalize"), "yes"),
        (("parameters", "image_shape"), [10**9, 10**9]),
        (("parameters", "image_shape"), [2**20, 2**20, 2]),
        (("parameters", "image_shape"), [240]),
        (("parameters", "image_shape"), 240),
        (("parameters", "kernel_size"), [4]),
        (("parameters", "kernel_size"), [1, -1]),
        (("parameters", "stride"), [[1], 2]),
        (("shape",), [2, 12, 32]),
        (("thresholds",), True),
    ],
)
def test_sizes_that_do_not_fit(images, path, keys, value):
    make().fit(images).save(path)
    file = File(path)
    inner = file.config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write(path)
    with pytest.raises(ModelFileError, match=path.name):
        ConvTopKSparseAutoencoder.load(path)


@pytest.mark.parametrize(
    "keys",
    [
        ("image",),
        *(("image", name) for name in ("image_shape", "atom_shape", "stride", "spread")),
        *(("parameters", name) for name in ("image_shape", "kernel_size", "stride", "pooling")),
    ],
)
def test_sizes_that_are_not_there(images, path, keys):
    make().fit(images).save(path)
    file = File(path)
    inner = file.config
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    file.write(path)
    with pytest.raises(ModelFileError, match=path.name):
        ConvTopKSparseAutoencoder.load(path)


def test_parts_above_the_places_are_refused_when_used(images, path):
    """They may suit images of another size, so a file may have them."""
    make().fit(images).set_params(pooling=20).save(path)
    loaded = ConvTopKSparseAutoencoder.load(path)
    for use in (lambda: loaded.transform(images), loaded.get_feature_names_out):
        with pytest.raises(ValueError, match="Expected pooling in at most"):
            use()
    assert loaded.transform(np.tile(images, (1, 4, 4, 1))).shape == (60, 20 * 20 * 12)


@pytest.mark.parametrize("place", ["image", "parameters"])
def test_a_flat_file_with_sizes_of_images(images, path, place):
    TopKSparseAutoencoder(12, max_iter=1, random_state=0).fit(images.reshape(60, -1)).save(path)
    file = File(path)
    if place == "image":
        file.config["image"] = {
            "image_shape": [12, 10, 2], "atom_shape": [12, 10, 2], "stride": [1, 1],
            "spread": None,
        }  # fmt: skip
    else:
        file.config["parameters"]["image_shape"] = [12, 10, 2]
    file.write(path)
    with pytest.raises(ModelFileError, match=path.name):
        TopKSparseAutoencoder.load(path)
