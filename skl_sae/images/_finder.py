"""find_images: the image files of a folder, with its sub-folders as classes."""

import contextlib
import os
import stat
import warnings
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions

from ._loader import ImageLoader, ImageLoadError, file_status
from ._marker import MARKER, OUTPUT_FOLDER, marked
from ._pillow import truncation_refused
from ._typing import AnyPath, validate_params

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@validate_params(
    {
        "folder": [str, os.PathLike],
        "on_error": [StrOptions({"raise", "warn"})],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def find_images(
    folder: AnyPath, *, on_error: Literal["raise", "warn"] = "raise", return_X_y: bool = False
) -> Any:
    """List the images of a folder, with its sub-folders as classes.

    Files are recognised by their suffix, in upper or lower case: .bmp, .gif, .jpeg, .jpg, .png,
    .tif, .tiff, .webp. Hidden files and folders (whose names begin with a dot) are skipped, and
    so is everything that is not a regular file. Links are followed, but each real file is listed
    once.

    Output of the command ``skl-sae`` is skipped: folders named ``skl_sae_output``, and the files
    that a marker ``.skl_sae_output`` lists in its own folder, which are all files if the folder
    holds nothing but output. The given folder itself is never skipped.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder. If it has images in sub-folders, each sub-folder is a class, and images
        at any depth below belong to it.
    on_error : {"raise", "warn"}, default="raise"
        "raise" lists files without reading them; a broken link is an error, and so are images
        beside folders of images. "warn" reads every file and leaves out unreadable ones, with
        one warning that names them; images beside folders of images are left out, with one
        warning that counts them.
    return_X_y : bool, default=False
        Whether to return ``(filenames, target)`` instead of a Bunch.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        filenames : ndarray of shape (n_images,), dtype object
            Paths as str, sorted by their bytes.
        target : ndarray of shape (n_images,), dtype int64, or None
            Class of each image; None if the images are not in sub-folders.
        target_names : list of str
            Names of the classes.

    (filenames, target) : tuple, if ``return_X_y`` is True
        The first two of these.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder, or a link is broken.
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
    return (images.filenames, images.target) if return_X_y else images


def search_images(folder, on_error, read=None):
    """Return the result of find_images, and the texts of its warnings.

    ``read(paths)`` returns the paths that can be read, and the errors of the others. None tries
    each of them.
    """
    folder = _checked_folder(folder)
    paths, remarks = _list_images(folder), []
    if on_error == "raise":
        for path in paths:
            file_status(path)
    else:
        paths, remarks = _without_unclassed(paths, folder)
        paths, errors = (read or _readable)(paths) if paths else ([], [])
        remarks += unreadable_said(errors)
    check_found(paths, folder, remarks)
    target, names = _classes(paths, folder)
    images = Bunch(filenames=np.array(paths, dtype=object), target=target, target_names=names)
    return images, remarks


def check_found(paths, folder, remarks):
    """Raise a ValueError if there are no images, with the remarks on what was left out."""
    if not len(paths):
        raise ValueError(
            "; ".join([f"Expected images {SUFFIXES} in {folder!r}, found none", *remarks]) + "."
        )


def _checked_folder(folder):
    folder = os.fspath(folder)
    if not os.path.exists(folder):
        raise FileNotFoundError(f"Expected a folder of images {SUFFIXES}, got {folder!r}: missing.")
    if not os.path.isdir(folder):
        raise NotADirectoryError(
            f"Expected a folder of images {SUFFIXES}, got the file {folder!r}."
        )
    return folder


# --- Walking ---


def _list_images(folder):
    """Return the sorted paths of the images at any depth, each real file once."""
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
        if not _is_new(current, visited):
            continue
        for entry in _visible_entries(current, is_top=current == folder):
            if entry.is_symlink():
                links.append((entry.path, os.path.isdir(entry.path)))
            elif entry.is_dir():
                folders.append(entry.path)
            else:
                _add(entry.path, found, seen)
    return sorted(found, key=os.fsencode)


def _is_new(folder, visited):
    """Return whether a folder was not visited before, and note it: links may form a circle."""
    status = os.stat(folder)
    place = status.st_dev, status.st_ino
    is_new = place not in visited
    visited.add(place)
    return is_new


def _visible_entries(folder, is_top):
    """Return a folder's entries that are neither hidden nor output, sorted by name.

    If all of the folder is output, there are none, except at the top.
    """
    # The order in which a system lists a folder is its own.
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
    output, everything = set(), False
    if any(entry.name == MARKER for entry in entries):
        output, everything = marked(folder)
    if everything and not is_top:
        return []
    output.add(OUTPUT_FOLDER)
    return [e for e in entries if not e.name.startswith(".") and e.name not in output]


def _add(path, found, seen):
    """Add a path that is named like an image and is, or should be, a regular file."""
    if not path.lower().endswith(SUFFIXES):
        return
    with contextlib.suppress(OSError):  # a broken link is listed, for the caller to judge
        if not stat.S_ISREG(os.stat(path).st_mode):
            return
    real = os.path.realpath(path)
    if real not in seen:
        seen.add(real)
        found.append(path)


# --- Classes ---


def _classes(paths, folder):
    """Return the class of each path, or None if there are no classes, and the classes' names."""
    classes = [_first_folder(path, folder) for path in paths]
    names = sorted(set(classes) - {None}, key=os.fsencode)
    if not names:
        return None, names
    if None in classes:
        at_top, below = (paths[classes.index(name)] for name in (None, names[0]))
        raise ValueError(
            "Expected images either in the folder or in its sub-folders, one for each class; "
            f"found both {at_top!r} and {below!r}. on_error='warn' leaves those in the folder out."
        )
    indices = {name: index for index, name in enumerate(names)}
    return np.array([indices[name] for name in classes], dtype=np.int64), names


def _first_folder(path, folder):
    """Return the class of a path below a folder; None for a file in the folder itself."""
    first, *rest = os.path.relpath(path, folder).split(os.sep)
    return first if rest else None


def _without_unclassed(paths, folder):
    """Return the paths without those beside folders of classes, and remarks on the latter."""
    beside = [path for path in paths if _first_folder(path, folder) is None]
    if len(beside) in (0, len(paths)):
        return paths, []
    remark = f"{len(beside)} image(s) beside the folders of classes left out: {beside[0]!r}"
    if len(beside) > 1:
        remark += " and so on"
    left_out = set(beside)
    return [path for path in paths if path not in left_out], [f"{remark}."]


# --- Reading all files ---


def _readable(paths):
    """Return the paths that can be read, and the errors of the others."""
    readable, errors = [], []
    # Small, as only errors matter. A row that is reused saves memory.
    loader, row = ImageLoader(size=(8, 8)), np.empty(8 * 8 * 3, np.float32)
    with truncation_refused():
        for path in paths:
            try:
                loader._read(path, row)
            except (OSError, ImageLoadError) as error:
                errors.append(str(error))
            else:
                readable.append(path)
    return readable, errors


def unreadable_said(errors):
    """Return a remark on files that were left out, if there are any."""
    return [f"{len(errors)} unreadable file(s) left out: " + "; ".join(errors)] if errors else []
