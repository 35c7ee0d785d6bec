"""Inspection of what the atoms do, against plain loops over small data."""

import copy
from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import bootstrap, kruskal, mannwhitneyu
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from skl_sae import ConvTopKSparseAutoencoder, TopKSparseAutoencoder
from skl_sae.inspection import (
    atom_usage,
    class_selectivity,
    discriminative_atoms,
    match_members,
    sparsity_by_class,
    top_samples,
)

N_ROWS, N_ATOMS = 60, 12
DEAD, ALWAYS = 3, 7  # an atom that never fires, and one that always does


@pytest.fixture
def codes():
    """Sparse codes with many ties, float32 CSR."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 6, (N_ROWS, N_ATOMS)) * (rng.random((N_ROWS, N_ATOMS)) < 0.3)
    dense[:, DEAD] = 0
    dense[:, ALWAYS] = rng.integers(1, 3, N_ROWS)
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.fixture
def signed_codes(codes):
    """The same activations, half of them with a minus."""
    signs = np.random.default_rng(1).choice([-1, 1], codes.nnz)
    return sp.csr_matrix((codes.data * signs, codes.indices, codes.indptr), codes.shape)


@pytest.fixture
def y():
    return np.random.default_rng(2).choice(["a", "b", "c"], N_ROWS, p=[0.5, 0.3, 0.2])


def assert_same(bunch, other):
    assert bunch.keys() == other.keys()
    for name in bunch:
        np.testing.assert_array_equal(bunch[name], other[name], err_msg=name)


def test_sparsity_by_class_is_that_of_loops(codes, signed_codes, y):
    sparsity = sparsity_by_class(codes, y, confidence_level=0.9)
    assert_same(sparsity, sparsity_by_class(signed_codes.toarray(), y, confidence_level=0.9))
    groups = [[np.count_nonzero(row) for row in codes.toarray()[y == c]] for c in "abc"]
    assert sparsity.classes.tolist() == ["a", "b", "c"]
    assert sparsity.n_samples.tolist() == [len(group) for group in groups]
    np.testing.assert_allclose(sparsity.mean, [np.mean(group) for group in groups])
    expected = kruskal(*groups)
    assert (sparsity.statistic, sparsity.p_value) == (expected.statistic, expected.pvalue)
    for group, interval in zip(groups, sparsity.interval, strict=True):
        drawn = bootstrap((group,), np.mean, confidence_level=0.9, rng=0, n_resamples=2000,
                          method="basic").confidence_interval  # fmt: skip
        # Student's t allows for the unknown spread, by a few per cent of the width.
        width = drawn.high - drawn.low
        np.testing.assert_allclose(interval, (drawn.low, drawn.high), atol=0.15 * width)


def test_sparsity_by_class_of_constant_numbers_and_of_a_lone_sample():
    sparsity = sparsity_by_class(np.eye(5), [0, 0, 0, 1, 1])
    assert (sparsity.statistic, sparsity.p_value) == (0, 1)
    np.testing.assert_array_equal(sparsity.interval, np.ones((2, 2)))
    sparsity = sparsity_by_class([[1, 0], [1, 1], [0, 0]], [0, 0, 1])
    assert np.isnan(sparsity.interval).tolist() == [[False, False], [True, True]]
    assert 0 < sparsity.p_value < 1
    with pytest.raises(ValueError, match="confidence_level"):
        sparsity_by_class(np.eye(2), [0, 1], confidence_level=95)


def test_sparsity_by_class_finds_a_class_that_needs_more_atoms():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    codes = rng.random((80, 30)) < np.where(y == 1, 0.5, 0.3)[:, None]
    sparsity = sparsity_by_class(codes.astype(float), y)
    assert sparsity.p_value < 1e-3 and sparsity.interval[0, 1] < sparsity.interval[1, 0]
    assert sparsity_by_class(codes.astype(float), rng.permutation(y)).p_value > 0.05


def variance(codes, components):
    """Variance of reconstructions about their mean, summed over features."""
    return np.var(codes @ components, axis=0).sum()


def test_atom_usage_is_that_of_loops(codes):
    components = np.random.default_rng(3).normal(size=(N_ATOMS, 5))
    usage = atom_usage(codes, components)
    dense = codes.toarray()
    for atom, column in enumerate(dense.T):
        fired = column[column != 0]
        assert usage.frequency[atom] == pytest.approx(len(fired) / N_ROWS)
        assert usage.mean_activation[atom] == pytest.approx(fired.mean() if len(fired) else 0)
        assert usage.max_activation[atom] == column.max()
        assert usage.dead[atom] == (atom == DEAD)
        assert usage.share[atom] == pytest.approx(
            variance(dense[:, [atom]], components[[atom]])
            / sum(variance(dense[:, [j]], components[[j]]) for j in range(N_ATOMS))
        )
    assert usage.share.sum() == pytest.approx(1)
    shares = sorted(usage.share, reverse=True)
    expected = next(n for n in range(N_ATOMS + 1) if sum(shares[:n]) >= 0.8)
    assert usage.atoms_for_80 == expected
    assert usage.fraction_for_80 == expected / N_ATOMS


def test_atoms_without_components_have_unit_norm(codes):
    assert_same(atom_usage(codes), atom_usage(codes, np.eye(N_ATOMS)))


@pytest.mark.parametrize(("n_atoms", "expected"), [(1, 1), (5, 4), (10, 8), (15, 12), (7, 6)])
def test_of_equal_atoms_four_fifths_carry_80_percent(n_atoms, expected):
    # A sample without any, so that one atom alone varies, too.
    usage = atom_usage(0.1 * np.eye(n_atoms + 1, n_atoms))
    assert usage.atoms_for_80 == expected


def test_shares_of_orthogonal_atoms_are_the_variance_of_the_reconstructions(codes):
    components = 3 * np.linalg.qr(np.random.default_rng(3).normal(size=(20, N_ATOMS)))[0].T
    total = variance(codes.toarray(), components)
    share = [variance(codes[:, [j]].toarray(), components[[j]]) / total for j in range(N_ATOMS)]
    np.testing.assert_allclose(atom_usage(codes, components).share, share)


def test_an_atom_that_fires_alike_on_all_samples_has_no_share(codes):
    with_mean = np.column_stack([np.full(N_ROWS, 1e4 / 3), codes.toarray()])
    usage, without = atom_usage(with_mean), atom_usage(codes)
    assert usage.share[0] < 1e-12 and usage.frequency[0] == 1
    np.testing.assert_allclose(usage.share[1:], without.share, rtol=1e-9)
    assert usage.atoms_for_80 == without.atoms_for_80
    assert not atom_usage(with_mean[:1]).share.any()


def test_usage_of_codes_that_are_all_zero():
    usage = atom_usage(sp.csr_matrix((4, 3)))
    assert usage.dead.all()
    assert not usage.share.any()
    assert usage.atoms_for_80 == usage.fraction_for_80 == 0


def test_selectivity_is_that_of_loops(codes, y):
    selectivity = class_selectivity(codes, y)
    dense = codes.toarray()
    assert selectivity.classes.tolist() == ["a", "b", "c"]
    for i, label in enumerate(selectivity.classes):
        inside, outside = dense[y == label], dense[y != label]
        for j in range(N_ATOMS):
            fires_in, fires_out = (inside[:, j] != 0).mean(), (outside[:, j] != 0).mean()
            assert selectivity.frequency[i, j] == pytest.approx(fires_in)
            assert selectivity.difference[i, j] == pytest.approx(fires_in - fires_out)
            auc = roc_auc_score(y == label, dense[:, j])
            assert selectivity.auc[i, j] == pytest.approx(auc, abs=1e-12)


def test_p_value_is_scipys(codes, y):
    selectivity = class_selectivity(codes, y)
    dense = codes.toarray().astype(np.float64)  # scipy computes in the type it is given
    for i, label in enumerate(selectivity.classes):
        for j in set(range(N_ATOMS)) - {DEAD}:
            test = mannwhitneyu(dense[y == label, j], dense[y != label, j], method="asymptotic")
            assert selectivity.p_value[i, j] == pytest.approx(test.pvalue, rel=1e-9)


def test_an_atom_that_is_always_the_same_says_nothing(codes, y):
    codes = codes.toarray()
    codes[:, 0] = 0.1
    selectivity = class_selectivity(codes, y)
    for atom in (0, DEAD):
        assert selectivity.auc[:, atom] == pytest.approx(0.5)
        assert (selectivity.p_value[:, atom] == 1).all()
        assert selectivity.difference[:, atom] == pytest.approx(0)


def test_adjusted_p_values_are_benjamini_hochbergs(codes, y):
    selectivity = class_selectivity(codes, y)
    p = selectivity.p_value.ravel()
    order = np.argsort(p)
    expected, smallest = np.empty(len(p)), 1.0
    for rank in range(len(p), 0, -1):
        smallest = min(smallest, p[order[rank - 1]] * len(p) / rank)
        expected[order[rank - 1]] = smallest
    np.testing.assert_allclose(selectivity.p_adjusted, expected.reshape(3, N_ATOMS))


def test_chance_is_not_called_a_discovery():
    rng = np.random.default_rng(4)
    codes = sp.random_array((200, 1000), density=0.1, rng=rng, format="csr")
    y = rng.integers(0, 2, 200)
    selectivity = class_selectivity(codes, y)
    assert (selectivity.p_value < 0.05).any()
    assert (selectivity.p_adjusted > 0.05).all()


def test_two_classes_mirror_each_other(codes, y):
    selectivity = class_selectivity(codes, y == "a")
    assert selectivity.classes.tolist() == [False, True]
    np.testing.assert_allclose(selectivity.auc[0], 1 - selectivity.auc[1])
    np.testing.assert_allclose(selectivity.difference[0], -selectivity.difference[1])
    np.testing.assert_allclose(selectivity.p_value[0], selectivity.p_value[1])


def test_discriminative_atoms_are_those_of_largest_auc(codes, y):
    selectivity = class_selectivity(codes, y)
    atoms = discriminative_atoms(selectivity, n=4)
    for i, auc in enumerate(selectivity.auc):
        assert atoms[i].tolist() == sorted(range(N_ATOMS), key=lambda j: (-auc[j], j))[:4]
    assert discriminative_atoms(selectivity, n=N_ATOMS).shape == (3, N_ATOMS)


@pytest.mark.parametrize("atom", [0, ALWAYS, N_ATOMS - 1])
@pytest.mark.parametrize("n", [1, 5, 1000])
def test_top_samples_are_those_of_a_sorted_list(codes, atom, n):
    column = codes.toarray()[:, atom]
    fired = [row for row in range(N_ROWS) if column[row] != 0]
    expected = sorted(fired, key=lambda row: (-column[row], row))[:n]
    assert top_samples(codes, atom, n).tolist() == expected


def test_a_dead_atom_has_no_samples(codes):
    rows = top_samples(codes, DEAD)
    assert rows.shape == (0,)
    assert rows.dtype == np.int64


def test_signs_matter_to_the_share_alone(codes, signed_codes, y):
    assert (signed_codes.data < 0).any()
    usage, of_signed = atom_usage(codes), atom_usage(signed_codes)
    for name in ("frequency", "mean_activation", "max_activation", "dead"):
        np.testing.assert_array_equal(usage[name], of_signed[name])
    assert_same(class_selectivity(codes, y), class_selectivity(signed_codes, y))
    for atom in range(N_ATOMS):
        np.testing.assert_array_equal(top_samples(codes, atom), top_samples(signed_codes, atom))
    spread = signed_codes.toarray().var(axis=0)
    np.testing.assert_allclose(of_signed.share, spread / spread.sum())


@pytest.mark.parametrize("convert", [
    lambda codes: codes.toarray(),
    lambda codes: codes.toarray().tolist(),
    sp.csc_matrix,
    sp.coo_array,
], ids=["dense", "list", "csc", "coo"])  # fmt: skip
def test_other_containers_give_the_same(codes, y, convert):
    other = convert(codes)
    assert_same(atom_usage(codes), atom_usage(other))
    assert_same(class_selectivity(codes, y), class_selectivity(other, y))
    np.testing.assert_array_equal(top_samples(codes, ALWAYS), top_samples(other, ALWAYS))


def test_stored_zeros_and_duplicates_count_as_what_they_sum_to(codes, y):
    rows, columns = codes.nonzero()
    untidy = sp.csr_matrix(codes.shape)
    order = np.lexsort((np.tile(columns, 2), np.tile(rows, 2)))
    untidy.data = np.concatenate([codes.data + 1, np.full(codes.nnz, -1)])[order]
    untidy.indices = np.tile(columns, 2)[order]
    untidy.indptr = 2 * codes.indptr
    untidy = sp.vstack([untidy, sp.csr_matrix(([0.0], ([0], [DEAD])), (1, N_ATOMS))])
    plain = sp.vstack([codes, sp.csr_matrix((1, N_ATOMS))])
    before = untidy.data.copy()
    assert_same(atom_usage(plain), atom_usage(untidy))
    assert_same(class_selectivity(plain, [*y, "a"]), class_selectivity(untidy, [*y, "a"]))
    np.testing.assert_array_equal(untidy.data, before)  # the caller's codes are left alone


def members(*atoms):
    """An ensemble of members with these atoms."""
    sae = TopKSparseAutoencoder(4, n_estimators=len(atoms))
    sae.components_, sae.centers_ = np.concatenate(atoms), np.zeros((len(atoms), 6))
    return sae


@pytest.fixture
def atoms():
    rows = np.random.default_rng(5).normal(size=(4, 6))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_shuffled_atoms_are_found_again(atoms):
    order = np.array([2, 0, 3, 1])
    matching = match_members(members(atoms, atoms[order]))
    np.testing.assert_array_equal(order[matching.matches[0, 1]], np.arange(4))
    np.testing.assert_array_equal(matching.matches[1, 0], order)
    np.testing.assert_allclose(matching.cosines, 1)
    assert matching.stability == pytest.approx(1)
    assert matching.complementarity == pytest.approx(0)


def test_matching_is_the_best_of_all_permutations(atoms):
    rng = np.random.default_rng(6)
    three = [atoms, rng.normal(size=(4, 6)), 3 * rng.normal(size=(4, 6))]
    matching = match_members(members(*three))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in three]
    best = []
    for e, f in [(0, 1), (0, 2), (1, 2)]:
        sums = {p: np.sum(unit[e] * unit[f][list(p)]) for p in permutations(range(4))}
        winner = max(sums, key=sums.get)
        assert tuple(matching.matches[e, f]) == winner
        cosines = [unit[e][i] @ unit[f][winner[i]] for i in range(4)]
        np.testing.assert_allclose(matching.cosines[e, f], cosines)
        np.testing.assert_array_equal(matching.matches[f, e][matching.matches[e, f]], np.arange(4))
        best.append(sums[winner] / 4)
        assert matching.similarity[e, f] == pytest.approx(best[-1])
    np.testing.assert_allclose(matching.similarity, matching.similarity.T)
    np.testing.assert_array_equal(matching.similarity.diagonal(), 1)
    assert matching.stability == pytest.approx(np.mean(best))
    assert matching.complementarity == pytest.approx(1 - np.mean(best))


def test_atoms_of_several_estimators_are_matched(atoms):
    order = np.array([2, 0, 3])  # one atom is missing
    matching = match_members(members(atoms), members(atoms[order]))
    np.testing.assert_array_equal(matching.matches[1, 0], [2, 0, 3, -1])
    np.testing.assert_array_equal(matching.matches[0, 1], [1, -1, 0, 2])
    np.testing.assert_allclose(matching.cosines[0, 1], [1, np.nan, 1, 1])
    assert matching.stability == pytest.approx(1)
    several = [members(atoms, atoms[::-1]), members(atoms)]
    matching = match_members(several)
    assert_same(matching, match_members(*several))
    assert_same(matching, match_members(members(atoms, atoms[::-1], atoms)))
    with pytest.raises(ValueError, match=r"atoms of one size, got \[5, 6\]"):
        match_members(members(atoms), members(atoms[:, 1:]))


def test_small_atoms_are_matched():
    X = np.random.default_rng(7).random((20, 64))
    image = {"image_shape": (8, 8), "kernel_size": 4, "k": 2, "max_iter": 1}
    one, other = [
        ConvTopKSparseAutoencoder(4, random_state=seed, **image).fit(X) for seed in (0, 1)
    ]
    order = [3, 1, 0, 2]
    shuffled = copy.deepcopy(one)
    shuffled.components_ = one.components_[order]
    matching = match_members(one, shuffled, other)
    np.testing.assert_array_equal(matching.matches[1, 0], order)
    np.testing.assert_allclose(matching.cosines[1, 0], 1, rtol=1e-5)
    best = max(
        sum(float(one.components_[i] @ other.components_[j]) for i, j in enumerate(permutation))
        for permutation in permutations(range(4))
    )
    assert matching.similarity[0, 2] == pytest.approx(best / 4, rel=1e-5)


def test_an_autoencoder_can_be_inspected(estimator, X):
    codes = estimator.fit(X).transform(X)
    usage = atom_usage(codes, estimator.components_)
    assert len(usage.share) == len(estimator.components_)
    matching = match_members(estimator)
    assert matching.matches.shape == (2, 2, 16)
    assert -1 <= matching.stability < 1


@pytest.mark.parametrize("function", [
    atom_usage,
    lambda codes: class_selectivity(codes, [0, 1]),
    lambda codes: sparsity_by_class(codes, [0, 1]),
    lambda codes: top_samples(codes, 0),
], ids=["usage", "selectivity", "sparsity", "samples"])  # fmt: skip
def test_unusable_codes_are_refused(function):
    with pytest.raises(ValueError, match="Expected 2D array"):
        function(np.ones(3))
    with pytest.raises(ValueError, match="codes contains NaN"):
        function(np.array([[1.0, np.nan], [0, 1]]))


def test_unusable_arguments_are_refused(codes, y, estimator, X):
    with pytest.raises(ValueError, match="Expected 12 atoms as codes has, got 11"):
        atom_usage(codes, np.ones((11, 5)))
    with pytest.raises(ValueError, match="Expected 60 labels as codes has rows, got 59"):
        class_selectivity(codes, y[1:])
    for label in ("only", 4):
        with pytest.raises(ValueError, match=f"Expected at least 2 classes, got {label!r} only"):
            class_selectivity(codes, np.array([label] * N_ROWS, dtype=object))
    for atom in (-1, N_ATOMS, 1.0):
        with pytest.raises(ValueError, match=f"Expected an atom from 0 to 11, got {atom}"):
            top_samples(codes, atom)
    with pytest.raises(ValueError, match="'n' parameter of top_samples"):
        top_samples(codes, 0, n=0)
    with pytest.raises(ValueError, match="Expected n <= 12, the number of atoms, got 13"):
        discriminative_atoms(class_selectivity(codes, y), n=13)
    with pytest.raises(NotFittedError):
        match_members(estimator)
    with pytest.raises(ValueError, match="Expected an estimator of at least 2 members, got 1"):
        match_members(estimator.set_params(n_estimators=1).fit(X))
