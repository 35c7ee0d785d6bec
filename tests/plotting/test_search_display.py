"""Scores of searches, told by their artists."""

import numpy as np
import pytest
from artists import GRID, results, texts, tick_labels
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skl_sae import TopKSparseAutoencoder
from skl_sae.plotting import SearchDisplay


def test_search_has_a_curve_for_each_number_of_components():
    display = SearchDisplay.from_results(results(GRID, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]))
    np.testing.assert_array_equal(display.scores, [[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]])
    assert display.groups == [3, 20, 100]
    assert display.values == [4, 8]
    curves = display.ax_.containers
    assert [curve.get_label() for curve in curves] == ["3", "20", "100"]
    for curve, scores in zip(curves, display.scores, strict=True):
        np.testing.assert_array_equal(curve.lines[0].get_ydata(), scores)
        heights = [np.ptp(bar[:, 1]) for bar in curve.lines[2][0].get_segments()]
        np.testing.assert_allclose(heights, 0.02)
    assert tick_labels(display.ax_.xaxis) == ["4", "8"]
    assert display.ax_.get_xlabel() == "k"
    assert display.ax_.get_ylabel() == "Correlation, held out"
    assert display.ax_.get_legend().get_title().get_text() == "n_components"
    assert len({curve.lines[0].get_marker() for curve in curves}) == 3  # not by colour alone


def test_search_as_a_heat_map():
    display = SearchDisplay.from_results(
        results(GRID[:5], [0.6, 0.5, 0.4, 0.3, np.nan]), kind="heatmap"
    )
    ax = display.ax_
    table = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(table, [[np.nan, 0.4], [np.nan, 0.5], [0.3, 0.6]])
    assert texts(ax) == ["0.400", "0.500", "0.300", "0.600"]
    assert ax.texts[2].get_color() == "w"  # on the darkest colour
    assert ax.texts[3].get_color() == "k"
    assert tick_labels(ax.yaxis) == ["3", "20", "100"]
    assert ax.get_ylabel() == "n_components"
    with pytest.raises(ValueError, match="Expected kind='curves' or 'heatmap', got 'bars'"):
        display.plot(kind="bars")


def test_a_fitted_search_over_a_pipeline(X):
    steps = make_pipeline(TopKSparseAutoencoder(max_iter=1, random_state=0))
    grid = {"topksparseautoencoder__k": [1, 2], "topksparseautoencoder__n_components": [4, 8]}
    search = GridSearchCV(steps, grid, cv=2)
    with pytest.raises(NotFittedError):
        SearchDisplay.from_estimator(search)
    search.fit(X)
    display = SearchDisplay.from_estimator(search, kind="heatmap")
    expected = search.cv_results_["mean_test_score"].reshape(2, 2).T
    np.testing.assert_array_equal(display.scores, expected)


def test_the_best_of_other_parameters_counts():
    params = [{"k": k, "tied": tied} for tied in (True, False) for k in (2, 4)]
    display = SearchDisplay.from_results(results(params, [0.1, 0.5, 0.2, np.nan]))
    np.testing.assert_array_equal(display.scores, [[0.2, 0.5]])
    assert display.names == ("", "k")
    assert display.ax_.get_legend() is None


def test_a_search_over_the_other_parameter_only():
    params = [{"n_components": n} for n in (8, 16)]
    display = SearchDisplay.from_results(results(params, [0.1, 0.2]), kind="heatmap")
    assert display.ax_.get_xlabel() == "n_components"
    assert display.ax_.get_ylabel() == ""


def test_any_two_parameters_and_scores():
    params = [{"a__k": k, "b__k": init} for k in (None, 0.1, 2) for init in ("pca", "random")]
    found = {"params": params, "mean_test_r2": np.arange(6.0), "std_test_r2": np.zeros(6)}
    display = SearchDisplay.from_results(
        found, x="a__k", group="b__k", scoring="r2", score_name="R2"
    )
    assert display.values == [0.1, 2, None]
    assert display.groups == ["pca", "random"]
    assert display.ax_.get_ylabel() == "R2, held out"
    with pytest.raises(ValueError, match=r"Expected the full name of one parameter 'k', got \['a_"):
        SearchDisplay.from_results(found, scoring="r2")
    with pytest.raises(ValueError, match=r"Expected scoring to be one of \['r2'\], got 'score'"):
        SearchDisplay.from_results(found)
    with pytest.raises(ValueError, match="Expected a search over 'x' or 'y', got one over"):
        SearchDisplay.from_results(found, x="x", group="y", scoring="r2")
