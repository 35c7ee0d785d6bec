"""How many threads torch's operators use: in our calls one, and pieces are shared by our own.

The threads of torch's operators spin while they wait for the last of them. If anything else
wants their cores, each operator waits for a thread that waits for a core. Besides, how many
they are decides in which order numbers are added up. So while the engine works, torch is told to
use one thread, and what is worth sharing is cut into pieces that do not depend on the number of
threads.

``torch.set_num_threads`` would tell all threads of the process. What it calls is told for one:
OpenMP keeps a number of threads for each thread, and so does MKL on request. Both are asked by
their public names in the libraries that torch brings or was linked with. Where they are not to be
found, torch keeps its threads: all works, but results may then differ in the last bits between
numbers of threads.
"""

import ctypes
import functools
import threading
from pathlib import Path

import torch

from ._shares import share

# Numbers to work on from which on threads are worth their start and the wait for the last.
SHARED_SIZE = 2**22


class _Local(threading.local):
    allowed = None  # number of threads that the user allows, while torch uses one


_local = _Local()


@functools.cache
def _functions():
    """OpenMP's and MKL's functions that set the calling thread's number; None for no such."""
    folder = Path(torch.__file__).parent / "lib"
    # A library gives what it was linked with too; not so on Windows.
    names = "libtorch_cpu.so", "libtorch_cpu.dylib", "libiomp5md.dll", "torch_cpu.dll"
    libraries = []
    for name in names:
        if (folder / name).exists():
            try:
                libraries.append(ctypes.CDLL(str(folder / name)))
            except OSError:
                continue
    return tuple(
        next((getattr(library, name) for library in libraries if hasattr(library, name)), None)
        for name in ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")
    )


class one_thread:  # noqa: N801
    """While it is entered, torch's operators use this thread alone if it calls them.

    A context manager and a decorator; it may be entered again within itself. What other threads
    of the process see is not touched, and afterwards all is as it was.
    """

    def __enter__(self):
        self.entered = _local.allowed is None
        if not self.entered:
            return
        set_openmp, set_mkl = _functions()
        # The first call in a thread has torch set it up, which must not come later.
        _local.allowed = self.before = torch.get_num_threads()
        self.mkl_before = 0 if set_mkl is None else set_mkl(1)
        if set_openmp is not None:
            set_openmp(1)

    def __exit__(self, *error):
        if not self.entered:
            return
        set_openmp, set_mkl = _functions()
        if set_openmp is not None:
            set_openmp(self.before)
        if set_mkl is not None:
            set_mkl(self.mkl_before)
        _local.allowed = None

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with one_thread():
                return function(*args, **kwargs)

        return wrapper


def n_threads():
    """How many threads may share work that is called for here."""
    return torch.get_num_threads() if _local.allowed is None else _local.allowed


def is_shared(size):
    """Whether threads share work on so many numbers."""
    return size >= SHARED_SIZE


def n_threads_for(size):
    """As many as torch would use; one where there is too little to share."""
    return n_threads() if is_shared(size) else 1


def share_operators(work, pieces, size):
    """Call ``work(piece)`` for all pieces, in several threads if the size is worth it.

    Each thread has one thread for torch's operators.
    """

    def alone(_, piece):
        with one_thread():
            allowed, _local.allowed = _local.allowed, 1
            try:
                work(piece)
            finally:
                _local.allowed = allowed

    share(alone, pieces, n_threads_for(size))
