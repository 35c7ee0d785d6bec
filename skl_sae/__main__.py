"""Command ``skl-sae``, also ``python -m skl_sae``: learn images, and apply what was learned."""

import os
import sys

from . import __version__
from ._command._options import PROGRAM, parsed
from ._command._progress import Progress
from ._command._start import start


def main(arguments=None):
    """Run the command and return its exit status."""
    options = parsed(arguments)
    # What info says may be read by a program.
    stream = sys.stderr if options.command == "info" else sys.stdout
    try:
        with Progress(stream, quiet=getattr(options, "quiet", False)) as progress:
            start(options, progress, __version__)
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
