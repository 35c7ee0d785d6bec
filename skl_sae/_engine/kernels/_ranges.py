"""Compiled loops run over ranges, by threads that end with the call."""

from .._shares import share
from .._tuning import N_RANGES
from ._parcels import Range


def n_ranges(n_threads):
    """Number of ranges that `run` cuts a loop into."""
    return 1 if n_threads is None else N_RANGES


def run(jobs, n_threads):
    """Run loops over ranges that are the same for any number of threads.

    Parameters
    ----------
    jobs : list of tuple (kernel, n, arguments)
        A kernel is given a `Range` of the numbers below n, and the arguments.
    n_threads : int or None
        Number of threads; None for one range, where there is too little to share.
    """
    if n_threads is None:
        for kernel, n, arguments in jobs:
            kernel(Range(0, 0, 0, n), *arguments)
        return
    pieces = [
        (kernel, i, i * n // N_RANGES, (i + 1) * n // N_RANGES, arguments)
        for kernel, n, arguments in jobs
        for i in range(N_RANGES)
    ]

    def work(thread, piece):
        kernel, i, begin, end, arguments = piece
        if begin < end:
            kernel(Range(thread, i, begin, end), *arguments)

    share(work, pieces, n_threads)
