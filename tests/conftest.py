"""Data for all tests, and a guard around each of them."""

import random
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import torch
from sklearn import get_config

from skl_sae import TopKSparseAutoencoder

# Fixtures of a folder's tests have nothing to collect, and would all be the module `conftest`.
collect_ignore_glob = ["*/conftest.py"]


def global_state():
    """State that no call may change."""
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()
    return {
        "torch's generator": torch_state.numpy().tobytes(),
        "NumPy's generator": (numpy_state[0], numpy_state[1].tobytes(), *numpy_state[2:]),
        "Python's generator": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "NumPy's errors": np.geterr(),
        "warning filters": list(warnings.filters),
        "Pillow": (PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES),
        "backend": mpl.get_backend(),  # chosen by this, so that the settings do not change later
        "rcParams": dict(dict.items(mpl.rcParams)),  # past its checks of each, which take 1.5 ms
        "scikit-learn": get_config(),
    }


@pytest.fixture(autouse=True)
def unchanged_globals(request):
    """Global state is the same after every test; `touches_globals` names what is excepted."""
    before = global_state()
    yield
    after = global_state()
    marker = request.node.get_closest_marker("touches_globals")
    excepted = marker.args if marker else ()
    changed = {
        name: (before[name], after[name])
        for name in before
        if before[name] != after[name] and name not in excepted
    }
    assert not changed


@pytest.fixture
def open_folder():
    """A folder that other users can enter, which those of ``tmp_path`` are closed to."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(autouse=True)
def figures_closed():
    """No figure outlives a test: of more than 20 matplotlib warns."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def interruptible():
    """Children that are started end on SIGINT, also if whoever started the tests ignores it.

    A shell does so for what runs in its background, and children inherit it. Where there is a
    handler instead, they begin with the default.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def X():
    """40 rows of 12 features around a few directions, float32."""
    rng = np.random.default_rng(0)
    rows = rng.random((40, 4)) @ rng.random((4, 12)) + 0.05 * rng.random((40, 12))
    return rows.astype(np.float32)


@pytest.fixture
def estimator():
    """A small ensemble, unfitted."""
    return TopKSparseAutoencoder(
        n_components=16, k=4, n_estimators=2, max_iter=2, batch_size=16, random_state=0,
        device="cpu",
    )  # fmt: skip
