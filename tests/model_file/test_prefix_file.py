"""Files of models with prefixes."""

import numpy as np
import pytest
from hostile_files import File

from skl_sae import ModelFileError, TopKSparseAutoencoder

NAMES = "components_", "encoder_", "encoder_bias_", "centers_", "atom_frequency_", "loss_curve_"


@pytest.fixture
def X():
    return np.random.default_rng(0).random((60, 64)).astype(np.float32)


def nested(**parameters):
    given = {"n_components": 96, "k": 6, "prefixes": (4, 24), "max_iter": 2, "random_state": 0}
    return TopKSparseAutoencoder(**given | parameters)


def assert_same(one, other):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_a_prefix_of_given_atoms_can_be_kept(X, tmp_path):
    path = tmp_path / "given.safetensors"
    sae = nested(init=np.random.default_rng(0).standard_normal((96, 64))).fit(X)
    sae.prefix(24).save(path)
    assert TopKSparseAutoencoder.load(path).init.shape == (24, 64)


def test_files_keep_prefixes_and_what_partial_fit_needs(X, tmp_path):
    path = tmp_path / "nested.safetensors"
    sae = nested(prefixes=np.array([4, 24])).fit(X)
    sae.save(path, optimizer=True)
    loaded = TopKSparseAutoencoder.load(path)
    assert loaded.prefixes == (4, 24)
    assert_same(loaded.partial_fit(X), sae.partial_fit(X))
    small = sae.prefix(24)
    small.save(path)
    loaded = TopKSparseAutoencoder.load(path)
    assert_same(loaded, small)
    assert (loaded.transform(X) != small.transform(X)).nnz == 0
    sae.prefixes = (4, 97)
    with pytest.raises(ModelFileError, match="prefixes"):
        sae.save(path)


@pytest.mark.parametrize(
    "value", [[], [0], [97], [24, 4], [4, 4], [4.0], ["4"], [True], [None], 4, "4", {}, [[4]]]
)
def test_files_with_prefixes_that_are_no_sizes(X, tmp_path, value):
    path = tmp_path / "nested.safetensors"
    nested().fit(X).save(path)
    file = File(path)
    file.config["parameters"]["prefixes"] = value
    file.write(path)
    with pytest.raises(ModelFileError, match="prefixes"):
        TopKSparseAutoencoder.load(path)


def test_a_file_from_before_there_were_prefixes(X, tmp_path):
    path = tmp_path / "old.safetensors"
    nested(prefixes=None).fit(X).save(path)
    file = File(path)
    del file.config["parameters"]["prefixes"]
    file.write(path)
    assert TopKSparseAutoencoder.load(path).prefixes is None
