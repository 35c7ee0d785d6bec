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


def announced(starts, n_starts, member, n_members):
    """Pass the starts of a member on, at most n_starts, and tell of each when it was judged."""
    tell = _TELL.get() or (lambda done, total: None)
    for i, start in enumerate(starts, 1):
        yield start
        tell(member * n_starts + i, n_members * n_starts)
    tell((member + 1) * n_starts, n_members * n_starts)
