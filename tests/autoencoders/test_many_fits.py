"""Searches by joblib on two worker processes, of Dask and of Ray: the bits of a serial search."""

import contextlib
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import PIL.Image
import pytest
from joblib.pool import PicklingPool
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import ConvTopKSparseAutoencoder, ImageLoader, TopKSparseAutoencoder
from skl_sae.datasets import load_photographs

N_WORKERS = 2
N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
# Dask's scheduler, which is in this process, draws from Python's generator.
pytestmark = pytest.mark.touches_globals("Python's generator")
GRID = {"k": [2, 8], "n_components": [32, 64]}


@contextlib.contextmanager
def environment(**variables):
    """Variables for the workers; a number of threads that the tests run with is not passed on.

    Afterwards all is as it was: Dask sets variables of the process that starts its workers.
    """
    before = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


class Dask:
    """A scheduler in this process, and workers with one thread each."""

    writeable = True

    @contextlib.contextmanager
    def start(self, folder, n_workers=N_WORKERS, threads_per_worker=1):
        distributed = pytest.importorskip("distributed", reason="the extra `dask`")
        with (
            environment(),
            distributed.LocalCluster(
                n_workers=n_workers, threads_per_worker=threads_per_worker,
                dashboard_address=":0", local_directory=str(folder),
            ) as cluster,
            distributed.Client(cluster) as client,
        ):  # fmt: skip
            client.amm.stop()  # it takes copies from workers that need them again in a moment
            yield self

    def check_travel(self, left, arrived):
        """Each worker has unpacked them once."""
        assert 1 <= len(set(arrived)) == len(arrived) <= N_WORKERS

    def config(self, *data):
        return joblib.parallel_config(backend="dask", scatter=list(data))


class Ray:
    """A node of Ray of its own, that ends with the block."""

    writeable = False

    @contextlib.contextmanager
    def start(self):
        ray = pytest.importorskip("ray", reason="the extra `ray`")
        from ray.util.joblib import register_ray

        register_ray()
        module = sys.modules[__name__]
        ray.cloudpickle.register_pickle_by_value(module)  # which its workers cannot import
        bases, handler = PicklingPool.__bases__, signal.getsignal(signal.SIGTERM)
        variables = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else it writes one to the home
        }
        # The name of a socket may not be long.
        short = tempfile.TemporaryDirectory(prefix="ray")
        with short as folder, environment(**variables):
            ray.init(
                num_cpus=N_WORKERS, include_dashboard=False, log_to_driver=False, _temp_dir=folder,
                object_store_memory=100 * 1024**2,
            )  # fmt: skip
            try:
                yield self
            finally:
                ray.shutdown()
                ray.cloudpickle.unregister_pickle_by_value(module)
                # Its backend replaces the pool of joblib's own for the whole process.
                PicklingPool.__bases__ = bases
                signal.signal(signal.SIGTERM, handler)

    def check_travel(self, left, arrived):
        """Once for each of eight fits: joblib hides what it calls from Ray's own look for twins."""
        assert 1 <= len(left) <= 8

    def config(self, *data):
        return joblib.parallel_config(backend="ray", n_jobs=N_WORKERS)


@pytest.fixture(scope="module")
def on_dask(tmp_path_factory):
    with Dask().start(tmp_path_factory.mktemp("workers")) as running:
        yield running


@pytest.fixture(scope="module")
def on_ray():
    with Ray().start() as running:
        yield running


@pytest.fixture(params=["on_dask", pytest.param("on_ray", marks=pytest.mark.slow)])
def cluster(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:300].astype(np.float32) / 16


@pytest.fixture
def sae():
    return TopKSparseAutoencoder(max_iter=2, random_state=0, device="cpu")


def assert_same_search(search, expected):
    assert search.best_params_ == expected.best_params_
    names = [name for name in expected.cv_results_ if name.endswith("_test_score")]
    assert len(names) == 3 + search.n_splits_  # mean, std, rank and each split
    for name in names:
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])
    np.testing.assert_array_equal(
        search.best_estimator_.components_, expected.best_estimator_.components_
    )


def test_search_is_the_serial_one(cluster, digits, sae):
    expected = GridSearchCV(sae, GRID, cv=2).fit(digits)
    with cluster.config(digits):
        search = GridSearchCV(sae, GRID, cv=2).fit(digits)
    assert_same_search(search, expected)


def test_cross_val_score_is_the_serial_one(cluster, digits, sae):
    model = make_pipeline(StandardScaler(), sae)
    expected = cross_val_score(model, digits, cv=4)
    with cluster.config(digits):
        np.testing.assert_array_equal(cross_val_score(model, digits, cv=4), expected)


def test_small_atoms(cluster):
    X = load_photographs(40, (16, 16), "L", random_state=0).data
    sae = ConvTopKSparseAutoencoder(
        16, image_shape=(16, 16), kernel_size=4, stride=4, k=8, max_iter=2, random_state=0,
        device="cpu",
    )  # fmt: skip
    expected = cross_val_score(sae, X, cv=2)
    with cluster.config(X):
        np.testing.assert_array_equal(cross_val_score(sae, X, cv=2), expected)


