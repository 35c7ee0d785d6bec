"""Atoms by class, told by their artists."""

import numpy as np
import pytest
import scipy.sparse as sp
from artists import tick_labels

from skl_sae.inspection import class_selectivity, discriminative_atoms
from skl_sae.plotting import SelectivityDisplay


def test_selectivity_is_a_table_of_auc(fitted, X, y, ax):
    selectivity = class_selectivity(fitted.transform(X), y)
    atoms = discriminative_atoms(selectivity, 3).ravel()
    display = SelectivityDisplay.from_estimator(fitted, X, y, ax=ax)
    assert display.ax_ is ax
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), selectivity.auc[:, atoms])
    assert image.get_clim() == (0, 1)  # so that 0.5, which says nothing, is the middle
    assert tick_labels(ax.xaxis) == [str(atom) for atom in atoms]
    assert tick_labels(ax.yaxis) == ["left", "right"]


def test_what_may_be_chance_is_marked(y):
    codes = np.zeros((40, 3))
    codes[:20, 0] = codes[20:, 1] = 1
    codes[[0, 20], 2] = 1
    ax = SelectivityDisplay.from_codes(codes, y, n_atoms=2).ax_
    (crosses,) = ax.lines
    assert crosses.get_xdata().tolist() == [1, 3]
    assert crosses.get_ydata().tolist() == [0, 1]
    assert "adjusted p > 0.05" in ax.get_xlabel()
    ax = SelectivityDisplay.from_codes(codes, y, n_atoms=1).ax_
    assert not ax.lines
    assert "adjusted" not in ax.get_xlabel()


def test_names_of_classes_are_no_formulas(fitted, X, y):
    display = SelectivityDisplay.from_estimator(
        fitted, X, y, n_atoms=1, display_labels=[r"$\nonsense$", "<b>"]
    )
    assert tick_labels(display.ax_.yaxis) == [r"$\nonsense$", "<b>"]
    display.figure_.draw_without_rendering()
    with pytest.raises(ValueError, match="Expected 2 display_labels, got 1"):
        display.plot(display_labels=["one"])


def test_crowded_labels_are_thinned_out(ax):
    rng = np.random.default_rng(0)
    codes = sp.random_array((300, 1200), density=0.1, rng=rng, format="csr")
    display = SelectivityDisplay.from_codes(codes, np.arange(300) % 60, ax=ax)
    assert 1 < len(display.ax_.get_yticks()) < 60
    ax.figure.draw_without_rendering()
    for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        places = np.sort([getattr(box, f"{side}0") for box in boxes])
        size = max(getattr(box, "width" if side == "x" else "height") for box in boxes)
        assert np.diff(places).min() >= 0.95 * size
    assert tick_labels(ax.yaxis)[:2] == ["0", str(round(ax.get_yticks()[1]))]
