"""Messages of ranks through memory that they share, here between threads."""

import itertools
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skl_sae._training import _one_machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no memory that files can be in")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the memory is, less of it."""
    monkeypatch.setattr(_one_machine, "_FOLDER", str(tmp_path))
    monkeypatch.setattr(_one_machine, "_BYTES", 2**18)
    return tmp_path


def on_ranks(n, work):
    """Results of ``work(rank, tell)`` on n threads, each a rank."""
    told, barrier = [None] * n, threading.Barrier(n, timeout=20)

    def call(rank):
        def tell(value):
            told[rank] = value
            barrier.wait()
            of_all = list(told)
            barrier.wait()
            return of_all

        return work(rank, tell)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(call, range(n)))


@pytest.fixture
def connected(folder):
    """A function that connects n ranks in threads; they leave when the test ends."""
    all_machines = []

    def connect(n):
        all_machines.append(on_ranks(n, _one_machine.connected))
        return all_machines[-1]

    yield connect
    for machine in itertools.chain(*all_machines):
        if machine is not None:
            machine.leave()


@pytest.mark.parametrize("n", [2, 3])
def test_messages_are_gathered_and_summed(folder, connected, n):
    """More of them than are kept, some begun before others have ended."""
    machines = connected(n)
    assert not list(folder.iterdir())
    rng = np.random.default_rng(0)
    given = torch.from_numpy(rng.standard_normal((10, n, 5, 7), np.float32))
    wanted = given[:, 0].clone()
    for rank in range(1, n):  # in this order, to the bit
        wanted += given[:, rank]

    def work(rank, tell):
        mine, sums = machines[rank], given[:, rank].clone()
        for i in range(0, 10, 2):
            first, second = mine.begin_to_add(sums[i]), mine.begin_to_add(sums[i + 1])
            first()
            second()
            gathered = mine.gather(given[i, rank].view(torch.int32))
            assert torch.equal(gathered, given[i].view(torch.int32))
        return sums

    assert all(torch.equal(sums, wanted) for sums in on_ranks(n, work))


def test_no_more_messages_are_begun_than_are_kept(connected):
    mine, _ = connected(2)
    numbers = torch.zeros(3)
    mine.begin_to_add(numbers)
    mine.begin_to_add(numbers)
    with pytest.raises(ValueError, match="at most 2"):
        mine.begin_to_add(numbers)


def test_a_large_message_finds_no_room(connected):
    mine, _ = connected(2)
    assert mine.slots.shape == (4, 2, 2**15)
    assert mine.takes(torch.zeros(2**13))
    assert not mine.takes(torch.zeros(2**13 + 1))
    assert not mine.takes(torch.zeros(1, device="meta"))


def test_a_rank_that_leaves_is_noticed(connected):
    """By one that waits for its message, and by one that tells of its own."""
    mine, other = connected(2)
    waiting = mine.begin(torch.zeros(3))
    other.leave()
    with pytest.raises(RuntimeError, match="closed"):
        waiting()
    with pytest.raises(RuntimeError, match="closed"):
        for _ in range(2):
            mine.begin(torch.zeros(3))


def test_other_machines_share_no_memory(folder, connected, monkeypatch):
    assert on_ranks(2, lambda rank, tell: _one_machine.connected(rank, spread(tell))) == [None] * 2
    monkeypatch.setattr(_one_machine, "_FOLDER", str(folder / "none"))
    assert connected(2) == [None, None]


def spread(tell):
    """Let ranks tell the first time, where they run, that they do so on two machines."""
    names = iter([["one", "other"]])
    return lambda value: next(names, None) or tell(value)


def test_a_full_folder_is_not_used(folder, connected, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert connected(2) == [None, None]
    assert not list(folder.iterdir())


def test_a_rank_that_cannot_map_the_memory_keeps_all_from_it(folder, connected, monkeypatch):
    mapped, calls = _one_machine._mapped, iter([True, False])

    def once(path):
        if next(calls):
            return mapped(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(_one_machine, "_mapped", once)
    assert connected(2) == [None, None]
    assert not list(folder.iterdir())
