"""ImageLoader: image files to rows of numbers."""

import contextlib
import errno
import os
import stat
import threading
import warnings
from collections import deque
from collections.abc import Sequence
from numbers import Integral
from typing import Literal, Self

import numpy as np
from joblib import Parallel, cpu_count, delayed, effective_n_jobs
from numpy.typing import ArrayLike
from PIL import Image, UnidentifiedImageError
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm import tqdm

from ._pillow import FORMATS, PILLOW_ERRORS, decoded, truncation_refused
from ._rows import LazyRows
from ._shapes import check_sides
from ._typing import AnyPath, _fit_context

MAX_PIXELS = 2**26
_FILES_PER_TASK = 16
# Below this mean file size Pillow's work is mostly Python, which threads only slow down.
_TINY_BYTES = 2**12


class ImageLoadError(ValueError):
    """A file that cannot be read as an image; the message names the path and the reason."""


class ImageLoader(TransformerMixin, BaseEstimator):
    """Load image files as rows of numbers in [0, 1].

    The format (PNG, JPEG, BMP, GIF, TIFF or WebP) is recognised from a file's content. Images
    are rotated upright by their EXIF orientation; transparent pixels become white; palettes and
    CMYK are converted to the colours that they represent; 16-bit grey is scaled over its full
    range; of an animation the first frame is taken, with one warning. Damaged files are refused.

    The rows take 4 * height * width * channels bytes an image. In a Pipeline, files are loaded
    in each fit and transform; the Pipeline's ``memory`` avoids that.

    Parameters
    ----------
    size : tuple of (int, int), default=(64, 64)
        Height and width in pixels that images are brought to.
    mode : {"RGB", "L"}, default="RGB"
        Colour (three numbers a pixel) or grey (one number a pixel).
    aspect : {"stretch", "crop", "pad"}, default="stretch"
        Treatment of images of another shape: stretch them to the size, crop both ends of their
        longer side, or pad them with black.
    max_pixels : int, default=67108864
        Largest number of pixels of an image, checked before it is decoded. Pillow has a limit
        of its own, twice ``PIL.Image.MAX_IMAGE_PIXELS``, which is left unchanged: 178,956,970
        pixels, unless you change it. A larger max_pixels is an error.
    n_jobs : int or None, default=None
        Number of threads. None is 1 unless in a :obj:`joblib.parallel_backend` context.
    verbose : bool or int, default=0
        Whether to show a progress bar.

    See Also
    --------
    find_images : List the images of a folder.

    Examples
    --------
    >>> import tempfile
    >>> from skl_sae import ImageLoader, find_images
    >>> from skl_sae.datasets import make_cells
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = make_cells(folder, n_samples=4, size=32)
    ...     loader = ImageLoader(size=(8, 8), mode="L")
    ...     X = loader.fit_transform(find_images(folder).filenames)
    >>> X.shape, loader.inverse_transform(X).shape
    ((4, 64), (4, 8, 8))
    """

    _parameter_constraints: dict = {
        "size": [tuple, list],
        "mode": [StrOptions({"RGB", "L"})],
        "aspect": [StrOptions({"stretch", "crop", "pad"})],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        size: tuple[int, int] | list[int] = (64, 64),
        mode: Literal["RGB", "L"] = "RGB",
        *,
        aspect: Literal["stretch", "crop", "pad"] = "stretch",
        max_pixels: int = MAX_PIXELS,
        n_jobs: int | None = None,
        verbose: bool | int = 0,
    ) -> None:
        self.size = size
        self.mode = mode
        self.aspect = aspect
        self.max_pixels = max_pixels
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike | Sequence[AnyPath], y: object = None) -> Self:
        """Check the parameters and the paths; there is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, 1)
            Paths.
        y : None
            Ignored.

        Returns
        -------
        self : ImageLoader
            The loader.
        """
        self._image_shape()
        self._check_max_pixels()
        as_paths(X)
        return self

    def transform(self, X: ArrayLike | Sequence[AnyPath]) -> np.ndarray:
        """Load files.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, 1)
            Paths, as str or os.PathLike: a list, an array, or a column of a DataFrame.

        Returns
        -------
        rows : ndarray of shape (n_samples, height * width * channels), dtype float32
            Values in [0, 1], in C order of (height, width, channels).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ImageLoadError
            If a file cannot be read as an image.
        """
        self._validate_params()
        paths = as_paths(X)
        with tqdm(total=len(paths), desc="Loading", unit=" files", disable=not self.verbose) as bar:
            rows, remarks = self._rows(paths, bar.update)
        for remark in remarks:
            warnings.warn(remark, UserWarning, stacklevel=3)
        return rows

    def lazy(self, X: ArrayLike | Sequence[AnyPath], *, as_images: bool = False) -> LazyRows:
        """Make rows of files that are loaded when they are asked for, by fit and transform.

        Memory holds 32 MB of images at a time, however many there are. Each epoch loads them
        anew in random order, in ``n_jobs`` threads that leave a core to the model, while it learns
        from those before, or helps to load where it would wait.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, 1)
            Paths, as in :meth:`transform`.
        as_images : bool, default=False
            Whether the shape is that of images instead of rows, so that an estimator knows it.

        Returns
        -------
        rows : LazyRows
            Of shape (n_samples, height * width * channels), or (n_samples, height, width[, 3]).

        Raises
        ------
        FileNotFoundError
            If there is no such file. That a file cannot be read is found when it is asked for.

        Examples
        --------
        >>> import tempfile
        >>> from skl_sae import ImageLoader, find_images
        >>> from skl_sae.datasets import make_cells
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = make_cells(folder, n_samples=4, size=32)
        ...     X = ImageLoader(size=(8, 8), mode="L").lazy(find_images(folder).filenames)
        ...     X.shape, X[:2].shape
        ((4, 64), (2, 64))
        """
        self._validate_params()
        self._check_max_pixels()
        paths = as_paths(X)
        for path in paths:
            file_status(path)
        shape = self._image_shape() if as_images else (int(np.prod(self._image_shape())),)
        return LazyFiles(clone(self), paths, shape)

    def _rows(self, paths, update, errors=None, n_jobs=None, pending=None):
        """Return the rows and the texts of warnings; call ``update(n)`` after n more files.

        ``errors`` is a dict that takes the error of each file that cannot be read, by its index;
        its row is left out. None raises the first. ``n_jobs`` is instead of the loader's own.
        ``pending`` is a deque that gets the tasks, of which other threads may do some.
        """
        self._check_max_pixels()
        rows = np.empty((len(paths), int(np.prod(self._image_shape()))), dtype=np.float32)
        animated = []

        def load(batch):
            for i in range(*batch.indices(len(paths))):
                try:
                    if self._read(paths[i], rows[i]):
                        animated.append(paths[i])
                except (OSError, ImageLoadError) as error:
                    if errors is None:
                        raise
                    rows[i], errors[i] = 0, str(error)
            rows[batch] /= 255
            update(batch.stop - batch.start)

        tasks = [_OneTask(load, batch) for batch in gen_batches(len(paths), _FILES_PER_TASK)]
        are_tiny = _are_tiny(paths)
        if pending is not None and not are_tiny:
            pending.extend(tasks)
        n_jobs = 1 if are_tiny else n_jobs or self.n_jobs
        with truncation_refused():
            Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(task.do)() for task in tasks)
        if errors:
            rows = np.delete(rows, list(errors), axis=0)
        if not animated:
            return rows, []
        remark = (
            f"{len(animated)} file(s) with several frames, of which the first was taken, such as "
            f"{min(animated)!r}."
        )
        return rows, [remark]

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Convert rows to images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height * width * channels)
            Rows; values outside [0, 1] are clipped.

        Returns
        -------
        images : ndarray of shape (n_samples, height, width[, 3]), dtype uint8
            Images, without the last axis in mode "L".
        """
        X = check_array(X, dtype=np.float32, input_name="X")
        shape = self._image_shape()
        if X.shape[1] != np.prod(shape):
            raise ValueError(f"Expected rows of {np.prod(shape)} numbers, got {X.shape[1]}.")
        return np.rint(X.clip(0, 1) * 255).astype(np.uint8).reshape(-1, *shape)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Name the pixels: pixel_row_column, in colour with _r, _g or _b.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of shape (height * width * channels,), dtype object
            Names of the columns.
        """
        height, width, *colour = self._image_shape()
        ends = ("_r", "_g", "_b") if colour else ("",)
        names = [f"pixel_{i}_{j}{e}" for i in range(height) for j in range(width) for e in ends]
        return np.array(names, dtype=object)

    def _image_shape(self):
        sides = check_sides("size", self.size)
        return (*sides, 3) if self.mode == "RGB" else sides

    def _check_max_pixels(self):
        # Pillow refuses images beyond its own limit, a global flag that is not ours to change. So
        # a larger max_pixels could not be honoured. The default is accepted in any case, since a
        # user who lowers Pillow's limit wants that limit to hold.
        if Image.MAX_IMAGE_PIXELS is None:
            return
        limit = 2 * Image.MAX_IMAGE_PIXELS
        if self.max_pixels > max(limit, MAX_PIXELS):
            raise ValueError(
                f"Expected max_pixels of at most {limit}, twice PIL.Image.MAX_IMAGE_PIXELS, "
                f"beyond which Pillow refuses pictures; got {self.max_pixels}."
            )

    def _read(self, path, row):
        """Write a file's pixels, 0 to 255, into a row; return whether it has several frames."""
        if not stat.S_ISREG(file_status(path).st_mode):  # opening a pipe would wait for ever
            raise ImageLoadError(f"{path!r}: not a regular file.")
        try:
            with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
                n_pixels = image.width * image.height
                if n_pixels > self.max_pixels:
                    raise ValueError(f"{n_pixels} pixels, more than max_pixels={self.max_pixels}")
                # Frames are not counted: in a file of nothing but frames that takes minutes.
                is_animated = bool(getattr(image, "is_animated", False))
                pixels = decoded(image, self.size, self.mode, self.aspect)
                # 16-bit grey still has one number a pixel, even if colour is asked for.
                row.reshape(*self.size, -1)[:] = pixels.reshape(*self.size, -1)
                return is_animated
        except PILLOW_ERRORS as error:
            raise ImageLoadError(f"{path!r}: {_reason(error)}") from error

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


