"""OneMachine: what processes of one machine tell one another, through memory that they share.

Connections of torch.distributed take any message through the network's layers of the system, and
copy it there; that takes as long as a good part of a small model's step. Here a message is written
once, to memory that all ranks map, and read from there. Sockets only tell that it is there, and
close when a process ends, however that happens.
"""

import contextlib
import mmap
import os
import shutil
import socket
import tempfile

import numpy as np
import torch

# Memory that files can be made in; other systems than Linux have none.
_FOLDER = "/dev/shm"
_BYTES = 2**26
# Messages of each rank that are kept, the last ones. A rank that begins a message has ended all
# but _BEGUN of those before, so the others have begun these, and ended all but _BEGUN of the ones
# before: what is older than that is read by nobody any more.
_BEGUN = 2
_KEPT = 2 * _BEGUN


class OneMachine:
    """Messages of all ranks, where these run on one machine; made by `connected`.

    Parameters
    ----------
    rank : int
        Of this process.
    memory : mmap
        Shared by all ranks.
    sockets : dict of socket
        Connections to each of the others, by rank.
    """

    def __init__(self, rank, memory, sockets):
        self.rank, self.size, self.sockets = rank, len(sockets) + 1, sockets
        self.slots = np.frombuffer(memory, np.uint8).reshape(_KEPT, self.size, -1)
        self.n_begun = self.n_ended = 0
        self.n_heard = dict.fromkeys(sockets, 0)  # messages that each of the others has begun

    def takes(self, tensor):
        """Whether a tensor, of one size on all ranks, finds room."""
        n_bytes = tensor.numel() * tensor.element_size()
        return tensor.device.type == "cpu" and n_bytes <= self.slots.shape[2]

    def begin(self, tensor):
        """Write a message; returns a function that waits for all ranks' and gives them."""
        array = tensor.numpy()
        if self.n_begun - self.n_ended == _BEGUN:
            raise ValueError(f"Expected at most {_BEGUN} messages at a time.")
        slots = self.slots[self.n_begun % _KEPT, :, : array.nbytes]
        slots = slots.view(array.dtype).reshape(self.size, *array.shape)
        np.copyto(slots[self.rank], array)
        self.n_begun += 1
        number = self.n_begun
        with _as_lost():
            for other in self.sockets.values():
                other.send(b".")

        def ended():
            for rank in self.sockets:
                self._hear(rank, number)
            self.n_ended += 1
            return slots

        return ended

    def _hear(self, rank, number):
        """Wait until another rank has begun so many messages."""
        while self.n_heard[rank] < number:
            with _as_lost():
                heard = self.sockets[rank].recv(_KEPT)
            if not heard:
                raise RuntimeError(f"Rank {rank} has closed its connection.")
            self.n_heard[rank] += len(heard)

    def gather(self, tensor):
        """Tensors of all ranks, of one shape, side by side: (ranks, ...)."""
        return torch.from_numpy(self.begin(tensor)().copy())

    def begin_to_add(self, tensor):
        """Begin to sum all ranks' tensors in place; what waits until that is done."""
        ended, array = self.begin(tensor), tensor.numpy()

        def wait():
            first, second, *others = ended()
            np.add(first, second, out=array)
            for other in others:  # in the order of ranks, so that all have the same bits
                np.add(array, other, out=array)

        return wait

    def leave(self):
        """Close the connections; whoever waits for this rank fails then."""
        for other in self.sockets.values():
            other.close()


@contextlib.contextmanager
def _as_lost():
    """Raise what torch raises when a connection is closed."""
    try:
        yield
    except OSError as error:
        raise RuntimeError(f"A connection is closed: {error}") from error


def connected(rank, tell):
    """Connect all ranks if they run on one machine whose memory they can share, otherwise None.

    Parameters
    ----------
    rank : int
        Of this process.
    tell : callable
        ``tell(value)`` returns the values that all ranks have told.
    """
    hosts = tell(socket.gethostname() if os.path.isdir(_FOLDER) else None)
    if None in hosts or len(set(hosts)) > 1:
        return None
    with contextlib.ExitStack() as stack:
        folder = tell(_new_folder(stack, len(hosts)) if rank == 0 else None)[0]
        memory = listener = None
        if folder is not None:
            # A container of its own on the same machine does not find the folder.
            with contextlib.suppress(OSError):
                memory = _mapped(folder)
                listener = stack.enter_context(_listening(folder, rank))
        if None in tell(listener and rank):
            return None
        sockets = _sockets(folder, rank, len(hosts), listener)
        tell(None)  # then nobody needs the folder any more
    return OneMachine(rank, memory, sockets)


def _new_folder(stack, n_ranks):
    """A folder with the file that all ranks map, until the stack ends; None if there is no room."""
    try:
        folder = tempfile.mkdtemp(prefix="skl_sae_", dir=_FOLDER)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with open(os.path.join(folder, "memory"), "wb") as file:
            n_slots = _KEPT * n_ranks
            os.posix_fallocate(file.fileno(), 0, n_slots * _bytes_of_slot(n_slots))
    except OSError:
        return None
    return folder


def _bytes_of_slot(n_slots):
    """Bytes for a message, such that numbers of any type begin at a place that suits them."""
    return max(1, _BYTES // (n_slots * mmap.PAGESIZE)) * mmap.PAGESIZE


def _mapped(folder):
    with open(os.path.join(folder, "memory"), "r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _listening(folder, rank):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(folder, str(rank)))
    listener.listen()
    return listener


def _sockets(folder, rank, size, listener):
    """Connections to the ranks before, which listen, and from those after; by rank."""
    from torch.distributed.constants import default_pg_timeout  # not every torch has these

    seconds, sockets = default_pg_timeout.total_seconds(), {}
    with _as_lost():
        for other in range(rank):
            sockets[other] = socket.socket(socket.AF_UNIX)
            sockets[other].settimeout(seconds)
            sockets[other].connect(os.path.join(folder, str(other)))
            sockets[other].send(rank.to_bytes(4, "little"))
        listener.settimeout(seconds)
        for _ in range(rank + 1, size):
            connection, _ = listener.accept()
            connection.settimeout(seconds)
            sockets[int.from_bytes(connection.recv(4), "little")] = connection
    return dict(sorted(sockets.items()))
