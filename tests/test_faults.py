"""Bad inputs and faults, one small test each, numbered as in the project's catalogue."""

import concurrent.futures
import multiprocessing
import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags

from skl_sae import TopKSparseAutoencoder

WEIGHTS = ("components_", "encoder_", "encoder_bias_", "centers_")
METHODS = ("fit", "partial_fit", "transform", "score", "score_samples")


def weights(estimator):
    return [getattr(estimator, name).copy() for name in WEIGHTS]


def assert_same_weights(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# --- Arrays ---


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_fault_01_02_not_finite(X, estimator, method, value):
    estimator.fit(X)
    bad = X.astype(np.float64)
    bad[3, 4] = value
    message = "contains NaN" if np.isnan(value) else "infinity or a value too large"
    with pytest.raises(ValueError, match=message):
        getattr(estimator, method)(bad)


@pytest.mark.parametrize("select", [lambda X: X[0], lambda X: X[0, 0]], ids=["1-D", "scalar"])
def test_fault_03_too_few_dimensions(X, estimator, select):
    with pytest.raises(ValueError, match="Expected 2D array"):
        estimator.fit(select(X))


def test_fault_04_images_not_flattened(X, estimator):
    """They are taken as they are; what has more dimensions is neither rows nor images."""
    assert estimator.fit(X.reshape(-1, 2, 2, 3)).image_shape_ == (2, 2, 3)
    with pytest.raises(ValueError, match=r"Expected rows.*images.*got an array of shape \(3, 2, 8"):
        estimator.fit(np.zeros((3, 2, 8, 8, 3)))


def test_fault_05_empty(X, estimator):
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        estimator.fit(X[:0])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        estimator.fit(X[:, :0])


def test_fault_06_one_sample(X, estimator):
    assert np.isfinite(estimator.fit(X[:1]).components_).all()
    assert estimator.fit(X).transform(X[:1]).shape == (1, 32)


def test_fault_07_one_feature(X, estimator):
    estimator.fit(X[:, :1])
    assert np.isfinite(estimator.transform(X[:, :1]).data).all()


def test_fault_08_objects(X, estimator):
    with pytest.raises(ValueError):
        estimator.fit(np.array([["a", "b"], ["c", "d"]]))
    rows = X.astype(object)
    rows[0, 0] = {"a": 1}
    with pytest.raises(TypeError, match="argument must be"):
        estimator.fit(rows)
    estimator.fit(X.astype(object))


def test_fault_09_complex(X, estimator):
    with pytest.raises(ValueError, match="Complex data not supported"):
        estimator.fit(X + 1j)


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array])
def test_fault_10_sparse(X, estimator, container):
    with pytest.raises(TypeError, match=r"Sparse.*toarray\(\)"):
        estimator.fit(container(X))


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int64, bool])
def test_fault_11_other_dtypes_equal_the_cast(X, estimator, dtype):
    rows = (X * 100).astype(dtype)
    codes = clone(estimator).fit_transform(rows)
    expected = clone(estimator).fit_transform(rows.astype(np.float32))
    assert (codes != expected).nnz == 0


def test_fault_12_output_dtype_is_what_the_tags_say(X, estimator):
    assert get_tags(estimator).transformer_tags.preserves_dtype == ["float32"]
    for dtype in (np.float32, np.float64):
        assert estimator.fit_transform(X.astype(dtype)).dtype == np.float32


def test_fault_13_read_only_memmap(X, estimator, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, X)
    before = path.read_bytes()
    rows = np.load(path, mmap_mode="r")
    codes = estimator.fit(rows).transform(rows)
    estimator.partial_fit(rows).score(rows)
    assert path.read_bytes() == before
    assert codes.nnz


def test_fault_13_read_only_weights(X, estimator):
    expected = estimator.fit(X).transform(X)
    for name in WEIGHTS:
        getattr(estimator, name).flags.writeable = False
    assert (estimator.transform(X) != expected).nnz == 0


def test_fault_14_layouts(X, estimator):
    estimator.fit(X)
    expected = estimator.transform(X).toarray()
    wide = np.repeat(X, 2, axis=1)
    for rows in (np.asfortranarray(X), wide[:, ::2]):
        np.testing.assert_array_equal(estimator.transform(rows).toarray(), expected)
    # A product of matrices may round a row by its place in them.
    turned = estimator.transform(X[::-1]).toarray()[::-1]
    np.testing.assert_allclose(turned, expected, rtol=1e-5, atol=1e-5 * expected.max())


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble])
def test_fault_15_odd_floats(X, estimator, dtype):
    codes = clone(estimator).fit_transform(X.astype(dtype))
    assert (codes != clone(estimator).fit_transform(X)).nnz == 0


