"""Fixtures of the displays' tests: a fitted ensemble, labels, an Axes."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

mpl.use("Agg")


@pytest.fixture
def fitted(estimator, X):
    return estimator.fit(X)


@pytest.fixture
def y():
    return np.repeat(["left", "right"], 20)


@pytest.fixture
def ax():
    """An Axes of 400 pixels' width, on a figure that pyplot does not know."""
    return Figure(figsize=(4, 3), layout="constrained").subplots()
