"""The same bits for any number of threads; and what a call leaves as it was for its caller."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from skl_sae import ImageAugmenter, TopKSparseAutoencoder
from skl_sae._engine import _threads
from skl_sae._engine._threads import (
    add_gram,
    add_products,
    allowed_threads,
    gram_of,
    one_thread,
    product,
)

# What differs from small settings that are otherwise the default's.
DIGITS = {
    "default": {},
    "pca of groups": {"n_components": 128, "k": 4},
    "pca, members": {"n_components": 96, "k": 6, "n_estimators": 3, "consistency": 0.5},
    "untied": {"tied": False, "n_components": 700, "k": 8},
    "orthogonal": {"init": "orthogonal", "n_components": 150, "k": 8},
    "random, members, mean": {
        "init": "random", "n_components": 600, "k": 8, "n_estimators": 3, "aggregate": "mean",
        "consistency": 1.0,
    },
    "dense": {"n_components": 40, "k": 20},
    "dense, untied members": {"n_components": 40, "k": 20, "tied": False, "n_estimators": 2},
    "batch top-k": {"sparsity": "batch_topk", "n_components": 256, "k": 8},
    "batch top-k, members, wide batch": {
        "sparsity": "batch_topk", "n_components": 256, "k": 8, "n_estimators": 2,
        "batch_size": 100,
    },
    "wide batch": {"n_components": 600, "k": 8, "batch_size": 128},
    "wide batch, untied members": {
        "n_components": 600, "k": 8, "batch_size": 128, "tied": False, "n_estimators": 2,
    },
    "pursuit": {"transform_algorithm": "omp", "n_components": 256, "k": 8},
    "early stopping": {"early_stopping": True, "n_components": 128, "k": 8, "max_iter": 3},
    "augmented": {
        "augmenter": ImageAugmenter((8, 8), n_copies=1), "n_components": 128, "k": 8,
    },
}  # fmt: skip
# By number of rows and features: few rows that are wide, and more than one block of each.
SIGNALS = {
    "wide": ((60, 3000), {"n_components": 128, "k": 8, "max_iter": 2}),
    "large step": ((40, 4200), {"n_components": 1024, "k": 16, "max_iter": 1, "batch_size": 16}),
    "large step, untied": (
        (40, 4200), {"n_components": 1024, "k": 16, "max_iter": 1, "batch_size": 16,
                     "tied": False, "init": "random", "n_estimators": 2},
    ),
    "large step, wide batch": (
        (200, 1100), {"n_components": 4096, "k": 16, "max_iter": 1, "batch_size": 100,
                      "init": "random", "tied": False},
    ),
    "large batch top-k": (
        (200, 1100), {"n_components": 4096, "k": 16, "max_iter": 1, "batch_size": 100,
                      "init": "random", "sparsity": "batch_topk"},
    ),
    "large, dense": (
        (80, 4200), {"n_components": 1024, "k": 200, "max_iter": 1, "init": "random"},
    ),
    "large pursuit": (
        (700, 300), {"n_components": 1024, "k": 12, "max_iter": 1, "batch_size": 250,
                      "transform_algorithm": "omp"},
    ),
    "many rows": ((900, 1800), {"n_components": 256, "k": 8, "max_iter": 1, "batch_size": 500}),
}  # fmt: skip


def signals(n_rows, n_features):
    """Sums of noise, smooth as rows of images are, made without a product."""
    rng = np.random.default_rng(n_features)
    return np.cumsum(rng.standard_normal((n_rows, n_features), dtype=np.float32), axis=1)


def digest(*arrays):
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:16]


def digests_of(X, parameters):
    """Digest of what is fitted, and of codes, reconstructions and scores."""
    parameters = {"device": "cpu", "random_state": 0, "max_iter": 2} | parameters
    sae = TopKSparseAutoencoder(**parameters).fit(X)
    fitted = (
        sae.components_, sae.encoder_, sae.encoder_bias_, sae.centers_, sae.loss_curve_,
        sae.correlation_curve_, sae.atom_frequency_,
    )  # fmt: skip
    found = {"fit": digest(*fitted)}
    codes = sae.transform(X)
    found["transform"] = digest(codes.data, codes.indices, codes.indptr)
    rows, few = sae.inverse_transform(codes), codes[:300].toarray()
    found["inverse_transform"] = digest(rows, sae.inverse_transform(few))
    found["score"] = digest(sae.score(X), sae.score_samples(X))
    found["partial_fit"] = digest(sae.partial_fit(X[:300]).components_)
    return found


def all_digests():
    digits = (load_digits().data / 16).astype(np.float32)[:500]
    found = {name: digests_of(digits, parameters) for name, parameters in DIGITS.items()}
    for name, (shape, parameters) in SIGNALS.items():
        found[name] = digests_of(signals(*shape), parameters)
    return found


def in_child(n_threads, *args):
    """Return what this file prints where OpenMP has so many threads."""
    environment = os.environ | {
        name: str(n_threads)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, __file__, *args], capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("n_threads", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_any_number_of_threads_gives_the_same_bits(n_threads):
    assert in_child(n_threads) == _of_one_thread()


def test_one_thread_is_this_threads_alone():
    seen = []
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
    assert seen == [torch.get_num_threads()]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_one_thread_leaves_what_was(n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with pytest.raises(ZeroDivisionError), one_thread():
            assert allowed_threads() == n_threads
            raise ZeroDivisionError
        assert torch.get_num_threads() == allowed_threads() == n_threads
        assert one_thread()(torch.get_num_threads)() == 1
    finally:
        torch.set_num_threads(before)


def test_without_the_libraries_functions_all_works(monkeypatch):
    monkeypatch.setattr(_threads, "_functions", lambda: (None, None))
    before = torch.get_num_threads()
    with one_thread():
        assert allowed_threads() == torch.get_num_threads() == before


@pytest.mark.parametrize("shape", [(3, 5, 7, 2), (2, 100, 30, 9)])
@pytest.mark.parametrize("shared", [False, True])
def test_products_are_numpys(monkeypatch, shape, shared):
    monkeypatch.setattr(_threads, "SHARED_PRODUCT", 0 if shared else 10**9)
    n_members, n, m, p = shape
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((n_members, n, m)), rng.standard_normal((n_members, m, p))
    out = rng.standard_normal((n_members, n, p))
    expected = out + left @ right
    tensors = [torch.from_numpy(array) for array in (left, right, out)]
    add_products(*tensors)
    np.testing.assert_allclose(out, expected, rtol=1e-10)
    np.testing.assert_allclose(product(*(t[0] for t in tensors[:2])), left[0] @ right[0], 1e-10)
    gram = torch.zeros(n, n, dtype=torch.float64)
    add_gram(tensors[0][0], gram)
    expected = left[0] @ left[0].T
    np.testing.assert_allclose(gram.tril(), np.tril(expected), rtol=1e-10)
    np.testing.assert_allclose(gram_of(tensors[0][0]), expected, rtol=1e-10)


_known = {}


def _of_one_thread():
    if not _known:
        _known.update(in_child(1))
    return _known


if __name__ == "__main__":
    print(json.dumps(all_digests()))
