"""Progress that is shown while a command is at work: on a terminal, in a log, and to nobody."""

import io
import os
import pty
import re
import termios
import time

import numba
import pytest

from skl_sae._command import _progress
from skl_sae._command._progress import Progress
from skl_sae._engine.kernels._announce import compiling_announced


@pytest.fixture
def quick(monkeypatch):
    """Seconds become hundredths."""
    for name in ("_FRAME", "_SILENCE", "_PAUSE", "_SECONDS_TO_JUDGE"):
        monkeypatch.setattr(_progress, name, getattr(_progress, name) / 20)


class Terminal:
    """Both ends of a pseudo-terminal."""

    def __init__(self, columns):
        self._reader, writer = pty.openpty()
        os.set_blocking(self._reader, False)
        termios.tcsetwinsize(writer, (20, columns))
        self.stream = os.fdopen(writer, "w", encoding="utf-8")

    def written(self):
        """All that has arrived, which the system takes a moment over."""
        self.stream.flush()
        time.sleep(0.1)
        return os.read(self._reader, 2**16).decode()

    def close(self):
        self.stream.close()
        os.close(self._reader)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(columns=50)
    yield terminal
    terminal.close()


def shown(text):
    """The lines that stay, and all that a line was on the way."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [re.split("\r", line)[-1].rstrip() for line in lines], re.split("[\r\n]+", text)


def test_fault_121_a_log_is_never_silent(quick):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.begin("Reading images", 2000)
        time.sleep(0.12)
        progress.reach(500)
        time.sleep(0.2)
        progress.add(1500)
        progress.say("All read.")
        progress.begin("Starting")
        time.sleep(0.12)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Reading images ..."
    assert "Reading images: 0 of 2,000" in lines
    assert "Reading images: 500 of 2,000" in "\n".join(lines)
    assert lines.index("All read.") + 1 == lines.index("Starting ...")
    assert lines[-1].startswith("Starting:")
    assert 5 <= len(lines) <= 14


def test_time_left():
    stage = _progress._Stage("Training", 100, None)
    assert stage.figures() == "0 of 100"
    stage.reach(1)
    stage.first = time.monotonic() - 10, 1
    stage.reach(21)
    assert stage.figures() == "21 of 100, 40 s left"
    stage.reached_at -= 38.4
    stage.first = stage.first[0] - 38.4, 1  # of the 39.5 s all but one have passed
    assert stage.figures() == "21 of 100, 1 s left"
    stage.reached_at -= 30
    stage.first = stage.first[0] - 30, 1  # no time is left, but work is
    assert stage.figures() == "21 of 100, 1 min 8 s since the last step"
    stage.reach(100)
    assert stage.figures() == "100 of 100"


def test_a_log_says_nothing_twice(quick):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.begin("Writing the report", 24, _progress.percent)
        progress.reach(5)
        time.sleep(0.12)
        progress.reach(10)
        stage = progress._stage
        stage.first, stage.reached_at = (stage.reached_at - 5.1, 5), stage.reached_at - 5
        time.sleep(0.3)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(set(lines)), lines
    assert lines[:2] == ["Writing the report ...", "Writing the report: 20 %"]
    assert not any(re.search(r"[, ]0 s left", line) for line in lines)
    assert "Writing the report: 41 %, 5 s since the last step" in lines


@pytest.mark.parametrize(
    "seconds, words",
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7300, "2 h 1 min")],
)
def test_durations(seconds, words):
    assert _progress._duration(seconds) == words


def test_a_bar_is_one_line_and_leaves_nothing(quick, terminal):
    with Progress(terminal.stream) as progress:
        progress.begin("Reading images", 200)
        progress.reach(100)
        time.sleep(0.1)
        progress.say("A line that stays.")
        progress.begin("A stage with a name that is far too long for such a terminal", 1)
        time.sleep(0.1)
    kept, painted = shown(terminal.written())
    assert [line for line in kept if line] == ["A line that stays."]
    assert any(re.search(r"Reading images  \|█+. *\|  100 of 200", line) for line in painted)
    assert all(len(line) < 50 for line in painted)
    assert any(line.endswith("0 of 1") for line in painted)


def test_a_terminal_of_unknown_size(quick, terminal):
    termios.tcsetwinsize(terminal.stream.fileno(), (0, 0))
    with Progress(terminal.stream) as progress:
        progress.begin("Reading images", 200)
        time.sleep(0.1)
    _, painted = shown(terminal.written())
    assert any(re.search(r"Reading images  \| +\|  0 of 200", line) for line in painted)


def test_a_terminal_without_abilities_gets_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with Progress(terminal.stream) as progress:
        progress.begin("Reading images", 200)
    assert terminal.written() == "Reading images ...\r\n"


def test_what_is_printed_meanwhile_comes_line_by_line():
    stream = io.StringIO()
    with Progress(stream) as progress, progress.saying_what_is_printed():
        print("one", end=" ")
        assert stream.getvalue() == ""
        print("line\ntwo\nrest", end="")
        assert stream.getvalue() == "one line\ntwo\n"
    assert stream.getvalue() == "one line\ntwo\nrest\n"


def test_text_that_the_stream_cannot_write():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Progress(stream) as progress:
        progress.say("é")
    assert stream.buffer.getvalue() == b"?\n"


def test_a_stream_that_is_closed_stops_nothing(quick):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.begin("Reading")
        stream.close()
        time.sleep(0.1)


def test_interruptions_close_to_each_other_are_one(quick):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.begin("Starting")
        for _ in range(5):
            progress.interrupt("Compiling")
            progress.interrupt(None)
        time.sleep(0.15)
        assert progress._stage.title == "Starting"
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["Starting ...", "Compiling ..."]
    assert lines.count("Compiling ...") == 1
    assert lines[-1].startswith("Starting:")


def test_compiling_is_told_where_it_happens():
    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return inner(x) + 1

    told = []
    with compiling_announced(told.append):
        assert outer(1) == 3
        assert told[0] is True and told[-1] is False
        assert told.count(False) == 1
        told.clear()
        assert outer(2) == 4
    outer(1.5)
    assert told == []


def test_a_stage_of_known_length(quick):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.begin("Fitting PCA")
        progress.begin_of("Fitting PCA", 3)
        time.sleep(0.12)
        assert progress._stage.done in range(2, 99)
        progress._stage.began -= 10
        time.sleep(0.12)
        assert progress._stage.done == 99
    lines = stream.getvalue().splitlines()
    assert lines.count("Fitting PCA ...") == 1
    assert "Fitting PCA: about 3 s left" in lines and lines[-1] == "Fitting PCA: nearly done"


def test_lines_fit_a_terminal(terminal):
    with Progress(terminal.stream) as progress:
        progress.say("one two three four five six seven eight nine tens\n\n" + "/a/path" * 10)
        progress.say("one two three four five six seven eight nine tens more")
        assert progress.columns == 49
    kept, _ = shown(terminal.written())
    whole = "one two three four five six seven eight nine tens"  # 49 letters
    assert kept[:5] == [whole, "", "/a/path" * 10, whole, "more"]
    assert Progress(io.StringIO()).columns is None


def test_a_quiet_progress_says_nothing(quick, capsys):
    stream = io.StringIO()
    with Progress(stream, quiet=True) as progress:
        progress.begin("Reading", 10)
        progress.add(5)
        progress.say("something")
        progress.note("something else")
        with progress.saying_what_is_printed():
            print("printed")
        time.sleep(0.1)
    assert stream.getvalue() == "" and capsys.readouterr() == ("", "")