class LazyFiles(LazyRows):
    """Rows of files that are loaded when they are asked for.

    Files are as fast wherever they are: `rows_at` loads those that are asked for, in one go, and a
    thread that waits for them may help.
    """

    def __init__(self, loader, paths, shape):
        super().__init__(self._read, (len(paths), *shape))
        self.loader, self.paths, self.has_warned = loader, paths, False
        self.pending = deque()

    def _read(self, start, stop):
        return self._load(self.paths[start:stop])

    @property
    def n_threads(self):
        """Number of threads by which `rows_at` loads files, but for one that helps.

        That has a core of its own, since it has other work, too.
        """
        return max(1, min(effective_n_jobs(self.loader.n_jobs), cpu_count() - 1))

    def rows_at(self, indices):
        """Rows of some files, in the order of their indices."""
        try:
            paths = [self.paths[i] for i in indices]
            return self._load(paths, n_jobs=self.n_threads, pending=self.pending)
        finally:
            self.pending.clear()  # what is done would be kept until a thread has time to help

    def _load(self, paths, **sharing):
        rows, remarks = self.loader._rows(paths, lambda n: None, **sharing)
        if remarks and not self.has_warned:  # once, not in each epoch
            self.has_warned = True
            warnings.warn(remarks[0], UserWarning, stacklevel=2)
        return rows.reshape(len(rows), *self.shape[1:])

    def help_reading(self):
        """Load a few of the files that another thread was asked for; return whether there were any.

        They are the last ones, since that thread begins with the first.
        """
        try:
            self.pending.pop().help()
        except IndexError:
            return False
        return True


