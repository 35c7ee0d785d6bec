"""Image variants: each transformation alone against an exact case, all together against Pillow."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skl_sae import ImageAugmenter
from skl_sae.datasets import load_photographs
from skl_sae.images import _augmenter, _homography
from skl_sae.images._homography import (
    CORNERS,
    corner_maps,
    crop_maps,
    rotation_maps,
    scale_maps,
    shift_maps,
)

OFF = {
    "rotation": 0,
    "translation": 0,
    "perspective": 0,
    "crop": 0,
    "horizontal_flip": False,
    "vertical_flip": False,
    "brightness": 0,
    "contrast": 0,
}


class Extremes(np.random.RandomState):
    """Draws the highest value that may come, and so no flip."""

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.full(size, float(high))


@pytest.fixture
def photographs():
    return load_photographs(20, size=(24, 32), random_state=1)


def variants(images, seed=0, **parameters):
    """(n_copies, n, H, W[, C]) variants with nothing switched on but the parameters."""
    shape = images.shape[1:]
    augmenter = ImageAugmenter(shape, random_state=seed, **{**OFF, **parameters})
    rows = augmenter.fit_transform(images.reshape(len(images), -1))
    np.testing.assert_array_equal(rows[: len(images)], images.reshape(len(images), -1))
    return rows[len(images) :].reshape(augmenter.n_copies, *images.shape)


def resample(images, maps):
    arguments = torch.from_numpy(images), torch.from_numpy(maps)
    return _homography.resample(*arguments).numpy()


# --- Geometry, exactly ---


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, 7, 7, 2))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_by_right_angles(images, turns):
    maps = rotation_maps(np.full(3, turns * np.pi / 2), 1.0)
    expected = np.rot90(images, turns, axes=(1, 2))
    np.testing.assert_allclose(resample(images, maps), expected, atol=1e-12)


def test_rotation_keeps_lengths_in_pictures_that_are_not_square():
    (map_,) = rotation_maps(np.array([0.3]), 24 / 16)
    pixels = np.diag([12.0, 8.0, 1.0])  # from halves of the sides to pixels
    in_pixels = pixels @ map_ @ np.linalg.inv(pixels)
    np.testing.assert_allclose(in_pixels @ in_pixels.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("axis, x, y", [(2, -1.0, 1.0), (1, 1.0, -1.0)])
def test_flips(images, axis, x, y):
    maps = scale_maps(np.full(3, x), np.full(3, y))
    np.testing.assert_allclose(resample(images, maps), np.flip(images, axis), atol=1e-12)


def test_shift_by_whole_pixels_mirrors_at_the_border(images):
    maps = shift_maps(np.full(3, 2 * 2 / 7), np.full(3, -2 * 1 / 7))
    padded = np.pad(images, [(0, 0), (1, 0), (0, 2), (0, 0)], mode="symmetric")
    np.testing.assert_allclose(resample(images, maps), padded[:, :7, 2:], atol=1e-12)


def test_crop_of_whole_pixels(images):
    """Half the width and height are left, at even places: each pixel becomes four."""
    images = np.repeat(np.repeat(images[:, :4, :4], 2, axis=1), 2, axis=2)  # 8x8
    maps = crop_maps(np.tile([[0.25], [0.25]], 3), np.tile([[0.5], [0.0]], 3))
    (left, top), (right, bottom) = (maps[0] @ [-1, -1, 1])[:2], (maps[0] @ [1, 1, 1])[:2]
    np.testing.assert_allclose([left, right, top, bottom], [-0.5, 0.5, 0, 1])
    # Between two equal pixels there is nothing to interpolate.
    got = resample(images, maps)[:, [1, 2, 5, 6]][:, :, [1, 2, 5, 6]]
    np.testing.assert_allclose(got, images[:, 4:, 2:6], atol=1e-12)


def test_corners_go_where_they_are_sent():
    corners = CORNERS + np.random.default_rng(0).uniform(-0.4, 0.4, (5, 4, 2))
    maps = corner_maps(corners)
    homogeneous = np.concatenate([CORNERS, np.ones((4, 1))], axis=1)
    places = homogeneous @ maps.transpose(0, 2, 1)
    np.testing.assert_allclose(places[..., :2] / places[..., 2:], corners, atol=1e-12)
    np.testing.assert_allclose(corner_maps(CORNERS[None])[0], np.eye(3), atol=1e-12)


def test_all_geometry_against_pillow(photographs):
    """Pillow's perspective transformation of the same map, away from the border."""
    image = photographs.data[2].reshape(24, 32, 3)
    augmenter = ImageAugmenter((24, 32, 3), random_state=3, translation=0, crop=0.3)
    (map_,), _ = augmenter._draw(1, 32 / 24)
    to_pixels = np.array([[16.0, 0, 16], [0, 12, 12], [0, 0, 1]])
    in_pixels = to_pixels @ map_ @ np.linalg.inv(to_pixels)
    in_pixels /= in_pixels[2, 2]
    got = resample(image[None].astype(np.float64), map_[None])[0]
    u, v, w = np.tensordot(in_pixels, np.array(np.meshgrid(np.r_[:32], np.r_[:24], 1))[..., 0], 1)
    inside = (np.abs(u / w - 16) < 14) & (np.abs(v / w - 12) < 10)
    assert inside.mean() > 0.3
    for channel in range(3):
        picture = Image.fromarray(image[..., channel])
        method = Image.Transform.PERSPECTIVE
        expected = picture.transform((32, 24), method, in_pixels.ravel()[:8], Image.BILINEAR)
        np.testing.assert_allclose(
            got[..., channel][inside], np.asarray(expected)[inside], atol=2e-3
        )


