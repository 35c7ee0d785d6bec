"""Benchmarks can be run: each is imported, and what measures is given few samples."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def found(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    return X[:160].astype(np.float32), y[:160]


def few(images):
    from quality import Data

    X, y = images
    return Data(X[:120], y[:120], X[120:], y[120:], n_components=24, k=3, image_shape=(8, 8))


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_is_imported(name):
    assert callable(importlib.import_module(name).main)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_prefixes_are_measured(images):
    import matryoshka

    fvu, times = matryoshka.measured(few(images), (8, 24), seed=0)
    nested, alone, cut = np.array(fvu)
    assert alone[1] == cut[1] < alone[0] < cut[0]
    assert (nested < 1.5 * alone).all() and min(times) > 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sparsity_is_measured(images):
    import sparsity

    data = few(images)
    learned, fitted, *errors, fvu, at_k = sparsity.batch(data, 0)
    assert 0.5 < fitted < 2 and 0.5 < learned < 2 and 0 < max(errors) < 0.2
    assert 0 < min(fvu, at_k) and max(fvu, at_k) < 1
    tolerances = [row[0] for row in sparsity.tolerance(data, 0)]
    assert tolerances == [0.3, 0.1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_layers_are_measured(images, capsys):
    import depth

    depth.report_layers(few(images), 1.0, [1, 2], 1, "batch_topk")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| 1", "| 2"]
    errors = [float(line.split(" | ")[1]) for line in lines[2:4]]
    assert 0 < min(errors) and max(errors) < 1
