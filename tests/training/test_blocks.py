"""Rows that are read in blocks: each seen once in an epoch, mixed, and alike for the same seed."""

import numpy as np
import pytest

from skl_sae._training import _blocks, _lazy
from skl_sae._training._blocks import BlockRows
from skl_sae._training._lazy import LazySamples, lazily, read_ahead
from skl_sae._training._sources import ArrayRows

N, D = 1000, 4


@pytest.fixture
def small(monkeypatch):
    """Blocks of 16 rows and windows of 8 blocks; a sample is of 100 rows."""
    monkeypatch.setattr(_lazy, "_BLOCK_BYTES", 16 * 4 * D)
    monkeypatch.setattr(_blocks, "_WINDOW_BYTES", 8 * 16 * 4 * D)
    monkeypatch.setattr(_blocks, "_MOST_SAMPLED", 100 * D)
    monkeypatch.setattr(_blocks, "_LEAST_ROWS", 1)


def numbered(n=N):
    """Rows whose first feature is their index."""
    X = np.zeros((n, D), np.float32)
    X[:, 0] = np.arange(n)
    X[:, 1:] = np.random.default_rng(0).standard_normal((n, D - 1))
    return X


class Slices:
    """An array that can only be sliced, and that notes how."""

    def __init__(self, X, chunks=None):
        self.array, self.shape, self.dtype, self.chunks = X, X.shape, X.dtype, chunks
        self.read = []

    def __getitem__(self, part):
        assert isinstance(part, slice)
        self.read.append((part.start, part.stop))
        return self.array[part]


def block_rows(X, weight=None, **options):
    return BlockRows.of(LazySamples(Slices(X, **options), X.shape), weight)


def indices(batches):
    return np.concatenate([batch.X[:, 0] for batch in batches]).astype(int)


def test_an_epoch_has_each_row_once_in_batches_of_one_size(small):
    rows = block_rows(numbered())
    batches = list(rows.batches(32, np.random.RandomState(0)))
    assert [len(batch.X) for batch in batches] == [32] * 31 + [8]
    assert all(batch.X.dtype == np.float32 for batch in batches)
    np.testing.assert_array_equal(np.sort(indices(batches)), np.arange(N))


def test_batches_may_be_larger_than_windows(small):
    batches = list(block_rows(numbered()).batches(400, np.random.RandomState(0)))
    assert [len(batch.X) for batch in batches] == [400, 400, 200]
    np.testing.assert_array_equal(np.sort(indices(batches)), np.arange(N))


def test_the_order_is_that_of_the_seed_and_another_one_next_time(small):
    rows, rng = block_rows(numbered()), np.random.RandomState(0)
    first, second = (indices(rows.batches(32, rng)) for _ in range(2))
    again = indices(block_rows(numbered()).batches(32, np.random.RandomState(0)))
    np.testing.assert_array_equal(first, again)
    assert (first != second).mean() > 0.9