# --- What is drawn ---


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
def test_half_of_the_variants_are_flipped(photographs, name):
    images = photographs.data.reshape(20, 24, 32, 3)
    flipped = np.flip(images, 2 if name == "horizontal_flip" else 1)
    got = variants(images, **{name: True}, n_copies=20)
    is_flipped = np.isclose(got, flipped, atol=1e-5).all(axis=(2, 3, 4))
    is_same = np.isclose(got, images, atol=1e-5).all(axis=(2, 3, 4))
    assert (is_flipped | is_same).all()
    assert 0.4 < is_flipped.mean() < 0.6


def test_brightness_and_contrast(photographs):
    images = photographs.data.reshape(20, 24, 32, 3).astype(np.float64) / 2 + 0.1
    bright = variants(images, brightness=0.5) / images
    factors = bright[..., 0, 0, 0]
    np.testing.assert_allclose(
        bright, np.broadcast_to(factors[..., None, None, None], bright.shape)
    )
    assert 0.5 <= factors.min() < 0.6 and 1.4 < factors.max() <= 1.5
    assert len(np.unique(factors.round(6))) == factors.size

    got = variants(images, seed=Extremes(), brightness=0.1, contrast=0.9, n_copies=1)[0]
    mean = 1.1 * images.mean(axis=(1, 2, 3), keepdims=True)
    expected = mean + 1.9 * (1.1 * images - mean)
    assert expected.min() < 0
    np.testing.assert_allclose(got, np.clip(expected, 0, 1), atol=1e-12)


@pytest.mark.parametrize(
    "parameter, map_",
    [
        ({"rotation": 90}, rotation_maps(np.array([np.pi / 2]), 1.0)),
        ({"translation": 2 / 7}, shift_maps(np.array([4 / 7]), np.array([4 / 7]))),
        ({"crop": 0.25}, crop_maps(np.full((2, 1), 0.25), np.full((2, 1), 0.25))),
        ({"perspective": 0.3}, corner_maps(CORNERS[None] + 0.3)),
    ],
)
def test_amounts_are_the_largest(images, parameter, map_):
    got = variants(images, seed=Extremes(), n_copies=1, **parameter)[0]
    np.testing.assert_allclose(got, resample(images, np.tile(map_, (3, 1, 1))), atol=1e-12)


