"""find_images and ImageLoader: from a folder of files to rows of numbers."""

import contextlib
import errno
import math
import os
import stat
import threading
import warnings
from numbers import Integral

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Bunch, check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from tqdm import tqdm

from ._marker import MARKER, OUTPUT_FOLDER, marked

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Pillow looks at the content, not the name, so only these decoders may be tried: others
# start programs (EPS) or have been the way in for attacks.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MAX_PIXELS = 2**26
# What shows where a picture is transparent.
BACKGROUND = "white"
# All that Pillow's own fuzzers accept as an answer to a damaged file.
_PILLOW_ERRORS = (
    OSError, SyntaxError, MemoryError, ValueError, NotImplementedError, OverflowError,
    TypeError, KeyError, IndexError, EOFError, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = {_UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}
_FILES_PER_TASK = 16
# Below this mean size of a file Pillow's work is mostly Python, which threads only slow down.
_TINY_BYTES = 2**12


class ImageLoadError(ValueError):
    """A file that cannot be read as an image; the message names the path and the reason."""


# --- Finding ---


@validate_params(
    {"folder": [str, os.PathLike], "on_error": [StrOptions({"raise", "warn"})]},
    prefer_skip_nested_validation=True,
)
def find_images(folder, *, on_error="raise"):
    """List the images of a folder, with its sub-folders as classes.

    Files count by their suffix, in upper or lower case: .bmp, .gif, .jpeg, .jpg, .png, .tif,
    .tiff, .webp. Hidden files and folders (their names begin with a dot) are skipped, and so
    is all that is no regular file. Links are followed, but each real file is listed once.

    What ``python -m skl_sae`` wrote is left out: folders named ``skl_sae_output``, and what the
    marker ``.skl_sae_output`` names in the folder that it lies in, which for a folder of output
    alone is everything. Only the folder asked for itself is looked at in any case.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder. If it has images in sub-folders, each sub-folder is a class, and images
        at any depth below belong to it.
    on_error : {"raise", "warn"}, default="raise"
        "raise" only lists; a link that leads nowhere is an error, and so are images beside
        folders of images. "warn" reads every file and leaves out those that cannot be read,
        with one warning that names them; of images beside folders of images it leaves out
        those beside, with one warning that counts them.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        filenames : ndarray of shape (n_images,), dtype object
            Paths as str, sorted by their bytes.
        target : ndarray of shape (n_images,), dtype int64, or None
            The class of each image; None if the images are not in sub-folders.
        target_names : list of str
            The names of the classes.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder, or a link leads nowhere.
    ValueError
        If no image is found, or images are both in the folder and in its sub-folders.

    Examples
    --------
    >>> import tempfile
    >>> from skl_sae import find_images
    >>> from skl_sae.datasets import make_cells
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = make_cells(folder, n_samples=4, size=32)
    ...     images = find_images(folder)
    >>> images.target, images.target_names
    (array([0, 0, 1, 1]), ['round', 'spindle'])
    """
    images, remarks = search_images(folder, on_error)
    for remark in remarks:
        warnings.warn(remark, UserWarning, stacklevel=3)
    return images


def search_images(folder, on_error, update=None):
    """What find_images returns, and the texts of its warnings.

    ``update`` is called with the number of files read so far, and of all.
    """
    folder = os.fspath(folder)
    if not os.path.exists(folder):
        raise FileNotFoundError(f"Expected a folder of images {SUFFIXES}, got {folder!r}: missing.")
    if not os.path.isdir(folder):
        raise NotADirectoryError(
            f"Expected a folder of images {SUFFIXES}, got the file {folder!r}."
        )
    paths, remarks = _list_images(folder), []
    if on_error == "raise":
        for path in paths:
            _status(path)
    else:
        paths, remarks = _inside_classes(paths, folder)
        paths, unreadable = _readable(paths, update)
        remarks += unreadable
    if not paths:
        raise ValueError(
            "; ".join([f"Expected images {SUFFIXES} in {folder!r}, found none", *remarks]) + "."
        )
    classes = [_first_folder(path, folder) for path in paths]
    names = sorted(set(classes) - {None}, key=os.fsencode)
    if names and None in classes:
        at_top, below = (paths[classes.index(name)] for name in (None, names[0]))
        raise ValueError(
            "Expected images either in the folder or in its sub-folders, one for each class; "
            f"found both {at_top!r} and {below!r}. on_error='warn' leaves those in the folder out."
        )
    numbers = {name: number for number, name in enumerate(names)}
    target = np.array([numbers[name] for name in classes], dtype=np.int64) if names else None
    images = Bunch(filenames=np.array(paths, dtype=object), target=target, target_names=names)
    return images, remarks


def _list_images(folder):
    """Sorted paths of the images at any depth, each real file once, real paths first."""
    found, seen, visited = [], set(), set()
    folders, links = [folder], []
    while folders or links:
        # Links wait until all real folders are done, so that a file keeps its real place.
        if not folders:
            path, is_folder = links.pop(0)
            if is_folder:
                folders.append(path)
            else:
                _add(path, found, seen)
            continue
        current = folders.pop(0)
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(current) as scan:
            entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        names, all_is_output = _output_names(current, entries)
        if all_is_output and current != folder:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in names:
                continue
            if entry.is_symlink():
                links.append((entry.path, os.path.isdir(entry.path)))
            elif entry.is_dir():
                folders.append(entry.path)
            else:
                _add(entry.path, found, seen)
    return sorted(found, key=os.fsencode)


def _output_names(folder, entries):
    """Names in a folder that stand for output of the command; and whether all of it is."""
    names, everything = set(), False
    if any(entry.name == MARKER for entry in entries):
        names, everything = marked(folder)
    return names | {OUTPUT_FOLDER}, everything


def _status(path):
    """os.stat, for which a link that points at itself leads nowhere, as any other such link."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        reason = os.strerror(errno.ENOENT)
        raise FileNotFoundError(errno.ENOENT, f"{reason}, a link to itself", path) from error


def _add(path, found, seen):
    """Add a path that is named like an image and is, or ought to be, a regular file."""
    if not path.lower().endswith(SUFFIXES):
        return
    with contextlib.suppress(OSError):  # a dangling link is listed, for the caller to judge
        if not stat.S_ISREG(os.stat(path).st_mode):
            return
    real = os.path.realpath(path)
    if real not in seen:
        seen.add(real)
        found.append(path)


def _first_folder(path, folder):
    """The class of a path below a folder; None for a file in the folder itself."""
    first, *rest = os.path.relpath(path, folder).split(os.sep)
    return first if rest else None


def _inside_classes(paths, folder):
    """The paths without those beside the folders of classes, and a list of remarks on these."""
    beside = [path for path in paths if _first_folder(path, folder) is None]
    if len(beside) in (0, len(paths)):
        return paths, []
    remark = f"{len(beside)} image(s) beside the folders of classes left out: {beside[0]!r}"
    if len(beside) > 1:
        remark += " and so on"
    left_out = set(beside)
    return [path for path in paths if path not in left_out], [f"{remark}."]


def _readable(paths, update=None):
    """Those of the paths that can be read, and a list of remarks that name the others."""
    readable, unreadable = [], []
    loader, row = ImageLoader(size=(8, 8)), np.empty(8 * 8 * 3, np.float32)
    with _truncation_refused():
        for i, path in enumerate(paths):
            if update is not None:
                update(i, len(paths))
            try:
                loader._read(path, row)
            except (OSError, ImageLoadError) as error:
                unreadable.append(str(error))
            else:
                readable.append(path)
    if update is not None and paths:
        update(len(paths), len(paths))
    if not unreadable:
        return readable, []
    return readable, [f"{len(unreadable)} unreadable file(s) left out: " + "; ".join(unreadable)]


# --- Loading ---


class ImageLoader(TransformerMixin, BaseEstimator):
    """Load image files as rows of numbers in [0, 1].

    PNG, JPEG, BMP, GIF, TIFF and WebP files are told by their content. Pictures are turned
    upright by their EXIF orientation; what is transparent shows white; palettes and CMYK
    become the colours they stand for; grey of 16 bits is scaled over its full range; of an
    animation the first frame is taken, with one warning. Damaged files are refused.

    The rows take 4 * height * width * channels bytes an image; in a Pipeline, files are
    loaded in each fit and transform, and the Pipeline's ``memory`` avoids that.

    Parameters
    ----------
    size : tuple of (int, int), default=(64, 64)
        Height and width in pixels that pictures are brought to.
    mode : {"RGB", "L"}, default="RGB"
        Colour (three numbers a pixel) or grey (one number a pixel).
    aspect : {"stretch", "crop", "pad"}, default="stretch"
        What to do with pictures of another shape: change their aspect, cut away what is
        too much at the sides, or fill with black.
    max_pixels : int, default=67108864
        Largest number of pixels of a picture, checked before it is decoded. Pillow has a limit
        of its own, twice ``PIL.Image.MAX_IMAGE_PIXELS``, which is left as it is: 178,956,970
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
        size=(64, 64),
        mode="RGB",
        *,
        aspect="stretch",
        max_pixels=MAX_PIXELS,
        n_jobs=None,
        verbose=0,
    ):
        self.size = size
        self.mode = mode
        self.aspect = aspect
        self.max_pixels = max_pixels
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters; there is nothing to learn.

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

    def transform(self, X):
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

    def _rows(self, paths, update):
        """The rows, and the texts of warnings; ``update`` is told numbers of files as they come."""
        self._check_max_pixels()
        rows = np.empty((len(paths), int(np.prod(self._image_shape()))), dtype=np.float32)
        animated = []

        def load(batch):
            for i in range(*batch.indices(len(paths))):
                if self._read(paths[i], rows[i]):
                    animated.append(paths[i])
            rows[batch] /= 255
            update(batch.stop - batch.start)

        batches = gen_batches(len(paths), _FILES_PER_TASK)
        n_jobs = 1 if _are_tiny(paths) else self.n_jobs
        with _truncation_refused():
            Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(load)(b) for b in batches)
        if not animated:
            return rows, []
        remark = (
            f"{len(animated)} file(s) with several frames, of which the first was taken, such as "
            f"{min(animated)!r}."
        )
        return rows, [remark]

    def inverse_transform(self, X):
        """Make images of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, height * width * channels)
            Rows; values outside [0, 1] are clipped.

        Returns
        -------
        images : ndarray of shape (n_samples, height, width[, 3]), dtype uint8
            The images; without the last axis in mode "L".
        """
        X = check_array(X, dtype=np.float32, input_name="X")
        shape = self._image_shape()
        if X.shape[1] != np.prod(shape):
            raise ValueError(f"Expected rows of {np.prod(shape)} numbers, got {X.shape[1]}.")
        return np.rint(X.clip(0, 1) * 255).astype(np.uint8).reshape(-1, *shape)

    def get_feature_names_out(self, input_features=None):
        """Name the pixels: pixel_row_column, in colour with _r, _g or _b.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of shape (height * width * channels,), dtype object
            The names.
        """
        height, width, *colour = self._image_shape()
        ends = ("_r", "_g", "_b") if colour else ("",)
        names = [f"pixel_{i}_{j}{e}" for i in range(height) for j in range(width) for e in ends]
        return np.array(names, dtype=object)

    def _image_shape(self):
        sides = check_sides("size", self.size)
        return (*sides, 3) if self.mode == "RGB" else sides

    def _check_max_pixels(self):
        # What Pillow refuses by itself is none of our making; but what is asked for beyond the
        # default has to hold. Its flag is everybody's, and so not ours to change.
        if Image.MAX_IMAGE_PIXELS is None:
            return
        limit = 2 * Image.MAX_IMAGE_PIXELS
        if self.max_pixels > max(limit, MAX_PIXELS):
            raise ValueError(
                f"Expected max_pixels of at most {limit}, twice PIL.Image.MAX_IMAGE_PIXELS, "
                f"beyond which Pillow refuses pictures; got {self.max_pixels}."
            )

    def _read(self, path, row):
        """Write the pixels of one file, 0 to 255, into a row; whether it has several frames."""
        if not stat.S_ISREG(_status(path).st_mode):  # opening a pipe would wait for ever
            raise ImageLoadError(f"{path!r}: not a regular file.")
        try:
            with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
                n_pixels = image.width * image.height
                if n_pixels > self.max_pixels:
                    raise ValueError(f"{n_pixels} pixels, more than max_pixels={self.max_pixels}")
                # Not their number: of a file that is nothing but frames, that would take minutes.
                several = bool(getattr(image, "is_animated", False))
                self._write(image, row)
                return several
        except _PILLOW_ERRORS as error:
            if isinstance(error, UnidentifiedImageError):  # whose text is about Python's objects
                reason = f"none of {', '.join(FORMATS)} by its content, or damaged at its start"
            else:
                reason = str(error) or type(error).__name__
            raise ImageLoadError(f"{path!r}: {reason}") from error

    def _write(self, image, row):
        height, width = self.size
        # A JPEG is decoded at an eighth, a quarter or half its size where that leaves at
        # least twice what is needed; and as grey, where that is asked for.
        needed = 2 * max(self.size)
        if min(image.size) >= 2 * needed or self.mode == "L":
            image.draft(self.mode, (needed, needed))
        image.load()
        turn = _turn_upright(image)  # not before: a TIFF file is turned by being loaded
        size = (height, width) if turn in _SWAPPING else (width, height)
        image = self._shrunk(_plain(image, self.mode), size)
        if turn is not None:
            image = image.transpose(turn)
        # 16-bit grey is still one number a pixel here, even if colour is asked for.
        row.reshape(height, width, -1)[:] = np.asarray(image).reshape(height, width, -1)

    def _shrunk(self, image, size):
        if image.size == size:  # of which Pillow would make a copy
            return image
        if self.aspect == "stretch":
            return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
        if self.aspect == "crop":
            return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        return _padded(image, *size)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


