"""Progress of a long command: a bar on a terminal, lines in a log, and no long silence."""

import contextlib
import io
import os
import sys
import textwrap
import threading
import time
from functools import partial

from tqdm import tqdm

from ._options import PROGRAM

_FRAME = 0.25  # seconds between two updates
# Seconds after which a log gets another line. Two are the aim, but while SciPy calls LAPACK no
# other Python thread runs, which may take a second on a busy machine.
_SILENCE = 0.8
_PAUSE = 0.5  # seconds; interruptions closer together than that are one
_WIDEST_BAR = 30
_LONG_STEP = 1.0  # seconds after which it is told how long a step has taken
# The remaining time is not estimated from less than this.
_SECONDS_TO_JUDGE = 1.0


class Progress:
    """Context that shows on a stream which stage a command is in, from a separate thread.

    ``begin`` names a stage, which lasts until the next one or until ``end``; ``add`` or ``reach``
    tell how much of it is done. ``say`` writes and flushes a permanent line. With ``quiet`` nothing
    is written, neither to this stream nor to another.
    """

    def __init__(self, stream=None, *, quiet=False):
        self._stream = sys.stdout if stream is None else stream
        kind = _Nobody if quiet else _Bar if _is_terminal(self._stream) else _Log
        self._face = kind(self._stream)
        self._lock = threading.RLock()
        self._stage = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(OSError, ValueError):  # the reader may be gone
            self.end()
            self._face.close()

    def begin(self, name, total=None, detail=None):
        """Begin a stage; ``detail(done, total)`` returns text on how much of it is done."""
        self._begin(_Stage(name, total, detail))

    def begin_of(self, name, seconds):
        """Begin a stage that nobody can count, but of which is known about how long it takes."""
        self._begin(_TimedStage(name, seconds))

    def _begin(self, stage):
        with self._lock:
            self._stage = stage
            self._face.begin(stage)

    def end(self):
        """End the stage."""
        with self._lock:
            self._stage = None
            self._face.end()

    def add(self, n):
        """Tell that n more are done."""
        with self._lock:
            self._stage.reach(self._stage.done + n)

    def reach(self, n):
        """Tell that n are done."""
        with self._lock:
            self._stage.reach(n)

    def interrupt(self, name):
        """Show another name for the stage, until called with None."""
        with self._lock:
            if self._stage is not None:
                self._stage.interrupt(name)
                self._face.show(self._stage)

    def say(self, text="", stream=None):
        """Write a line to the stream, or to another one."""
        stream = self._stream if stream is None else stream
        room = self.columns
        if room is not None:
            text = "\n".join(map(partial(_wrapped, room=room), text.split("\n")))
        # Names of files may hold what the stream cannot encode.
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
        with self._lock:
            self._face.say(text, stream)

    @property
    def columns(self):
        """Columns of a terminal that lines should fit into; None of what is no terminal."""
        return _size(self._stream)[0] if isinstance(self._face, _Bar) else None

    def note(self, text):
        """Write a remark to the stream of errors."""
        self.say(f"{PROGRAM}: note: {text}", sys.stderr)

    @contextlib.contextmanager
    def saying_what_is_printed(self):
        """Say, line by line, what is printed in this context."""
        with contextlib.redirect_stdout(_Lines(self.say)) as lines:
            yield
            lines.close()

    def _watch(self):
        while not self._closed.wait(_FRAME):
            with self._lock, contextlib.suppress(OSError, ValueError):  # the stream is closed
                if self._stage is not None:
                    self._stage.resume()
                    self._face.show(self._stage)


class _Stage:
    """Name of a stage, its total and how much of it is done, with times."""

    def __init__(self, name, total, detail):
        self.name, self.total = name, total
        self.detail = detail or (lambda done, total: f"{done:,} of {total:,}")
        self.done, self.began = 0, time.monotonic()
        self.meanwhile, self.interrupted_at, self.resumed_at = None, None, None
        self.first = None  # time and amount of what was done first
        self.reached_at = None

    def reach(self, n):
        if n != self.done:
            self.reached_at = time.monotonic()
        self.done = n
        if self.first is None and n:
            self.first = time.monotonic(), n

    def interrupt(self, name):
        now = time.monotonic()
        if name is None:
            self.resumed_at = now
            return
        if self.meanwhile is None:
            self.interrupted_at = now
        self.meanwhile, self.resumed_at = name, None

    def resume(self):
        """End an interruption once it has been over long enough not to come back at once."""
        if self.resumed_at is not None and time.monotonic() - self.resumed_at > _PAUSE:
            self.meanwhile, self.resumed_at = None, None

    @property
    def is_counted(self):
        return self.total is not None and self.meanwhile is None

    @property
    def is_done(self):
        return self.done >= self.total

    @property
    def title(self):
        return self.meanwhile or self.name

    def figures(self):
        """Return text on the progress and the time."""
        now = time.monotonic()
        if not self.is_counted:
            seconds = now - (self.interrupted_at if self.meanwhile else self.began)
            return _duration(seconds) if seconds >= 1 else ""
        return self.detail(self.done, self.total) + self._time(now)

    def _time(self, now):
        """Return the time left; during a step that takes longer than that, how long it has."""
        if self.is_done:
            return ""
        left = self._seconds_left(now)
        if left is not None and left >= 0.5:  # less would be told as 0
            return f", {_duration(left)} left"
        since_step = now - (self.reached_at or self.began)
        is_long = since_step >= _LONG_STEP
        return f", {_duration(since_step)} since the last step" if is_long else ""

    def _seconds_left(self, now):
        """Return the seconds left, negative if more have passed; None if nothing tells them."""
        if self.first is None or now - self.first[0] < _SECONDS_TO_JUDGE:
            return None
        # The first step may have waited for a compiler, so it does not count.
        since, n = self.first
        if self.done == n:
            return None
        # As it was when the last step was done: what is told does not grow during a long one.
        left = (self.total - self.done) * (self.reached_at - since) / (self.done - n)
        return left - (now - self.reached_at)