def test_zero_and_false_switch_everything_off(images):
    np.testing.assert_allclose(variants(images), np.tile(images, (5, 1, 1, 1, 1)), atol=1e-12)
    assert (
        ImageAugmenter((7, 7, 2), n_copies=0, random_state=0)
        .fit_transform(images.reshape(3, -1))
        .shape[0]
        == 3
    )
    off = dict.fromkeys(OFF, False)
    augmenter = ImageAugmenter((7, 7, 2), random_state=0, **off).fit_transform(
        images.reshape(3, -1)
    )
    np.testing.assert_allclose(augmenter[3:6], images.reshape(3, -1), atol=1e-12)


class Drawn(ImageAugmenter):
    """One variant of each image, by the maps and gains that it is given."""

    def _draw(self, n, aspect):
        return self.maps, self.gains


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
    dtype=st.sampled_from([np.float32, np.float64]),
    images_at_a_time=st.integers(1, 6),
    n_threads=st.integers(1, 4),
    chosen=st.lists(st.integers(0, 11), min_size=1, max_size=20),
)
# One image so large that torch would add up its parts in several threads.
@example((200, 300, 3), np.float32, 1, 2, list(range(12)))
@example((24, 32, 3), np.float32, 3, 1, list(range(12)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_variant_is_the_same_bits_whatever_is_beside_it(
    shape, dtype, images_at_a_time, n_threads, chosen
):
    """By any number of threads, in parts of any size, with any other rows in any order."""
    X = np.random.default_rng(0).random((12, int(np.prod(shape))), dtype=dtype)
    augmenter = Drawn(shape, n_copies=1)
    maps, gains = ImageAugmenter(shape, random_state=0)._draw(12, shape[1] / shape[0])
    augmenter.maps, augmenter.gains = maps, gains
    expected = augmenter.fit_transform(X)[12:][chosen]
    augmenter.maps, augmenter.gains = maps[chosen], gains[:, chosen]
    threads_before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        size = images_at_a_time * shape[0] * shape[1]
        patch.setattr(_augmenter, "_PIXELS_AT_A_TIME", size)
        torch.set_num_threads(n_threads)
        try:
            got = augmenter.fit_transform(X[chosen])[len(chosen) :]
        finally:
            torch.set_num_threads(threads_before)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (12, 1, 1), (2, 2, 3), (2, 6)])
def test_tiny_images(shape):
    X = np.random.default_rng(0).random((4, int(np.prod(shape))))
    rows = ImageAugmenter(shape, random_state=0).fit_transform(X)
    assert rows.shape == (24, X.shape[1])
    assert np.isfinite(rows).all() and rows.min() >= 0 and rows.max() <= 1


# --- The transformer ---


def test_fault_86_shape_and_range():
    X = np.full((4, 12), 0.5)
    with pytest.raises(ValueError, match=r"192.*\(8, 8, 3\).*12"):
        ImageAugmenter((8, 8, 3)).fit(X)
    for low, high in ((0, 255), (-1, 0.5), (0, 1.5)):
        X[0, 0], X[1, 1] = low, high
        for call in ("fit", "fit_transform"):
            with pytest.raises(ValueError, match=rf"\[0, 1\].*{low:g}.* to {high:g}"):
                getattr(ImageAugmenter((3, 4)), call)(X)


