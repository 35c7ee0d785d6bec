"""Processes that fit one model together: who they are, and what they tell one another.

Each fit has a group of its own among the processes of torch.distributed's. A process whose fit
fails leaves it, by which the connections close, and the others fail at once instead of waiting.
"""

import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from . import _one_machine

# Seconds in which ranks that live tell so, after one of them was lost; and in which the only other
# one tells why it left, which it does before its connections close.
_ANSWERED, _TOLD = 5, 0.5
_fits = itertools.count()  # of this process; the same on all ranks
_local = threading.local()
_Function = TypeVar("_Function", bound=Callable[..., Any])


class LostRankError(RuntimeError):
    """A process that shared the fit has ended or failed."""


def current():
    """The `Collective` of the fit under way; None where this process fits alone."""
    return getattr(_local, "collective", None)


def together(fit: _Function) -> _Function:
    """Let all ranks of an initialised process group share the fits that a method makes."""

    @functools.wraps(fit)
    def wrapper(*args, **kwargs):
        if current() is not None or not _is_shared():
            return fit(*args, **kwargs)
        with _joined():
            return fit(*args, **kwargs)

    return cast(_Function, wrapper)


def first(value):
    """The value that rank 0 has."""
    collective = current()
    return value if collective is None else collective.first(value)


def by_first(work):
    """Result of work without arguments, which only rank 0 does."""
    collective = current()
    if collective is None:
        return work()
    return collective.first(work() if collective.rank == 0 else None)


def is_first():
    """Whether this process writes files and prints."""
    collective = current()
    return collective is None or collective.rank == 0


def _is_shared():
    """Whether there is a group of several processes, and calls come in the same order in all."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return False
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _joined():
    """Be one of the ranks of a fit until it ends, well or not."""
    collective = _local.collective = Collective(next(_fits))
    try:
        collective.join()
        yield
        collective.add(torch.zeros(1))  # nobody leaves while another may still wait for him
    except LostRankError:
        raise
    except BaseException as error:
        collective.tell(f"{type(error).__name__}: {error}")
        raise
    finally:
        _local.collective = None
        collective.leave()


class Collective:
    """Ranks that share a fit.

    Parameters
    ----------
    number : int
        Number of the fit, the same on all ranks.
    """

    def __init__(self, number):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # What is written there can be read when connections are closed.
        store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(f"skl_sae/{number}", store)
        self._group = self._one_machine = None

    def join(self):
        """Wait for all ranks, and connect with them."""
        has_gpus = torch.cuda.is_available() and dist.is_nccl_available()
        with self._naming_the_lost():
            dist.barrier()  # notices a rank that has ended, which `new_group` would wait for
            self._group = dist.new_group(backend="cpu:gloo,cuda:nccl" if has_gpus else "gloo")
            self._one_machine = _one_machine.connected(self.rank, self.all_of)

    def leave(self):
        """Close the connections; whoever waits for this rank fails then."""
        if self._one_machine is not None:
            self._one_machine.leave()
        group, self._group = self._group, None
        if group is not None:
            # The connections close with the last reference to the group.
            with contextlib.suppress(Exception):
                dist.destroy_process_group(group)

    # --- What is told ---

    def _passes_memory(self, tensor):
        """Whether ranks share memory that has room for a tensor, of one size on all of them."""
        return self._one_machine is not None and self._one_machine.takes(tensor)

    def gather(self, tensor):
        """Tensors of all ranks, of one shape, side by side: (ranks, ...)."""
        if self._passes_memory(tensor):
            with self._naming_the_lost():
                return self._one_machine.gather(tensor)
        gathered = tensor.new_empty(self.size, *tensor.shape)
        with self._naming_the_lost():
            dist.all_gather(list(gathered.unbind(0)), tensor.contiguous(), group=self._group)
        return gathered

    def add(self, tensor):
        """Sum of all ranks' tensors, in place."""
        self.begin_to_add(tensor)()

    def begin_to_add(self, tensor):
        """Begin to sum all ranks' tensors in place; what waits until that is done."""
        with self._naming_the_lost():
            if self._passes_memory(tensor):
                await_sum = self._one_machine.begin_to_add(tensor)
            else:
                await_sum = dist.all_reduce(tensor, group=self._group, async_op=True).wait

        def wait():
            with self._naming_the_lost():
                await_sum()

        return wait

    def collect(self, part, shapes):
        """NumPy arrays of all ranks, which have these shapes."""
        arrays = []
        for rank, shape in enumerate(shapes):
            if rank == self.rank and shape == part.shape:
                array = part if part.flags.c_contiguous else part.copy()
            else:
                array = np.empty(shape, part.dtype)
            if array.size:
                with self._naming_the_lost():
                    dist.broadcast(torch.from_numpy(array), src=rank, group=self._group)
            arrays.append(array)
        return arrays

    def first(self, value):
        """The value that rank 0 has."""
        values = [value]
        with self._naming_the_lost():
            dist.broadcast_object_list(values, src=0, group=self._group)
        return values[0]

    def all_of(self, value):
        """The values that all ranks have, in their order."""
        values = [None] * self.size
        with self._naming_the_lost():
            dist.all_gather_object(values, value, group=self._group)
        return values

    def check_alike(self, facts):
        """Raise a ValueError on all ranks if any has other facts: a dict, with the same names."""
        of_all = self.all_of(facts)
        for rank, other in enumerate(of_all):
            for name, value in of_all[0].items():
                if other[name] != value:
                    raise ValueError(
                        f"Expected the same {name} on all ranks, got {value} on rank 0 and "
                        f"{other[name]} on rank {rank}."
                    )

    # --- Who is lost ---

    def tell(self, what):
        """Note why this rank leaves."""
        with contextlib.suppress(Exception):
            self._store.set(f"failed/{self.rank}", what[:1000])

    @contextlib.contextmanager
    def _naming_the_lost(self):
        try:
            yield
        except RuntimeError as error:  # what torch raises when a connection is closed
            raise LostRankError(self._what_happened()) from error

    def _what_happened(self):
        others = {rank for rank in range(self.size) if rank != self.rank}
        silent = set(others)
        try:
            self._store.set(f"alive/{self.rank}", "")
            until = time.monotonic() + (_ANSWERED if len(others) > 1 else _TOLD)
            while silent and time.monotonic() < until:
                for rank in others:
                    if self._store.check([f"failed/{rank}"]):
                        what = self._store.get(f"failed/{rank}").decode()
                        return f"Rank {rank} of {self.size} has failed: {what}"
                silent = {rank for rank in silent if not self._store.check([f"alive/{rank}"])}
                time.sleep(0.05)
        except Exception:  # the store went with the rank that kept it
            if len(others) > 1:
                return f"A rank of {self.size} has ended, or cannot be reached. {_ADVICE}"
        lost = sorted(silent or others)
        names = f"Rank {lost[0]} of" if len(lost) == 1 else f"Ranks {lost} of"
        return f"{names} {self.size} has ended, or cannot be reached. {_ADVICE}"


_ADVICE = "With a checkpoint and warm_start=True the fit goes on, with any number of ranks."
