"""Values by non-negative least squares over chosen atoms, against SciPy's."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.datasets import load_digits
from test_conv_model import STRIDES, dictionary, images, make

from skl_sae import ConvTopKSparseAutoencoder, TopKSparseAutoencoder
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Parameters
from skl_sae._engine._refit import ConvRefit, Refit


def flat_model(n_members=2, n_atoms=30, n_features=12, k=6, thresholds=None):
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((n_members, n_atoms, n_features)).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=2, keepdims=True)
    bias = 0.3 * rng.standard_normal((n_members, n_atoms)).astype(np.float32)
    centers = rng.standard_normal((n_members, n_features)).astype(np.float32)
    return LinearModel(Parameters(atoms, None, bias, centers, thresholds), k=k)


def rows(n, n_features=12):
    return torch.randn(n, n_features, generator=torch.Generator().manual_seed(1))


def best(targets, dictionary, indices, values):
    """Values by SciPy, of the picks whose value is positive."""
    found = np.zeros_like(values)
    for target, index, value, out in zip(targets, indices, values, found, strict=True):
        chosen = value > 0
        if chosen.any():
            out[chosen] = nnls(dictionary[index[chosen]].T.astype(float), target.astype(float))[0]
    return found


def decoded(decoder, indices, values):
    return np.einsum("bk,bkd->bd", values, decoder.numpy()[indices.numpy()])


@pytest.mark.parametrize("n_rows", [3, 1000], ids=["products of picks", "products of all atoms"])
@pytest.mark.parametrize("by_batch", [False, True])
def test_values_are_those_of_least_squares(n_rows, by_batch):
    thresholds = np.full(2, 0.9, np.float32) if by_batch else None
    model, X = flat_model(thresholds=thresholds), rows(n_rows)
    before, after = model.encode(X), Refit(model, n_rows).encode(X)
    np.testing.assert_array_equal(before.indices, after.indices)
    p = model.parameters
    for e in range(2):
        expected = best(
            (X - p.centers[e]).numpy(), p.decoder[e].numpy(), before.indices[e].numpy(),
            before.values[e].numpy(),
        )  # fmt: skip
        np.testing.assert_allclose(after.values[e].numpy(), expected, atol=0.05)
        # Where atoms are alike, values creep; the error is what counts.
        left, least = (
            np.square((X - p.centers[e]).numpy() - decoded(p.decoder[e], before.indices[e], values))
            for values in (after.values[e].numpy(), expected)
        )
        np.testing.assert_allclose(left.sum(1), least.sum(1), rtol=1e-3, atol=1e-4)
    assert (after.values >= 0).all()


def test_no_row_gets_worse():
    model, X = flat_model(n_members=1), rows(200)
    before = (X - model.decode(model.encode(X))).square().sum(1)
    after = (X - model.decode(Refit(model, 200).encode(X))).square().sum(1)
    assert (after <= before + 1e-5).all()
    assert after.sum() < 0.8 * before.sum()


def test_atoms_that_come_twice_and_rows_of_nothing():
    atoms = flat_model().parameters.decoder[:1, :5].repeat(1, 2, 1).numpy()
    model = LinearModel(Parameters(atoms, None, *(np.zeros((1, n), np.float32) for n in (10, 12))),
                        k=8)  # fmt: skip
    X = rows(20)
    X[3] = 0
    active = Refit(model, 20).encode(X)
    assert torch.isfinite(active.values).all()
    assert (active.values[0, 3] == 0).all()
    before = (X - model.reconstruct(X)).square().sum(1)
    assert ((X - model.decode(active)).square().sum(1) <= before + 1e-5).all()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("fused", [True, False])
def test_values_of_images_are_those_of_the_whole_dictionary(stride, fused):
    model, X = make(stride, fused=fused), images(6)
    before = model.encode(X)
    values = before.values[0].numpy().copy()
    after = ConvRefit(model).encode(X)
    places = model.places
    atoms = places.unframe(dictionary(places, model.parameters.decoder[0])).numpy()
    expected = best(X.numpy(), atoms, before.indices[0].numpy(), values)
    np.testing.assert_allclose(after.values[0].numpy(), expected, atol=1e-2)
    left = (X - model.decode(after)).square().sum(1)
    nearest = np.einsum("bk,bkd->bd", expected, atoms[before.indices[0]])
    best_left = ((X.numpy() - nearest) ** 2).sum(1)
    np.testing.assert_allclose(left.numpy(), best_left, rtol=1e-4)


def test_threads_give_the_same_bits(monkeypatch):
    model, X = flat_model(), rows(300)
    conv, pictures = make((2, 3)), images(50)
    alone = Refit(model, 300).encode(X).values, ConvRefit(conv).encode(pictures).values
    monkeypatch.setattr("skl_sae._engine._refit.is_shared_work", lambda n: True)
    monkeypatch.setattr("skl_sae._engine._refit.allowed_threads", lambda: 3)
    shared = Refit(model, 300).encode(X).values, ConvRefit(conv).encode(pictures).values
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("estimator", [
    TopKSparseAutoencoder(64, k=6, max_iter=3, random_state=0),
    TopKSparseAutoencoder(64, k=6, n_estimators=2, tied=False, max_iter=3, random_state=0),
    TopKSparseAutoencoder(64, k=6, sparsity="batch_topk", max_iter=3, random_state=0),
    ConvTopKSparseAutoencoder(16, image_shape=(8, 8), kernel_size=4, max_iter=3, random_state=0),
], ids=["flat", "members", "batch top-k", "small atoms"])  # fmt: skip
def test_estimators_choose_the_same_atoms_and_reconstruct_better(estimator, tmp_path):
    X, X_test = load_digits().data[:800], load_digits().data[800:]
    plain, refitted = (clone(estimator).set_params(refit=r).fit(X) for r in (False, True))
    np.testing.assert_array_equal(plain.components_, refitted.components_)
    codes, values = plain.transform(X_test), refitted.transform(X_test)
    assert (values.astype(bool) > codes.astype(bool)).nnz == 0  # none besides those chosen
    assert values.min() >= 0

    def error(estimator, codes):
        return ((X_test - estimator.inverse_transform(codes)) ** 2).mean()

    assert error(refitted, values) < 0.99 * error(plain, codes)
    assert refitted.score(X_test) > plain.score(X_test)
    refitted.save(tmp_path / "model.safetensors")
    loaded = type(estimator).load(tmp_path / "model.safetensors")
    assert loaded.refit and (loaded.transform(X_test) != values).nnz == 0
