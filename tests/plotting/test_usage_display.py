"""Usage and activations of atoms, told by their artists."""

import numpy as np
import pytest
import scipy.sparse as sp
from artists import texts

from skl_sae.inspection import atom_usage
from skl_sae.plotting import ActivationDisplay, UsageDisplay


def test_usage_is_a_cumulative_curve_with_a_mark_at_80_percent(fitted, X):
    codes = fitted.transform(X)
    usage = atom_usage(codes, fitted.components_)
    ax = UsageDisplay.from_estimator(fitted, X).ax_
    curve, _, mark = ax.lines
    np.testing.assert_array_equal(curve.get_xdata(), np.arange(33))
    np.testing.assert_allclose(
        curve.get_ydata(), [0, *np.cumsum(np.sort(usage.share)[::-1])], atol=1e-6
    )
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (usage.atoms_for_80, 0.8)
    percent = f"{100 * usage.atoms_for_80 / 32:.0f} %"
    assert texts(ax) == [f"{usage.atoms_for_80} of 32 atoms ({percent})\nhave 80 %"]


def test_dead_atoms_are_counted(ax):
    UsageDisplay.from_codes(np.array([[1.0, 0, 2, 0]]), ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["2 dead"]
    (span,) = ax.patches
    assert (span.get_x(), span.get_width()) == (2, 2)


def test_codes_that_are_all_zero_can_be_drawn(ax):
    codes = sp.csr_matrix((3, 4))
    UsageDisplay.from_codes(codes, ax=ax)
    assert texts(ax)[0].startswith("0 of 4 atoms")
    display = ActivationDisplay.from_codes(codes)
    assert display.ax_.get_title() == "0.0 % of the codes are not 0"
    for figure in (ax.figure, display.figure_):
        figure.draw_without_rendering()


@pytest.mark.parametrize("n_codes", [1, 7, 60, 4000])
def test_counts_of_activations_have_whole_ticks(n_codes):
    display = ActivationDisplay(np.ones(n_codes), 2 * n_codes).plot(bins=3)
    display.figure_.canvas.draw()
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    places = display.ax_.get_yticks()
    low, high = display.ax_.get_ylim()
    shown = [(p, t) for p, t in zip(places, labels, strict=True) if low <= p <= high]
    assert shown[0] == (1, "1")
    assert all(t.replace(",", "") == f"{p:g}" for p, t in shown)
    assert not display.ax_.yaxis.get_minorticklocs().size


def test_mean_codes_are_weighted_by_mean_atoms(estimator, X):
    estimator.set_params(aggregate="mean").fit(X)
    atoms = estimator.components_.reshape(2, 16, -1).mean(axis=0)
    expected = atom_usage(estimator.transform(X), atoms)
    display = UsageDisplay.from_estimator(estimator, X)
    # float32 means of atoms, which two sums may round differently
    np.testing.assert_allclose(display.usage.share, expected.share, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("atom", [None, 5])
def test_activations_are_counted(fitted, X, atom):
    codes = fitted.transform(X)
    codes.data[::2] *= -1
    display = ActivationDisplay.from_codes(codes, atom=atom, bins=7)
    dense = codes.toarray() if atom is None else codes.toarray()[:, [atom]]
    active = np.abs(dense[dense != 0])
    counts, edges = np.histogram(active, bins=7)
    (stairs,) = display.ax_.patches
    np.testing.assert_array_equal(stairs.get_data().values, counts)
    np.testing.assert_allclose(stairs.get_data().edges, edges, rtol=1e-6)
    assert display.ax_.get_yscale() == "log"
    percent = 100 * len(active) / dense.size
    assert display.ax_.get_title() == f"{percent:.1f} % of the codes are not 0"


def test_activations_of_no_atom_are_refused(fitted, X):
    with pytest.raises(ValueError, match="Expected an atom from 0 to 31, got 32"):
        ActivationDisplay.from_estimator(fitted, X, atom=32)
