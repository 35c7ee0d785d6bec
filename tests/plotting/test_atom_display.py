"""Atoms as pictures, told by their artists."""

import matplotlib as mpl
import numpy as np
import pytest
from artists import COLOUR, COLOUR_STEP, GREY, pictures, texts
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from skl_sae.plotting import AtomDisplay, ReconstructionDisplay


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
