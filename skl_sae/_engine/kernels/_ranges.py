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
    pieces = []
    for kernel, n, arguments in jobs:
        first, total = within or (0, n)
        bounds = [i * total // N_RANGES for i in range(N_RANGES + 1)]
        if within is not None:
            bounds = [min(max(bound - first, 0), n) for bound in bounds]
        pieces += [(kernel, i, bounds[i], bounds[i + 1], arguments) for i in range(N_RANGES)]

    def work(thread, piece):
        kernel, i, begin, end, arguments = piece
        if begin < end:
            kernel(Range(thread, i, begin, end), *arguments)

    share(work, pieces, n_threads)