class _OneTask:
    """A call that is made once, by the thread that comes first."""

    def __init__(self, function, argument):
        self.function, self.argument = function, argument
        self.lock, self.is_done = threading.Lock(), False

    def do(self):
        """Make the call, or wait for the thread that makes it."""
        with self.lock:
            self._do_once()

    def help(self):
        """Make the call unless another thread does; an error is left for `do` to meet."""
        if self.lock.acquire(blocking=False):
            try:
                with contextlib.suppress(Exception):
                    self._do_once()
            finally:
                self.lock.release()

    def _do_once(self):
        if not self.is_done:
            self.function(self.argument)
            self.is_done = True


def as_paths(X):
    """Return a list of paths from a list, an array, or one column of either kind."""
    if isinstance(X, (str, bytes, os.PathLike)):
        raise ValueError(f"Expected a list of paths, got the single path {X!r}.")
    values = np.asarray(X, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"Expected a list or one column of paths, got shape {values.shape}.")
    if not len(values):
        raise ValueError("Expected at least 1 path, got 0 sample(s).")
    for value in values:
        if not isinstance(value, (str, os.PathLike)):
            raise ValueError(f"Expected paths as str or os.PathLike, got {value!r}.")
    return [os.fspath(value) for value in values]


def file_status(path):
    """Call os.stat, but report a link to itself like any other broken link."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        reason = os.strerror(errno.ENOENT)
        raise FileNotFoundError(errno.ENOENT, f"{reason}, a link to itself", path) from error


def _are_tiny(paths):
    """Return whether files are too small for threads to pay off, judged by about 100 of them."""
    some = paths[:: 1 + len(paths) // 100]
    with contextlib.suppress(OSError):  # reading will raise it again
        return sum(os.stat(path).st_size for path in some) < _TINY_BYTES * len(some)
    return False


def _reason(error):
    """Say why Pillow refused a file."""
    if isinstance(error, UnidentifiedImageError):  # its own text is about Python objects
        return f"none of {', '.join(FORMATS)} by its content, or damaged at its start"
    return str(error) or type(error).__name__
