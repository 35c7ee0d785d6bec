"""How loops are compiled, and what is kept of it on disk for the next process.

numba keeps compiled code in a folder that may be read-only, or on a full disk, or hold what another
process left half done. Nothing of that may stop a fit: code that cannot be kept or read is compiled
each time, and one warning says so.
"""

import contextlib
import os
import warnings

with warnings.catch_warnings():  # numba adds a filter for all of the process
    import numba
    from numba.core.caching import FunctionCache
    from numba.core.registry import cpu_target


def compiled(function):
    """Compile without the GIL, with the result kept on disk where that is possible."""
    options = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}
    loop = numba.njit(**options)(function)
    try:
        loop._cache = _Kept(function)  # as numba's own enable_caching does
    except (RuntimeError, OSError) as error:  # no folder to keep it in can be written
        _warn(error)
    return loop


def is_compiled(loop):
    """Whether the code of a loop need not be compiled on this machine, but is on disk."""
    try:
        known = loop._cache._cache_file._load_index()
    except Exception:  # there is no cache, or it cannot be read
        return False
    machine = cpu_target.target_context.codegen().magic_tuple()
    return any(key[1] == machine for key in known)


class _Kept(FunctionCache):
    """numba's cache of one function, which may fail."""

    warned = False

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