@pytest.mark.parametrize(
    "parameter",
    [
        {"image_shape": (3,)},
        {"image_shape": (3, 4, 1, 1)},
        {"image_shape": (3.0, 4)},
        {"image_shape": 12},
        {"rotation": 181},
        {"rotation": True},
        {"perspective": 0.5},
        {"crop": 0.5},
        {"translation": -0.1},
        {"brightness": 1.1},
        {"contrast": "strong"},
        {"n_copies": -1},
        {"n_copies": True},
        {"horizontal_flip": 2},
    ],
)
def test_bad_parameters(parameter):
    augmenter = ImageAugmenter(**{"image_shape": (3, 4), **parameter})
    with pytest.raises(ValueError, match=next(iter(parameter))):
        augmenter.fit_transform(np.full((4, 12), 0.5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_fault_87_seed_dtype_range_rows_and_input(photographs, dtype):
    X = photographs.data.astype(dtype)
    X.flags.writeable = False
    before = X.copy()
    augmenter = ImageAugmenter(photographs.image_shape, random_state=0)
    rows = augmenter.fit_transform(X)
    assert rows.dtype == (np.float32 if dtype == np.uint8 else dtype)
    assert rows.min() >= 0 and rows.max() <= 1
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(rows, augmenter.fit_transform(X))
    np.testing.assert_array_equal(augmenter.transform(X), X)
    other = clone(augmenter).set_params(random_state=1).fit_transform(X)
    if dtype != np.uint8:  # whose photographs are black
        assert not np.allclose(other, rows)
        # Row i + n * copy is a variant of row i: it is nearer to it than to most others.
        mild = {**OFF, "rotation": 5, "brightness": 0.05}
        mild = augmenter.set_params(**mild).fit_transform(X).reshape(6, 20, -1)
        distances = np.linalg.norm(mild[1:, :, None] - X, axis=3)
        assert (distances.argmin(axis=2) == np.arange(20)).mean() > 0.8


def test_in_an_unsupervised_pipeline(photographs):
    pipeline = make_pipeline(
        ImageAugmenter(photographs.image_shape, random_state=0), PCA(4, random_state=0)
    )
    pipeline.fit(photographs.data)
    assert pipeline.transform(photographs.data).shape == (20, 4)
    assert pipeline[-1].n_samples_ == 120


def test_labels_by_tile():
    """As the docstring has it: the labels of grown rows."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    mild = {**OFF, "translation": 0.05}
    rows = ImageAugmenter((8, 8), n_copies=3, random_state=0, **mild).fit_transform(X)
    assert len(rows) == len(np.tile(y, 4))
    means = np.stack([X[y == digit].mean(axis=0) for digit in range(10)])
    nearest = np.linalg.norm(rows[:, None] - means, axis=2).argmin(axis=1)
    assert (nearest == np.tile(y, 4)).mean() > 0.85


def test_frames_keep_the_index_of_each_image():
    frame = pd.DataFrame(np.full((2, 4), 0.5), index=["a", "b"], columns=list("wxyz"))
    augmenter = ImageAugmenter((2, 2), n_copies=2, random_state=0).set_output(transform="pandas")
    rows = augmenter.fit_transform(frame)
    assert rows.index.tolist() == ["a", "b"] * 3
    assert rows.columns.tolist() == list("wxyz")
    pd.testing.assert_frame_equal(augmenter.transform(frame), frame)


# --- scikit-learn's checks ---


class AnyRows(ImageAugmenter):
    """Takes rows of any length as one line of pixels, and any numbers.

    scikit-learn's checks have data of many widths and ranges, which the augmenter refuses; all
    else is the augmenter's own.
    """

    def _image_shape(self):
        super()._image_shape()
        return (1, self.n_features_in_, 1)

    def _check_range(self, X):
        super()._check_range(X / max(1, X.max()))


GROWS = "fit_transform returns more rows than it is given, transform as many"
EXPECTED_FAILURES = {
    "check_transformer_data_not_an_array": GROWS,
    "check_transformer_general": GROWS,
}


@parametrize_with_checks(
    [AnyRows((1, 1), random_state=0)], expected_failed_checks=lambda _: EXPECTED_FAILURES
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.touches_globals("NumPy's generator")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        *[
            # Both give the grown rows the index of the rows before.
            pytest.param(name, marks=pytest.mark.xfail(reason=GROWS, strict=True))
            for name in (
                "check_set_output_transform_pandas",
                "check_global_output_transform_pandas",
            )
        ],
        "check_param_validation",
        "check_inplace_ensure_writeable",
        "check_get_feature_names_out_error",
    ],
)
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.touches_globals("NumPy's generator")
def test_checks_that_scikit_learn_does_not_yield(name):
    getattr(estimator_checks, name)("AnyRows", AnyRows((1, 1), random_state=0))


def test_fault_110_more_variants_than_the_memory_holds():
    """Refused by their bytes, before any is drawn."""
    rows = np.zeros((2, 12), np.float32)
    for n_copies in (10**9, 10**12, 10**30):
        with pytest.raises(MemoryError, match=r"n_copies=1.* needs \d{12,} bytes"):
            ImageAugmenter((3, 4), n_copies=n_copies).fit_transform(rows)
