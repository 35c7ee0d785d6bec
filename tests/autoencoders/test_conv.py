"""ConvTopKSparseAutoencoder as a user meets it."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skl_sae import ConvTopKSparseAutoencoder, ImageAugmenter, reconstruction_correlation
from skl_sae.datasets import load_photographs

PURSUED = {"transform_algorithm": "omp"}
KINDS = [
    {},
    {"stride": 8},
    {"stride": 3},
    {"normalize": True},
    PURSUED,
    {"tied": True},
]


def make(**parameters):
    given = {"kernel_size": 8, "k": 30, "max_iter": 2, "random_state": 0} | parameters
    return ConvTopKSparseAutoencoder(48, **given)


@pytest.fixture(scope="module")
def photographs():
    return load_photographs(120, (32, 32)).data.reshape(-1, 32, 32, 3)


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:200].astype(np.float32)


def maps(estimator, images):
    codes = estimator.transform(images).toarray()
    return codes.reshape(len(images), *estimator.maps_shape_)


@pytest.mark.parametrize("parameters", KINDS)
def test_rows_and_arrays_are_the_same(photographs, parameters):
    rows = photographs.reshape(len(photographs), -1)
    of_arrays = make(**parameters).fit(photographs)
    of_rows = make(image_shape=(32, 32, 3), **parameters).fit(rows)
    np.testing.assert_array_equal(of_arrays.components_, of_rows.components_)
    codes = of_arrays.transform(photographs[:9])
    assert (codes != of_rows.transform(rows[:9])).nnz == 0
    assert (codes != of_arrays.transform(rows[:9])).nnz == 0
    assert of_arrays.n_features_in_ == of_rows.n_features_in_ == 32 * 32 * 3
    assert of_arrays.image_shape_ == of_rows.image_shape_ == (32, 32, 3)
    assert of_arrays.score(photographs) == of_rows.score(rows)


@pytest.mark.parametrize("parameters", KINDS)
def test_codes_have_at_most_k_numbers(photographs, parameters):
    estimator = make(**parameters).fit(photographs)
    codes = estimator.transform(photographs)
    assert sp.issparse(codes)
    assert codes.dtype == np.float32
    assert codes.has_sorted_indices
    assert codes.shape == (120, np.prod(estimator.maps_shape_))
    assert 0 < np.diff(codes.indptr).min() <= np.diff(codes.indptr).max() <= estimator.k_ == 30
    if parameters != {"transform_algorithm": "omp"}:
        assert codes.data.min() > 0
    assert len(estimator.get_feature_names_out()) == codes.shape[1]
    np.testing.assert_allclose(np.linalg.norm(estimator.components_, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("parameters", [kind for kind in KINDS if kind != PURSUED])
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_shifted_image_has_the_same_code_one_place_on(photographs, parameters, level):
    estimator = make(**parameters).fit(photographs)
    before, after = shifted_maps(estimator, photographs, level)
    np.testing.assert_array_equal(before != 0, after != 0)
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("stride", [8, 4])
def test_pursuit_of_a_shifted_image_is_shifted(photographs, stride):
    """In a margin at the centre; at another level pursuit picks one of places that are equal."""
    estimator = make(**PURSUED, stride=stride).fit(photographs)
    before, after = shifted_maps(estimator, photographs, estimator.centers_[0])
    np.testing.assert_array_equal(before != 0, after != 0)
    # Values are solved for from sums in another order.
    np.testing.assert_allclose(after, before, atol=1e-4)


def shifted_maps(estimator, photographs, level):
    """Codes of an image within a margin, and of it shifted by a stride, shifted back."""
    step = estimator._stride[0]
    image = np.full((1, 32, 32, 3), level, np.float32)
    image[:, 8:18, 8:18] = photographs[:1, 8:18, 8:18]
    shifted = np.roll(image, (step, step), (1, 2))
    before, after = maps(estimator, image), maps(estimator, shifted)
    assert before.any()
    return before, np.roll(after, (-1, -1), (1, 2))


@pytest.mark.parametrize("parameters", [kind for kind in KINDS if "normalize" not in kind])
def test_scores_are_those_of_inverse_transform(photographs, parameters):
    estimator = make(**parameters).fit(photographs)
    rows = photographs.reshape(len(photographs), -1)
    decoded = estimator.inverse_transform(estimator.transform(photographs))
    assert decoded.shape == rows.shape
    assert decoded.dtype == np.float32
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(rows, decoded, strict=True)]
    np.testing.assert_allclose(estimator.score_samples(photographs), expected, atol=1e-5)
    np.testing.assert_allclose(estimator.score(photographs), np.mean(expected), atol=1e-5)
    np.testing.assert_allclose(
        reconstruction_correlation(estimator, rows), np.mean(expected), atol=1e-5
    )


def test_inverse_transform_places_atoms_by_hand(photographs):
    estimator = make(stride=8).fit(photographs)
    codes = maps(estimator, photographs[:3])
    atoms = estimator.components_.reshape(-1, 8, 8, 3)
    expected = np.tile(estimator.centers_[0], (3, 32, 32, 1))
    for i, row, column, atom in np.argwhere(codes):
        part = expected[i, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        part += codes[i, row, column, atom] * atoms[atom]
    decoded = estimator.inverse_transform(estimator.transform(photographs[:3]))
    np.testing.assert_allclose(decoded.reshape(expected.shape), expected, atol=1e-5)


def test_normalized_patches_do_not_see_light_and_contrast(photographs):
    estimator = make(normalize=True).fit(photographs)
    codes = maps(estimator, photographs[:5])
    # The least spread is a part of the data's own, so a stronger contrast has a little to say.
    assert ((codes != 0) == (maps(estimator, photographs[:5] + 0.5) != 0)).mean() > 0.999
    np.testing.assert_allclose(maps(estimator, photographs[:5] + 0.5), codes, atol=1e-2)
    with pytest.raises(ValueError, match="neither the mean nor the spread"):
        estimator.inverse_transform(estimator.transform(photographs[:5]))
    assert 0.5 < estimator.score(photographs) <= 1


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_normalized_patches_may_have_any_unit(photographs, unit):
    """Their variance may be beyond what float32 holds."""
    expected = make(normalize=True).fit(photographs)
    estimator = make(normalize=True).fit(photographs * np.float32(unit))
    np.testing.assert_allclose(estimator.loss_curve_, expected.loss_curve_, rtol=1e-2)
    score = estimator.score(photographs * np.float32(unit))
    np.testing.assert_allclose(score, expected.score(photographs), atol=1e-2)


def test_names_beyond_memory_are_refused(photographs, monkeypatch):
    estimator = make(image_shape=(10**5, 10**5, 3)).fit(photographs)
    monkeypatch.setattr("skl_sae._engine._device.os.sysconf", lambda name: 10**5)
    with pytest.raises(MemoryError, match=r"names of \d+ columns"):
        estimator.get_feature_names_out()


@pytest.mark.parametrize("function", ["mean", "max"])
@pytest.mark.parametrize("pooling", [(2, 3), 1, (5, 5)])
def test_pooling_is_that_of_the_maps(digits, function, pooling):
    estimator = ConvTopKSparseAutoencoder(16, kernel_size=4, k=12, max_iter=2, random_state=0)
    estimator.fit(digits)
    of_places = maps(estimator, digits)
    estimator.set_params(pooling=pooling, pooling_function=function)
    pooled = estimator.transform(digits)
    p, q = (pooling, pooling) if isinstance(pooling, int) else pooling
    down, right = np.arange(5) * p // 5, np.arange(5) * q // 5
    reduce = getattr(np, function)
    expected = np.stack([
        reduce(of_places[:, down == i][:, :, right == j], axis=(1, 2))
        for i in range(p) for j in range(q)
    ], axis=1)  # fmt: skip
    np.testing.assert_allclose(pooled.toarray(), expected.reshape(len(digits), -1), rtol=1e-5)
    names = estimator.get_feature_names_out()
    assert len(names) == pooled.shape[1]
    assert names[17 % len(names)].endswith(
        "_atom1_row0_column1" if q > 1 else "_atom1_row0_column0"
    )
    with pytest.raises(ValueError, match="Pooled codes cannot be inverted"):
        estimator.inverse_transform(pooled)


@pytest.mark.parametrize("parameters", KINDS)
def test_images_of_other_sizes(photographs, parameters):
    estimator = make(**parameters, k=0.01).fit(photographs)
    wide = np.concatenate([photographs[:4], photographs[4:8]], axis=2)[:, :27]
    codes = estimator.transform(wide)
    assert estimator.score(wide) > 0.2
    rows = wide.reshape(4, -1)
    with pytest.raises(ValueError, match=r"X has \d+ features"):
        estimator.transform(rows)
    estimator.set_params(image_shape=(27, 64, 3))
    assert (estimator.transform(rows) != codes).nnz == 0
    assert len(estimator.get_feature_names_out()) == codes.shape[1]
    if "normalize" not in parameters:
        assert estimator.inverse_transform(codes).shape == rows.shape
    # A budget that is a fraction grows with the image.
    assert np.diff(codes.indptr).max() > 1.2 * estimator.k_


def test_an_int_k_holds_for_any_size(photographs):
    estimator = make().fit(photographs[:, :16, :16])
    assert np.diff(estimator.transform(photographs).indptr).max() <= 30


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 7, 40, 3)), "hold an atom of 8 x 8 pixels, got 7 x 40"),
        (np.zeros((3, 32, 32)), r"images of 3 channel\(s\), got 1"),
        (np.zeros((0, 32, 32, 3)), "at least one image"),
        (np.full((2, 40, 40, 3), np.nan), "contains NaN"),
    ],
)
def test_images_that_do_not_fit(photographs, images, message):
    estimator = make().fit(photographs)
    with pytest.raises(ValueError, match=message):
        estimator.transform(images)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 10**6}, r"k <= places \* n_components"),
        ({"stride": 9}, "stride of at most the kernel_size"),
        ({"pooling": (10, 2)}, "pooling in at most"),
        ({"kernel_size": (8, 8, 8)}, "kernel_size"),
        ({"image_shape": (32, 32)}, "image_shape"),
        ({"k": True}, "must be a number"),
    ],
)
def test_parameters_that_do_not_fit(photographs, parameters, message):
    rows = photographs.reshape(len(photographs), -1)
    with pytest.raises(ValueError, match=message):
        make(**({"image_shape": (32, 32, 3)} | parameters)).fit(rows)


@pytest.mark.parametrize("shape", [(12, 1), (1, 12), (3, 4), (2, 2, 3)])
def test_kernels_are_clipped_to_small_images(shape):
    X = np.random.default_rng(0).random((40, 12))
    estimator = ConvTopKSparseAutoencoder(6, image_shape=shape, max_iter=2, random_state=0).fit(X)
    assert all(a <= b for a, b in zip(estimator.atom_shape_, shape, strict=False))
    assert estimator.inverse_transform(estimator.transform(X)).shape == X.shape


def test_rows_without_a_shape_are_lines():
    X = np.random.default_rng(0).random((40, 12))
    estimator = ConvTopKSparseAutoencoder(6, max_iter=2, random_state=0).fit(X)
    assert estimator.image_shape_ == (1, 12)
    assert estimator.atom_shape_ == (1, 8)


@pytest.mark.parametrize("parameters", KINDS)
def test_same_seed_same_bits(photographs, parameters):
    first, second = (make(**parameters).fit(photographs) for _ in range(2))
    np.testing.assert_array_equal(first.components_, second.components_)
    np.testing.assert_array_equal(first.encoder_bias_, second.encoder_bias_)


def test_batches_of_transform_do_not_change_codes(photographs, monkeypatch):
    estimator = make().fit(photographs)
    whole = estimator.transform(photographs)
    monkeypatch.setattr("skl_sae.autoencoders._conv._n_at_a_time", lambda *sizes: 7)
    parts = estimator.transform(photographs)
    np.testing.assert_allclose(parts.toarray(), whole.toarray(), atol=1e-5)


def test_whole_weights_are_copies(digits):
    weight = np.random.default_rng(0).integers(0, 3, len(digits))
    given = {"kernel_size": 4, "k": 12, "max_iter": 3, "batch_size": 10**4, "random_state": 0}
    weighted = ConvTopKSparseAutoencoder(16, **given).fit(digits, sample_weight=weight)
    repeated = ConvTopKSparseAutoencoder(16, **given).fit(np.repeat(digits, weight, axis=0))
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-4)
    scores = [estimator.score(digits) for estimator in (weighted, repeated)]
    np.testing.assert_allclose(*scores, atol=1e-3)


@pytest.mark.parametrize("parameters", [{}, {"normalize": True}])
def test_partial_fit_and_warm_start_go_on(photographs, parameters):
    estimator = make(**parameters)
    for _ in range(4):
        estimator.partial_fit(photographs)
    assert estimator.n_iter_ == 4
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    loss = estimator.loss_curve_[-1]
    estimator.set_params(warm_start=True).fit(photographs)
    assert estimator.loss_curve_[-1] < 1.1 * loss
    with pytest.raises(ValueError, match="to go on with"):
        estimator.fit(photographs[:, :24])


def test_early_stopping_and_augmenter(photographs):
    augmenter = ImageAugmenter((32, 32, 3), n_copies=1)
    estimator = make(augmenter=augmenter, early_stopping=True).fit(photographs)
    assert len(estimator.validation_scores_) == estimator.n_iter_
    np.testing.assert_array_less(0.3, estimator.best_validation_score_)


def test_frames_and_searches(digits):
    frame = pd.DataFrame(digits[:60].reshape(60, -1)).add_prefix("pixel")
    estimator = ConvTopKSparseAutoencoder(
        8, image_shape=(8, 8), kernel_size=4, k=8, max_iter=2, sparse_output=False, random_state=0
    ).set_output(transform="pandas")
    codes = estimator.fit_transform(frame)
    assert list(codes.columns) == list(estimator.get_feature_names_out())
    search = GridSearchCV(clone(estimator).set_output(transform="default"), {"k": [4, 16]}, cv=2)
    assert search.fit(frame).best_params_ == {"k": 16}


def test_pooled_codes_classify_better_than_pixels(digits):
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8)
    coder = ConvTopKSparseAutoencoder(
        128, kernel_size=4, stride=1, k=100, normalize=True, pooling=2, max_iter=5, random_state=0
    )
    classifier = make_pipeline(coder, MaxAbsScaler(), LogisticRegression(C=10, max_iter=500))
    of_codes = classifier.fit(images[:1000], y[:1000]).score(images[1000:], y[1000:])
    of_pixels = LogisticRegression(max_iter=5000).fit(X[:1000], y[:1000]).score(X[1000:], y[1000:])
    assert of_codes > of_pixels
