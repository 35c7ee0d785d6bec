"""Arrays of images, and lists of Pillow's, given to estimators as they are."""

import contextlib
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ImageAugmenter,
    ImageEmbedder,
    ImageLoader,
    LazyRows,
    TopKSparseAutoencoder,
    reconstruction_correlation,
)
from skl_sae._training import _lazy
from skl_sae.inspection import reconstruction_figures

N, SHAPE = 60, (6, 4)


def flat(**parameters):
    return TopKSparseAutoencoder(8, k=2, max_iter=2, random_state=0).set_params(**parameters)


def conv(**parameters):
    sae = ConvTopKSparseAutoencoder(4, kernel_size=3, k=4, max_iter=2, random_state=0)
    return sae.set_params(**parameters)


ESTIMATORS = {
    "flat": flat(),
    "members": flat(n_estimators=2),
    "deep": DeepTopKSparseAutoencoder(8, k=2, max_iter=2, random_state=0),
    "bagging": BaggingSparseAutoencoder(flat(), 2, random_state=0),
    "boosting": BoostingSparseAutoencoder([("a", flat()), ("b", flat())], random_state=0),
}


def images_of(shape):
    rng = np.random.default_rng(0)
    n_features = int(np.prod(shape))
    return (rng.random((N, 3)) @ rng.random((3, n_features)) / 3).reshape(N, *shape)


@pytest.fixture(scope="module", params=[SHAPE, (*SHAPE, 3), (*SHAPE, 1)], ids=str)
def images(request):
    return images_of(request.param).astype(np.float32)


@pytest.fixture(scope="module")
def pixels():
    return np.rint(255 * images_of(SHAPE)).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(pixels):
    return list(map(Image.fromarray, pixels))


def rows_of(images):
    return images.reshape(len(images), -1)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_same_as_their_rows(images, tmp_path, name):
    of_images = clone(ESTIMATORS[name]).fit(images)
    of_rows, rows = clone(ESTIMATORS[name]).fit(rows_of(images)), rows_of(images)
    shape = images.shape[1:3] if images.shape[3:] == (1,) else images.shape[1:]
    assert of_images.image_shape_ == shape
    assert of_rows.image_shape_ is None
    assert of_images.n_features_in_ == rows.shape[1]
    codes = of_rows.transform(rows)
    for given in (images, rows):
        assert (of_images.transform(given) != codes).nnz == 0
        assert of_images.score(given) == of_rows.score(rows)
        np.testing.assert_array_equal(of_images.score_samples(given), of_rows.score_samples(rows))
    assert (of_rows.transform(images) != codes).nnz == 0
    assert (clone(of_images).fit_transform(images) != codes).nnz == 0
    assert (of_images.transform_to(images, tmp_path / "codes.npz") != codes).nnz == 0
    assert of_images.inverse_transform(codes).shape == rows.shape
    assert reconstruction_correlation(of_images, images) == pytest.approx(of_images.score(rows))


@pytest.mark.parametrize("name", ["flat", "members", "deep"])
def test_partial_fit(images, name):
    of_images, of_rows = (clone(ESTIMATORS[name]) for _ in range(2))
    for _ in range(2):
        of_images.partial_fit(images)
        of_rows.partial_fit(rows_of(images))
    np.testing.assert_array_equal(of_images.components_, of_rows.components_)
    assert of_images.image_shape_ in (images.shape[1:], images.shape[1:3])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_another_shape_is_refused(name):
    images = images_of(SHAPE)
    fitted = clone(ESTIMATORS[name]).fit(images)
    for other in (images.reshape(N, 4, 6), images.reshape(N, 2, 4, 3)):
        with pytest.raises(ValueError, match=r"Expected images of shape \(6, 4\), .*got \("):
            fitted.transform(other)
    with pytest.raises(ValueError, match="features"):
        fitted.transform(rows_of(images)[:, :-1])
    with pytest.raises(ValueError, match="at least one image"):
        fitted.transform(images[:0])
    with pytest.raises(ValueError, match=r"Expected rows .*got an array of shape \(60, 2, 3, 2, 2"):
        fitted.transform(images.reshape(N, 2, 3, 2, 2))


