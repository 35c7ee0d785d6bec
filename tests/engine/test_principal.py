"""Orthonormal directions of groups of features, against cases that are exact and against PCA."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from skl_sae._engine.init._principal import (
    Basis,
    Layout,
    feature_groups,
    largest,
    smoothed,
    sparse_directions,
    useful_layout,
)
from skl_sae._engine.init._start import Choice, Code, initial_parameters
from skl_sae.datasets import load_photographs

ONE_GROUP = Layout(1, 0)


def rows_of_groups(n_rows=300, n_groups=8, size=12, seed=0):
    """Features in groups that have three causes each and nothing in common; and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(n_groups), size))
    rows = np.empty((n_rows, len(labels)))
    for group in range(n_groups):
        causes = rng.standard_normal((n_rows, 3)) * (3, 1, 1)
        effects = np.c_[np.ones(size), rng.standard_normal((size, 2))]
        rows[:, labels == group] = causes @ effects.T
    return torch.from_numpy(rows).float(), labels


def left_over(rows, directions, k):
    """Residual that orthonormal directions leave of centred rows, of which k codes are kept."""
    codes = rows @ directions.T
    return float(rows.square().sum() - codes.square().topk(k, dim=1).values.sum())


@pytest.fixture(scope="module")
def photographs():
    """Centred rows to learn from and rows held out."""
    rows = torch.from_numpy(load_photographs(500, (32, 32), random_state=0).data)
    return rows[:400] - rows[:400].mean(0), rows[400:] - rows[:400].mean(0)


def test_groups_are_features_that_vary_together():
    rows, labels = rows_of_groups()
    groups = feature_groups(rows, 8, seed=0)
    found = np.empty(len(labels), int)
    for i, group in enumerate(groups):
        found[group] = i
    assert adjusted_rand_score(labels, found) == 1


def test_groups_of_pixels_are_patches(photographs):
    """Pixels of a group lie together, and a pixel's three colours in the same group."""
    groups = feature_groups(photographs[0], 16, seed=0)
    spreads, whole = [], []
    for group in groups:
        places = np.stack(np.unravel_index(group.numpy(), (32, 32, 3)), axis=1)
        spreads.append(places[:, :2].std(axis=0).mean())
        whole.append(3 * len(np.unique(places[:, :2], axis=0)) / len(places))
    assert np.median(spreads) < 0.5 * np.arange(32).std()
    assert np.median(whole) < 1.5


@pytest.mark.parametrize("n_groups", [1, 2, 8])
@pytest.mark.parametrize("n_directions", [5, 60, 300])
@pytest.mark.parametrize("n_rows", [6, 200])
def test_directions_are_orthonormal(n_groups, n_directions, n_rows):
    rows = rows_of_groups()[0][:n_rows]
    directions = sparse_directions(rows, n_directions, 4, Layout(n_groups, 3), seed=0)
    assert len(directions) <= n_directions
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-5)
    strengths = ((rows - rows.mean(0)) @ directions.T).square().sum(0)
    if n_groups == 1:
        assert (strengths[1:] <= strengths[:-1] * (1 + 1e-3) + 1e-3).all()
    n_half = len(directions) // 2  # about by falling variance, where smoothing came after
    assert strengths[:n_half].sum() >= strengths[len(directions) - n_half :].sum()


def test_one_group_unturned_gives_principal_directions(photographs):
    train, _ = photographs
    directions = sparse_directions(train, 20, 4, ONE_GROUP, seed=0)
    principal = PCA(20, svd_solver="full").fit(train.numpy()).components_
    np.testing.assert_allclose(np.abs((directions.numpy() * principal).sum(1)), 1, atol=1e-3)


def test_products_are_those_with_the_directions():
    rows, _ = rows_of_groups()
    basis = Basis(rows, 40, 8, seed=0)
    rows = rows - rows.mean(0)
    stacked = basis.stacked(rows)
    for _ in range(2):
        basis.turn(stacked, 3)
    np.testing.assert_allclose(basis.turned(stacked), rows @ basis.directions().T, atol=1e-3)


def test_shared_directions_are_smoothed_and_stay_orthonormal(photographs):
    """Against symmetric orthogonalisation of all, and with fewer edges than before."""
    train, _ = photographs
    basis = Basis(train, 100, 16, seed=0)
    before, chosen = basis.directions(), basis.blocks[0]
    after = smoothed(before, chosen, train)
    scores = train.double() @ before[chosen].double().T
    expected = before.double()
    expected[chosen] = torch.linalg.qr(train.double().T @ scores)[0].T
    variances, vectors = torch.linalg.eigh(expected @ expected.T)
    expected = vectors / variances.sqrt() @ vectors.T @ expected
    np.testing.assert_allclose(after, expected, atol=1e-5)

    def edges(directions):
        images = directions[chosen].view(-1, 32, 32, 3)
        return images.diff(dim=1).square().sum() + images.diff(dim=2).square().sum()

    assert edges(after) < 0.7 * edges(before)


