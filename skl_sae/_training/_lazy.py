"""LazySamples: samples that are read when they are asked for, such as a memory map's."""

import math
import mmap
import os
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite, check_array

# Numbers up to which samples are read into memory as a whole: 64 MB in float32. Then all is as for
# an array.
_FEW_NUMBERS = 2**24
# Bytes of a block, which is read at once: disks give rows that follow one another fastest, and
# blocks from many places make a better mixture. A chunk of a file is read whole up to the second.
# Where rows are files of their own, a few are a block.
_BLOCK_BYTES, _LARGEST_CHUNK, _FILES_OF_BLOCK = 2**19, 2**26, 4
# Largest sum of a row's products with an atom.
_LARGEST_SUM = 1e38
# Numbers of a part that is coded at a time: 32 MB in float32.
_PART = 2**23
# Seconds until a thread that found nothing to help with looks again.
_PAUSE = 0.002
_END = object()


def lazily(X):
    """X as LazySamples if it is large and read when asked for; otherwise as an array, or as it is.

    Something is read when asked for if it has ``shape``, ``dtype`` and ``X[start:stop]`` and is
    no array in memory. Nothing is validated by a copy of all of it.
    """
    if isinstance(X, LazySamples) or not _is_read_when_asked_for(X):
        return X
    shape = tuple(X.shape)
    if any(size != size for size in shape):  # dask's NaN
        raise ValueError(
            f"Expected a known shape, got {shape}. dask arrays find it by compute_chunk_sizes()."
        )
    if math.prod(shape) <= _FEW_NUMBERS:
        return np.asarray(X[: shape[0]])
    return LazySamples(X, tuple(map(int, shape)))


def _is_read_when_asked_for(X):
    if isinstance(X, np.ndarray):
        return _is_mapped_file(X)
    # Frames and tensors are in memory; they have ways of their own to become arrays.
    if sp.issparse(X) or hasattr(X, "columns") or hasattr(X, "detach"):
        return False
    shape = getattr(X, "shape", None)
    return (
        isinstance(shape, tuple) and len(shape) in (2, 3, 4)
        and hasattr(X, "dtype") and hasattr(X, "__getitem__")
    )  # fmt: skip


def _is_mapped_file(array):
    """Whether an array is a file's, which is not the case where joblib shares one among workers.

    To a worker of a search its rows must be what they are in one process: rows in memory.
    """
    while isinstance(array, np.ndarray):
        folder = os.path.dirname(getattr(array, "filename", None) or "")
        if os.path.basename(folder).startswith("joblib_memmapping_folder"):
            return False
        array = array.base
    return isinstance(array, mmap.mmap)


