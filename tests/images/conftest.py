"""A guard for tests that might block."""

import signal

import pytest


@pytest.fixture
def alarm():
    """End a test that blocks."""

    def stop(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)  # for a busy machine
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
