"""Files of the deep estimator with numbers of layers that do not fit."""

import math

import numpy as np
import pytest
from hostile_files import File

from skl_sae import DeepTopKSparseAutoencoder, ModelFileError, TopKSparseAutoencoder


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).random((60, 12)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def make(sizes=()):
    return DeepTopKSparseAutoencoder(
        16, decoder_hidden_layer_sizes=sizes, max_iter=2, random_state=0
    )


@pytest.fixture(scope="module")
def saved(rows, tmp_path_factory):
    """A file by the sizes of the decoder's hidden layers; fitted once."""
    folder = tmp_path_factory.mktemp("deep")
    for sizes in ((), (4,), (6, 4)):
        make(sizes).fit(rows).save(folder / str(sizes))
    return lambda sizes=(): File(folder / str(sizes))


def refused(file, path, cls=DeepTopKSparseAutoencoder):
    file.write(path)
    with pytest.raises(ModelFileError, match=path.name):
        cls.load(path)


def test_files_that_are_not_changed(saved, path):
    for sizes in ((), (4,), (6, 4)):
        saved(sizes).write(path)
        assert DeepTopKSparseAutoencoder.load(path).decoder_hidden_layer_sizes == sizes


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("n_corrections",), value) for value in (
            0, 1, 3, -1, 2**40, 2**63, 10**400, 2.0, True, "2", None, math.nan, [2],
        )),
        *((("parameters", "n_encoder_layers"), value) for value in (0, -1, 2.5, "3", None, True)),
        (("tied",), False),
        (("thresholds",), True),
        (("shape",), [2, 16, 12]),
        (("optimizer",), {"n_steps": 0, "sparse": True}),
        (("image",), {}),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit(saved, path, keys, value):
    file = saved()
    inner = file.config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    refused(file, path)


def test_layers_that_are_not_there_and_a_flat_file_that_has_some(rows, saved, path):
    file = saved()
    del file.config["n_corrections"]
    refused(file, path)
    TopKSparseAutoencoder(16, max_iter=1, random_state=0).fit(rows).save(path)
    file = File(path)
    file.config["n_corrections"] = 0
    refused(file, path, TopKSparseAutoencoder)


@pytest.mark.parametrize(
    "sizes", [[8], [4, 6], [6, 4, 4], [], [0, 4], [6, 2**62], [6.0, 4], [True, 4], "64", None, {}]
)
def test_sizes_of_the_decoder_that_do_not_fit(saved, path, sizes):
    file = saved((6, 4))
    file.config["decoder_sizes"] = sizes
    refused(file, path)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_weights_of_the_decoder_that_are_no_numbers(saved, path, number):
    file = saved((4,))
    file.arrays["decoder.1"][0, 0] = number
    refused(file, path)
