"""Displays of small atoms that are looked for at many places."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skl_sae import ConvTopKSparseAutoencoder
from skl_sae.inspection import atom_activations, atom_usage
from skl_sae.inspection._placed import PlacedImages
from skl_sae.plotting import (
    ActivationDisplay,
    AtomDisplay,
    ReconstructionDisplay,
    SelectivityDisplay,
    UsageDisplay,
)

DIGITS = load_digits()
IMAGES, Y = DIGITS.images[:120].astype(np.float32), DIGITS.target[:120]
KINDS = [{}, {"stride": 4}, {"transform_algorithm": "omp"}, {"pooling": 2}, {"normalize": True}]


def fitted(**parameters):
    given = {"kernel_size": 4, "k": 12, "max_iter": 2, "random_state": 0} | parameters
    return ConvTopKSparseAutoencoder(16, **given).fit(IMAGES)


@pytest.mark.parametrize("parameters", KINDS)
def test_all_displays_take_it(parameters):
    estimator = fitted(**parameters)
    for X in (IMAGES, IMAGES.reshape(len(IMAGES), -1)):
        displays = [
            AtomDisplay.from_estimator(estimator),
            ReconstructionDisplay.from_estimator(estimator, X),
            UsageDisplay.from_estimator(estimator, X),
            ActivationDisplay.from_estimator(estimator, X),
            ActivationDisplay.from_estimator(estimator, X, atom=0),
            SelectivityDisplay.from_estimator(estimator, X, Y),
        ]
        for display in displays:
            display.figure_.canvas.draw()


def test_atoms_have_their_own_shape():
    display = AtomDisplay.from_estimator(fitted(), n_atoms=5)
    assert display.image_shape == (4, 4)
    assert len(display.ax_.images) == 5


@pytest.mark.parametrize("parameters", KINDS[:3])
def test_an_image_is_the_sum_of_its_atoms_at_their_places(parameters):
    estimator = fitted(**parameters)
    images = PlacedImages(estimator, IMAGES[:4])
    for i, codes in enumerate(images.codes.toarray()):
        columns = np.flatnonzero(codes)
        total = estimator.centers_[0] + codes[columns] @ images.atoms[columns]
        expected = estimator.inverse_transform(images.codes[[i]])[0]
        np.testing.assert_allclose(total, expected, atol=1e-4)


def test_names_say_atom_and_place():
    estimator = fitted()
    atoms = PlacedImages(estimator, IMAGES[:1]).atoms
    assert atoms.name(16 * (5 * 2 + 3) + 7) == "7 (2, 3)"
    assert len(atoms) == 5 * 5 * 16


@pytest.mark.parametrize("function", ["max", "mean"])
def test_activations_of_all_places(function):
    estimator = fitted(transform_algorithm="omp")
    codes = estimator.transform(IMAGES)
    by_place = np.abs(codes.toarray()).reshape(len(IMAGES), -1, 16)
    expected = getattr(np, function)(by_place, axis=1)
    got = atom_activations(estimator, codes, function)
    np.testing.assert_allclose(got.toarray(), expected, rtol=1e-6)
    assert got.nnz == (expected > 0).sum()
    through = make_pipeline(FunctionTransformer(), estimator)
    assert (atom_activations(through, codes, function) != got).nnz == 0


def test_usage_is_that_of_all_places():
    estimator = fitted()
    codes = estimator.transform(IMAGES).reshape(-1, 16).tocsr()
    display = UsageDisplay.from_estimator(estimator, IMAGES)
    np.testing.assert_allclose(display.usage.share, atom_usage(codes).share)


def test_what_does_not_fit():
    estimator = fitted()
    with pytest.raises(ValueError, match="function='max' or 'mean'"):
        atom_activations(estimator, estimator.transform(IMAGES), "sum")
    with pytest.raises(ValueError, match="multiple of 16 columns"):
        atom_activations(estimator, np.ones((2, 17)))
    with pytest.raises(ValueError, match="image_shape"):
        ReconstructionDisplay.from_estimator(estimator, IMAGES, image_shape=(5, 16))
