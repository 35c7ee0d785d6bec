"""How a folder that the command wrote is known from pictures to learn."""

import contextlib
import os

# A folder of this name is left out when images are looked for.
OUTPUT_FOLDER = "skl_sae_output"
# A file of this name says which other files of its folder are output.
MARKER = ".skl_sae_output"
EVERYTHING = "*"


def marked(folder):
    """Names of the files of a folder that a marker there calls output; and whether all is."""
    names = set()
    with contextlib.suppress(OSError, UnicodeDecodeError):  # one that cannot be read marks nothing
        with open(os.path.join(folder, MARKER), encoding="utf-8") as file:
            names.update(file.read(2**16).splitlines())
    return names, EVERYTHING in names
