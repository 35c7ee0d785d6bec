"""Orthogonal matching pursuit against scikit-learn's, and atoms that suit it."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import OrthogonalMatchingPursuit, orthogonal_mp_gram
from sklearn.model_selection import GridSearchCV

from skl_sae import (
    DeepTopKSparseAutoencoder,
    TopKSparseAutoencoder,
    load_codes,
    pearson_correlation,
)
from skl_sae._engine._model import LinearModel
from skl_sae._engine._parameters import Parameters
from skl_sae._engine._pursuit import Pursuit, _ending, adapt_atoms, pursue, pursue_batch


def random_atoms(n_atoms, n_features, seed=0):
    atoms = np.random.default_rng(seed).standard_normal((n_atoms, n_features))
    return torch.from_numpy(atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).float()


def dense(coefficients, picks, n_atoms):
    codes = coefficients.new_zeros((len(picks), n_atoms))
    return codes.scatter_add_(1, picks, coefficients).numpy()


def pursue_by_torch(rows, atoms, gram, k, tolerance=None):
    """As `pursue` does it with CUDA."""
    return pursue_batch(rows @ atoms.T, gram, k, _ending(rows, tolerance))


def pursue_by_threads(rows, atoms, gram, k, tolerance=None):
    """As `pursue` does it with many rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skl_sae._engine._pursuit.is_shared_work", lambda n: True)
        patch.setattr("skl_sae._engine._pursuit.allowed_threads", lambda: 3)
        return pursue(rows, atoms, gram, k, tolerance)


def pursued_until(row, atoms, k, tolerance):
    """Code of a row by least squares after each pick, until so little of its square is left."""
    code, picks, left = np.zeros(len(atoms)), [], row
    while len(picks) < k and left @ left > tolerance * (row @ row):
        picks.append(np.argmax(np.abs(atoms @ left)))
        code[picks] = np.linalg.lstsq(atoms[picks].T, row, rcond=None)[0]
        left = row - code @ atoms
    return code


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


@on_any_device
@pytest.mark.parametrize("tolerance", [0.0, 0.03, 0.2, 0.9])
def test_a_row_has_as_many_picks_as_its_tolerance_asks_for(pursue, tolerance):
    atoms, rng = random_atoms(40, 20), np.random.default_rng(1)
    noise = rng.uniform(0, 1, (60, 1)) * rng.standard_normal((60, 20))
    rows = 3 * atoms[:3].double().numpy()[rng.integers(3, size=60)] + noise  # one may be enough
    rows[7] = 0
    rows = torch.from_numpy(rows).float()
    codes = dense(*pursue(rows, atoms, atoms @ atoms.T, 8, tolerance), 40)
    for row, code in zip(rows.double().numpy(), codes, strict=True):
        expected = pursued_until(row, atoms.double().numpy(), 8, tolerance)
        np.testing.assert_allclose(code, expected, atol=1e-4)
    counts = np.count_nonzero(codes, axis=1)
    assert counts[7] == 0 and counts.max() <= 8
    if tolerance in (0.03, 0.2):  # how many depends on the row
        assert len(np.unique(counts)) > 3
    # scikit-learn's tolerance is the squared residual itself.
    if 0 < tolerance < 0.9:
        row, rest = rows[30].double().numpy(), atoms.double().numpy().T
        omp = OrthogonalMatchingPursuit(tol=tolerance * row @ row, fit_intercept=False)
        if counts[30] < 8:
            np.testing.assert_allclose(codes[30], omp.fit(rest, row).coef_, atol=1e-4)


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


@pytest.mark.parametrize("kind", [TopKSparseAutoencoder, DeepTopKSparseAutoencoder])
def test_transform_tol_of_an_estimator(X, kind, tmp_path):
    sae = kind(16, k=6, max_iter=2, transform_algorithm="omp", random_state=0).fit(X)
    all_picks = sae.transform(X)
    fitted = clone(sae).set_params(transform_tol=0.05).fit(X)
    np.testing.assert_array_equal(fitted.components_, sae.components_)  # training is the same
    codes = fitted.transform(X)
    atoms, rows = sae.components_.astype(float), (X - sae.centers_[0]).astype(float)
    expected = np.array([pursued_until(row, atoms, 6, 0.05) for row in rows])
    np.testing.assert_allclose(codes.toarray(), expected, atol=1e-3)
    counts = codes.getnnz(axis=1)
    assert codes.has_sorted_indices and len(np.unique(counts)) > 2 and codes.nnz < all_picks.nnz
    left = np.square(X - fitted.inverse_transform(codes)).sum(1) / np.square(rows).sum(1)
    assert (left[counts < 6] <= 0.05 + 1e-6).all()
    assert (sae.set_params(transform_tol=0.05).transform(X) != codes).nnz == 0
    # Rows that are read when they are asked for, and codes that go to a file.
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, X.shape)
    mapped[:] = X
    assert (sae.transform(mapped) != codes).nnz == 0
    sae.transform_to(mapped, tmp_path / "codes.npz")
    assert (load_codes(tmp_path / "codes.npz") != codes).nnz == 0
    sae.save(tmp_path / "model.safetensors")
    loaded = kind.load(tmp_path / "model.safetensors")
    assert loaded.transform_tol == 0.05 and (loaded.transform(X) != codes).nnz == 0


def test_each_member_stops_by_its_own_residual(X, estimator):
    estimator.set_params(transform_algorithm="omp", transform_tol=0.1).fit(X)
    codes = estimator.transform(X).toarray().reshape(len(X), 2, 16)
    for e, center in enumerate(estimator.centers_):
        atoms = estimator.components_[16 * e : 16 * e + 16].astype(float)
        expected = [pursued_until(row, atoms, 4, 0.1) for row in (X - center).astype(float)]
        np.testing.assert_allclose(codes[:, e], expected, atol=1e-3)


def test_transform_tol_is_for_pursuit_alone(X, estimator):
    with pytest.raises(ValueError, match=r"transform_tol=0\.1 with transform_algorithm='topk'"):
        clone(estimator).set_params(transform_tol=0.1).fit(X)
    estimator.fit(X).set_params(transform_tol=0.1)
    with pytest.raises(ValueError, match="transform_algorithm='omp'"):
        estimator.transform(X)
    with pytest.raises(ValueError, match="transform_algorithm='omp'"):
        estimator.partial_fit(X)
    for value in (-0.1, 1.0, np.nan, "0.1", False):
        with pytest.raises(ValueError, match="transform_tol"):
            clone(estimator).set_params(transform_algorithm="omp", transform_tol=value).fit(X)


def test_a_search_over_transform_tol(X):
    sae = TopKSparseAutoencoder(16, k=6, max_iter=1, transform_algorithm="omp", random_state=0)
    search = GridSearchCV(sae, {"transform_tol": [None, 0.5]}, cv=2).fit(X)
    assert search.best_params_ == {"transform_tol": None}
