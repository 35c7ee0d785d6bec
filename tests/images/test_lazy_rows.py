"""LazyRows, and image files as such."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from skl_sae import ImageLoader, ImageLoadError, LazyRows, TopKSparseAutoencoder
from skl_sae._engine import _threads
from skl_sae._engine._model import LinearModel
from skl_sae._training import _blocks, _lazy
from skl_sae.images import _loader

ROWS = np.arange(60.0).reshape(20, 3)


def read(start, stop):
    return ROWS[start:stop].tolist()


@pytest.fixture
def files(tmp_path):
    """Paths of 40 grey images, of which each has its number as its level."""
    paths = []
    for i in range(40):
        pixels = np.full((12, 10), 5 * i + 3, np.uint8)
        pixels[:6] = i
        paths.append(str(tmp_path / f"{i:02}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_slices_are_arrays():
    X = LazyRows(read, (20, 3))
    assert (len(X), X.shape, X.ndim, X.dtype) == (20, (20, 3), 2, np.float32)
    for part in (slice(2, 5), slice(None), slice(-3, None), slice(15, 99)):
        np.testing.assert_array_equal(X[part], ROWS[part])
        assert X[part].dtype == np.float32
    assert X[5:5].shape == (0, 3)
    assert LazyRows(read, (20, 3), np.uint8)[:2].dtype == np.uint8


@pytest.mark.parametrize("part", [3, [1, 2], np.arange(2), slice(None, None, 2), (slice(2), 1)])
def test_anything_else_is_refused(part):
    with pytest.raises(TypeError, match=r"slice|step"):
        LazyRows(read, (20, 3))[part]


def test_rows_must_be_as_many_as_were_asked_for():
    with pytest.raises(ValueError, match=r"\(2, 4\).*read\(0, 2\).*\(2, 3\)"):
        LazyRows(read, (20, 4))[:2]


def test_files_are_the_rows_that_the_loader_gives(files):
    loader = ImageLoader((6, 5), "L")
    X = loader.lazy(files)
    assert X.shape == (40, 30)
    np.testing.assert_array_equal(X[10:20], loader.transform(files[10:20]))
    images = loader.lazy(files, as_images=True)
    assert images.shape == (40, 6, 5)
    np.testing.assert_array_equal(images[:].reshape(40, -1), X[:])
    assert ImageLoader((6, 5)).lazy(files, as_images=True).shape == (40, 6, 5, 3)


def test_what_the_loader_becomes_later_does_not_matter(files):
    loader = ImageLoader((6, 5), "L")
    X = loader.lazy(files)
    loader.set_params(size=(3, 3), mode="RGB")
    assert X[:2].shape == (2, 30)


def test_a_missing_file_is_found_at_once_and_a_damaged_one_when_it_is_read(files, tmp_path):
    loader = ImageLoader((6, 5), "L")
    with pytest.raises(FileNotFoundError):
        loader.lazy([*files, str(tmp_path / "none.png")])
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"nothing")
    X = loader.lazy([*files, str(damaged)])
    with pytest.raises(ImageLoadError, match="damaged"):
        X[:]
    with pytest.raises(ValueError, match="size"):
        ImageLoader((0, 5)).lazy(files)


def test_animations_are_remarked_on_once(files, tmp_path):
    frames = [Image.new("L", (5, 5), level) for level in (0, 100)]
    path = str(tmp_path / "two.gif")
    frames[0].save(path, save_all=True, append_images=frames[1:])
    X = ImageLoader((5, 5), "L").lazy([path, *files])
    with pytest.warns(UserWarning, match="several frames"):
        X[:2]
    X[:2]  # a warning would be an error here


def test_a_fit_loads_files_as_it_goes(files, monkeypatch):
    """More than two windows, in threads; the same as of an array but for the order of rows."""
    loader = ImageLoader((6, 5), "L", n_jobs=2)
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 10)
    sae = TopKSparseAutoencoder(20, k=3, max_iter=3, random_state=0)
    X = loader.lazy(files)
    score = sae.fit(X).score(X)
    assert score > 0.9
    rows = loader.transform(files)
    assert sae.score(rows) == pytest.approx(score, abs=1e-6)
    assert sae.fit(rows).score(rows) == pytest.approx(score, abs=0.05)


@pytest.mark.parametrize(("n_jobs", "left"), [(None, 2), (2, 1), (8, 1)])
def test_a_fit_leaves_cores_to_the_threads_that_load(files, monkeypatch, n_jobs, left):
    """The model shares its work among the others."""
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 10)
    monkeypatch.setattr(_threads._local, "allowed", 3)  # cores, as within one_thread
    monkeypatch.setattr(_loader, "cpu_count", lambda: 3)
    seen, step = [], LinearModel.step

    def noted(model, batch, *args):
        seen.append(_threads.allowed_threads())
        return step(model, batch, *args)

    monkeypatch.setattr(LinearModel, "step", noted)
    loader = ImageLoader((6, 5), "L", n_jobs=n_jobs)
    sae = TopKSparseAutoencoder(20, k=3, max_iter=2, random_state=0)
    sae.fit(loader.lazy(files))
    assert set(seen) == {left}
    seen.clear()
    sae.fit(loader.transform(files))
    assert set(seen) == {3}


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_thread_that_waits_helps(files, monkeypatch, n_jobs):
    """The last files are loaded by it, the first by others, and rows are where they belong."""
    monkeypatch.setattr(_loader, "_TINY_BYTES", 0)
    monkeypatch.setattr(_loader, "_FILES_PER_TASK", 1)
    monkeypatch.setattr(_loader, "cpu_count", lambda: 3)
    loader = ImageLoader((6, 5), "L", n_jobs=n_jobs)
    rows, threads, read = loader.transform(files), {}, ImageLoader._read

    def slow(loader, path, row):
        threads.setdefault(path, threading.get_ident())
        time.sleep(0.01)
        return read(loader, path, row)

    monkeypatch.setattr(ImageLoader, "_read", slow)
    samples = _lazy.LazySamples(loader.lazy(files), (40, 30))
    np.testing.assert_array_equal(np.concatenate(list(samples.parts())), rows)
    mine = [path for path in files if threads[path] == threading.get_ident()]
    assert 0 < len(mine) < 40
    assert mine == files[-len(mine) :]
    assert not samples.source.pending


def test_an_error_that_helping_meets_is_raised_by_the_reader(files, monkeypatch, tmp_path):
    monkeypatch.setattr(_loader, "_TINY_BYTES", 0)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"nothing")
    X = ImageLoader((6, 5), "L").lazy([*files, str(damaged)])
    items = (X.rows_at(indices) for indices in [range(41)])
    with pytest.raises(ImageLoadError, match="damaged"):
        list(_lazy.read_ahead(items, X.help_reading))
    assert not X.pending
    assert not X.help_reading()


def test_a_call_is_made_once():
    """By whoever comes first, but again after an error."""
    calls = []

    def failing_first(argument):
        calls.append(argument)
        if len(calls) == 1:
            raise OSError("disk")

    task = _loader._OneTask(failing_first, 3)
    task.help()
    task.help()
    task.do()
    task.help()
    assert calls == [3, 3]
    busy = _loader._OneTask(calls.append, 4)
    with busy.lock:
        busy.help()
    assert calls == [3, 3]


@pytest.mark.parametrize("weighted", [False, True])
def test_windows_hold_the_rows_of_files(files, monkeypatch, weighted):
    """With weights and without."""
    monkeypatch.setattr(_blocks, "_WINDOW_BYTES", 8 * 30 * 4)
    loader = ImageLoader((6, 5), "L")
    weight = np.arange(1.0, 41) if weighted else None
    rows = _blocks.BlockRows.of(_lazy.LazySamples(loader.lazy(files), (40, 30)), weight)
    X = np.concatenate([batch.X for batch in rows.batches(7, np.random.RandomState(0))])
    np.testing.assert_array_equal(X[np.argsort(X[:, -1])], loader.transform(files))


def test_a_damaged_file_ends_a_fit(files, monkeypatch, tmp_path):
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 10)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"nothing")
    X = ImageLoader((6, 5), "L").lazy([*files, str(damaged)])
    with pytest.raises(ImageLoadError, match="damaged"):
        TopKSparseAutoencoder(20, k=3, max_iter=3, random_state=0).fit(X)
