"""Orthogonal matching pursuit against scikit-learn's, and atoms that suit it."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp_gram

from skl_sae import TopKSparseAutoencoder, pearson_correlation
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Parameters
from skl_sae._engine._pursuit import _DONE, Pursuit, adapt_atoms, pursue, pursue_batch


def random_atoms(n_atoms, n_features, seed=0):
    atoms = np.random.default_rng(seed).standard_normal((n_atoms, n_features))
    return torch.from_numpy(atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).float()


def dense(coefficients, picks, n_atoms):
    codes = coefficients.new_zeros((len(picks), n_atoms))
    return codes.scatter_add_(1, picks, coefficients).numpy()


def pursue_by_torch(rows, atoms, gram, k):
    """As `pursue` does it with CUDA."""
    return pursue_batch(rows @ atoms.T, gram, k, _DONE * rows.norm(dim=1))


def pursue_by_threads(rows, atoms, gram, k):
    """As `pursue` does it with many rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skl_sae._engine._pursuit.is_shared_work", lambda n: True)
        patch.setattr("skl_sae._engine._pursuit.allowed_threads", lambda: 3)
        return pursue(rows, atoms, gram, k)


on_any_device = pytest.mark.parametrize("pursue", [pursue, pursue_by_threads, pursue_by_torch])


@on_any_device
@pytest.mark.parametrize("n_atoms, n_features, k", [(40, 20, 6), (12, 30, 12), (60, 10, 1)])
def test_pursuit_is_that_of_scikit_learn(pursue, n_atoms, n_features, k):
    atoms = random_atoms(n_atoms, n_features)
    rows = torch.from_numpy(np.random.default_rng(1).standard_normal((50, n_features))).float()
    gram = atoms @ atoms.T
    codes = dense(*pursue(rows, atoms, gram, k), n_atoms)
    products = (atoms @ rows.T).double().numpy()
    expected = orthogonal_mp_gram(gram.double().numpy(), products, n_nonzero_coefs=k).T
    np.testing.assert_allclose(codes, expected, atol=1e-4)


@on_any_device
def test_pursuit_ends_where_nothing_is_left(pursue):
    """Rows of zeros, of one atom, and of atoms that come with their opposites and twice."""
    atoms = random_atoms(8, 6)
    atoms = torch.cat([atoms, -atoms, atoms])
    rows = torch.stack([torch.zeros(6), 3 * atoms[2], atoms[0] - 2 * atoms[1]])
    coefficients, picks = pursue(rows, atoms, atoms @ atoms.T, 6)
    codes = dense(coefficients, picks, 24)
    assert np.isfinite(codes).all()
    np.testing.assert_allclose(codes @ atoms.numpy(), rows, atol=1e-4)
    assert not codes[0].any()
    assert np.count_nonzero(codes[1]) == 1


@on_any_device
def test_a_pick_of_no_use_has_no_part_in_those_after_it(pursue):
    """Atom 1 is picked first, then atom 0, nearly the same; atom 2 has products with both."""
    atoms = torch.tensor([[1, 0, 0], [1, 1e-3, 0], [0.5, 0, 1]])
    atoms /= atoms.norm(dim=1, keepdim=True)
    row = torch.tensor([[1, 0.5, 1e-4]])
    codes = dense(*pursue(row, atoms, atoms @ atoms.T, 3), 3)
    expected = np.linalg.lstsq(atoms[1:].T.double(), row[0].double(), rcond=None)[0]
    np.testing.assert_allclose(codes[0], [0, *expected], atol=1e-6)


def test_finishing_lowers_the_error_and_keeps_unit_norms():
    rows = torch.from_numpy(load_digits().data[:500]).float()
    rows -= rows.mean(0)
    atoms, errors = random_atoms(80, 64), []
    for _ in range(4):
        codes = dense(*pursue(rows, atoms, atoms @ atoms.T, 5), 80)
        errors.append(np.square(rows.numpy() - codes @ atoms.numpy()).sum())
        adapt_atoms(rows, atoms, 5, 1)
        np.testing.assert_allclose(atoms.norm(dim=1), 1, rtol=1e-5)
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.6 * errors[0]