class _TimedStage(_Stage):
    """Stage of which is known about how long it takes."""

    def __init__(self, name, seconds):
        super().__init__(name, 100, None)
        self._seconds = seconds

    @property
    def done(self):
        return min(99, int(100 * (time.monotonic() - self.began) / self._seconds))

    @done.setter
    def done(self, n):
        """The time is all that is counted."""

    def figures(self):
        left = self._seconds - (time.monotonic() - self.began)
        return f"about {_duration(left)} left" if left >= 1 else "nearly done"


def percent(done, total):
    """Text on how much is done, in hundredths."""
    return "finishing" if done == total else f"{100 * done // total} %"


def _duration(seconds):
    """Format a time in its two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _wrapped(line, room):
    """A line broken between words where it is too long; a path stays whole."""
    if len(line) <= room:
        return line
    return textwrap.fill(line, room, break_long_words=False, break_on_hyphens=False)


def _is_terminal(stream):
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _size(stream):
    """Return the columns of a terminal that can be written without a line break, and its rows."""
    size = os.terminal_size((0, 0))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        size = os.get_terminal_size(stream.fileno())
    return (size.columns or 80) - 1, size.lines or 24  # some terminals report 0


class _Nobody:
    """Progress that nobody wants to see."""

    def __init__(self, stream):
        pass

    def begin(self, stage):
        pass

    def show(self, stage):
        pass

    def say(self, text, stream):
        pass

    def end(self):
        pass

    def close(self):
        pass


class _Log(_Nobody):
    """Progress as lines: when a stage begins, and after a silence if there is anything new."""

    def __init__(self, stream):
        self._stream = stream
        self._written_at = time.monotonic()
        self._title, self._figures = None, None

    def begin(self, stage):
        if stage.title == self._title:  # it goes on, and is counted from now on
            return
        self._title, self._figures = stage.title, None
        self.say(f"{stage.title} ...", self._stream)

    def show(self, stage):
        if stage.title != self._title:
            if stage.meanwhile:
                self.begin(stage)
            self._title = stage.title
        elif time.monotonic() - self._written_at >= _SILENCE:
            figures = stage.figures() or _duration(1)
            if figures != self._figures:
                self._figures = figures
                self.say(f"{stage.title}: {figures}", self._stream)

    def say(self, text, stream):
        self._stream.flush()
        stream.write(text + "\n")
        stream.flush()
        if stream is self._stream:
            self._written_at = time.monotonic()


class _QuietBar(tqdm):
    monitor_interval = 0  # no thread of tqdm, as Progress has its own


class _Bar:
    """Progress as one line at the bottom, repainted in place and removed at the end."""

    def __init__(self, stream):
        self._stream = stream
        # The delay keeps tqdm from painting an empty bar now.
        self._bar = _QuietBar(total=1, file=stream, leave=False, bar_format=" ", delay=1)
        self._bar.dynamic_ncols = _size
        self._shown = None
        self._stage = None

    def begin(self, stage):
        self._shown = None
        self.show(stage)

    def show(self, stage):
        self._stage = stage
        title, figures = stage.title, stage.figures()
        room, _ = _size(self._stream)
        text = f"{title[: max(0, room - len(figures) - 2)]}  {figures}".rstrip()
        if (text, room) == self._shown:
            return
        self._shown = text, room
        width = min(_WIDEST_BAR, room - len(text) - 4)
        if stage.is_counted and width >= 5:
            text = f"{title}  |{{bar:{width}}}|  {figures}"
        else:
            text = text[:room]
        self._bar.bar_format = text
        self._bar.total, self._bar.n = stage.total or 1, min(stage.done, stage.total or 1)
        self._bar.refresh()

    def say(self, text, stream):
        self._clear()
        stream.write(text + "\n")
        stream.flush()
        self._shown = None
        if self._stage is not None:
            self.show(self._stage)

    def end(self):
        self._stage = None
        self._clear()

    def close(self):
        self._bar.close()
        self._stream.flush()

    def _clear(self):
        self._bar.clear()
        self._stream.flush()  # moves the cursor to the left, before another stream writes


class _Lines(io.TextIOBase):
    """Stream that passes on whole lines."""

    def __init__(self, write_line):
        self._write_line, self._rest = write_line, ""

    def writable(self):
        return True

    def write(self, text):
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def close(self):
        if self._rest and not self.closed:
            self._write_line(self._rest)
            self._rest = ""
        super().close()
