"""Reconstructions beside their images, told by their artists."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from artists import COLOUR, COLOUR_STEP, GREY, pictures, texts
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae.plotting import ReconstructionDisplay, UsageDisplay


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