def test_atoms_move_as_by_second_moments():
    """One round against the update of Mairal et al., on products of all codes and rows."""
    rows = torch.from_numpy(load_digits().data[:200]).float()
    rows -= rows.mean(0)
    rows[7] = 0  # has no use for an atom
    atoms = random_atoms(80, 64)
    expected = atoms.double().numpy()
    codes = dense(*pursue(rows, atoms, atoms @ atoms.T, 5), 80).astype(np.float64)
    codes_codes, codes_rows = codes.T @ codes, codes.T @ rows.double().numpy()
    for j in np.flatnonzero(codes_codes.diagonal()):
        moved = expected[j] + (codes_rows[j] - codes_codes[j] @ expected) / codes_codes[j, j]
        expected[j] = moved / np.linalg.norm(moved)
    adapt_atoms(rows, atoms, 5, 1)
    np.testing.assert_allclose(atoms, expected, atol=1e-4)


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data / 16
    return X[:1437].astype(np.float32), X[1437:].astype(np.float32)


def unexplained(X, reconstruction):
    return np.square(X - reconstruction).sum()


def test_omp_reconstructs_better_than_topk_and_pca(digits):
    train, test = digits
    pca = PCA(8, random_state=0).fit(train)
    of_pca = unexplained(test, pca.inverse_transform(pca.transform(test)))
    topk = TopKSparseAutoencoder(256, k=8, random_state=0).fit(train)
    omp = clone(topk).set_params(transform_algorithm="omp").fit(train)
    errors = [unexplained(test, m.inverse_transform(m.transform(test))) for m in (topk, omp)]
    assert errors[0] < 0.48 * of_pca
    assert errors[1] < 0.23 * of_pca
    assert (topk.atom_frequency_ == 0).mean() < 0.05


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("aggregate", ["concat", "mean"])
def test_omp_in_the_estimator(X, estimator, tied, aggregate):
    estimator.set_params(transform_algorithm="omp", tied=tied, aggregate=aggregate).fit(X)
    codes = estimator.transform(X)
    assert sp.issparse(codes) and codes.dtype == np.float32 and codes.has_sorted_indices
    assert codes.getnnz(axis=1).max() <= 8
    # Reconstructions are float32, and need not come from products of the same shape.
    assert estimator.score(X) == pytest.approx(
        pearson_correlation(X, estimator.inverse_transform(codes)), abs=1e-5
    )
    if aggregate == "concat":
        atoms, center = estimator.components_[:16], estimator.centers_[0]
        gram, products = atoms @ atoms.T, atoms @ (X - center).T
        expected = orthogonal_mp_gram(gram, products, n_nonzero_coefs=4).T
        np.testing.assert_allclose(codes.toarray()[:, :16], expected, atol=1e-3)
    fitted = estimator.components_.copy()
    estimator.partial_fit(X)
    assert np.isfinite(estimator.components_).all()
    assert not np.array_equal(estimator.components_, fitted)


def test_codes_do_not_depend_on_the_rows_beside():
    """Not by rounding either, where atoms are nearly dependent."""
    rows = torch.randn(40, 10, generator=torch.Generator().manual_seed(0))
    atoms = random_atoms(6, 10)
    atoms = torch.nn.functional.normalize(torch.cat([atoms, atoms + 0.01 * random_atoms(6, 10, 1)]))
    gram = atoms @ atoms.T
    together = dense(*pursue(rows, atoms, gram, 8), 12)
    alone = np.concatenate([dense(*pursue(row[None], atoms, gram, 8), 12) for row in rows])
    np.testing.assert_allclose(alone, together, rtol=1e-6, atol=1e-6)


def test_fault_107_products_of_more_atoms_than_the_memory_holds():
    """A file of a few MB may have a million atoms of one feature."""
    atoms, bias = np.ones((1, 10**6, 1), np.float32), np.zeros((1, 10**6), np.float32)
    model = LinearModel(Parameters(atoms, None, bias, np.zeros((1, 1), np.float32)), k=5)
    with pytest.raises(MemoryError, match=r"1000000 atoms needs \d{13} bytes"):
        Pursuit(model)