def test_each_batch_comes_from_many_places(small):
    """In sorted data, rows of a batch would else be alike."""
    batches = list(block_rows(numbered()).batches(32, np.random.RandomState(0)))
    blocks = [len(set(batch.X[:, 0].astype(int) // 16)) for batch in batches[:-1]]
    assert min(blocks) >= 5


def test_reading_is_in_whole_blocks_of_rows_that_follow_one_another(small):
    rows = block_rows(numbered())
    list(rows.batches(32, np.random.RandomState(0)))
    read = rows.samples.source.read
    assert sorted(read) == [(i, min(i + 16, N)) for i in range(0, N, 16)]


@pytest.mark.parametrize(
    ("chunks", "expected"), [((5, D), 15), ((40, 2), 40), (((7, 3), (D,)), 14)]
)
def test_blocks_are_whole_chunks(small, chunks, expected):
    assert block_rows(numbered(), chunks=chunks).samples.block_rows == expected


@pytest.mark.parametrize("n_done", [1, 7, 30, 31])
def test_an_epoch_goes_on_where_it_was_cut_off(small, n_done):
    rows = block_rows(numbered())
    whole = list(rows.batches(32, np.random.RandomState(0)))[n_done:]
    rows.samples.source.read.clear()
    rest = list(rows.batches(32, np.random.RandomState(0), n_done))
    assert len(rest) == len(whole)
    for got, expected in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(got.X, expected.X)
    # Only a window at most is read that is not needed.
    assert sum(stop - start for start, stop in rows.samples.source.read) <= N - 32 * n_done + 144


def test_rows_in_memory_go_on_likewise():
    rows = ArrayRows(numbered())
    whole = list(rows.batches(32, np.random.RandomState(0)))[5:]
    rest = list(rows.batches(32, np.random.RandomState(0), 5))
    np.testing.assert_array_equal(indices(rest), indices(whole))


def test_few_rows_held_out_are_from_everywhere(small):
    rows = block_rows(numbered())
    train, held_out = rows.hold_out(100, np.random.RandomState(0))
    assert isinstance(held_out, ArrayRows)
    assert held_out.n_rows == 100 and train.n_rows == N - 100
    out = held_out.X[:, 0].astype(int)
    assert len(set(out // 16)) > 50
    seen = indices(train.batches(32, np.random.RandomState(1)))
    np.testing.assert_array_equal(np.sort(np.concatenate([seen, out])), np.arange(N))


def test_many_rows_held_out_are_whole_blocks(small, monkeypatch):
    monkeypatch.setattr(_blocks, "MOST_JUDGES", 50)
    train, held_out = block_rows(numbered()).hold_out(100, np.random.RandomState(0))
    assert isinstance(held_out, BlockRows)
    assert 100 <= held_out.n_rows <= 116
    out = indices(held_out.parts(10))
    assert all(block in (16, 8) for block in np.unique(out // 16, return_counts=True)[1])
    seen = indices(train.parts(10))
    np.testing.assert_array_equal(np.sort(np.concatenate([seen, out])), np.arange(N))
    assert (np.diff(seen) > 0).all()  # parts are in order


def test_a_sample_is_from_everywhere_and_of_the_right_size(small):
    sample = block_rows(numbered()).sample(np.random.RandomState(0))
    assert isinstance(sample, ArrayRows)
    assert 90 <= sample.n_rows <= 100
    assert len(set(sample.X[:, 0].astype(int) // 16)) > 50
    np.testing.assert_array_equal(sample.X, numbered()[sample.X[:, 0].astype(int)])


def test_weights_go_with_their_rows_and_rows_of_weight_0_are_left_out(small):
    weight = np.arange(N) % 4.0
    rows = block_rows(numbered(), weight)
    assert (rows.n_rows, rows.n_samples) == (750, 1500)
    for source in (rows.batches(32, np.random.RandomState(0)), rows.parts(10)):
        X, weights = (np.concatenate(part) for part in zip(*source, strict=True))
        at = X[:, 0].astype(int)
        np.testing.assert_array_equal(np.sort(at), np.flatnonzero(weight))
        np.testing.assert_allclose(weights / weights.mean(), weight[at] / 2, rtol=1e-6)
    in_memory = ArrayRows.of(numbered(), weight)
    assert (in_memory.n_rows, in_memory.n_samples) == (rows.n_rows, rows.n_samples)


def test_changes_are_made_of_each_block_by_its_own_numbers(small):
    def double(X, random):
        noisy = X.copy()
        noisy[:, 1] = random.random_sample(len(X))
        return np.concatenate([X, noisy])

    weight = np.arange(N) % 2 + 1.0
    rows = block_rows(numbered(), weight).changed(double, np.random.RandomState(0))
    assert rows.n_rows == 2 * N
    batches = list(rows.batches(32, np.random.RandomState(0)))
    at = indices(batches)
    np.testing.assert_array_equal(np.bincount(at), np.full(N, 2))
    weights = np.concatenate([batch.weight for batch in batches])
    np.testing.assert_allclose(weights, weight[at] / 1.5, rtol=1e-6)
    again = list(rows.batches(32, np.random.RandomState(0), 20))
    np.testing.assert_array_equal(again[0].X, batches[20].X)
    noise = np.concatenate([batch.X[:, 1] for batch in batches])
    assert len(set(noise)) > 1.9 * N  # no block has another's numbers


def test_changes_must_make_as_many_of_each_row(small):
    with pytest.raises(ValueError, match="as many variants"):
        block_rows(numbered()).changed(lambda X, rng: X[:1], None)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_a_bad_number_is_found_where_it_is(small, value):
    X = numbered()
    X[333, 2] = value
    with pytest.raises(ValueError, match=r"X, rows 320 to 335"):
        list(block_rows(X).batches(32, np.random.RandomState(0)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float64, ">f4", bool])
def test_any_real_dtype_becomes_float32(small, dtype):
    X = (numbered(100) % 2).astype(dtype)
    batches = block_rows(X).batches(32, np.random.RandomState(0))
    rows = np.concatenate([batch.X for batch in batches])
    assert rows.dtype == np.float32
    assert rows.sum(dtype=np.float64) == X.sum(dtype=np.float64)


def test_a_source_that_gives_fewer_rows_than_it_says_is_refused(small):
    source = Slices(numbered())
    samples = LazySamples(source, (N + 16, D))
    with pytest.raises(ValueError, match=r"Expected X\[992:1008\]"):
        list(BlockRows(samples).parts(10))


def test_what_is_small_is_an_array(tmp_path):
    X = numbered()
    path = tmp_path / "rows.npy"
    np.save(path, X)
    for source in (Slices(X), np.load(path, mmap_mode="r"), X):
        assert isinstance(lazily(source), np.ndarray)


def test_what_is_large_is_read_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 10)
    X = numbered()
    path = tmp_path / "rows.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    for source in (Slices(X), mapped, mapped[100:], np.asarray(mapped)):
        assert isinstance(lazily(source), LazySamples)
    assert lazily(X) is X


def test_an_array_that_joblib_shares_stays_an_array(tmp_path, monkeypatch):
    """A search gives the same whether its workers share the rows by a file or not."""
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 10)
    folder = tmp_path / "joblib_memmapping_folder_1_2_3"
    folder.mkdir()
    np.save(folder / "rows.npy", numbered())
    shared = np.load(folder / "rows.npy", mmap_mode="r")
    assert isinstance(lazily(shared), np.ndarray)


def test_an_unknown_number_of_rows_is_refused():
    source = Slices(numbered())
    source.shape = (np.nan, D)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        lazily(source)


@pytest.mark.parametrize("dtype", [complex, object, "U3"])
def test_what_is_no_number_is_refused(dtype):
    with pytest.raises(ValueError, match="real numbers"):
        LazySamples(Slices(np.zeros((3, 2), dtype)), (3, 2))


def test_reading_ahead_keeps_order_and_passes_errors_on():
    def items():
        yield from range(5)
        raise OSError("disk")

    got = []
    with pytest.raises(OSError, match="disk"):
        for item in read_ahead(items()):
            got.append(item)
    assert got == list(range(5))


def test_a_reader_ends_with_the_loop_that_it_reads_for():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    for item in read_ahead(items()):
        if item == 3:
            break
    n_made = len(made)
    assert n_made <= 5
    assert len(made) == n_made
