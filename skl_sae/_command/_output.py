"""Output folder of the command, marked so that later runs do not learn from it."""

import os
import stat
import tempfile

from .._model_file._atomic import replacing
from ..images._marker import EVERYTHING, MARKER, OUTPUT_FOLDER, marked

MODEL = "model.safetensors"
FILES = (MODEL, "codes.npz", "training.png", "report.html", "images.csv")
TABLES = "codes.npz", "codes.csv"
_EXPLANATION = "# Written by python -m skl_sae, which takes none of these for pictures to learn:\n"


def mark(folder):
    """Make an output folder, with a marker that lists the files that are not images to learn.

    In a folder that was empty, it lists everything. Otherwise only the command's own files, so
    that images of the user are never skipped.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, MARKER)
    if os.path.exists(path):
        return
    names = FILES if os.listdir(folder) else (EVERYTHING, *FILES)
    with replacing(path, "w", encoding="utf-8") as file:
        file.write(_EXPLANATION + "".join(f"{name}\n" for name in names))


def picture_to_be_replaced(folder, pictures):
    """Return the path of the training curves if they would replace an image to learn, or None."""
    path = os.path.join(folder, "training.png")
    inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(pictures)).split(os.sep)
    hidden = any(part == OUTPUT_FOLDER or part.startswith(".") for part in inside if part != ".")
    if hidden or not os.path.exists(path) or marked(folder)[0]:
        return None  # skipped by find_images, absent, or written by an earlier run
    return path


def check_writable(folder, names):
    """Raise an OSError unless files of these names can be written there; leave nothing behind."""
    # The folder may not exist yet: what counts is the nearest one above it that does.
    parent = os.path.abspath(folder)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise NotADirectoryError(f"Expected a folder, got the file {os.fsdecode(parent)!r}.")
    with tempfile.TemporaryFile(dir=parent):
        pass
    for name in names:
        path = os.path.join(folder, name)
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(f"Expected a regular file or none, got something else: {path!r}.")