def test_fault_16_torch_tensor_with_gradient(X, estimator):
    codes = clone(estimator).fit_transform(torch.tensor(X, requires_grad=True))
    assert (codes != clone(estimator).fit_transform(X)).nnz == 0


def test_fault_17_reordered_columns(X, estimator):
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(12)])
    estimator.fit(frame)
    assert list(estimator.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(frame[frame.columns[::-1]])


def test_fault_18_frames_from_sparse_codes_are_refused_early(X, estimator):
    estimator.set_output(transform="pandas")
    with pytest.raises(ValueError, match="sparse_output=False"):
        estimator.fit_transform(X)
    assert not hasattr(estimator, "components_")


@pytest.mark.parametrize("method", METHODS[1:])
def test_fault_19_wrong_number_of_columns(X, estimator, method):
    estimator.fit(X)
    with pytest.raises(ValueError, match=r"X has 11 features, but .* is expecting 12"):
        getattr(estimator, method)(X[:, :-1])


def test_fault_20_wrong_codes(X, estimator):
    estimator.fit(X)
    with pytest.raises(ValueError, match=r"32.*7"):
        estimator.inverse_transform(np.ones((2, 7)))
    codes = estimator.transform(X)
    codes.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        estimator.inverse_transform(codes)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score", "score_samples"])
def test_fault_21_unfitted(X, estimator, method):
    with pytest.raises(NotFittedError, match="TopKSparseAutoencoder"):
        getattr(estimator, method)(X)


def test_fault_22_input_is_never_changed(X, estimator):
    before = X.copy()
    estimator.fit(X)
    for method in METHODS[1:]:
        getattr(estimator, method)(X)
    codes = estimator.transform(X)
    copy = codes.copy()
    estimator.inverse_transform(codes)
    np.testing.assert_array_equal(X, before)
    assert (codes != copy).nnz == 0


@pytest.mark.parametrize("init", ["pca", "orthogonal", "random"])
@pytest.mark.parametrize("kind", ["zero", "identical", "constant column"])
def test_fault_23_degenerate_rows(X, estimator, kind, init):
    rows = {"zero": 0 * X, "identical": X[:1].repeat(40, axis=0), "constant column": X.copy()}[kind]
    rows[:, 3] = 0
    estimator.set_params(init=init).fit(rows)
    assert all(np.isfinite(a).all() for a in weights(estimator))
    assert estimator.transform(rows).getnnz(axis=1).max() <= 8
    assert np.isfinite(estimator.score_samples(rows)).all()


# --- Parameters ---

INTEGERS = ("n_components", "k", "n_estimators", "batch_size", "max_iter", "n_iter_no_change")


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [0, -1, 2.5, "a", True, None])
def test_fault_24_integers(X, estimator, name, value):
    if name in ("k", "n_components") and value is None:
        return  # the default
    estimator.set_params(**{name: value})
    with pytest.raises(ValueError, match=name):
        estimator.fit(X)
    assert not hasattr(estimator, "components_")


def test_fault_25_k_above_n_components(X, estimator):
    with pytest.raises(ValueError, match=r"17.*16"):
        estimator.set_params(k=17).fit(X)
    assert not hasattr(estimator, "components_")


@pytest.mark.parametrize("n_components, expected", [(1, 1), (19, 1), (100, 5), (119, 5)])
def test_fault_26_default_k(X, n_components, expected):
    estimator = TopKSparseAutoencoder(n_components, max_iter=1, random_state=0).fit(X)
    assert estimator.k_ == expected


@pytest.mark.parametrize("n_components, k", [(16, 16), (30, 4), (100, 3)])
def test_fault_27_legal_extremes(X, estimator, n_components, k):
    estimator.set_params(n_components=n_components, k=k).fit(X[:20])
    assert estimator.transform(X).getnnz(axis=1).max() <= 2 * k


@pytest.mark.parametrize("n_rows, batch_size", [(33, 16), (33, 32), (10, 64)])
def test_fault_28_batches(X, estimator, n_rows, batch_size):
    estimator.set_params(batch_size=batch_size).fit(X[:n_rows])
    assert all(np.isfinite(a).all() for a in weights(estimator))


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, "x", None])
def test_fault_29_learning_rate(X, estimator, value):
    with pytest.raises(ValueError, match="learning_rate"):
        estimator.set_params(learning_rate=value).fit(X)


@pytest.mark.touches_globals("NumPy's generator")
def test_fault_30_random_state(X, estimator):
    for value in ("x", -1):
        with pytest.raises(ValueError, match="random_state"):
            clone(estimator).set_params(random_state=value).fit(X)
    clone(estimator).set_params(random_state=np.random.RandomState(0)).fit(X)
    first, second = (weights(clone(estimator).set_params(random_state=None).fit(X)) for _ in "ab")
    assert not np.array_equal(first[0], second[0])


