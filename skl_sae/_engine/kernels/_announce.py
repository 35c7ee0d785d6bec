"""Announcement of numba's compilation, which the first fit on a machine has to wait for."""

import contextlib
import warnings


@contextlib.contextmanager
def compiling_announced(tell):
    """Call ``tell`` with True while numba compiles something, and with False when it is done.

    What comes from numba's cache is not compiled, so nothing is told on later runs.
    """
    with warnings.catch_warnings():  # numba adds a filter for all of the process
        from numba.core import event

    class Listener(event.Listener):
        depth = 0  # one function's compilation includes those it calls

        def on_start(self, _):
            self.depth += 1
            tell(True)

        def on_end(self, _):
            self.depth -= 1
            if not self.depth:
                tell(False)

    with event.install_listener("numba:compile", Listener()):
        yield
