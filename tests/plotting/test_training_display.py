"""Training curves, told by their artists."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline

from skl_sae.plotting import TrainingDisplay


def test_training_curves(fitted):
    display = TrainingDisplay.from_estimator(fitted)
    loss, correlation = display.axes_
    assert display.figure_ is loss.figure
    assert [ax.get_ylabel() for ax in display.axes_] == ["Training loss", "Correlation"]
    (line,) = loss.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2])
    np.testing.assert_allclose(line.get_ydata(), fitted.loss_curve_)
    (line,) = correlation.lines
    np.testing.assert_allclose(line.get_ydata(), fitted.correlation_curve_)
    assert correlation.get_legend() is None


def test_held_out_correlation_is_drawn_where_rows_were_held_out(estimator, X):
    estimator.set_params(early_stopping=True).fit(X)
    _, ax = TrainingDisplay.from_estimator(estimator).axes_
    np.testing.assert_allclose(ax.lines[1].get_ydata(), estimator.validation_scores_)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["Training rows", "Held-out rows"]


def test_training_curves_on_axes_given(fitted):
    axes = Figure().subplots(2, 1)
    display = TrainingDisplay.from_estimator(make_pipeline("passthrough", fitted), axes=axes)
    assert list(display.axes_) == list(axes)
    assert not pyplot.get_fignums()
    with pytest.raises(ValueError, match="Expected 2 Axes, got 1"):
        display.plot(axes[0])
