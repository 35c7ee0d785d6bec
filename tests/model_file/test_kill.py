"""The machine stops half-way: what is on the disk afterwards. Run by `make test-all`."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from skl_sae import TopKSparseAutoencoder

pytestmark = pytest.mark.slow

PREAMBLE = """
import sys
import numpy as np
from skl_sae import TopKSparseAutoencoder
rows = np.random.default_rng(0).random((400, 1000), dtype=np.float32)
"""


def start(code, *arguments, **options):
    """A Python process that says "ready" once it is at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()[1]
    return process


def test_fault_94_killed_while_saving(tmp_path):
    """The file is one of the two models whole, never a mix, over 20 kills."""
    path, rng, seen = tmp_path / "model", np.random.default_rng(0), set()
    code = """
    models = [TopKSparseAutoencoder(2000, k=4, max_iter=1, init="random", random_state=i).fit(rows)
              for i in range(2)]
    models[0].save(sys.argv[1])
    print("ready", flush=True)
    while True:
        for model in models:
            model.save(sys.argv[1])
    """
    for _ in range(20):
        process = start(code, path)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
        loaded = TopKSparseAutoencoder.load(path)
        seen.add(loaded.random_state)
    assert seen <= {0, 1}
    # What a kill leaves is hidden, and does not grow into the way of anything.
    left = [name for name in os.listdir(tmp_path) if name != "model"]
    assert all(name.startswith(".skl_sae-") for name in left)


def test_fault_89_killed_while_fitting(tmp_path):
    """Resumed until it is done, a fit ends where one without interruption does."""
    rows = np.random.default_rng(0).random((400, 1000), dtype=np.float32)
    parameters = {"n_components": 500, "k": 10, "max_iter": 20, "random_state": 0, "tied": False}
    expected = TopKSparseAutoencoder(**parameters).fit(rows)
    path = tmp_path / "checkpoint"
    code = """
    sae = TopKSparseAutoencoder(
        n_components=500, k=10, max_iter=20, random_state=0, tied=False, verbose=1,
        checkpoint=sys.argv[1], warm_start=True,
    )
    print("ready", flush=True)
    sae.fit(rows)
    sae.save(sys.argv[2])
    """
    rng, n_kills = np.random.default_rng(0), 0
    while n_kills < 6:
        process = start(code, path, tmp_path / "model")
        time.sleep(rng.uniform(0.1, 1.5))
        process.kill()
        process.communicate()
        n_kills += 1
    process = start(code, path, tmp_path / "model")
    assert process.wait(600) == 0, process.communicate()[1]
    process.communicate()
    loaded = TopKSparseAutoencoder.load(tmp_path / "model")
    assert loaded.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(loaded.components_, expected.components_)


def limited(kind, limit):
    return lambda: resource.setrlimit(kind, (limit, limit))


def test_fault_93_a_disk_that_is_full(tmp_path):
    """The limit on a file's size stands for it: an OSError, and the old file as it was."""
    path = tmp_path / "model"
    code = """
    small = TopKSparseAutoencoder(20, k=4, max_iter=1, init="random", random_state=0).fit(rows)
    small.save(sys.argv[1])
    print("ready", flush=True)
    large = TopKSparseAutoencoder(2000, k=4, max_iter=1, init="random", random_state=1).fit(rows)
    try:
        large.save(sys.argv[1])
    except OSError as error:
        print("refused", error.errno)
    """
    # numba's cache must not be what meets the limit.
    start(code.replace("2000", "20"), tmp_path / "other").communicate()
    process = start(code, path, preexec_fn=limited(resource.RLIMIT_FSIZE, 2**20))
    output, errors = process.communicate()
    assert output.startswith("refused"), errors
    assert TopKSparseAutoencoder.load(path).n_components == 20
    assert sorted(os.listdir(tmp_path)) == ["model", "other"]


@pytest.mark.parametrize("fitted_before", [False, True])
def test_fault_88_interrupted_fit(fitted_before, interruptible):
    """Ctrl-C ends a fit that would run for hours, and what was fitted before stays."""
    code = """
    sae = TopKSparseAutoencoder(2000, k=20, max_iter=10**6, init="random", random_state=0)
    fitted_before = sys.argv[1] == "True"
    if fitted_before:
        sae.set_params(max_iter=1).fit(rows).set_params(max_iter=10**6)
        before = sae.components_.copy()
    class Told(list):
        def fit(self):
            print("ready", flush=True)
            sae.fit(rows)
    try:
        Told().fit()
    except KeyboardInterrupt:
        print("left", hasattr(sae, "components_") == fitted_before)
        if fitted_before:
            print("same", np.array_equal(before, sae.components_))
    """
    process = start(code, fitted_before)
    time.sleep(2)  # so that it is at work, as a rule
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)  # for a busy machine
    assert "left True" in output, errors
    assert not fitted_before or "same True" in output