def check_sides(name, value, words=("height", "width")):
    """A tuple of positive ints from a parameter; the third word may be left out."""
    sides = tuple(value)
    if not 2 <= len(sides) <= len(words) or not all(
        isinstance(side, Integral) and not isinstance(side, bool) and side >= 1 for side in sides
    ):
        forms = " or ".join(f"({', '.join(words[:n])})" for n in range(2, len(words) + 1))
        raise ValueError(f"Expected {name}={forms} of positive integers, got {value!r}.")
    return tuple(map(int, sides))


def checked_image_shape(image_shape, n_features):
    """The sides of images that are rows of n_features numbers: grey, or in three colours."""
    if isinstance(image_shape, Integral):
        image_shape = (image_shape,)
    shape = check_sides("image_shape", image_shape, ("height", "width", "channels"))
    if math.prod(shape) != n_features or shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            f"Expected image_shape of {n_features} numbers, as rows have, in 1 or 3 channels, "
            f"got {shape}."
        )
    return shape


def as_paths(X):
    """A list of paths from a list, an array, or one column of either kind."""
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


def _are_tiny(paths):
    """Whether threads would not pay, judged by the sizes of some of the files."""
    some = paths[:: 1 + len(paths) // 100]
    with contextlib.suppress(OSError):  # which reading will meet again
        return sum(os.stat(path).st_size for path in some) < _TINY_BYTES * len(some)
    return False


def _turn_upright(image):
    """What makes the picture stand as its EXIF orientation says; None if that is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except (*_PILLOW_ERRORS, UserWarning):  # Pillow warns; the user may make that an error
        return None
    return _UPRIGHT.get(orientation)


def _plain(image, mode):
    """The picture in the mode asked for; 16-bit grey as mode F with values from 0 to 255.

    Of a large picture there is at most one other copy at a time.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.asarray(image) / np.float32(257))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"mode {image.mode} has no range that is known to be black to white; save it as "
            "8 or 16 bits"
        )
    if image.has_transparency_data:
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        below = Image.new("RGB", image.size, BACKGROUND)
        below.paste(image, mask=image)
        image = below
    elif image.mode == "P":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _padded(image, width, height):
    """The whole picture in the middle of a black one; at least one pixel thick."""
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    result = Image.new(image.mode, (width, height))
    place = (width - inner[0]) // 2, (height - inner[1]) // 2
    result.paste(image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=3), place)
    return result


class _TruncationLock:
    """Sets Pillow's flag that accepts truncated files aside while anyone loads."""

    def __init__(self):
        self.lock, self.n_users, self.flag = threading.Lock(), 0, False

    @contextlib.contextmanager
    def __call__(self):
        with self.lock:
            if self.n_users == 0:
                self.flag = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self.n_users += 1
        try:
            yield
        finally:
            with self.lock:
                self.n_users -= 1
                if self.n_users == 0:
                    ImageFile.LOAD_TRUNCATED_IMAGES = self.flag


_truncation_refused = _TruncationLock()