def test_a_fit_that_fails_leaves_what_was_known():
    images = images_of(SHAPE)
    fitted = flat().fit(images)
    with pytest.raises(ValueError, match="NaN"):
        fitted.fit(np.full((5, 3, 3), np.nan))
    assert fitted.image_shape_ == SHAPE
    assert fitted.fit(rows_of(images)).image_shape_ is None
    fitted = flat(warm_start=True).fit(images)
    with pytest.raises(ValueError, match="Expected images of shape"):
        fitted.fit(images.reshape(N, 4, 6))
    assert fitted.fit(images).image_shape_ == SHAPE


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_is_pickled_and_saved(tmp_path, name):
    images = images_of((*SHAPE, 3))
    fitted, path = clone(ESTIMATORS[name]).fit(images), tmp_path / "model.safetensors"
    fitted.save(path)
    for loaded in (type(fitted).load(path), pickle.loads(pickle.dumps(fitted))):
        assert loaded.image_shape_ == (*SHAPE, 3)
        assert (loaded.transform(images) != fitted.transform(images)).nnz == 0
    assert not hasattr(clone(fitted), "image_shape_")


def test_old_pickles_do_not_know_it(images):
    fitted = flat().fit(images)
    del fitted.image_shape_
    assert pickle.loads(pickle.dumps(fitted)).image_shape_ is None
    assert not hasattr(pickle.loads(pickle.dumps(flat())), "image_shape_")


def test_prefixes_know_it(images):
    fitted = flat(prefixes=(4,)).fit(images)
    assert fitted.prefix(4).image_shape_ == fitted.image_shape_


@pytest.mark.parametrize("estimator", [flat(), conv()], ids=["flat", "small atoms"])
def test_an_augmenter_tells_it(estimator):
    rows = rows_of(images_of(SHAPE))
    augmenter = ImageAugmenter((*SHAPE, 1), n_copies=1, random_state=0)
    assert clone(estimator).set_params(augmenter=augmenter).fit(rows).image_shape_ == SHAPE


class Shapeless(ImageAugmenter):
    """An augmenter whose image_shape is something else."""

    def fit_transform(self, X, y=None):
        return X


@pytest.mark.parametrize("shape", [(2, 2), (0,), "24", None, 24, (24, "1")])
def test_another_augmenter_does_not(shape):
    rows = rows_of(images_of(SHAPE))
    assert flat(augmenter=Shapeless(shape)).fit(rows).image_shape_ is None


def test_members_of_all_kinds_know_it(tmp_path):
    images = images_of(SHAPE)
    both = BoostingSparseAutoencoder([("flat", flat()), ("small", conv())]).fit(images)
    assert [member.image_shape_ for member in both.estimators_] == [SHAPE, SHAPE]
    both.save(tmp_path / "model")
    loaded = BoostingSparseAutoencoder.load(tmp_path / "model")
    assert loaded.image_shape_ == SHAPE
    assert (loaded.transform(images) != both.transform(rows_of(images))).nnz == 0
    both = BoostingSparseAutoencoder([("flat", flat()), ("small", conv(image_shape=SHAPE))])
    assert both.fit(rows_of(images)).image_shape_ == SHAPE


def test_numbers_are_taken_as_they_are(pixels):
    fitted = flat().fit(pixels)
    assert fitted.centers_.max() > 50
    assert (fitted.transform(pixels) != fitted.transform(pixels.astype(np.float64))).nnz == 0
    for given in (list(pixels), tuple(pixels), pixels.tolist(), torch.from_numpy(pixels)):
        assert (fitted.transform(given) != fitted.transform(pixels)).nnz == 0


# --- Pillow's images ---


@pytest.mark.parametrize("estimator", [flat(), conv(), ESTIMATORS["bagging"]], ids=repr)
def test_pictures_are_in_0_to_1(pixels, pictures, estimator):
    of_pictures, of_rows = clone(estimator).fit(pictures), clone(estimator).fit(pixels / 255)
    assert of_pictures.image_shape_ == SHAPE
    codes = of_rows.transform(pixels / 255)
    for given in (pictures, tuple(pictures), pd.Series(pictures)):
        assert (of_pictures.transform(given) != codes).nnz == 0
    figures = [
        reconstruction_figures(of_pictures, given).fvu
        for given in (pictures, pixels / np.float32(255))
    ]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "LA", "RGB", "RGBA", "CMYK"])
