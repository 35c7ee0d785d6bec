"""What a machine's memory holds, asked before it is taken."""

import os


def check_fits(n_bytes, what):
    """A MemoryError that names what is too much for the whole memory of this machine.

    A system may promise memory that it does not have, and end the process that uses it.
    """
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system; NumPy will say
        return
    if n_bytes > available:
        raise MemoryError(f"{what} needs {n_bytes} bytes; this machine has {available}.")
