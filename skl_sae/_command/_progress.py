"""What a long command is doing: a bar on a terminal, lines in a log, and never long silence."""

import contextlib
import io
import os
import sys
import threading
import time

from tqdm import tqdm

from ._options import PROGRAM

_FRAME = 0.25  # seconds from one look at the time to the next
# Seconds after which a log gets another line. It shall be two at most, but LAPACK called by SciPy
# lets no other thread of Python run, for a second of a busy machine's time.
_SILENCE = 0.8
_PAUSE = 0.5  # seconds; interruptions closer together than that are one
_WIDEST_BAR = 30
# Before that much time has passed, what is left is anybody's guess.
_SECONDS_TO_JUDGE = 1.0


class Progress:
    """Tells a stream which stage a command is in, from a thread of its own.

    Used as a context. ``begin`` names a stage, which lasts until the next one or ``end``; in it,
    ``add`` or ``reach`` say how much is done. ``say`` writes a line that stays, flushed.
    """

    def __init__(self, stream=None):
        self._stream = sys.stdout if stream is None else stream
        self._face = _Bar(self._stream) if _is_terminal(self._stream) else _Log(self._stream)
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
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            self.end()
            self._face.close()

    def begin(self, name, total=None, detail=None):
        """Enter a stage; ``detail`` is a function that words how much of the total is done."""
        with self._lock:
            self._stage = _Stage(name, total, detail)
            self._face.begin(self._stage)

    def end(self):
        with self._lock:
            self._stage = None
            self._face.end()

    def add(self, n):
        with self._lock:
            self._stage.reach(self._stage.done + n)

    def reach(self, n):
        with self._lock:
            self._stage.reach(n)

    def interrupt(self, name):
        """Show another name for a while, until it is None."""
        with self._lock:
            if self._stage is not None:
                self._stage.interrupt(name)
                self._face.show(self._stage)

    def say(self, text="", stream=None):
        """Write a line, to another stream if one is given."""
        stream = self._stream if stream is None else stream
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
        with self._lock:
            self._face.say(text, stream)

    def note(self, text):
        """Write a remark to the stream of errors."""
        self.say(f"{PROGRAM}: note: {text}", sys.stderr)

    @contextlib.contextmanager
    def saying_what_is_printed(self):
        """Take over what is printed meanwhile, line by line."""
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
    """A name, how much is done of how much, and since when."""

    def __init__(self, name, total, detail):
        self.name, self.total = name, total
        self.detail = detail or (lambda done, total: f"{done:,} of {total:,}")
        self.done, self.began = 0, time.monotonic()
        self.meanwhile, self.interrupted_at, self.resumed_at = None, None, None
        self.first = None  # when something was done for the first time, and how much

    def reach(self, n):
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
        """End an interruption, unless it is over for so short a time that it may come again."""
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
        """How far it is, and how long it takes."""
        now = time.monotonic()
        if not self.is_counted:
            seconds = now - (self.interrupted_at if self.meanwhile else self.began)
            return _duration(seconds) if seconds >= 1 else ""
        return self.detail(self.done, self.total) + self._time_left(now)

    def _time_left(self, now):
        if self.first is None or now - self.first[0] < _SECONDS_TO_JUDGE or self.is_done:
            return ""
        since, n = self.first
        rate = (self.done - n) / (now - since)
        return f", {_duration((self.total - self.done) / rate)} left" if rate else ""


def _duration(seconds):
    """A time in words, in its two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _is_terminal(stream):
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _size(stream):
    """Columns of a terminal that can be written without a new line, and rows."""
    size = os.terminal_size((0, 0))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        size = os.get_terminal_size(stream.fileno())
    return (size.columns or 80) - 1, size.lines or 24  # some say that they have none


class _Log:
    """Lines: one when a stage begins, and one whenever nothing was written for a while."""

    def __init__(self, stream):
        self._stream = stream
        self._written_at = time.monotonic()
        self._title = None

    def begin(self, stage):
        self._title = stage.title
        self.say(f"{stage.title} ...", self._stream)

    def show(self, stage):
        if stage.title != self._title:
            if stage.meanwhile:
                self.begin(stage)
            self._title = stage.title
        elif time.monotonic() - self._written_at >= _SILENCE:
            self.say(f"{stage.title}: {stage.figures() or _duration(1)}", self._stream)

    def say(self, text, stream):
        self._stream.flush()
        stream.write(text + "\n")
        stream.flush()
        if stream is self._stream:
            self._written_at = time.monotonic()

    def end(self):
        pass

    def close(self):
        pass


class _QuietBar(tqdm):
    monitor_interval = 0  # the thread here does what tqdm's own would


class _Bar:
    """One line at the bottom, painted anew where it stands and gone at the end."""

    def __init__(self, stream):
        self._stream = stream
        # With a delay, nothing is painted before there is something to say.
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
        self._stream.flush()  # with the cursor at the left, whatever stream writes next


class _Lines(io.TextIOBase):
    """A stream that hands on whole lines."""

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
