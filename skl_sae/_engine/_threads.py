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

import contextlib
import ctypes
import functools
import os
import threading
from pathlib import Path

import torch

from ._shares import share
from ._tuning import N_PARTS, SHARED_PRODUCT, SHARED_SIZE

if hasattr(os, "register_at_fork"):
    # The threads of torch's operators do not survive a fork, and a child that waits for them
    # waits for ever; with one thread it needs none.
    os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


class _Local(threading.local):
    allowed = None  # number of threads that the user allows, while torch uses one
    part, whole = 1, 1  # work counts as this much more, as what is shared is part of a whole


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


class one_thread:
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


def without_autograd(method):
    """Run a method with ordinary tensors, no graph and torch's operators in this thread alone,
    whatever mode the caller is in.
    """

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        with torch.inference_mode(False), torch.no_grad(), one_thread():
            return method(*args, **kwargs)

    return wrapper


def allowed_threads():
    """Number of threads that may share work that is called for here."""
    return torch.get_num_threads() if _local.allowed is None else _local.allowed


@contextlib.contextmanager
def as_part(part, whole):
    """Cut work as if it were that of a whole, of which some is done elsewhere.

    How sums are cut decides their last bit.
    """
    before = _local.part, _local.whole
    _local.part, _local.whole = part, whole
    try:
        yield
    finally:
        _local.part, _local.whole = before


def is_shared(size):
    """Whether threads share work of this size."""
    return size * _local.whole >= SHARED_SIZE * _local.part


def n_threads_for(size):
    """As many as torch would use; None where there is too little to share."""
    return allowed_threads() if is_shared(size) else None


def share_operators(work, pieces):
    """Call ``work(piece)`` for all pieces, in several threads with one for torch in each."""

    # The pieces of a piece are not shared again.
    def alone(_, piece):
        with one_thread(), _allowing(1):
            work(piece)

    if len(pieces) == 1:
        alone(0, pieces[0])
    else:
        share(alone, pieces, allowed_threads())


@contextlib.contextmanager
def leaving_cores(n):
    """Leave cores to so many threads that are busy with something else; one is ours in any case."""
    with one_thread(), _allowing(max(1, allowed_threads() - n)):
        yield


@contextlib.contextmanager
def _allowing(n_threads):
    """Share work among so many threads, within `one_thread`."""
    allowed, _local.allowed = _local.allowed, n_threads
    try:
        yield
    finally:
        _local.allowed = allowed


def product(left, right, out=None):
    """The product of two matrices, as `add_products` makes those of several."""
    if out is None:
        out = left.new_empty(len(left), right.shape[1])
    add_products(left[None], right[None], out[None], keep=0)
    return out


def add_products(left, right, out, keep=1):
    """Products of matrices, added to what is in out or (keep=0) put there.

    Parameters
    ----------
    left : tensor of shape (E, n, m)
        Threads share its rows, where that is worth it.
    right : tensor of shape (E, m, p)
        What they are multiplied with.
    out : tensor of shape (E, n, p)
        Where the products go.
    keep : {0, 1}, default=1
        How often what is in out counts.
    """
    if left.device.type != "cpu" or not is_shared_product(left, right):
        torch.baddbmm(out, left, right, beta=keep, out=out)
        return

    def multiply(piece):
        torch.addmm(out[piece], left[piece], right[piece[0]], beta=keep, out=out[piece])

    # A narrow product is not worth as many parts: each makes a copy of what all multiply with.
    n_multiplications = left[0].numel() * right.shape[-1]
    n_parts = min(N_PARTS, max(2, 2 * n_multiplications // max(1, SHARED_PRODUCT)))
    slices = parts(left.shape[1], n_parts)
    share_operators(multiply, [(e, part) for e in range(len(left)) for part in slices])


def add_gram(rows, gram):
    """Add the rows' products with one another to the lower triangle of a square matrix."""
    blocks = parts(len(rows)) if is_shared_product(rows, rows.T) else [slice(None)]

    def add(block):
        gram[block, : block.stop].addmm_(rows[block], rows[: block.stop].T)

    share_operators(add, blocks[::-1])  # the largest first


def gram_of(rows):
    """The rows' products with one another; of many, those of a pair are formed once.

    768 rows by 3,072 take 0.4 of the time of all products, 1,024 by 784 take 0.7.
    """
    if rows.device.type != "cpu" or not is_shared_product(rows, rows.T):
        return product(rows, rows.T)
    gram = rows.new_empty(len(rows), len(rows))

    def fill(block):
        gram[block, : block.stop] = rows[block] @ rows[: block.stop].T
        gram[: block.start, block] = gram[block, : block.start].T

    share_operators(fill, parts(len(rows), N_PARTS // 2)[::-1])  # the largest first
    return gram


def is_shared_product(left, right):
    """Whether threads share a product on the CPU."""
    return is_shared_work(left.numel() * right.shape[-1])


def is_shared_work(n_multiplications):
    """Whether threads share this many multiplications of numbers in cache."""
    return n_multiplications * _local.whole >= SHARED_PRODUCT * _local.part


def parts(length, n_parts=N_PARTS):
    """The slices that threads share."""
    step = max(1, -(-length // n_parts))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
