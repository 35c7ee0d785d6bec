"""Command ``python -m skl_sae [FOLDER]``: learn images, compare with PCA, write a report."""

import os
import sys

from . import __version__
from ._command._options import PROGRAM, parsed
from ._command._progress import Progress


def main(arguments=None):
    """Run the command and return its exit status."""
    options = parsed(arguments)
    try:
        with Progress() as progress:
            learned = "crops of two photographs" if options.folder is None else "images of a folder"
            progress.say(f"skl_sae {__version__}: Top-K sparse autoencoders learn {learned}.")
            progress.begin("Loading libraries")
            # Not earlier: importing torch and scikit-learn takes seconds.
            from ._command._run import run

            run(options, progress)
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has gone, so Python must not flush the rest on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
