"""Displays and the report know the shape of images from the estimator, or from its Pipeline."""

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import ImageAugmenter, ImageLoader, TopKSparseAutoencoder
from skl_sae.plotting import AtomDisplay, ReconstructionDisplay, SelectivityDisplay
from skl_sae.report import SAEReport

SHAPE = 6, 4, 3


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return (rng.random((40, 3)) @ rng.random((3, 72)) / 3).reshape(40, *SHAPE).astype(np.float32)


def small():
    return TopKSparseAutoencoder(8, k=2, max_iter=2, random_state=0)


def shapes(estimator, X, **given):
    """Those that the displays and the report find."""
    return [
        AtomDisplay.from_estimator(estimator, n_atoms=2, **given).image_shape,
        ReconstructionDisplay.from_estimator(estimator, X, n_images=2, **given).image_shape,
        tuple(SAEReport(estimator, X, **given).to_dict()["image_shape"]),
    ]


def test_of_an_estimator_fitted_to_images(images):
    sae, rows = small().fit(images), images.reshape(len(images), -1)
    for given in (images, rows):
        assert shapes(sae, given) == [SHAPE] * 3
    assert shapes(make_pipeline(ImageAugmenter(SHAPE).fit(rows), sae), rows) == [SHAPE] * 3
    np.testing.assert_array_equal(ReconstructionDisplay.from_estimator(sae, images).X, rows[:5])
    assert SAEReport(sae, images).html() == SAEReport(sae, rows, image_shape=SHAPE).html()
    SelectivityDisplay.from_estimator(sae, images, np.arange(40) % 2)


def test_what_is_given_wins(images):
    other = 3, 8, 3
    assert shapes(small().fit(images), images, image_shape=other) == [other] * 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_of_a_pipeline_that_loads_them(tmp_path, mode):
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for path, pixels in zip(paths, np.random.default_rng(0).random((8, 12, 12, 3)), strict=True):
        Image.fromarray(np.uint8(255 * pixels)).save(path)
    sae, loader = small(), ImageLoader(SHAPE[:2], mode)
    expected = SHAPE if mode == "RGB" else SHAPE[:2]
    pipeline = make_pipeline(loader, ImageAugmenter(expected, n_copies=0), sae).fit(paths)
    assert sae.image_shape_ is None
    assert shapes(pipeline, paths) == [expected] * 3
    changed = make_pipeline(loader, StandardScaler(), sae).fit(paths)
    with pytest.raises(ValueError, match="Expected image_shape"):
        AtomDisplay.from_estimator(changed)


def test_of_rows_it_has_to_be_told(images):
    rows = images.reshape(len(images), -1)
    for estimator in (small().fit(rows), PCA(3).fit(rows)):
        with pytest.raises(ValueError, match=r"Expected image_shape=.*fitted to rows.*got None"):
            AtomDisplay.from_estimator(estimator, order=None)
        with pytest.raises(ValueError, match="Expected image_shape"):
            ReconstructionDisplay.from_estimator(estimator, rows)
    with pytest.raises(ValueError, match="Expected image_shape"):
        SAEReport(small().fit(rows), rows)
