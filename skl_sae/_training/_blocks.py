"""BlockRows: rows that are read in blocks when they are asked for, and mixed as they are read."""

import math
import mmap
from typing import NamedTuple

import numpy as np

from .._engine.init._start import MAX_ROWS, MAX_SIDE, MOST_JUDGES
from ._groups import choose_groups, few_enough
from ._lazy import read_ahead
from ._sources import ArrayRows, RawBatch, counts_or_shares, weights_of_changed

# Bytes of the rows that batches are drawn from. As many again are read meanwhile.
_WINDOW_BYTES = 2**24
# Numbers of a sample (8 MB), unless these are too few rows for initial atoms. Of 2**22 a fit takes
# 80 MB more, and its correlation is 0.0003 higher on average after five epochs, 0.002 after one.
_MOST_SAMPLED, _LEAST_ROWS = 2**21, 2**11
# Places in the data that a sample is from; and rows to judge a fit by, which are fewer.
_N_RUNS, _N_JUDGING_RUNS = 256, 64
# Seed where a sample must be the same at each call.
_FIXED = 0


class BlockRows:
    """Rows of LazySamples, in blocks of rows that follow one another.

    In an epoch blocks come in random order. Some at a time make a window, whose rows are shuffled;
    the next window is read while the model learns from one. So memory holds two windows, whatever
    the number of rows, and random order costs no random reading.

    Parameters
    ----------
    samples : LazySamples
        What the rows are read from.
    weight : ndarray of shape (n_samples,) or None
        Weights of all samples, as those of `ArrayRows`; rows of weight 0 are left out.
    groups : ndarray of shape (n_samples,) or None
        Numbers of the groups of all samples, as those of `ArrayRows`.
    ranges : list of (int, int) or None
        First row and the one after the last of each part of the samples; None for all of them.
    changes : tuple of callable
        What becomes of each block, such as random variants.
    """

    def __init__(self, samples, weight=None, groups=None, *, ranges=None, changes=()):
        self.samples, self.weight, self.groups, self.changes = samples, weight, groups, changes
        self.ranges = [(0, len(samples))] if ranges is None else ranges
        self.blocks = _cut(self.ranges, samples.block_rows)
        self.lengths = self._lengths()
        self.factor, self.n_features = self._effect_of_changes()
        self.lengths *= self.factor
        self.n_rows = int(self.lengths.sum())

    @classmethod
    def of(cls, samples, weight, groups=None):
        """Rows with the weights that a user gives, or None."""
        is_plain = weight is None or (weight == 1).all()
        return cls(samples, None if is_plain else counts_or_shares(weight), groups)

    def _like(self, ranges, changes):
        """Rows of the same samples."""
        return BlockRows(self.samples, self.weight, self.groups, ranges=ranges, changes=changes)

    @property
    def X(self):
        """The user's own object."""
        return self.samples.source

    @property
    def n_threads(self):
        return self.samples.n_threads

    @property
    def n_samples(self):
        return self.n_rows if self.weight is None else round(self._total_weight())

    def _total_weight(self):
        return self.factor * sum(float(self.weight[slice(*block)].sum()) for block in self.blocks)

    def _lengths(self):
        """Number of rows of each block, before any change."""
        if self.weight is None:
            return self.blocks[:, 1] - self.blocks[:, 0]
        return np.array([np.count_nonzero(self.weight[slice(*block)]) for block in self.blocks])

    def _effect_of_changes(self):
        """Rows that one row becomes, and their number of features."""
        if not self.changes:
            return 1, self.samples.n_features
        block = int(np.flatnonzero(self.lengths)[0])
        few = RawBatch(self.samples.read(*_first_two(self.blocks[block])))
        changed = self._changed(few, np.random.RandomState(_FIXED)).X
        factor, rest = divmod(len(changed), len(few.X))
        if rest or not factor:
            raise ValueError(
                f"Expected as many variants of each row, got {len(changed)} of {len(few.X)} rows."
            )
        return factor, changed.shape[1]

    # --- Reading ---

    def _kept(self, block, X, seed):
        """Rows of a block that was read, without those of weight 0, changed; with their weights."""
        weight = None
        if self.weight is not None:
            weight = self.weight[slice(*self.blocks[block])]
            X, weight = X[weight > 0], weight[weight > 0]
        if len(X) and self.changes:
            X, weight = self._changed(RawBatch(X, weight), np.random.RandomState(seed))
        if len(X) != self.lengths[block]:
            raise ValueError(f"Expected {self.lengths[block]} variants of a block, got {len(X)}.")
        return RawBatch(X, weight)

    def _changed(self, rows, random):
        X, weight = rows.X.astype(np.float32), rows.weight
        for change in self.changes:
            n = len(X)
            X = change(X, random)
            weight = weights_of_changed(weight, n, len(X))
        return RawBatch(X, weight)

    def _window(self, blocks, seeds):
        """Rows of several blocks, in their order, and their weights."""
        n = int(self.lengths[blocks].sum())
        X = _pages((n, self.n_features), np.float32 if self.changes else self.samples.dtype)
        weight = None if self.weight is None else np.empty(n)
        end, blocks = 0, np.sort(blocks)
        read = self.samples.read_blocks(self.blocks[blocks])
        for block, X_of_block in zip(blocks, read, strict=True):
            rows = self._kept(block, X_of_block, seeds[block])
            start, end = end, end + len(rows.X)
            X[start:end] = rows.X
            if weight is not None:
                weight[start:end] = rows.weight
        return RawBatch(X, weight)

    # --- Training ---

    def batches(self, batch_size, rng, n_done=0):
        # The windows are read by another thread, which must not draw from a generator of ours.
        random = np.random.RandomState(rng.randint(2**31 - 1))
        scale = 1.0 if self.weight is None else self.n_rows / self._total_weight()
        windows = self._windows(random, n_done * batch_size)
        windows = read_ahead(windows, self.samples.help_reading)
        for rows in _batches(windows, batch_size):
            weight = None
            if rows.weight is not None:
                weight = (scale * rows.weight).astype(np.float32)
            yield RawBatch(rows.X.astype(np.float32, copy=False), weight)

    def _windows(self, random, n_done):
        """Mixed rows, several blocks at a time, but for the first n_done, of which few are read."""
        order = random.permutation(len(self.blocks))
        seeds = random.randint(2**31 - 1, size=len(self.blocks))
        # A block belongs to the window in which it begins.
        ends = np.cumsum(self.lengths[order])
        windows = (ends - self.lengths[order]) // self._n_in_window()
        for blocks in np.split(order, np.flatnonzero(np.diff(windows)) + 1):
            n = int(self.lengths[blocks].sum())
            mixed = random.permutation(n)
            skipped, n_done = min(n_done, n), max(0, n_done - n)
            if skipped < n:
                yield _Mixed(self._window(blocks, seeds), mixed[skipped:])

    def parts(self, n):
        seeds = self._seeds(_FIXED)
        of_window = np.cumsum(self.lengths) // self._n_in_window()
        groups = np.split(np.arange(len(self.blocks)), np.flatnonzero(np.diff(of_window)) + 1)
        windows = (self._window(blocks, seeds) for blocks in groups)
        for rows in read_ahead(windows, self.samples.help_reading):
            # A part at a time: a window of bytes would be four times as large in float32.
            for X, weight in ArrayRows(rows.X, rows.weight).parts(n):
                yield RawBatch(X.astype(np.float32, copy=False), weight)

    def _n_in_window(self):
        itemsize = 4 if self.changes else self.samples.dtype.itemsize
        return max(1, _WINDOW_BYTES // (self.n_features * itemsize))

    def _seeds(self, seed):
        """Seeds of what is random in the changes of each block."""
        return np.random.RandomState(seed).randint(2**31 - 1, size=len(self.blocks))

    def sample(self, rng):
        most = MAX_ROWS if self.n_features <= MAX_SIDE else MAX_SIDE
        most = min(most, max(_LEAST_ROWS, _MOST_SAMPLED // self.n_features))
        if self.n_rows <= most:
            return self._in_memory()
        n = math.ceil(most / self.factor)
        part = self._like(self._runs(n, _N_RUNS, rng), self.changes)
        return part._in_memory(rng.randint(2**31 - 1))

    def changed(self, change, rng):
        return self._like(self.ranges, (*self.changes, change))

    def hold_out(self, n_held_out, rng):
        """Split rows; those held out are whole blocks, or few rows from many places."""
        if not n_held_out:
            return self, ArrayRows(np.empty((0, self.n_features), np.float32))
        if self.groups is not None:
            return self._hold_out_groups(n_held_out, rng)
        if n_held_out <= MOST_JUDGES:
            ranges = self._runs(n_held_out, _N_JUDGING_RUNS, rng)
        else:
            order = rng.permutation(len(self.blocks))
            n = 1 + np.searchsorted(np.cumsum(self.lengths[order]), n_held_out)
            # One block at least is left to learn from.
            ranges = self.blocks[np.sort(order[: min(n, len(order) - 1)])].tolist()
        return self._like(_rest(self.ranges, ranges), ()), self._judges(ranges)

    def _hold_out_groups(self, n_held_out, rng):
        chosen = choose_groups(self.groups, self.weight, n_held_out, rng)
        judging = chosen if self.weight is None else chosen & (self.weight > 0)
        held_out = few_enough(np.flatnonzero(judging), n_held_out)
        return self._like(_ranges(np.flatnonzero(~chosen)), ()), self._judges(_ranges(held_out))

    def _judges(self, ranges):
        """Rows held out, in memory if they are few."""
        held_out = self._like(ranges, ())
        return held_out._in_memory() if held_out.n_rows <= MOST_JUDGES else held_out

    def _runs(self, n, n_runs, rng):
        """Ranges of about n rows in all, at random places of blocks that are evenly spread."""
        blocks = self.blocks[self.lengths > 0]
        # Short blocks give fewer rows than are wanted of each.
        n_runs = max(n_runs, n // self.samples.block_rows)
        if self.groups is not None:  # between rows held out all blocks may be short
            mean_length = self.n_rows / self.factor / len(blocks)
            n_runs = max(n_runs, math.ceil(2 * n / mean_length))
        n_runs = min(n_runs, len(blocks), n)
        chosen = blocks[np.linspace(0, len(blocks) - 1, n_runs).round().astype(int)]
        ranges = []
        for i, (start, stop) in enumerate(chosen.tolist()):
            length = min(stop - start, (n * (i + 1)) // n_runs - (n * i) // n_runs)
            first = start + rng.randint(stop - start - length + 1)
            ranges.append((first, first + length))
        return ranges

    def _in_memory(self, seed=_FIXED):
        X, weight = self._window(np.arange(len(self.blocks)), self._seeds(seed))
        return ArrayRows(X.astype(np.float32, copy=False), weight, self._groups_of_rows())

    def _groups_of_rows(self):
        """Groups of the rows, in their order."""
        if self.groups is None or self.changes:
            return None
        rows = np.concatenate([np.arange(*block) for block in self.blocks])
        return self.groups[rows if self.weight is None else rows[self.weight[rows] > 0]]


def _pages(shape, dtype):
    """An empty array in pages of its own, which go back to the system as soon as it is freed.

    Windows that come and go in the C library's heap, in two threads, would tear that to pieces.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, buffer=mmap.mmap(-1, max(1, n_bytes)))


class _Mixed(NamedTuple):
    """A window's rows, and the order that they are seen in."""

    rows: RawBatch
    order: np.ndarray

    def take(self, part):
        chosen = self.order[part]
        weight = self.rows.weight
        return RawBatch(self.rows.X[chosen], None if weight is None else weight[chosen])


def _batches(windows, batch_size):
    """Batches of equal size, but for the last; one may have rows of two windows or more."""
    begun, n_begun = [], 0
    for window in windows:
        start = 0
        while start < len(window.order):
            part = slice(start, start + batch_size - n_begun)
            begun.append(window.take(part))
            n_begun += len(begun[-1].X)
            start = part.stop
            if n_begun == batch_size:
                yield _joined(begun)
                begun, n_begun = [], 0
    if begun:
        yield _joined(begun)


def _joined(batches):
    if len(batches) == 1:
        return batches[0]
    X, weights = zip(*batches, strict=True)
    return RawBatch(np.concatenate(X), None if weights[0] is None else np.concatenate(weights))


def _cut(ranges, length):
    """Blocks (start, stop) of ranges, with cuts at multiples of a length."""
    blocks = [np.empty((0, 2), np.int64)]
    for start, stop in ranges:
        first = np.arange(start - start % length, stop, length)
        blocks.append(np.stack([first.clip(start), (first + length).clip(max=stop)], axis=1))
    return np.concatenate(blocks)


def _ranges(rows):
    """Ranges of rows that follow one another, of numbers of rows in their order."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return [(int(run[0]), int(run[-1]) + 1) for run in runs]


def _first_two(block):
    start, stop = map(int, block)
    return start, min(stop, start + 2)


def _rest(ranges, taken):
    """Ranges without those that are taken, each of which is part of one."""
    rest = []
    taken = sorted(map(tuple, taken))
    for start, stop in ranges:
        for first, after in taken:
            if start <= first < stop:
                if first > start:
                    rest.append((start, first))
                start = after
        if start < stop:
            rest.append((start, stop))
    return rest
