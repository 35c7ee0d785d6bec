"""All displays: on an Axes that is given, on one of their own, at all sizes of text."""

import subprocess
import sys

import numpy as np
import pytest
from artists import COLOUR, GREY, GRID, results
from matplotlib import pyplot
from matplotlib.figure import Figure

from skl_sae.plotting import (
    ActivationDisplay,
    AtomDisplay,
    ReconstructionDisplay,
    SearchDisplay,
    SelectivityDisplay,
    UsageDisplay,
)


def draw_all(fitted, X, y, ax):
    yield AtomDisplay.from_estimator(fitted, image_shape=GREY, ax=ax())
    yield ReconstructionDisplay.from_estimator(fitted, X, image_shape=COLOUR, ax=ax())
    yield UsageDisplay.from_estimator(fitted, X, ax=ax())
    yield ActivationDisplay.from_estimator(fitted, X, ax=ax())
    yield SelectivityDisplay.from_estimator(fitted, X, y, ax=ax())
    yield SearchDisplay.from_results(results(GRID, np.arange(6) / 6), ax=ax())
    yield SearchDisplay.from_results(results(GRID, np.arange(6) / 6), ax=ax(), kind="heatmap")


@pytest.mark.parametrize("layout", ["constrained", "tight", None])
def test_all_displays_draw_on_an_axes_given(fitted, X, y, layout):
    axes = []

    def new_ax():
        axes.append(Figure(figsize=(4, 3), layout=layout).subplots())
        return axes[-1]

    for display in draw_all(fitted, X, y, new_ax):
        assert display.ax_ is axes[-1]
        assert display.figure_ is axes[-1].figure
        display.figure_.draw_without_rendering()
    assert not pyplot.get_fignums()


def test_all_displays_make_a_figure_and_draw_again(fitted, X, y):
    for display in draw_all(fitted, X, y, lambda: None):
        first = display.figure_
        assert first.number in pyplot.get_fignums()
        assert display.plot() is display
        assert display.figure_ is not first
        pyplot.close("all")


def test_no_text_is_cut_off(fitted, X, y):
    figures = []

    def new_ax():
        figures.append(Figure(figsize=(4, 3), layout="constrained"))
        return figures[-1].subplots()

    for display in draw_all(fitted, X, y, new_ax):
        display.figure_.draw_without_rendering()
        ax = display.ax_
        shown = [*ax.texts, ax.title]
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            if ax.axison:
                ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
                shown += [t for at, t in ticks if min(limits) <= at <= max(limits)]
                shown.append(axis.label)
        for text in shown:
            box = text.get_window_extent()
            if text.get_text():
                assert 0 <= box.x0 < box.x1 <= 400, text
                assert 0 <= box.y0 < box.y1 <= 300, text


def test_importing_displays_makes_no_figure_manager():
    code = "import sys, skl_sae.plotting; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