class LazySamples:
    """Samples that are read when they are asked for, and checked then.

    Parameters
    ----------
    source : object
        Has ``shape``, ``dtype`` and ``source[start:stop]``.
    shape : tuple
        (n_samples, n_features), or that of images of as many numbers.
    """

    def __init__(self, source, shape):
        dtype = np.dtype(source.dtype)
        if dtype.kind not in "biuf":
            raise ValueError(f"Expected real numbers, got samples of dtype {dtype}.")
        self.source, self.shape, self.dtype = source, shape, dtype
        self.n_features = math.prod(shape[1:])
        self.largest = largest_number(self.n_features)
        self.block_rows = self._rows_of_block()
        # Threads that load samples that are files; 0 for others.
        self.n_threads = getattr(source, "n_threads", 0)
        self.help_reading = getattr(source, "help_reading", None)

    def __len__(self):
        return self.shape[0]

    def _rows_of_block(self):
        """Rows that are read at once: as many chunks of the file as a block may have bytes."""
        row_bytes = self.n_features * self.dtype.itemsize
        n = max(1, _BLOCK_BYTES // row_bytes)
        chunks = getattr(self.source, "chunks", None)
        if not chunks:
            return min(n, _FILES_OF_BLOCK) if hasattr(self.source, "rows_at") else n
        # dask has the lengths of all chunks, others that of one.
        chunk = chunks[0] if np.isscalar(chunks[0]) else max(chunks[0])
        if chunk >= n:
            return int(max(1, min(chunk, _LARGEST_CHUNK // row_bytes)))
        return int(n - n % chunk)

    def as_images(self, image_shape):
        """The same samples, seen as images."""
        return LazySamples(self.source, (len(self), *image_shape))

    def read_blocks(self, blocks):
        """Rows of blocks (start, stop), one after another; of files, all are loaded in one go."""
        if not hasattr(self.source, "rows_at"):
            return (self.read(*map(int, block)) for block in blocks)
        indices = np.concatenate([np.arange(*block) for block in blocks])
        rows = self.source.rows_at(indices).reshape(len(indices), -1)
        return np.split(rows, np.cumsum([stop - start for start, stop in blocks])[:-1])

    def read(self, start, stop):
        """Rows (stop - start, n_features) in their own dtype, all finite."""
        rows = np.asarray(self.source[start:stop])
        if rows.size != (stop - start) * self.n_features:
            raise ValueError(
                f"Expected X[{start}:{stop}] of {stop - start} x {self.n_features} numbers, got "
                f"shape {rows.shape}."
            )
        rows = rows.reshape(stop - start, self.n_features)
        if self.dtype.kind == "f":
            # As Python's floats, since float16 cannot hold the limit.
            least, most = float(rows.min()), float(rows.max())
            if not -self.largest < least <= most < self.largest:
                self._refuse(rows, f"X, rows {start} to {stop - 1}")
        return rows

    def _refuse(self, rows, name):
        assert_all_finite(rows, input_name=name)
        refuse_large(rows, name)

    def parts(self, first=0):
        """Samples in order, a few at a time, as arrays of dtype float32 in C order."""
        parts = (self._part(*part) for part in _part_ranges(self.shape, first))
        return read_ahead(parts, self.help_reading)

    def _part(self, start, stop):
        (rows,) = self.read_blocks([(start, stop)])
        part = check_array(rows, dtype=np.float32, order="C")
        return part.reshape(len(part), *self.shape[1:])


def largest_number(n_features):
    """Largest number in a row: |x . w| <= max |x| sqrt(n_features) for an atom w of unit norm."""
    return _LARGEST_SUM / math.sqrt(n_features)


def refuse_large(X, name="X"):
    """A ValueError if sums over rows of X could be infinite."""
    n_features = math.prod(X.shape[1:])
    largest = largest_number(n_features)
    if not -largest < X.min() <= X.max() < largest:
        raise ValueError(
            f"Input {name} contains a value too large for sums in float32, which would be "
            f"infinity: expected numbers below {largest:.1e} for {n_features} features. Divide X "
            "by a number."
        )


def _part_ranges(shape, first):
    n = max(1, _PART // math.prod(shape[1:]))
    return ((i, min(i + n, shape[0])) for i in range(first, shape[0], n))


def parts_of(X):
    """Validated samples as arrays: all of an array, or parts of LazySamples."""
    return X.parts() if isinstance(X, LazySamples) else (X,)


def small_parts_of(X, first):
    """Validated samples as arrays of some megabytes, from the first on."""
    if isinstance(X, LazySamples):
        return X.parts(first)
    return (X[start:stop] for start, stop in _part_ranges(X.shape, first))


def read_ahead(items, help_reading=None):
    """Items of an iterator, each made by another thread while the one before is worked on.

    Parameters
    ----------
    items : iterable
        What is iterated over.
    help_reading : callable or None, default=None
        Does a small part of what an item takes, and says whether there was any: the thread that
        would wait for an item helps to make it. None for items that have no parts.
    """
    items = iter(items)
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, items, _END)
        while (item := _awaited(following, help_reading)) is not _END:
            following = reader.submit(next, items, _END)
            yield item


def _awaited(future, help_reading):
    """Result of a future, until which this thread helps where it can."""
    while help_reading is not None and not future.done():
        if not help_reading():
            wait([future], timeout=_PAUSE)
    return future.result()
