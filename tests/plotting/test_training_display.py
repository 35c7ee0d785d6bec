"""Training curves, told by their artists."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skl_sae import BoostingSparseAutoencoder, DeepTopKSparseAutoencoder
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


@pytest.mark.parametrize("early_stopping", [False, True])
def test_curves_of_all_members(estimator, X, early_stopping):
    estimator.set_params(early_stopping=early_stopping, max_iter=4)
    flat, deep = estimator, DeepTopKSparseAutoencoder(16, k=4, max_iter=4, device="cpu")
    stages = BoostingSparseAutoencoder([("flat", flat), ("deep", deep)], random_state=0).fit(X)
    loss, correlation = TrainingDisplay.from_estimator(stages).axes_
    members = stages.estimators_
    for line, member in zip(loss.lines, members, strict=True):
        np.testing.assert_allclose(line.get_ydata(), member.loss_curve_)
    labels = ["stage 1 (flat)", "stage 2 (deep)"]
    expected = [member.correlation_curve_ for member in members]
    if early_stopping:
        labels.append("held out")
        expected.insert(1, members[0].validation_scores_)
    assert [text.get_text() for text in correlation.get_legend().get_texts()] == labels
    for line, curve in zip(correlation.lines, expected, strict=False):
        np.testing.assert_allclose(line.get_ydata(), curve)
    # One colour a member, whatever the rows.
    assert len({line.get_color() for line in correlation.lines[: len(expected)]}) == 2


def test_many_fits_leave_room_for_their_curves():
    curves = {f"member {i}": [1.0, 2.0, 3.0] for i in range(40)}
    display = TrainingDisplay(curves, curves, curves).plot()
    display.figure_.draw_without_rendering()
    assert all(ax.get_window_extent().height > 200 for ax in display.axes_)
    names = [text.get_text() for text in display.axes_[1].get_legend().get_texts()]
    assert names == ["member 0", "member 39", "held out"]
    lines = display.axes_[0].lines
    assert len({tuple(line.get_color()) for line in lines}) == 40
    # The legend is within Axes that are given.
    figure = Figure(figsize=(8, 3))
    _, ax = TrainingDisplay(curves, curves).plot(figure.subplots(1, 2)).axes_
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert ax.get_window_extent().contains(legend.x1 - 1, legend.y1 - 1)


def test_curves_of_other_names_are_refused():
    with pytest.raises(ValueError, match="the same names"):
        TrainingDisplay({"a": [1]}, {"b": [1]}).plot()
    with pytest.raises(ValueError, match="the same names"):
        TrainingDisplay({"a": [1]}, {"a": [1]}, {"b": [1]}).plot()


def test_what_has_no_curves_is_refused(X):
    with pytest.raises(ValueError, match="loss_curve_, got PCA"):
        TrainingDisplay.from_estimator(PCA(2).fit(X))
    with pytest.raises(ValueError, match="loss_curve_, got RandomForest"):
        TrainingDisplay.from_estimator(
            RandomForestClassifier(2, random_state=0).fit(X, X[:, 0] > 0.5)
        )
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(BoostingSparseAutoencoder())


def test_training_curves_on_axes_given(fitted):
    axes = Figure().subplots(2, 1)
    display = TrainingDisplay.from_estimator(make_pipeline("passthrough", fitted), axes=axes)
    assert list(display.axes_) == list(axes)
    assert not pyplot.get_fignums()
    with pytest.raises(ValueError, match="Expected 2 Axes, got 1"):
        display.plot(axes[0])
