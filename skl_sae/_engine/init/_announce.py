"""Announcement of the starts that are judged, which a fit of large images has to wait for."""

import contextlib
from contextvars import ContextVar

_TELL = ContextVar("tell", default=None)


@contextlib.contextmanager
def starts_announced(tell):
    """Call ``tell`` with the numbers of starts judged so far and in all, after each."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def announced(starts, n_before, n_starts):
    """Pass starts on, and tell of each when it has been judged."""
    tell = _TELL.get()
    for i, start in enumerate(starts, 1):
        yield start
        if tell is not None:
            tell(n_before + i, n_starts)
