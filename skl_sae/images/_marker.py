"""Marker file that distinguishes the command's output from images to learn."""

import contextlib
import os

# Folders of this name are skipped when images are searched.
OUTPUT_FOLDER = "skl_sae_output"
# A file of this name lists which other files of its folder are output.
MARKER = ".skl_sae_output"
EVERYTHING = "*"


def marked(folder):
    """Return the names of the files that a folder's marker lists, and whether it lists all."""
    names = set()
    # A marker that cannot be read marks nothing.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(os.path.join(folder, MARKER), encoding="utf-8") as file:
            names.update(file.read(2**16).splitlines())
    return names, EVERYTHING in names
