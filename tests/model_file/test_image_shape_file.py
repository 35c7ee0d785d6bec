"""The shape of images in files of whole atoms: kept, not needed, and held to its rule."""

import numpy as np
import pytest
from hostile_files import File

from skl_sae import (
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ModelFileError,
    TopKSparseAutoencoder,
)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((30, 3, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("cls", [TopKSparseAutoencoder, DeepTopKSparseAutoencoder])
@pytest.mark.parametrize("optimizer", [False, True])
def test_a_file_keeps_it(images, path, cls, optimizer):
    sae = cls(8, max_iter=2, random_state=0).fit(images)
    sae.save(path, optimizer=optimizer)
    assert cls.load(path).image_shape_ == (3, 4)
    assert cls.load(path).partial_fit(images).image_shape_ == (3, 4)


def test_a_file_without_it_loads(images, path):
    TopKSparseAutoencoder(8, max_iter=1, random_state=0).fit(images).save(path)
    file = File(path)
    del file.config["image_shape"]
    file.write(path)
    assert TopKSparseAutoencoder.load(path).image_shape_ is None
    rows = images.reshape(len(images), -1)
    TopKSparseAutoencoder(8, max_iter=1, random_state=0).fit(rows).save(path)
    assert "image_shape" not in File(path).config
    assert TopKSparseAutoencoder.load(path).image_shape_ is None


@pytest.mark.parametrize(
    "value",
    [[3, 5], [12], [3, 4, 1, 1], [-3, -4], [3.0, 4], [True, 12], "34", None, {}, 12, [2**62] * 2],
)
def test_another_shape_is_refused(images, path, value):
    TopKSparseAutoencoder(8, max_iter=1, random_state=0).fit(images).save(path)
    file = File(path)
    file.config["image_shape"] = value
    file.write(path)
    with pytest.raises(ModelFileError, match="image_shape"):
        TopKSparseAutoencoder.load(path)


def test_small_atoms_have_it_elsewhere(images, path):
    sae = ConvTopKSparseAutoencoder(4, kernel_size=2, max_iter=1, random_state=0).fit(images)
    sae.save(path)
    file = File(path)
    assert "image_shape" not in file.config
    assert ConvTopKSparseAutoencoder.load(path).image_shape_ == (3, 4)
    file.config["image_shape"] = [3, 4]
    file.write(path)
    with pytest.raises(ModelFileError, match="image_shape"):
        ConvTopKSparseAutoencoder.load(path)
