"""What the displays draw, told by their artists."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import TopKSparseAutoencoder
from skl_sae.inspection import atom_usage, class_selectivity, discriminative_atoms
from skl_sae.plotting import (
    ActivationDisplay,
    AtomDisplay,
    ReconstructionDisplay,
    SearchDisplay,
    SelectivityDisplay,
    TrainingDisplay,
    UsageDisplay,
)

mpl.use("Agg")
GREY, COLOUR = (3, 4), (2, 2, 3)  # shapes of an image of 12 numbers
# Maps have 256 colours, and rounding may choose the one beside: RdBu_r's differ by up to 0.0122.
COLOUR_STEP = 0.0125


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    pyplot.close("all")


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


def texts(ax):
    return [text.get_text() for text in ax.texts]


def pictures(ax):
    return [np.asarray(image.get_array()) for image in ax.images]


def tick_labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


# --- Training ---


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


# --- Atoms ---


def test_atoms_are_sorted_by_use(fitted):
    display = AtomDisplay.from_estimator(fitted, image_shape=GREY, n_atoms=5)
    order = np.argsort(-fitted.atom_frequency_, kind="stable")[:5]
    assert texts(display.ax_) == [str(atom) for atom in order]
    assert len(display.ax_.images) == 5
    assert display.ax_.get_title() == "5 of 32 atoms, most used first"
    assert not display.ax_.axison
    for picture, atom in zip(pictures(display.ax_), fitted.components_[order], strict=True):
        scaled = 0.5 + atom.reshape(GREY) / (2 * np.abs(atom).max())
        expected = mpl.colormaps["RdBu_r"](scaled)[..., :3]
        np.testing.assert_allclose(picture, expected, atol=COLOUR_STEP)


def test_atoms_of_a_member(fitted):
    display = AtomDisplay.from_estimator(fitted, image_shape=GREY, member=1, order=None)
    assert texts(display.ax_) == [str(atom) for atom in range(16, 32)]
    assert display.ax_.get_title() == "16 of 16 atoms of member 1"
    display = AtomDisplay.from_estimator(fitted, image_shape=GREY, member=0, n_atoms=None)
    assert {int(text) for text in texts(display.ax_)} == set(range(16))


def test_atoms_that_are_named(fitted):
    display = AtomDisplay.from_estimator(fitted, image_shape=GREY, order=[30, 2, 2], n_atoms=1)
    assert texts(display.ax_) == ["30", "2", "2"]
    assert display.ax_.get_title() == "3 of 32 atoms"


def test_colour_atoms_are_shown_around_grey(fitted):
    display = AtomDisplay.from_estimator(fitted, image_shape=COLOUR, order=[3])
    atom = fitted.components_[3].reshape(COLOUR)
    expected = 0.5 + atom / (2 * np.abs(atom).max())
    np.testing.assert_allclose(pictures(display.ax_)[0], expected, atol=1e-6)  # float32 rounds


@pytest.mark.parametrize("image_shape", [GREY, (*GREY, 1), COLOUR])
def test_a_picture_has_values_from_0_to_1(fitted, image_shape):
    display = AtomDisplay.from_estimator(fitted, image_shape=image_shape, order=[3]).plot(
        scale="picture"
    )
    (picture,) = pictures(display.ax_)
    assert picture.shape == (*image_shape[:2], 3)
    assert picture.min() == 0
    assert picture.max() == 1


def test_one_scale_for_all_atoms_and_a_map():
    display = AtomDisplay(np.array([[0.0, 1], [2, 5]]), image_shape=(1, 2))
    display.plot(scale=(0, 4), cmap="viridis")
    expected = mpl.colormaps["viridis"](np.array([[0, 0.25], [0.5, 1]]))[..., :3]
    np.testing.assert_allclose(np.concatenate(pictures(display.ax_)), expected)
    assert texts(display.ax_) == ["0", "1"]


@pytest.mark.parametrize("scale", ["diverging", "picture", (0, 0)])
@pytest.mark.parametrize("image_shape", [GREY, COLOUR])
def test_an_atom_without_contrast_is_shown_by_the_middle(scale, image_shape):
    display = AtomDisplay(np.zeros((1, 12)), image_shape=image_shape).plot(scale=scale)
    assert 0.4 < pictures(display.ax_)[0].min()
    assert np.ptp(pictures(display.ax_)[0], axis=(0, 1)).max() == 0


def test_pictures_do_not_overlap(fitted, ax):
    display = AtomDisplay.from_estimator(fitted, image_shape=GREY, ax=ax, n_columns=7)
    boxes = np.array([image.get_extent() for image in display.ax_.images])
    left, right, lower, upper = boxes.T
    assert len(np.unique(left)) == 7
    for i in range(len(boxes)):
        apart = (left >= right[i]) | (right <= left[i]) | (upper >= lower[i]) | (lower <= upper[i])
        assert apart.sum() == len(boxes) - 1
    assert ax.get_xlim()[0] < left.min() < right.max() <= ax.get_xlim()[1]
    assert ax.get_ylim()[1] < upper.min() < lower.max() <= ax.get_ylim()[0]


@pytest.mark.parametrize("width", [4, 12.8])
@pytest.mark.parametrize("subfigure", [False, True])
def test_captions_are_as_wide_as_their_pictures_at_most(fitted, X, width, subfigure):
    figure = Figure(figsize=(width * (1 + subfigure), 4), layout="constrained")
    part = figure.subfigures(1, 2)[1] if subfigure else figure
    display = ReconstructionDisplay.from_estimator(
        fitted, X, image_shape=GREY, ax=part.subplots(), n_images=2
    )
    figure.draw_without_rendering()
    width = display.ax_.images[0].get_window_extent().width
    captions = [text for text in display.ax_.texts if ":" in text.get_text()[:4]]
    assert len(captions) == 2 * 4
    assert all(text.get_window_extent().width <= 1.06 * width for text in captions)
    assert all(text.get_fontsize() >= 5 for text in captions)


def test_captions_too_small_to_read_are_left_out(fitted):
    ax = Figure(figsize=(1, 1)).subplots()
    display = AtomDisplay.from_estimator(fitted, image_shape=GREY, ax=ax)
    assert len(display.ax_.images) == 32
    assert not display.ax_.texts


def test_other_estimators_have_atoms_too(X):
    pca = PCA(5).fit(X)
    display = AtomDisplay.from_estimator(pca, image_shape=GREY, order=None)
    assert display.ax_.get_title() == "5 of 5 atoms"
    with pytest.raises(ValueError, match="Expected an estimator with atom_frequency_, got PCA"):
        AtomDisplay.from_estimator(pca, image_shape=GREY)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"member": 2}, "Expected a member from 0 to 1, got 2"),
    ({"order": "size"}, "Expected order='use', None or numbers of atoms, got 'size'"),
    ({"order": [1, 32]}, "Expected atoms from 0 to 31, got 32"),
    ({"order": [3], "member": 1}, "Expected atoms from 16 to 31, got 3"),
    ({"order": []}, r"Expected a list of numbers of atoms, got shape \(0,\)"),
    ({"scale": "log"}, "Expected scale='diverging' or 'picture', got 'log'"),
    ({"image_shape": (3, 3)}, r"Expected image_shape of 12 numbers, .*got \(3, 3\)"),
    ({"image_shape": (3, 2, 2)}, "in 1 or 3 channels"),
    ({"image_shape": (12,)}, "Expected image_shape="),
])  # fmt: skip
def test_unusable_atoms_are_refused(fitted, wrong, message):
    with pytest.raises(ValueError, match=message):
        AtomDisplay.from_estimator(fitted, **{"image_shape": GREY, **wrong})


def test_captions_of_another_number_are_refused():
    display = AtomDisplay(np.eye(2), image_shape=(1, 2), captions=["a"])
    with pytest.raises(ValueError, match="Expected 2 captions, got 1"):
        display.plot()


# --- Reconstructions ---


def test_reconstructions_stand_beside_their_images(fitted, X):
    display = ReconstructionDisplay.from_estimator(fitted, X, image_shape=GREY, n_images=3)
    np.testing.assert_allclose(  # of reconstructions in float32
        display.correlations, fitted.score_samples(X[:3]), atol=1e-5
    )
    drawn = pictures(display.ax_)
    assert len(drawn) == 3 * (2 + 4)
    low, high = X[:3].min(), X[:3].max()
    for i, guess in enumerate(fitted.inverse_transform(fitted.transform(X[:3]))):
        for picture, row in zip(drawn[6 * i :], (X[i], guess), strict=False):
            grey = ((row.reshape(GREY) - low) / (high - low)).clip(0, 1)
            expected = mpl.colormaps["gray"](grey)[..., :3]
            np.testing.assert_allclose(picture, expected, atol=COLOUR_STEP)
        assert f"r = {display.correlations[i]:.2f}" in texts(display.ax_)


@pytest.mark.parametrize("transform_algorithm", ["topk", "omp"])
@pytest.mark.parametrize("aggregate", ["concat", "mean"])
def test_strongest_atoms_come_first(estimator, X, transform_algorithm, aggregate):
    estimator.set_params(transform_algorithm=transform_algorithm, aggregate=aggregate).fit(X)
    display = ReconstructionDisplay.from_estimator(estimator, X, image_shape=GREY, n_images=1)
    code = estimator.transform(X[:1]).toarray()[0]
    order = np.argsort(-np.abs(code), kind="stable")[:4]
    captions = texts(display.ax_)
    for atom in order:
        caption = next(text for text in captions if text.startswith(f"{atom}: "))
        assert float(caption.partition(": ")[2]) == pytest.approx(code[atom], rel=0.01)
    atoms = estimator.components_
    if aggregate == "mean":
        atoms = (atoms[:16] + atoms[16:]) / 2
    atom = atoms[order[0]]
    scaled = 0.5 + atom.reshape(GREY) / (2 * np.abs(atom).max())
    expected = mpl.colormaps["RdBu_r"](scaled)[..., :3]
    np.testing.assert_allclose(pictures(display.ax_)[2], expected, atol=COLOUR_STEP)


def test_only_atoms_that_fire_are_drawn():
    codes = sp.csr_matrix([[0, 1234.5, 0], [2.0, 0, -1]])
    display = ReconstructionDisplay(
        np.eye(2), np.eye(2), image_shape=(1, 2), codes=codes, components=np.ones((3, 2))
    ).plot(n_atoms=2)
    captions = [text for text in texts(display.ax_) if ": " in text and "number" not in text]
    assert captions == ["1: 1234", "0: 2", "2: -1"]
    assert len(display.ax_.images) == 4 + 3


def test_photographs_keep_their_brightness():
    X = np.full((1, 12), 0.5)
    X[0, 0] = 0.75
    display = ReconstructionDisplay.from_predictions(X, X, image_shape=COLOUR)
    assert len(display.ax_.images) == 2
    np.testing.assert_array_equal(pictures(display.ax_)[0], X.reshape(COLOUR))
    assert texts(display.ax_) == ["r = 1.00", "Image, reconstruction"]


def test_a_constant_image_has_correlation_0(fitted, X):
    display = ReconstructionDisplay.from_estimator(fitted, np.ones((1, 12)), image_shape=GREY)
    assert display.correlations == 0


def test_dense_codes_frames_and_pipelines_draw_the_same(fitted, X):
    expected = ReconstructionDisplay.from_estimator(fitted, X, image_shape=GREY)
    dense = clone(fitted).set_params(sparse_output=False).fit(X)
    steps = make_pipeline("passthrough", "passthrough", fitted)
    for estimator, rows in ((dense, X), (fitted, pd.DataFrame(X)), (steps, X)):
        display = ReconstructionDisplay.from_estimator(estimator, rows, image_shape=GREY)
        assert texts(display.ax_) == texts(expected.ax_)


def test_a_pipeline_is_shown_what_its_last_step_gets(fitted, X):
    steps = make_pipeline(StandardScaler(), PCA(3)).fit(X)
    display = ReconstructionDisplay.from_estimator(steps, X, image_shape=GREY, n_images=2)
    np.testing.assert_allclose(display.X, steps[:-1].transform(X[:2]))


def test_estimators_without_atoms_are_refused(estimator, X, y):
    with pytest.raises(NotFittedError):
        ReconstructionDisplay.from_estimator(estimator, X, image_shape=GREY)
    classifier = make_pipeline(estimator, LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="Expected an estimator with components_, got Logistic"):
        UsageDisplay.from_estimator(classifier, X)


# --- Use and activations ---


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


# --- Classes ---


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


# --- Searches ---


def results(params, means, stds=None):
    """What GridSearchCV has as cv_results_."""
    stds = np.full(len(means), 0.01) if stds is None else stds
    return {"params": params, "mean_test_score": np.array(means), "std_test_score": stds}


GRID = [{"k": k, "n_components": n} for k in (8, 4) for n in (100, 20, 3)]


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


# --- All displays ---


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