def fit_what_came(estimator, X):
    writeable = X.flags.writeable
    X = X.view()
    X.flags.writeable = False
    return writeable, estimator.fit(X).components_, estimator.score(X)


def test_workers_fit_arrays_that_cannot_be_written(cluster, digits, sae):
    """Ray's arrays are parts of its store, Dask's are a worker's own until it says otherwise."""
    expected = clone(sae).fit(digits)
    with cluster.config(digits):
        came = joblib.Parallel()(
            joblib.delayed(fit_what_came)(clone(sae), digits) for _ in range(2)
        )
    for writeable, components, score in came:
        assert writeable == cluster.writeable
        np.testing.assert_array_equal(components, expected.components_)
        assert score == expected.score(digits)


def counted(rows, folder):
    """An object as rows that notes in files how often it has left a process and arrived in one."""

    def note(name):
        with open(Path(folder, name), "a") as file:
            file.write(f"{os.getpid()}\n")

    def arrive(rows):
        note("arrived")
        return Rows(rows)

    # Defined here, both travel with the object.
    class Rows:
        def __init__(self, rows):
            self.rows, self.shape = rows, rows.shape

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            return self.rows[index]

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.rows, dtype)

        def __sizeof__(self):  # by which backends tell what is large
            return self.rows.nbytes

        def __reduce__(self):
            note("left")
            return arrive, (self.rows,)

    return Rows(rows)


def test_how_often_data_travel(cluster, digits, sae, tmp_path):
    """Though a worker has several of the eight fits."""
    rows = counted(digits, tmp_path)
    with cluster.config(rows):
        GridSearchCV(sae, GRID, cv=2, refit=False).fit(rows)
    left, arrived = ((tmp_path / name).read_text().split() for name in ("left", "arrived"))
    here = str(os.getpid())
    cluster.check_travel(left, [pid for pid in arrived if pid != here])


@pytest.mark.slow
def test_what_is_in_the_store_of_ray_travels_as_a_reference(on_ray, digits, sae):
    """As the user guide has it."""
    import ray

    whole = []

    class Stored(np.ndarray):
        def __reduce_ex__(self, protocol):
            if hasattr(self, "stored"):
                return ray.get, (self.stored,)
            whole.append(self.shape)
            return super().__reduce_ex__(protocol)

    expected = GridSearchCV(sae, GRID, cv=2).fit(digits)
    rows = digits.view(Stored)
    rows.stored = ray.put(digits)
    with on_ray.config():
        search = GridSearchCV(sae, GRID, cv=2).fit(rows)
    assert_same_search(search, expected)
    assert not whole


def threads_used(folder, n_workers):
    """Threads that work is shared by in a worker: allowed, and there after a large fit.

    Nobody begins before all are there, so that no worker has two of the calls.
    """
    from skl_sae._engine import _shares
    from skl_sae._engine._threads import allowed_threads

    name = f"{os.getpid()}-{threading.get_ident()}"
    Path(folder, name).touch()
    until = time.monotonic() + 60
    while len(os.listdir(folder)) < n_workers and time.monotonic() < until:
        time.sleep(0.01)
    before = allowed_threads()
    rows = np.random.default_rng(0).random((64, 1024), dtype=np.float32)
    sae = TopKSparseAutoencoder(2048, k=8, init="random", max_iter=1, device="cpu", random_state=0)
    sae.fit(rows)
    return name, before, allowed_threads(), 1 + len(_shares._idle)


def assert_no_more_threads_than_cores(folder):
    used = joblib.Parallel(n_jobs=N_WORKERS)(
        joblib.delayed(threads_used)(str(folder), N_WORKERS) for _ in range(N_WORKERS)
    )
    assert len({name for name, *_ in used}) == N_WORKERS
    # One core has to be enough for one thread of each.
    assert sum(max(numbers) for _, *numbers in used) <= max(N_CORES, N_WORKERS)


def test_workers_have_no_more_threads_than_cores(cluster, tmp_path):
    with cluster.config():
        assert_no_more_threads_than_cores(tmp_path)


@pytest.mark.slow
def test_threads_of_one_dask_worker_share_the_cores(tmp_path, tmp_path_factory, digits, sae):
    expected = GridSearchCV(sae, GRID, cv=2).fit(digits)
    folder = tmp_path_factory.mktemp("workers")
    with Dask().start(folder, n_workers=1, threads_per_worker=N_WORKERS) as dask, dask.config():
        assert_no_more_threads_than_cores(tmp_path)
        assert_same_search(GridSearchCV(sae, GRID, cv=2).fit(digits), expected)


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    rng = np.random.default_rng(0)
    for path in paths:
        PIL.Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    return paths


def test_files_are_loaded_here_by_threads(cluster, paths):
    expected = ImageLoader((8, 8), "L").fit_transform(paths)
    with cluster.config():
        np.testing.assert_array_equal(
            ImageLoader((8, 8), "L", n_jobs=2).fit_transform(paths), expected
        )


def test_workers_load_files(cluster, paths, sae):
    model = make_pipeline(ImageLoader((8, 8), "L"), sae)
    expected = cross_val_score(model, paths, cv=2)
    with cluster.config():
        np.testing.assert_array_equal(cross_val_score(model, paths, cv=2), expected)
