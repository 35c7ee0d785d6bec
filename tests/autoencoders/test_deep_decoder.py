"""A decoder with hidden layers: what an atom is, what is learned, and what needs a linear one."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from skl_sae import BoostingSparseAutoencoder, DeepTopKSparseAutoencoder
from skl_sae._training._deep import StageTrainer
from skl_sae.report import SAEReport


def make(sizes=(24, 12), **parameters):
    given_ = {"n_components": 32, "k": 5, "max_iter": 4, "random_state": 0} | parameters
    return DeepTopKSparseAutoencoder(decoder_hidden_layer_sizes=sizes, **given_)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:500]


@pytest.fixture(scope="module")
def fitted(digits):
    return make().fit(digits)


def reconstruction(codes, sae):
    """The equations, in float64."""

    def hidden(z):
        for weights in sae.decoder_coefs_[:-1]:
            z = np.maximum(z @ weights.astype(np.float64), 0)
        return z

    interaction = hidden(codes) - codes @ hidden(np.eye(codes.shape[1]))
    linear = codes @ sae.components_.astype(np.float64) + sae.centers_[0]
    return linear + interaction @ sae.decoder_coefs_[-1]


def test_reconstructions_are_those_of_the_equations(digits, fitted):
    codes = fitted.transform(digits[:50])
    assert [coef.shape for coef in fitted.decoder_coefs_] == [(32, 24), (24, 12), (12, 64)]
    assert all(coef.dtype == np.float32 for coef in fitted.decoder_coefs_)
    assert np.abs(fitted.decoder_coefs_[-1]).max() > 0
    expected = reconstruction(codes.toarray().astype(np.float64), fitted)
    np.testing.assert_allclose(fitted.inverse_transform(codes), expected, atol=1e-3)
    np.testing.assert_allclose(fitted.inverse_transform(codes.toarray()), expected, atol=1e-3)
    correlations = [np.corrcoef(*both)[0, 1] for both in zip(digits[:50], expected, strict=True)]
    np.testing.assert_allclose(fitted.score_samples(digits[:50]), correlations, atol=1e-5)


@settings(deadline=None)  # other processes may have the cores
@given(size=st.floats(0.01, 1000))
def test_an_atom_is_the_response_to_it_alone(fitted, size):
    alone = fitted.inverse_transform(size * np.eye(32))
    empty = fitted.inverse_transform(np.zeros((1, 32)))
    np.testing.assert_allclose(empty, fitted.centers_, atol=1e-6)
    # float32 sums of some ten numbers of this size.
    np.testing.assert_allclose(
        alone - empty, size * fitted.components_, atol=1e-5 * (size + 10)
    )  # fmt: skip


def test_codes_are_those_of_the_linear_decoder_and_no_worse_on_rows_held_out(digits, monkeypatch):
    held_out = []
    begin = StageTrainer.begin

    def noted(trainer, rows, start=None, interrupted=None):
        begin(trainer, rows, start, interrupted)
        held_out.append(trainer.held_out.X)

    monkeypatch.setattr(StageTrainer, "begin", noted)
    deep, linear = make().fit(digits), make(()).fit(digits)
    X = held_out[0]
    codes = deep.transform(X)
    assert (codes != linear.transform(X)).nnz == 0
    errors = [np.square(X - sae.inverse_transform(codes)).sum() for sae in (deep, linear)]
    assert errors[0] < errors[1]


def test_interactions_are_learned():
    """Two atoms that cancel where both are active, which no linear decoder can say."""
    rng = np.random.default_rng(0)
    on = rng.random((600, 6)) < 0.4
    X = np.concatenate([on, on.prod(axis=1, keepdims=True)], axis=1).astype(np.float32)
    X[:, 0] *= ~on[:, 1]
    left = []
    for sizes in ((), (32,)):
        sae = make(sizes, n_components=12, k=4, max_iter=30, batch_size=8).fit(X[:400])
        left.append(np.square(X[400:] - sae.inverse_transform(sae.transform(X[400:]))).sum())
    assert left[1] < 0.9 * left[0]


def test_the_same_seed_gives_the_same_bits_also_after_files(digits, fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    expected = fitted.inverse_transform(fitted.transform(digits))
    for other in (
        make().fit(digits), pickle.loads(pickle.dumps(fitted)), DeepTopKSparseAutoencoder.load(path)
    ):  # fmt: skip
        np.testing.assert_array_equal(other.inverse_transform(other.transform(digits)), expected)


@pytest.mark.parametrize("asked", [{"refit": True}, {"transform_algorithm": "omp"}])
def test_what_solves_for_sums_of_atoms_is_refused(digits, asked):
    with pytest.raises(ValueError, match="needs a linear decoder"):
        make(**asked).fit(digits)
    sae = make(max_iter=1).fit(digits[:100]).set_params(**asked)
    with pytest.raises(ValueError, match="needs a linear decoder"):
        sae.transform(digits)


def test_reports_and_partial_fit_and_joint_codes_are_refused(digits, fitted):
    with pytest.raises(ValueError, match="linear decoder"):
        SAEReport(fitted, digits, image_shape=(8, 8))
    with pytest.raises(ValueError, match="hidden layers"):
        make().partial_fit(digits)
    with pytest.raises(ValueError, match="linear decoders"):
        BoostingSparseAutoencoder(make(max_iter=1), n_estimators=2, refit=True).fit(
            digits
        ).transform(digits)


@pytest.mark.parametrize("sizes", [(0,), (-1,), (2.5,), (True,), ("3",)])
def test_sizes_that_are_none(digits, sizes):
    with pytest.raises(ValueError, match="decoder_hidden_layer_sizes"):
        make(sizes).fit(digits)
