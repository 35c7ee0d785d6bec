"""Images that need no download."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression

from skl_sae import datasets
from skl_sae.datasets import load_photographs, make_cells


@pytest.mark.parametrize("mode, shape", [("RGB", (8, 12, 3)), ("L", (8, 12))])
def test_photographs(mode, shape):
    bunch = load_photographs(30, size=(8, 12), mode=mode)
    assert bunch.image_shape == shape
    assert bunch.data.shape == (30, np.prod(shape))
    assert bunch.data.dtype == np.float32
    assert bunch.data.min() >= 0 and bunch.data.max() <= 1
    assert bunch.data.std(axis=1).min() > 0
    assert set(bunch.target) == {0, 1}
    np.testing.assert_array_equal(bunch.data, load_photographs(30, (8, 12), mode).data)
    assert not np.array_equal(bunch.data, load_photographs(30, (8, 12), mode, random_state=1).data)


def test_subsets_share_no_pixel():
    """The parts are cut from photographs whose pixels are numbered by row."""
    for image in load_sample_images().images:
        numbered = np.broadcast_to(np.arange(image.shape[0])[:, None, None], image.shape)
        train, test = (datasets._strip(numbered, subset) for subset in ("train", "test"))
        assert train.max() < test.min()
        assert test.max() == image.shape[0] - 1
        assert len(test) > 100


def test_crops_are_resampled_parts_of_the_photograph():
    """A crop as large as the target is a plain cut."""
    image = Image.fromarray(load_sample_images().images[0])
    rng = np.random.RandomState(0)
    crop = datasets._random_crop(image, (64, 64), rng)
    assert crop.size == (64, 64)
    wide = datasets._random_crop(image.crop((0, 0, 600, 70)), (40, 20), rng)
    assert wide.size == (40, 20)


@pytest.mark.parametrize("size", [(0, 8), (8,), (8, 8, 3), (8.5, 8), (True, 8)])
def test_bad_size(size):
    with pytest.raises(ValueError, match="size"):
        load_photographs(3, size=size)


@pytest.mark.parametrize("parameter", [{"mode": "CMYK"}, {"subset": "all"}, {"n_samples": 0}])
def test_bad_parameters(parameter):
    with pytest.raises(ValueError, match=next(iter(parameter))):
        load_photographs(**{"n_samples": 3, **parameter})


def test_cells(tmp_path):
    bunch = make_cells(tmp_path / "new" / "cells", n_samples=5, size=64)
    assert bunch.target.tolist() == [0, 0, 0, 1, 1]
    assert bunch.target_names == ["round", "spindle"]
    for path, label in zip(bunch.filenames, bunch.target, strict=True):
        assert f"/{bunch.target_names[label]}/" in path.replace("\\", "/")
        with Image.open(path) as image:
            assert (image.mode, image.size, image.format) == ("L", (64, 64), "PNG")
            assert np.asarray(image).std() > 5
    again = make_cells(tmp_path / "again", n_samples=5, size=64)
    for first, second in zip(bunch.filenames, again.filenames, strict=True):
        np.testing.assert_array_equal(Image.open(first), Image.open(second))


def test_cells_classes_differ(tmp_path):
    bunch = make_cells(tmp_path, n_samples=40, size=48, random_state=1)
    rows = np.array([np.asarray(Image.open(f)).ravel() / 255 for f in bunch.filenames])
    fit, held_out = slice(None, None, 2), slice(1, None, 2)
    classifier = LogisticRegression(max_iter=500).fit(rows[fit], bunch.target[fit])
    assert classifier.score(rows[held_out], bunch.target[held_out]) >= 0.7
