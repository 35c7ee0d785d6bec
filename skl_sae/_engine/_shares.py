"""Pieces of work shared by a few threads.

Nothing here knows what the work is. Pieces are given, and what is done with one must not depend
on who takes it: then results are the same for any number of threads. Nobody waits for a thread
that the system has not yet let begin, since on a busy machine that may take longer than the work.

Helping threads sleep between calls, since a new one often begins on the core of the thread that
started it, and waits there for milliseconds. They do not spin. A forked child begins without any.
"""

import _thread
import functools
import os
import threading

_idle = []  # helpers that wait for work
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


def share(work, pieces, n_threads):
    """Call ``work(thread, piece)`` for all pieces, in order, in this thread and others.

    An exception in any of them is raised here, and what has not begun by then is left undone.

    Parameters
    ----------
    work : callable
        Is given the number of its thread, less than n_threads, and a piece.
    pieces : sequence
        What to work on. Each thread takes the next when it is free.
    n_threads : int
        How many threads at most; this one is number 0.
    """
    n_threads = min(n_threads, len(pieces))
    if n_threads <= 1:
        for piece in pieces:
            work(0, piece)
        return
    shared = _Shared(work, pieces)
    for thread in range(1, n_threads):
        try:
            helper = _idle.pop()
        except IndexError:
            try:
                helper = _Helper()
            except RuntimeError:  # the system allows no more threads
                break
        helper.call(functools.partial(shared.run, thread))
    # This thread works too: if no helper begins in time, it does everything.
    shared.run(0)
    shared.wait()


class _Helper:
    """A thread that waits to be called, again and again."""

    def __init__(self):
        self.called = _thread.allocate_lock()
        self.called.acquire()
        self.task = None
        # threading.Thread would wait here until the other runs.
        _thread.start_new_thread(self._live, ())

    def call(self, task):
        """Have the thread call a task that raises nothing."""
        self.task = task
        self.called.release()

    def _live(self):
        while True:
            self.called.acquire()
            task, self.task = self.task, None
            task()
            del task  # with the arrays that it works on
            _idle.append(self)


class _Shared:
    """Pieces that several threads take in turn."""

    def __init__(self, work, pieces):
        self.work = work
        self.left = iter(pieces)
        self.n_helping = 0  # threads but number 0 that work on a piece
        self.error = None
        self.changed = threading.Condition()

    def run(self, thread):
        """Work on pieces as long as there are any; nothing is raised."""
        helping = thread > 0
        try:
            while True:
                with self.changed:
                    piece = next(self.left, self)
                    if piece is self:
                        break
                    self.n_helping += helping
                try:
                    self.work(thread, piece)
                finally:
                    with self.changed:
                        self.n_helping -= helping
                        self.changed.notify()
        except BaseException as error:
            self._stop(error)

    def _stop(self, error):
        with self.changed:
            self.left = iter(())
            self.error = self.error or error

    def wait(self):
        """Until nobody helps any more; then raise what went wrong, if anything did."""
        try:
            with self.changed:
                self.changed.wait_for(lambda: self.n_helping == 0)
        except BaseException as error:  # an interrupt: the others still write to our arrays
            self._stop(error)
            self.wait()
        if self.error is not None:
            raise self.error
