"""How loops are compiled, and what is kept of it on disk for the next process.

numba keeps compiled code in a folder that may be read-only, or on a full disk, or hold what another
process left half done. Nothing of that may stop a fit: code that cannot be kept or read is compiled
each time, and one warning says so.

What a process compiles itself may differ in the last bit of a sum from what it reads from disk:
both are linked with other copies of the loops that they call. So that the first fit on a machine
gives the bits of all later ones, code is compiled in a forked child, and read from disk even then.
Only where code cannot be kept, or no process can fork safely, one runs what it compiled itself.
What is known to be needed soon is compiled by another child meanwhile.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

with warnings.catch_warnings():  # numba adds a filter for all of the process
    import numba
    from numba.core import event, sigutils
    from numba.core.caching import FunctionCache
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

# Elsewhere a forked child is not safe, or there is none.
_CAN_FORK = sys.platform == "linux"
# A child that takes longer hangs; seconds.
_LONGEST = 300
# The thread that waits for the child which compiles a loop ahead of its first call.
_ahead = {}


def compiled(function=None, *, reciprocals=False):
    """Compile without the GIL, with the result kept on disk where that is possible.

    With reciprocals, a division may become the product with a reciprocal: 1 / sqrt(v) is then
    estimated and refined to nearly the last bit, in two thirds of the time.
    """
    if function is None:
        return functools.partial(compiled, reciprocals=reciprocals)
    fastmath = {"contract", "reassoc", "nsz", *["arcp"] * reciprocals}
    loop = numba.njit(nogil=True, fastmath=fastmath, error_model="numpy")(function)
    try:
        loop._cache = _Kept(function)  # as numba's own enable_caching does
    except (RuntimeError, OSError) as error:  # no folder to keep it in can be written
        _warn(error)
        return loop
    compile_here = loop.compile

    def compile_first_elsewhere(sig):
        if loop in _ahead:
            _ahead[loop].join()
        if _CAN_FORK and not (_Kept.is_child or _Kept.warned):
            with global_compiler_lock:  # no other thread is amid LLVM when the process forks
                args, _ = sigutils.normalize_signature(sig)
                if tuple(args) not in loop.overloads and not loop._cache.has(sig):
                    _run_in_child(loop, compile_here, sig)
        return compile_here(sig)

    loop.compile = compile_first_elsewhere
    return loop


def _run_in_child(loop, compile_here, sig):
    """Compile in a child, which keeps the result on disk; what goes wrong there is met here."""
    with event.trigger_event("numba:compile", data={"dispatcher": loop, "args": sig}):
        _wait_for(_child(lambda: compile_here(sig)))


def compile_ahead(jobs):
    """Compile loops in a child that are needed soon, while this process does other things.

    Parameters
    ----------
    jobs : list of tuple (loop, arguments)
        Loops of `compiled`, and arguments of the types that they will be given.
    """
    if not _CAN_FORK or _Kept.is_child or _Kept.warned or len(os.sched_getaffinity(0)) < 2:
        return
    jobs = [(loop, tuple(map(numba.typeof, arguments))) for loop, arguments in jobs]
    missing = [
        (loop, types) for loop, types in jobs
        if isinstance(loop._cache, _Kept) and not loop._cache.has(types)
    ]  # fmt: skip
    if not missing:
        return

    def compile_missing():
        for loop, types in missing:
            loop.compile(types)

    with global_compiler_lock:
        waiting = threading.Thread(target=_wait_for, args=(_child(compile_missing),), daemon=True)
    waiting.start()
    _ahead.update((loop, waiting) for loop, _ in missing)


def _child(work):
    """Fork a child that does some work, to be called while nothing else is amid LLVM."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
        child = os.fork()
    if child == 0:
        try:
            _Kept.is_child = _Kept.warned = True
            # What listens for compilation here may write of it, as it does in the parent.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            work()
        finally:
            os._exit(0)
    return child


def _wait_for(child):
    until = time.monotonic() + _LONGEST
    try:
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(0.002)
    except ChildProcessError:  # someone else has waited for it
        pass
    except BaseException as error:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not isinstance(error, TimeoutError):
            raise


def is_compiled(loop):
    """Whether the code of a loop need not be compiled on this machine, but is on disk."""
    try:
        known = loop._cache._cache_file._load_index()
    except Exception:  # there is no cache, or it cannot be read
        return False
    machine = cpu_target.target_context.codegen().magic_tuple()
    return any(key[1] == machine for key in known)


@functools.cache
def source_stamp():
    """Names, times and sizes of the files that compiled code is made of."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), here.parent / "_tuning.py"]
    status = ((path.name, path.stat()) for path in files)
    return tuple((name, known.st_mtime_ns, known.st_size) for name, known in status)


class _Kept(FunctionCache):
    """numba's cache of one function, which may fail."""

    warned = False
    is_child = False  # of a process that will read what is compiled here

    def __init__(self, function):
        super().__init__(function)
        # numba looks at the function's own file only; but loops call those of other files, and
        # their constants are compiled in.
        self._cache_file._source_stamp = source_stamp()

    def has(self, sig):
        """Whether there is code for a signature."""
        try:
            return self._index_key(sig, cpu_target.target_context.codegen()) in (
                self._cache_file._load_index()
            )
        except Exception:  # it cannot be read
            return False

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever is wrong with the files, the loop can be compiled
            self._forget()

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            # The index may name a file that could not be written, or that holds older code.
            self._forget()
            _warn(error)

    def _forget(self):
        with contextlib.suppress(OSError):
            os.unlink(self._cache_file._index_path)


def _warn(error):
    if _Kept.warned:
        return
    _Kept.warned = True
    warnings.warn(
        f"Compiled code cannot be kept on disk ({error}); each process will spend some seconds "
        "to compile it. Set NUMBA_CACHE_DIR to a folder with room that can be written.",
        UserWarning,
        stacklevel=2,
    )