@pytest.mark.touches_globals("NumPy's generator")
def test_fault_30_one_number_of_the_global_generator(X, estimator):
    np.random.seed(3)
    np.random.randint(2**31 - 1)
    expected = np.random.random()
    np.random.seed(3)
    estimator.set_params(random_state=None).fit(X)
    assert np.random.random() == expected


def test_fault_31_numpy_scalars(X, estimator):
    same = clone(estimator).set_params(
        n_components=np.int64(16), k=np.int32(4), learning_rate=np.float32(1e-3),
        tied=np.bool_(True),
    )  # fmt: skip
    estimator.set_params(learning_rate=float(np.float32(1e-3))).fit(X)
    assert_same_weights(weights(same.fit(X)), weights(estimator))


def test_fault_32_cuda_absent(X, estimator, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"cuda.*not available.*device=\"cpu\""):
        clone(estimator).set_params(device="cuda").fit(X)
    expected = estimator.fit(X).transform(X)
    estimator.device = "cuda"
    with pytest.warns(UserWarning, match="Using the CPU"):
        codes = estimator.transform(X)
    assert (codes != expected).nnz == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.transform(X)  # once is enough


@pytest.mark.parametrize("value", ["banana", "meta", "cuda:99", 3])
def test_fault_33_devices(X, estimator, value):
    with pytest.raises(ValueError, match=str(value)):
        estimator.set_params(device=value).fit(X)


def test_fault_34_parameters_are_left_alone(X, estimator):
    with pytest.raises(ValueError, match="Invalid parameter 'foo'"):
        estimator.set_params(foo=1)
    before = estimator.get_params()
    estimator.fit(X).partial_fit(X)
    assert estimator.get_params() == before


def test_fault_35_learned_k_is_what_counts(X, estimator):
    expected = estimator.fit(X).transform(X)
    estimator.k = 1
    assert (estimator.transform(X) != expected).nnz == 0


# --- Numerics and training ---


def test_fault_36_divergence(X, estimator):
    with pytest.raises(ValueError, match=r"epoch \d.*learning_rate"):
        clone(estimator).set_params(learning_rate=1e12, max_iter=50).fit(X)
    estimator.fit(X)
    before = weights(estimator)
    estimator.learning_rate = 1e12
    with pytest.raises(ValueError, match="learning_rate"):
        for _ in range(50):
            before = weights(estimator)
            estimator.partial_fit(X)
    assert_same_weights(weights(estimator), before)
    assert all(np.isfinite(a).all() for a in before)


def test_fault_36_failed_fit_leaves_nothing(X, estimator):
    with pytest.raises(ValueError):
        estimator.set_params(learning_rate=1e12, max_iter=50).fit(X)
    with pytest.raises(NotFittedError):
        estimator.transform(X)


def test_fault_36_failed_fit_leaves_the_previous_one(X, estimator):
    expected = estimator.fit(X).transform(X)
    with pytest.raises(ValueError):
        estimator.set_params(k=99).fit(X[:, :5])
    assert (estimator.transform(X) != expected).nnz == 0


def test_fault_36_huge_values_train(X, estimator):
    small, huge = clone(estimator).fit(X), clone(estimator).fit(X * np.float32(1e30))
    np.testing.assert_allclose(huge.loss_curve_, small.loss_curve_, rtol=0.05)


def test_fault_37_ties(X, estimator):
    estimator.set_params(init=np.ones((2, 16, 12))).fit(X)
    estimator.encoder_[:] = estimator.encoder_[0]
    estimator.encoder_bias_[:] = 1e3
    codes = estimator.transform(X)
    assert (codes.getnnz(axis=1) == 8).all()
    assert (codes != estimator.transform(X)).nnz == 0


def test_fault_38_no_positive_pre_activation(X, estimator):
    estimator.fit(X).encoder_bias_[:] = -1e6
    codes = estimator.transform(X)
    assert codes.nnz == 0
    np.testing.assert_allclose(
        estimator.inverse_transform(codes)[0], estimator.centers_.mean(axis=0), rtol=1e-6
    )


def test_fault_39_rows_one_at_a_time(X, estimator):
    codes = estimator.fit(X).transform(X).toarray()
    single = sp.vstack([estimator.transform(row[None]) for row in X]).toarray()
    # A product of matrices may round by their shape.
    np.testing.assert_allclose(single, codes, rtol=1e-4, atol=1e-5 * codes.max())


def test_fault_40_permuted_rows(X, estimator):
    order = np.random.default_rng(0).permutation(len(X))
    codes = estimator.fit(X).transform(X).toarray()
    # A product of matrices may round a row by its place in them.
    permuted = estimator.transform(X[order]).toarray()
    np.testing.assert_allclose(permuted, codes[order], rtol=1e-5, atol=1e-5 * codes.max())


