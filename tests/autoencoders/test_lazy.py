"""Estimators on samples that are read when they are asked for, beside the same in memory."""

import warnings

import dask.array as da
import h5py
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import zarr
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skl_sae import (
    ConvTopKSparseAutoencoder,
    ImageAugmenter,
    LazyRows,
    TopKSparseAutoencoder,
)
from skl_sae._training import _blocks, _lazy
from skl_sae.datasets import load_photographs

SHAPE = 8, 8, 3


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of 16 rows and windows of 128 in float32: as if the data were large."""
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 100)
    monkeypatch.setattr(_lazy, "_BLOCK_BYTES", 16 * 192 * 4)
    monkeypatch.setattr(_blocks, "_WINDOW_BYTES", 128 * 192 * 4)
    monkeypatch.setattr(_lazy, "_PART", 100 * 192)


@pytest.fixture(scope="module")
def X():
    return load_photographs(600, SHAPE[:2], random_state=0).data.astype(np.float32)


@pytest.fixture(scope="module")
def X_test():
    return load_photographs(200, SHAPE[:2], random_state=1).data.astype(np.float32)


def mapped(X, folder):
    np.save(folder / "rows.npy", X)
    return np.load(folder / "rows.npy", mmap_mode="r")


def flat(**parameters):
    return TopKSparseAutoencoder(
        **{"n_components": 64, "max_iter": 5, "random_state": 0, **parameters}
    )


def conv(**parameters):
    defaults = {"n_components": 32, "max_iter": 5, "image_shape": SHAPE, "kernel_size": 4,
                "random_state": 0}  # fmt: skip
    return ConvTopKSparseAutoencoder(**defaults | parameters)


ESTIMATORS = {
    "tied": flat(), "untied": flat(tied=False),
    "members": flat(n_estimators=2, consistency=0.1),
    "batch top-k": flat(sparsity="batch_topk"),
    "early stopping": flat(early_stopping=True),
    "pursuit": flat(transform_algorithm="omp", k=6),
    "variants": flat(augmenter=ImageAugmenter(SHAPE, n_copies=1, random_state=0)),
    "small atoms": conv(), "small atoms, pursuit": conv(transform_algorithm="omp"),
    "normalized patches": conv(normalize=True),
    "variants of normalized patches": conv(
        normalize=True, augmenter=ImageAugmenter(SHAPE, n_copies=1, random_state=0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATORS)
def test_as_good_as_in_memory_and_the_same_for_the_same_seed(X, X_test, tmp_path, name):
    """Only the order of rows is another, and initial atoms come from a sample."""
    lazy, estimator = mapped(X, tmp_path), ESTIMATORS[name]
    one, again, in_memory = (clone(estimator).fit(rows) for rows in (lazy, lazy, X))
    np.testing.assert_array_equal(one.components_, again.components_)
    assert one.loss_curve_ == again.loss_curve_
    # Either is measured in memory; seeds differ by as much.
    assert one.score(X_test) == pytest.approx(in_memory.score(X_test), abs=0.05)
    assert one.n_iter_ == in_memory.n_iter_ == 5


@pytest.mark.parametrize("name", ["tied", "pursuit", "small atoms", "normalized patches"])
def test_codes_and_scores_are_those_of_rows_in_memory(X, tmp_path, name):
    lazy, fitted = mapped(X, tmp_path), clone(ESTIMATORS[name]).set_params(max_iter=1).fit(X)
    parts = sp.vstack([fitted.transform(X[i : i + 100]) for i in range(0, 600, 100)])
    assert (fitted.transform(lazy) != parts).nnz == 0
    assert (fitted.transform_to(lazy, tmp_path / "codes.npz") != parts).nnz == 0
    assert fitted.score(lazy) == pytest.approx(fitted.score(X), abs=1e-6)
    np.testing.assert_allclose(fitted.score_samples(lazy), fitted.score_samples(X), atol=1e-5)
    weight = np.arange(600) % 3
    assert fitted.score(lazy, sample_weight=weight) == pytest.approx(
        fitted.score(X, sample_weight=weight), abs=1e-6
    )
    dense = clone(fitted).set_params(sparse_output=False).fit(X).transform(lazy)
    np.testing.assert_allclose(dense, parts.toarray(), atol=1e-4)


def sources(X, folder):
    """The same rows in several places; the first two have blocks of the same rows."""
    h5 = h5py.File(folder / "rows.h5", "w").create_dataset("rows", data=X)
    store = zarr.create_array(folder / "rows.zarr", shape=X.shape, chunks=(50, 60), dtype=X.dtype)
    store[:] = X
    return {
        "mapped": mapped(X, folder), "h5py": h5,
        "LazyRows": LazyRows(lambda start, stop: X[start:stop], X.shape),
        "zarr": store, "dask": da.from_array(X, chunks=(50, 60)),
    }  # fmt: skip


def test_a_column_of_an_arrow_table(X):
    """As the guide says it."""
    column = pa.chunked_array([
        pa.FixedSizeListArray.from_arrays(part.ravel(), part.shape[1]) for part in np.split(X, 3)
    ])  # fmt: skip

    def read(start, stop):
        pixels = column.slice(start, stop - start).combine_chunks().flatten()
        return pixels.to_numpy().reshape(stop - start, -1)

    rows = LazyRows(read, shape=X.shape)
    np.testing.assert_array_equal(rows[190:410], X[190:410])
    fitted = flat(max_iter=1).fit(rows)
    assert fitted.score(rows) == pytest.approx(fitted.score(X), abs=1e-6)


def test_where_the_rows_are_does_not_matter(X, tmp_path):
    """But for chunks that are larger than a block, which are read whole."""
    atoms = {
        name: flat(max_iter=2).fit(rows).components_ for name, rows in sources(X, tmp_path).items()
    }
    for name in ("h5py", "LazyRows"):
        np.testing.assert_array_equal(atoms[name], atoms["mapped"])
    np.testing.assert_array_equal(atoms["dask"], atoms["zarr"])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_any_dtype_is_as_good(X, X_test, tmp_path, dtype):
    rows = np.rint(255 * X).astype(dtype)
    estimator = flat().fit(mapped(rows, tmp_path))
    assert estimator.components_.dtype == np.float32
    assert estimator.score(255 * X_test) == pytest.approx(flat().fit(X).score(X_test), abs=0.03)


def test_sorted_rows_are_mixed(tmp_path, X, X_test):
    """As by class: without mixing each step would learn of one kind alone."""
    rows = X[np.argsort(X.mean(axis=1))]
    estimator = flat().fit(mapped(rows, tmp_path))
    assert estimator.score(X_test) == pytest.approx(flat().fit(X).score(X_test), abs=0.03)


def test_images_of_four_dimensions(X, X_test, tmp_path):
    images = mapped(X.reshape(-1, *SHAPE), tmp_path)
    one = conv(image_shape=None, max_iter=2).fit(images)
    assert one.image_shape_ == SHAPE
    other = conv(max_iter=2).fit(images.reshape(len(X), -1))
    np.testing.assert_array_equal(one.components_, other.components_)
    assert one.score(images) == pytest.approx(one.score(X), abs=1e-6)
    # Images of another size than those of fit.
    larger = mapped(X[:300].reshape(150, 16, 8, 3), tmp_path)
    assert one.transform(larger).shape[0] == 150
    with pytest.raises(ValueError, match="3 channel"):
        one.transform(mapped(X.reshape(600, 8, 24), tmp_path))
    whole = flat(max_iter=1).fit(images)
    assert whole.image_shape_ == SHAPE
    rows = images.reshape(len(X), -1)
    np.testing.assert_array_equal(whole.components_, flat(max_iter=1).fit(rows).components_)


def test_partial_fit(X, tmp_path):
    lazy = mapped(X, tmp_path)
    estimator = flat(learning_rate=1e-3)
    for _ in range(3):
        estimator.partial_fit(lazy)
    assert estimator.n_iter_ == 3
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    estimator.partial_fit(X)


def test_weights(X, X_test, tmp_path):
    lazy = mapped(np.concatenate([X, 1 - X]), tmp_path)
    weight = np.repeat([1.0, 0.0], 600)
    estimator = flat().fit(lazy, sample_weight=weight)
    assert estimator.score(X_test) == pytest.approx(flat().fit(X).score(X_test), abs=0.03)
    with pytest.raises(ValueError, match="sample_weight"):
        flat().fit(lazy, sample_weight=weight[1:])


def test_warm_start_and_checkpoints(X, tmp_path):
    lazy, path = mapped(X, tmp_path), tmp_path / "fit.safetensors"
    expected = flat().fit(lazy)
    estimator = flat(checkpoint=path, checkpoint_interval=0.1, warm_start=True)
    for n in (10, 60):

        def interrupt(done, planned, n=n):
            if done == n:
                raise KeyboardInterrupt

        estimator._watch = interrupt
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(lazy)
    del estimator._watch
    estimator.fit(lazy)
    np.testing.assert_array_equal(estimator.components_, expected.components_)
    assert estimator.loss_curve_ == expected.loss_curve_


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_number_anywhere(X, tmp_path, value):
    rows = X.copy()
    rows[599, 7] = value
    lazy = mapped(rows, tmp_path)
    for call in (flat().fit, flat().fit(X).transform, flat().fit(X).score):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            call(lazy)


def test_other_numbers_of_features_and_names_are_noticed(X, tmp_path):
    fitted = flat(max_iter=1).fit(X)
    narrow = mapped(X[:, :-1], tmp_path)
    for call in (fitted.transform, fitted.score, fitted.partial_fit):
        with pytest.raises(ValueError, match="191 features"):
            call(narrow)
    with pytest.raises(ValueError, match="191 features"):
        fitted.transform(da.from_array(X[:, :-1]))
    assert fitted.n_features_in_ == 192


def test_codes_of_a_dask_array_are_computed_when_asked_for(X):
    rows = da.from_array(X, chunks=(100, 60))
    for fitted in (flat(max_iter=1).fit(X), conv(max_iter=1, pooling=2).fit(X)):
        codes = fitted.transform(rows)
        expected = sp.vstack([fitted.transform(X[i : i + 100]) for i in range(0, 600, 100)])
        assert isinstance(codes, da.Array)
        assert codes.shape == expected.shape and codes.dtype == np.float32
        fitted.partial_fit(1 - X)  # which does not change what will be computed
        computed = codes.compute(scheduler="synchronous")
        assert isinstance(computed, sp.csr_matrix)
        assert (computed != expected).nnz == 0
    dense = flat(max_iter=1, sparse_output=False).fit(X).transform(rows)
    assert isinstance(dense.compute(scheduler="synchronous"), np.ndarray)


def test_codes_of_dask_images(X):
    fitted = conv(max_iter=1, image_shape=None).fit(X.reshape(-1, *SHAPE))
    images = da.from_array(X.reshape(300, 16, 8, 3), chunks=(100, 8, 8, 3))
    codes = fitted.transform(images)
    expected = fitted.transform(X.reshape(300, 16, 8, 3))
    assert codes.shape == expected.shape
    assert abs(codes.compute(scheduler="synchronous") - expected).max() < 1e-5


def test_a_search_gives_the_same_in_workers_that_share_the_rows(X):
    """joblib gives them a memory map; it is no data larger than memory."""
    X = np.repeat(X, 3, axis=0)  # of a size that joblib shares
    estimator = flat(max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [cross_val_score(estimator, X, cv=2, n_jobs=n_jobs) for n_jobs in (1, 2)]
    np.testing.assert_array_equal(*scores)