def test_pictures_are_what_the_loader_makes_of_their_files(pixels, tmp_path, mode):
    rgb = np.stack([pixels, pixels[::-1], pixels[:, ::-1]], axis=3)
    if mode == "I;16":
        made = [Image.fromarray(image.astype(np.uint16) * 200) for image in pixels[:5]]
    else:
        made = [Image.fromarray(image).convert(mode) for image in rgb[:5]]
    for i, picture in enumerate(made):
        picture.getexif()[0x0112] = 6  # to be rotated by a quarter
        suffix = "jpg" if mode == "CMYK" else "png"
        picture.save(tmp_path / f"{i}.{suffix}", exif=picture.getexif())
    paths = sorted(tmp_path.iterdir())
    channels = "L" if mode in ("1", "L", "I;16") else "RGB"
    expected = ImageLoader(SHAPE[::-1], channels).transform(paths)
    with contextlib.ExitStack() as files:
        opened = [files.enter_context(Image.open(path)) for path in paths]
        fitted = flat(n_components=4).fit(opened)
        assert fitted.image_shape_ == (*SHAPE[::-1], *((3,) if channels == "RGB" else ()))
        assert (fitted.transform(opened) != fitted.transform(expected)).nnz == 0


def test_pictures_must_be_alike(pictures):
    first, odd = pictures[:3], pictures[3]
    for other, words in (
        (odd.convert("RGB"), "one mode, L as the first has, got RGB of number 3"),
        (odd.resize((4, 5)), r"one height and width, \(6, 4\) as the first has, got \(5, 4\)"),
        (np.asarray(odd), "of Pillow only, got a ndarray as number 3"),
    ):
        with pytest.raises(ValueError, match=f"Expected images .*{words}"):
            flat().fit([*first, other])
    with pytest.raises(ValueError, match=r"list of images, got one image of size \(4, 6\)"):
        flat().fit(odd)
    with pytest.raises(ValueError, match="range"):
        flat().fit([odd.convert("F")])
    with pytest.raises(ValueError, match=r"one shape, \(6, 4\) as the first has, got \(5, 4\)"):
        flat().fit([np.asarray(odd), np.asarray(odd)[:5]])


def test_in_scikit_learns_tools(pictures):
    assert np.isfinite(cross_val_score(flat(), pictures, cv=2)).all()
    images = np.array([np.asarray(picture) for picture in pictures])
    assert np.isfinite(cross_val_score(flat(), images, cv=2)).all()
    augmented = make_pipeline(ImageAugmenter(SHAPE, n_copies=1, random_state=0), flat())
    np.testing.assert_array_equal(
        augmented.fit(pictures)[-1].components_,
        augmented.fit(images / np.float32(255))[-1].components_,
    )


def test_the_augmenter_and_a_network_take_them(pixels, pictures):
    with pytest.raises(ValueError, match=r"Expected images of image_shape=\(4, 6\), got \(6, 4\)"):
        ImageAugmenter((4, 6)).fit(pictures)
    embedder = ImageEmbedder(torch.nn.Flatten())
    np.testing.assert_allclose(embedder.fit_transform(pictures), rows_of(pixels) / 255, rtol=1e-6)


# --- Read when they are asked for ---


@pytest.mark.parametrize("name", ["flat", "boosting"])
@pytest.mark.parametrize("is_mapped", [True, False])
def test_images_that_are_read_when_asked_for(monkeypatch, tmp_path, name, is_mapped):
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 100)
    images = images_of((*SHAPE, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    lazy = np.load(tmp_path / "images.npy", mmap_mode="r")
    if not is_mapped:
        lazy = LazyRows(lambda start, stop: images[start:stop], images.shape)
    fitted = clone(ESTIMATORS[name]).fit(lazy)
    assert fitted.image_shape_ == (*SHAPE, 3)
    assert fitted.score(lazy) == pytest.approx(fitted.score(rows_of(images)), abs=1e-6)
    assert (fitted.transform(lazy) != fitted.transform(images)).nnz == 0
    with pytest.raises(ValueError, match="Expected images of shape"):
        fitted.transform(LazyRows(lambda start, stop: None, (N, 3, 8, 3)))
