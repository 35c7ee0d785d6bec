"""Compiled loops run over ranges, by threads that end with the call."""

from .._shares import share
from .._tuning import N_RANGES
from ._parcels import Range


def n_ranges(n_threads):
    """Number of ranges that `run` cuts a loop into."""
    return 1 if n_threads is None else N_RANGES


def run(jobs, n_threads, within=None):
    """Run loops over ranges that are the same for any number of threads.

    Parameters
    ----------
    jobs : list of tuple (kernel, n, arguments)
        A kernel is given a `Range` of the numbers below n, and the arguments.
    n_threads : int or None
        Number of threads; None for one range, where there is too little to share.
    within : tuple (first, total) or None
        Where the numbers lie among those of a whole model, whose ranges are kept; None for all.
    """
    if n_threads is None:
        for kernel, n, arguments in jobs:
            kernel(Range(0, 0, 0, n), *arguments)
        return
    pieces = [
        (kernel, i, *_bounds(i, n, within), arguments)
        for kernel, n, arguments in jobs
        for i in range(N_RANGES)
    ]

    def work(thread, piece):
        kernel, i, begin, end, arguments = piece
        if begin < end:
            kernel(Range(thread, i, begin, end), *arguments)

    share(work, pieces, n_threads)


def _bounds(i, n, within):
    """Begin and end of range i of n numbers, which may be some of more."""
    first, total = within or (0, n)
    return tuple(min(max(j * total // N_RANGES - first, 0), n) for j in (i, i + 1))
