"""Pieces of work shared by threads, and what happens when one of them fails."""

import threading
import time

import numpy as np
import pytest

from skl_sae._engine._shares import share
from skl_sae._engine._tuning import N_RANGES
from skl_sae._engine.kernels._ranges import run


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_pieces", [0, 1, 3, 50])
def test_each_piece_is_worked_on_once(n_pieces, n_threads):
    done, threads = [], set()

    def work(thread, piece):
        done.append(piece)
        threads.add(thread)

    share(work, range(n_pieces), n_threads)
    assert sorted(done) == list(range(n_pieces))
    assert threads <= set(range(n_threads))


@pytest.mark.parametrize("fails", [0, 1], ids=["caller", "helper"])
def test_fault_117_an_exception_in_any_thread_is_raised(fails):
    done, helper_began = [], threading.Event()

    def kernel(part):
        if part.thread:
            helper_began.set()
        assert helper_began.wait(10)
        if part.thread == fails:
            raise ZeroDivisionError
        done.append(part.begin)
        time.sleep(0.01)

    with pytest.raises(ZeroDivisionError):
        run([(kernel, 10 * N_RANGES, ())], 2)
    assert len(done) < N_RANGES / 2  # what had not begun is left


def test_when_share_returns_nobody_works():
    running, most = set(), []

    def work(thread, piece):
        running.add(thread)
        most.append(len(running))
        time.sleep(0.002 * (1 + thread))
        running.discard(thread)

    for _ in range(5):
        share(work, range(7), 3)
        assert not running
    assert max(most) > 1


def test_ranges_do_not_depend_on_the_threads():
    def ranges(n_threads):
        found = []
        run([(lambda part: found.append(part[1:]), 100, ())], n_threads)
        return sorted(found)

    assert ranges(1) == ranges(3)
    assert ranges(None) == [(0, 0, 100)]
    assert np.sum([stop - start for _, start, stop in ranges(1)]) == 100