@pytest.mark.parametrize("shift, scale", [(1e4, 1), (0, 1e-6), (1e4, 1e3), (-5, 100)])
def test_fault_41_offset_and_scale(X, estimator, shift, scale):
    estimator.set_params(max_iter=20, learning_rate=0.01)
    plain = clone(estimator).fit(X).score_samples(X)
    moved = X.astype(np.float64) * scale + shift
    score = clone(estimator).fit(moved).score_samples(moved)
    assert score.mean() == pytest.approx(plain.mean(), abs=0.02)


def test_fault_42_all_atoms_dead(X, estimator):
    estimator.fit(X).encoder_bias_[:] = -1e6
    estimator.set_params(warm_start=True).fit(X)
    assert (estimator.atom_frequency_ == 0).all()
    assert np.isfinite(estimator.inverse_transform(estimator.transform(X))).all()


def test_fault_43_all_epochs_are_run_silently(X, estimator, capsys):
    estimator.fit(X)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fault_44_inside_autograd_modes(X, estimator, mode):
    expected = weights(clone(estimator).fit(X))
    with mode():
        estimator.partial_fit(X)
        estimator.fit(X)
    assert_same_weights(weights(estimator), expected)
    estimator.partial_fit(X)


@pytest.mark.parametrize("damage", ["nan", "width"])
def test_fault_46_bad_batch(X, estimator, damage):
    estimator.partial_fit(X)
    before = weights(estimator)
    with pytest.raises(ValueError):
        estimator.partial_fit(X * np.nan if damage == "nan" else X[:, 1:])
    assert_same_weights(weights(estimator), before)


def test_fault_47_partial_fit_at_any_time(X, estimator):
    one_row = clone(estimator).partial_fit(X[:1])
    assert np.isfinite(one_row.partial_fit(X).score(X))
    estimator.partial_fit(X)
    assert estimator.n_iter_ == 1
    estimator.fit(X)
    before = weights(estimator)
    estimator.partial_fit(X[:1])
    assert estimator.n_iter_ == 3
    assert not np.array_equal(before[3], estimator.centers_)


def test_fault_54_all_candidates_invalid(X, estimator):
    with pytest.raises(ValueError, match="All the 4 fits failed"):
        GridSearchCV(estimator, {"k": [98, 99]}, cv=2).fit(X)


# --- Resources and concurrency ---


def test_fault_90_absurd_size(X, estimator):
    with pytest.raises(MemoryError, match=r"\d{12,} bytes"):
        estimator.set_params(n_components=10**9).fit(X)


@pytest.mark.parametrize("tied", [True, False])
def test_fault_91_same_seed_same_weights(X, estimator, tied):
    estimator.set_params(tied=tied, consistency=0.1)
    assert_same_weights(weights(clone(estimator).fit(X)), weights(clone(estimator).fit(X)))


# scikit-learn sets the filters in its threads, which is no business of ours.
@pytest.mark.touches_globals("warning filters")
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fault_91_jobs_agree(X, estimator, backend):
    import joblib

    grid = {"k": [1, 4], "learning_rate": [1e-3, 1e-2]}
    expected = GridSearchCV(estimator, grid, cv=2, n_jobs=1).fit(X)
    with joblib.parallel_config(backend):
        search = GridSearchCV(estimator, grid, cv=2, n_jobs=2).fit(X)
    assert search.best_params_ == expected.best_params_
    # A worker has fewer threads.
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def fit_in_child(payload, rows, connection):
    estimator = pickle.loads(payload)
    connection.send(estimator.fit(rows).score(rows))


# Python warns of what is being tested: a fork of a process with threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_fault_92_forked_child_finishes():
    rows = np.random.default_rng(0).random((200, 600), dtype=np.float32)
    estimator = TopKSparseAutoencoder(512, max_iter=1, random_state=0).fit(rows)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe()
    child = context.Process(target=fit_in_child, args=(pickle.dumps(estimator), rows, sender))
    child.start()
    try:
        assert receiver.poll(300), "the child hangs"  # or the machine is very busy
        # The same seed, but other threads.
        assert receiver.recv() == estimator.score(rows)
    finally:
        child.join(5)
        child.kill()


def test_fault_92_two_threads_transform(X, estimator):
    expected = estimator.fit(X).transform(X)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: estimator.transform(X), range(20)))
    assert all((codes != expected).nnz == 0 for codes in results)


def test_interrupted_partial_fit_restores_weights(X, estimator, monkeypatch):
    estimator.fit(X)
    before = weights(estimator)
    model = estimator._trainer.model
    step, calls = model.step, []

    def interrupt(*args, **kwargs):
        calls.append(time.perf_counter())
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(model, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.partial_fit(X)
    assert_same_weights(weights(estimator), before)
    estimator.partial_fit(X)
