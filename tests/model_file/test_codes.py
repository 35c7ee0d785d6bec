"""Codes in files: what is written, how it goes on after an end half-way, and what is refused."""

import mmap

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from skl_sae import ConvTopKSparseAutoencoder, ModelFileError, TopKSparseAutoencoder, load_codes
from skl_sae._model_file import _codes
from skl_sae._training import _lazy


@pytest.fixture
def X():
    return np.random.default_rng(0).random((103, 12), dtype=np.float32)


@pytest.fixture
def fitted(X):
    return TopKSparseAutoencoder(20, k=3, max_iter=1, random_state=0).fit(X)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Ten rows a part."""
    monkeypatch.setattr(_lazy, "_PART", 10 * 12)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "codes.npz"


def assert_equal_codes(got, expected):
    assert got.shape == expected.shape
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def in_parts(estimator, X):
    """Codes of ten rows at a time: a product of more may differ in the last bit."""
    return sp.vstack([estimator.transform(X[i : i + 10]) for i in range(0, len(X), 10)]).tocsr()


def test_the_file_is_what_scipy_reads(X, fitted, path):
    codes = fitted.transform_to(X, path)
    expected = in_parts(fitted, X)
    loaded = sp.load_npz(path)
    for got in (codes, loaded, load_codes(path)):
        assert isinstance(got, sp.csr_matrix)
        assert_equal_codes(got, expected)
        assert got.dtype == np.float32 and got.indptr.dtype == np.int32
    assert [entry.name for entry in path.parent.iterdir()] == ["codes.npz"]


def test_numbers_stay_in_the_file(X, fitted, path):
    codes = fitted.transform_to(X, path)
    for array in (codes.data, codes.indices, codes.indptr):
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(array, mmap.mmap)
    assert_equal_codes(codes[5:9], in_parts(fitted, X)[5:9])


def test_rows_without_activations(path):
    writer = _codes.CodesWriter(path, "me", 7)
    empty = sp.csr_matrix((3, 7), dtype=np.float32)
    writer.append(empty)
    writer.finish()
    assert_equal_codes(load_codes(path), empty)


def test_more_than_32_bits_of_numbers(X, fitted, path, monkeypatch):
    monkeypatch.setattr(_codes, "_MOST_INT32", 100)
    codes = fitted.transform_to(X, path)
    assert np.load(path)["indptr"].dtype == np.int64  # SciPy chooses again as it reads
    assert (codes != in_parts(fitted, X)).nnz == 0


@pytest.mark.parametrize("n_blocks", [0, 1, 6])
@pytest.mark.parametrize("where", ["before", "within"])
def test_it_goes_on_behind_the_last_block(X, fitted, path, monkeypatch, n_blocks, where):
    """Even where a part of the next block has been written."""
    replacing, n_left = _codes.replacing, [n_blocks]

    def stop(*args, **options):
        n_left[0] -= 1
        if n_left[0] < 0:
            raise KeyboardInterrupt
        return replacing(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        if where == "within":
            patch.setattr(_codes, "replacing", stop)
        else:
            append = _codes.CodesWriter.append
            patch.setattr(
                _codes.CodesWriter, "append",
                lambda self, codes: stop("/dev/null") and append(self, codes),
            )  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            fitted.transform_to(X, path)
    assert not path.exists()
    coded = []
    append = _codes.CodesWriter.append
    monkeypatch.setattr(
        _codes.CodesWriter, "append",
        lambda self, codes: coded.append(codes.shape[0]) or append(self, codes),
    )  # fmt: skip
    codes = fitted.transform_to(X, path)
    assert sum(coded) == 103 - 10 * n_blocks
    monkeypatch.undo()
    monkeypatch.setattr(_lazy, "_PART", 10 * 12)
    assert_equal_codes(codes, in_parts(fitted, X))


def begun(fitted, X, path):
    """A folder of one block."""
    append = _codes.CodesWriter.append
    with pytest.MonkeyPatch.context() as patch:

        def once(self, codes):
            if self.n_rows:
                raise KeyboardInterrupt
            append(self, codes)

        patch.setattr(_codes.CodesWriter, "append", once)
        with pytest.raises(KeyboardInterrupt):
            fitted.transform_to(X, path)


def test_another_model_or_other_rows_do_not_go_on(X, fitted, path):
    begun(fitted, X, path)
    others = [
        (clone(fitted).set_params(random_state=1).fit(X), X), (fitted, X[:-1]), (fitted, X + 1),
        (clone(fitted).set_params(transform_algorithm="omp").fit(X), X),
        (clone(fitted).set_params(transform_algorithm="omp", transform_tol=0.1).fit(X), X),
    ]  # fmt: skip
    for estimator, rows in others:
        with pytest.raises(ModelFileError, match="these rows by this model"):
            estimator.transform_to(rows, path)
    # The same model in another process does.
    saved = path.parent / "model.safetensors"
    fitted.save(saved)
    TopKSparseAutoencoder.load(saved).transform_to(X, path)


def test_a_folder_that_has_lost_numbers_is_refused(X, fitted, path):
    begun(fitted, X, path)
    (path.parent / "codes.npz.part" / "indices").write_bytes(b"")
    with pytest.raises(ModelFileError, match="more numbers"):
        fitted.transform_to(X, path)


def test_a_file_that_is_there_is_replaced_and_a_folder_is_not(X, fitted, path, tmp_path):
    path.write_text("something")
    fitted.transform_to(X, path)
    assert load_codes(path).shape == (103, 20)
    with pytest.raises(ModelFileError, match="regular file"):
        fitted.transform_to(X, tmp_path)


def test_what_is_no_file_of_codes_is_refused(path, tmp_path):
    path.write_text("something")
    with pytest.raises(ModelFileError, match="not a zip file"):
        load_codes(path)
    sp.save_npz(path, sp.csr_matrix(np.eye(3)))
    with pytest.raises(ModelFileError, match="compressed"):
        load_codes(path)
    sp.save_npz(path, sp.csc_matrix(np.eye(3)), compressed=False)
    with pytest.raises(ModelFileError, match="csc"):
        load_codes(path)
    np.savez(path, data=np.ones(3))
    with pytest.raises(ModelFileError, match="indices"):
        load_codes(path)
    with pytest.raises(FileNotFoundError):
        load_codes(tmp_path / "none.npz")


def test_small_atoms_and_members(X, path):
    estimators = [
        ConvTopKSparseAutoencoder(5, image_shape=(3, 4), kernel_size=2, max_iter=1, random_state=0),
        TopKSparseAutoencoder(9, n_estimators=2, aggregate="mean", max_iter=1, random_state=0),
    ]
    for estimator in estimators:
        estimator.fit(X)
        assert_equal_codes(estimator.transform_to(X, path), in_parts(estimator, X))
