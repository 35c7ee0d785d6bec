"""Memory of fit, score and transform_to does not grow with the number of rows in a file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

N_FEATURES = 768
MEASURE = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
from skl_sae import TopKSparseAutoencoder

peaks = {}

def anonymous_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))

def watch():
    while True:
        peaks[now] = max(peaks.get(now, 0), anonymous_memory())
        time.sleep(0.01)

now = "before"
threading.Thread(target=watch, daemon=True).start()
X = np.load(sys.argv[1], mmap_mode="r")
sae = TopKSparseAutoencoder(128, k=4, max_iter=1, batch_size=256, random_state=0)
for now, call in [("fit", lambda: sae.fit(X)), ("score", lambda: sae.score(X)),
                  ("transform_to", lambda: sae.transform_to(X, sys.argv[2]))]:
    call()
print(json.dumps(peaks))
"""


def peaks_of(n, folder):
    """Largest anonymous memory, in MB, in each call for n rows of uint8."""
    path = folder / f"{n}.npy"
    rows = np.lib.format.open_memmap(path, "w+", np.uint8, (n, N_FEATURES))
    rng, few = np.random.default_rng(0), 10_000
    mixed = rng.random((few, 8), np.float32) @ rng.random((8, N_FEATURES), np.float32)
    for start in range(0, n, few):
        rows[start : start + few] = 30 * mixed
    rows.flush()
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(folder / f"{n}.npz")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    path.unlink()
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    few, many = peaks_of(50_000, tmp_path), peaks_of(1_000_000, tmp_path)
    for name in ("fit", "score", "transform_to"):
        # The C library keeps some of what is freed, and score has a number for each row. A copy of
        # the rows would be 768 MB more, in float32 3 GB.
        assert many[name] < few[name] + 200, (name, few, many)
    assert many["fit"] < 550
