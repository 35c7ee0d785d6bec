"""LazyRows: rows that a function reads when they are asked for."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


class LazyRows:
    """Rows that a function reads when they are asked for, for data larger than memory.

    It has ``shape``, ``dtype`` and ``X[start:stop]``, by which estimators of this package take
    rows a block at a time. NumPy's memory maps, h5py, zarr and dask have these of their own;
    this is for what has not, such as Arrow tables and data sets of Hugging Face.

    Parameters
    ----------
    read : callable
        ``read(start, stop)`` returns the rows from start to before stop, in order, as an
        array-like of shape (stop - start, ...). Another thread than yours may call it, but only
        one at a time.
    shape : tuple of int
        (n_samples, n_features); or (n_samples, height, width) or (n_samples, height, width,
        channels), by which an estimator knows the shape of images.
    dtype : dtype, default=numpy.float32
        Real numbers that the rows are converted to. Small ones, such as uint8, take less memory.
    n_at_once : int or None, default=None
        Number of rows that are best read at once; None for about a megabyte.

    Attributes
    ----------
    shape, dtype, ndim, chunks
        As those of an array; ``chunks`` is None or has ``n_at_once`` first.

    See Also
    --------
    ImageLoader.lazy : Rows of image files.

    Examples
    --------
    Rows of a column of lists in an Arrow table, or a data set of Hugging Face, would be
    ``lambda start, stop: dataset[start:stop]["pixels"]``; here those of a list:

    >>> from skl_sae import LazyRows
    >>> rows = [[i, 2 * i] for i in range(1000)]
    >>> X = LazyRows(lambda start, stop: rows[start:stop], shape=(1000, 2))
    >>> X
    LazyRows(shape=(1000, 2), dtype=float32)
    >>> X[2:4]
    array([[2., 4.],
           [3., 6.]], dtype=float32)
    """

    def __init__(
        self,
        read: Callable[[int, int], ArrayLike],
        shape: tuple[int, ...],
        dtype: DTypeLike = np.float32,
        *,
        n_at_once: int | None = None,
    ) -> None:
        self.read, self.shape, self.dtype = read, tuple(shape), np.dtype(dtype)
        self.ndim = len(self.shape)
        self.chunks = None if n_at_once is None else (n_at_once, *self.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"LazyRows(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, part: slice) -> np.ndarray:
        if not isinstance(part, slice):
            raise TypeError(f"Expected a slice, as in X[10:20], got X[{part!r:.40}].")
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise TypeError(f"Expected rows that follow one another, got a step of {step}.")
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        rows = np.asarray(self.read(start, stop), dtype=self.dtype)
        if rows.shape != (stop - start, *self.shape[1:]):
            raise ValueError(
                f"Expected {(stop - start, *self.shape[1:])} numbers from read({start}, {stop}), "
                f"got {rows.shape}."
            )
        return rows