def test_more_directions_than_the_rows_span_where_features_are_grouped(photographs):
    few = photographs[0][:50]
    assert len(sparse_directions(few, 200, 8, ONE_GROUP, seed=0)) == 49
    assert len(sparse_directions(few, 200, 8, Layout(8, 0), seed=0)) == 200


def test_local_directions_leave_less_of_other_photographs(photographs):
    train, test = photographs
    principal = left_over(test, sparse_directions(train, 384, 32, ONE_GROUP, seed=0), 32)
    layout = useful_layout(train, 384, 32, seed=0)
    assert layout.n_groups > 1
    assert left_over(test, sparse_directions(train, 384, 32, layout, seed=0), 32) < 0.95 * principal


def test_first_atoms_of_nested_models_are_a_better_small_model(photographs):
    """More of them are directions that all groups of pixels share."""
    train, test = photographs
    nested, others = (initial_atoms(train, is_nested)[:64] for is_nested in (True, False))
    assert left_over(test, nested[:32], 32) < 0.95 * left_over(test, others[::2], 32)


def test_first_atoms_of_nested_models_have_their_opposites_last(photographs):
    """Any number of them from k on are the k strongest directions, the weakest in both signs."""
    nested = initial_atoms(photographs[0], is_nested=True)
    np.testing.assert_array_equal(nested[32:64], -nested[:32].flip(0))
    np.testing.assert_array_equal(nested[65::2], -nested[64::2])


def initial_atoms(rows, is_nested):
    code, choices = Code(32, True, is_nested), [Choice(Layout(16, 2), 0)]
    generator, shape = torch.Generator().manual_seed(0), (1, 768, rows.shape[1])
    parameters, _ = initial_parameters("pca", rows, shape, code, generator, None, choices)
    return torch.from_numpy(parameters.decoder[0])


def test_what_varies_as_one_stays_in_one_group():
    digits = torch.from_numpy(load_digits().data).float()
    assert useful_layout(digits, 64, 8, seed=0).n_groups == 1
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 100, generator=generator)
    assert useful_layout(noise, 50, 5, seed=0).n_groups == 1


def test_the_same_bits_for_rows_anywhere_in_memory(photographs):
    train, _ = photographs
    moved = torch.cat([torch.zeros(3), train.flatten()])[3:].view_as(train)
    first, second = (sparse_directions(rows, 100, 8, Layout(8, 5), 0) for rows in (train, moved))
    assert torch.equal(first, second)


def test_rounding_turns_no_direction(photographs):
    """Not even those that are among no row's k largest, which nothing else turns."""
    rows = photographs[0][:100]
    first, second = Basis(rows, 64, 1, seed=0), Basis(rows, 64, 1, seed=0)
    stacked = first.stacked(rows - rows.mean(0))
    noise = torch.randn(stacked.shape, generator=torch.Generator().manual_seed(0)).double()
    first.turn(stacked, 4)
    second.turn(stacked * (1 + 1e-14 * noise), 4)
    np.testing.assert_allclose(first.rotations[0], second.rotations[0], atol=1e-6)


@pytest.mark.parametrize("n_groups", [1, 8])
def test_constant_features_and_rows(n_groups):
    rows, _ = rows_of_groups()
    rows[:, 10:60] = 0.5
    directions = sparse_directions(rows, 40, 4, Layout(n_groups, 2), seed=0)
    assert torch.isfinite(directions).all() and len(directions)
    assert not directions[:, 10:60].abs().gt(1e-4).any()
    assert len(sparse_directions(torch.ones(30, 80), 40, 4, Layout(n_groups, 2), seed=0)) == 0


def test_features_that_are_copies():
    """Fewer different features than groups, and rows of nothing."""
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).repeat(1, 30)
    assert len(feature_groups(rows, 8, seed=0)) == 3
    assert len(sparse_directions(rows, 40, 2, Layout(8, 2), seed=0)) == 3
    assert useful_layout(rows, 40, 2, seed=0).n_groups == 1
    assert len(feature_groups(torch.zeros(40, 90), 8, seed=0)) == 1
    # Processors sum in another order, and copies differ by rounding then.
    for seed in range(20):
        noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
        assert len(feature_groups(rows + 1e-6 * noise, 8, seed=0)) == 3


@pytest.mark.parametrize("k", [1, 3, 7, 9])
def test_the_largest_of_each_row_are_kept_and_of_equal_ones_as_many_as_there_is_room_for(k):
    coordinates = torch.from_numpy(np.random.default_rng(0).integers(-4, 5, (1100, 9))).double()
    coordinates[1024:] += torch.arange(9) / 100  # a part without equal ones
    kept = largest(coordinates, k)
    assert ((kept == coordinates) | (kept == 0)).all()
    assert (kept.count_nonzero(dim=1) <= k).all()
    expected = -np.sort(-coordinates.abs().numpy(), axis=1)[:, :k]
    np.testing.assert_array_equal(-np.sort(-kept.abs().numpy(), axis=1)[:, :k], expected)
