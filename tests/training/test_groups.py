"""Groups of samples: whole ones are held out, wherever a fit holds samples out."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    TopKSparseAutoencoder,
)
from skl_sae._training import _blocks, _groups, _lazy
from skl_sae._training._alike import facts_of
from skl_sae._training._blocks import BlockRows
from skl_sae._training._groups import choose_groups, folds_of_groups
from skl_sae._training._lazy import LazySamples
from skl_sae._training._loop import Trainer
from skl_sae._training._sources import ArrayRows

N_GROUPS, N_OF_GROUP = 20, 25
GROUPS = np.repeat(np.arange(N_GROUPS), N_OF_GROUP)
MIXED = np.random.default_rng(0).permutation(GROUPS)
GIVEN = {"k": 4, "max_iter": 3, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def rows():
    """Rows of a few directions common to all groups, and of two that only their group has."""
    return make_rows(GROUPS, 0)


def make_rows(groups, seed, own_scale=1):
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(9).standard_normal((12, 36))
    own = own_scale * rng.standard_normal((groups.max() + 1, 2, 36))
    codes = rng.standard_normal((len(groups), 12)) * (rng.random((len(groups), 12)) < 0.3)
    own_codes = rng.standard_normal((len(groups), 1, 2))
    rows = codes @ common + (own_codes @ own[groups])[:, 0]
    return (rows + 0.1 * rng.standard_normal(rows.shape)).astype(np.float32)


def flat(n_components=32, **parameters):
    return TopKSparseAutoencoder(n_components, **GIVEN | parameters)


def deep(**parameters):
    return DeepTopKSparseAutoencoder(32, n_encoder_layers=2, **GIVEN | parameters)


def conv(**parameters):
    given = {"image_shape": (6, 6), "kernel_size": 3} | GIVEN | parameters
    return ConvTopKSparseAutoencoder(8, **given)


@pytest.fixture
def splits(monkeypatch):
    """Rows to train on and rows held out of the fits that follow."""
    seen, split = [], Trainer._split

    def noted(trainer, rows):
        seen.append(split(trainer, rows))
        return seen[-1]

    monkeypatch.setattr(Trainer, "_split", noted)
    return seen


def all_rows(source):
    return np.concatenate([part.X for part in source.parts(100)])


def groups_in(source, X, groups):
    """Groups of the rows in a source, and how many rows of it are of them."""
    number_of = {row.tobytes(): group for row, group in zip(X, groups, strict=True)}
    found = [number_of[np.float32(row).tobytes()] for row in all_rows(source)]
    return set(found), len(found)


# --- Which groups ---


@pytest.mark.parametrize("seed", range(30))
def test_the_groups_chosen_have_about_as_many_samples_as_are_wanted(seed):
    """They are whole, and no other group left alone would have been nearer by more than chance."""
    rng = np.random.RandomState(seed)
    groups = rng.permutation(np.repeat(np.arange(9), rng.randint(1, 60, size=9)))
    n_wanted = rng.randint(1, len(groups))
    chosen = choose_groups(groups, None, n_wanted, rng)
    sizes = np.bincount(groups)
    taken = np.unique(groups[chosen])
    left = np.setdiff1d(np.arange(9), taken)
    assert chosen.sum() == sizes[taken].sum()
    assert 1 <= len(taken) <= 8
    # Enough to tell something, if need be by the smallest of those that are too large.
    assert chosen.sum() >= min(n_wanted, 5)
    if len(left) > 1:
        assert chosen.sum() >= n_wanted / 2
        off = n_wanted - chosen.sum()
        assert all(abs(off - sizes[group]) >= abs(off) for group in left)


@pytest.mark.parametrize("tiny", [1, 2, 4])
def test_a_tiny_group_does_not_judge_alone(tiny):
    groups = np.append(np.arange(996) // 166, np.full(tiny, 9))
    for seed in range(5):
        chosen = choose_groups(groups, None, 50, np.random.RandomState(seed))
        assert set(groups[chosen]) - {9} and chosen.sum() in (166, 166 + tiny)


@pytest.mark.parametrize("weight", [
    None, np.append(np.ones(995), np.full(5, 0.04)), np.append(np.ones(999), 50.0),
], ids=["few", "light", "a heavy row"])  # fmt: skip
def test_all_but_one_too_small_are_refused(weight):
    groups = np.append(np.zeros(995, int), np.ones(5, int))
    if weight is None or weight[-1] == 50:
        groups[:-1] = 0
    with pytest.raises(ValueError, match="have 5 samples, beside the largest"):
        choose_groups(groups, weight, 50, np.random.RandomState(0))


@pytest.mark.parametrize("n_folds", [5, 20])
def test_folds_are_of_whole_groups_and_about_equal(n_folds):
    groups = np.random.default_rng(1).integers(0, 40, size=900) + 7
    folds = folds_of_groups(groups, n_folds, np.random.RandomState(0))
    assert sorted(np.concatenate(folds)) == list(range(900))
    assert len(folds) == n_folds
    found = [set(groups[fold]) for fold in folds]
    assert sum(map(len, found)) == len(set(groups))
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()


def test_a_fold_beside_which_little_is_left_is_none():
    groups = np.append(np.zeros(95, int), np.arange(1, 6))
    folds = folds_of_groups(groups, 5, np.random.RandomState(0))
    assert sorted(np.concatenate(folds)) == list(range(95, 100))
    assert folds_of_groups(np.zeros(9, int), 5, np.random.RandomState(0)) == []


def test_samples_count_by_their_weights():
    groups = np.repeat([0, 1, 2], 10)
    weight = np.where(groups == 1, 1.0, 10.0)
    for seed in range(5):
        chosen = choose_groups(groups, weight, 12, np.random.RandomState(seed))
        assert set(groups[chosen]) == {1}


def test_choices_differ_from_seed_to_seed():
    taken = [tuple(choose_groups(MIXED, None, 50, np.random.RandomState(s))) for s in range(8)]
    assert len(set(taken)) > 4


# --- Rows in memory and read ---


def lazy_rows(X, weight=None, groups=None):
    return BlockRows.of(LazySamples(X, X.shape), weight, groups)


@pytest.mark.parametrize("groups", [GROUPS, MIXED], ids=["in order", "mixed"])
@pytest.mark.parametrize("has_weight", [False, True])
def test_rows_of_a_file_are_split_like_those_in_memory(rows, groups, has_weight):
    weight = np.where(np.arange(len(rows)) % 7 == 0, 0.0, 2.0) if has_weight else None
    parts = [
        source.hold_out(40, np.random.RandomState(3))
        for source in (ArrayRows.of(rows, weight, groups), lazy_rows(rows, weight, groups))
    ]
    for in_memory, read in zip(*parts, strict=True):
        np.testing.assert_array_equal(all_rows(in_memory), all_rows(read))
        assert in_memory.n_samples == read.n_samples
    train, held_out = (groups_in(part, rows, groups) for part in parts[1])
    assert not train[0] & held_out[0]
    kept = len(rows) if weight is None else np.count_nonzero(weight)
    assert train[1] + held_out[1] == kept
    sample = parts[1][0].sample(np.random.RandomState(0))
    np.testing.assert_array_equal(sample.groups, parts[0][0].groups)


@pytest.mark.parametrize("make", [ArrayRows.of, lazy_rows], ids=["in memory", "read"])
def test_some_of_a_large_group_judge(rows, make, monkeypatch):
    """All of its rows are held out, but a fit is judged by no more rows than others are."""
    for module in (_groups, _blocks):
        monkeypatch.setattr(module, "MOST_JUDGES", 30)
    groups = GROUPS // 5
    train, judges = make(rows, None, groups).hold_out(20, np.random.RandomState(0))
    assert isinstance(judges, ArrayRows) and judges.n_rows == 30
    judging = groups_in(judges, rows, groups)[0]
    assert len(judging) == 1 and not judging & groups_in(train, rows, groups)[0]
    assert train.n_rows == len(rows) - 5 * N_OF_GROUP
    # Early stopping has all of them, however many these are.
    _, held_out = make(rows, None, groups).hold_out(125, np.random.RandomState(0))
    assert held_out.n_rows == 125


def test_rows_without_weight_do_not_judge(rows, monkeypatch):
    monkeypatch.setattr(_groups, "MOST_JUDGES", 60)
    weight = (np.arange(len(rows)) % 4 == 1).astype(float)
    splits = [
        make(rows, weight, GROUPS // 10).hold_out(50, np.random.RandomState(0))
        for make in (ArrayRows.of, lazy_rows)
    ]
    for in_memory, read in zip(*splits, strict=True):
        np.testing.assert_array_equal(all_rows(in_memory), all_rows(read))
    assert splits[0][1].n_rows == 60


def test_a_sample_of_mixed_groups_is_as_large(rows, monkeypatch):
    """Rows to learn are in short runs then, of which there must be more."""
    monkeypatch.setattr(_blocks, "_LEAST_ROWS", 100)
    monkeypatch.setattr(_blocks, "_MOST_SAMPLED", 100)
    monkeypatch.setattr(_blocks, "_N_RUNS", 4)
    n_rows = []
    for groups in (GROUPS // 7, MIXED // 7):
        train, _ = lazy_rows(rows, None, groups).hold_out(40, np.random.RandomState(0))
        n_rows.append(train.sample(np.random.RandomState(0)).n_rows)
    assert min(n_rows) > 75


# --- Fits ---


@pytest.mark.parametrize("make", [flat, deep, conv])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_whole_groups_are_held_out(rows, make, early_stopping, splits):
    sae = make(early_stopping=early_stopping, validation_fraction=0.2)
    names = np.array([f"slide {group}" for group in MIXED])
    sae.fit(rows, groups=names)
    for train, held_out in splits:
        learned, judging = (groups_in(part, rows, MIXED) for part in (train, held_out))
        assert learned[0] | judging[0] == set(range(N_GROUPS)) and not learned[0] & judging[0]
        # A twentieth, or a fifth, to the nearest group.
        assert judging[1] == (100 if early_stopping else 25)
    assert splits


def test_names_of_groups_are_nothing_but_names(rows):
    names = np.array(list("abcdefghijklmnopqrst"))
    one = flat().fit(rows, groups=MIXED)
    other = flat().fit(rows, groups=names[MIXED].tolist())
    np.testing.assert_array_equal(one.components_, other.components_)


def test_whole_groups_of_a_file_are_held_out(rows, tmp_path, splits, monkeypatch):
    monkeypatch.setattr(_lazy, "_FEW_NUMBERS", 100)
    monkeypatch.setattr(_lazy, "_BLOCK_BYTES", 16 * 36 * 4)
    np.save(tmp_path / "rows.npy", rows)
    sae = flat(sparsity="batch_topk").fit(
        np.load(tmp_path / "rows.npy", mmap_mode="r"), groups=MIXED
    )
    train, held_out = splits[0]
    assert isinstance(train, BlockRows)
    assert not groups_in(train, rows, MIXED)[0] & groups_in(held_out, rows, MIXED)[0]
    assert sae.score(rows) > 0.5


def test_thresholds_suit_new_groups():
    """Models learn directions of their groups, which random samples held out do not tell."""
    groups = np.repeat(np.arange(20), 50)
    new, shares = make_rows(groups, 99, 1.5), []
    for seed in range(3):
        X = make_rows(groups, seed, 1.5)
        sae = flat(n_components=64, sparsity="batch_topk", max_iter=15, random_state=seed)
        fits = [clone(sae).fit(X), clone(sae).fit(X, groups=groups)]
        shares.append([fit.transform(new).nnz / len(new) / 4 for fit in fits])
    at_random, by_groups = np.mean(shares, axis=0)
    assert abs(by_groups - 1) < 0.6 * abs(at_random - 1)


def test_a_start_is_cross_fitted_by_groups(rows, monkeypatch):
    """Where no epoch is better than the start, parts of the rows are whole groups, too."""
    seen, folds_of = [], Trainer._folds

    def noted(trainer, part):
        folds = folds_of(trainer, part)
        seen.append([part.groups[fold] for fold in folds])
        return folds

    monkeypatch.setattr(Trainer, "_folds", noted)
    sae = flat(sparsity="batch_topk", learning_rate=0.1)  # which only gets worse
    clone(sae).fit(rows, groups=MIXED)
    [folds] = seen
    assert sum(map(len, folds)) == len(rows)
    assert sum(len(set(fold)) for fold in folds) == N_GROUPS
    # As few groups as these make as few parts.
    seen.clear()
    clone(sae).fit(rows, groups=GROUPS // 7)
    assert len(seen[0]) == 3


@pytest.mark.parametrize("groups", [
    np.append(np.zeros(490), np.repeat([1, 2], 5)), GROUPS // 10,
], ids=["a giant", "halves"])  # fmt: skip
def test_a_start_of_uneven_groups_has_k_active_atoms(rows, groups):
    sae = flat(sparsity="batch_topk", learning_rate=0.1).fit(rows, groups=groups)
    n_active = sae.transform(rows).nnz / len(rows)
    assert 2.5 < n_active < 5.5


@pytest.mark.parametrize("parameters", [
    {}, {"sparsity": "batch_topk"}, {"init": "random"}, {"early_stopping": True},
], ids=str)  # fmt: skip
def test_light_samples_are_fitted(rows, parameters):
    """A group of little weight is not the only one that is held out."""
    weight = np.where(GROUPS == 0, 0.01, 1.0)
    weight[GROUPS == 1] = 7.5
    sae = flat(**parameters).fit(rows, sample_weight=weight, groups=GROUPS // 2)
    assert sae.score(rows, sample_weight=weight) > 0.5


def test_an_interrupted_fit_goes_on_by_the_same_groups(rows, tmp_path, monkeypatch):
    sae = flat(sparsity="batch_topk", max_iter=6, checkpoint=tmp_path / "fit.safetensors")
    whole = clone(sae).set_params(checkpoint=None).fit(rows, groups=MIXED)
    stopped, write = [], TopKSparseAutoencoder._write_checkpoint

    def write_twice(estimator, trainer, state):
        write(estimator, trainer, state)
        stopped.append(1)
        if len(stopped) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TopKSparseAutoencoder, "_write_checkpoint", write_twice)
        clone(sae).fit(rows, groups=MIXED)
    resumed = clone(sae).set_params(warm_start=True).fit(rows, groups=MIXED)
    for name in ("components_", "encoder_", "activation_thresholds_"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))


# --- Ensembles ---


def test_bagging_draws_groups(rows):
    weight = np.where(MIXED == 3, 0, 1)
    bagging = BaggingSparseAutoencoder(flat(), n_estimators=2, random_state=0)
    told, fit = [], TopKSparseAutoencoder.fit

    class Noting(TopKSparseAutoencoder):
        def fit(self, X, y=None, sample_weight=None, groups=None):
            told.append((sample_weight, groups))
            return fit(self, X, y, sample_weight, groups)

    bagging.set_params(estimator=Noting(**flat().get_params()))
    bagging.fit(rows, sample_weight=weight, groups=MIXED)
    assert len(told) == 2
    for drawn, groups in told:
        np.testing.assert_array_equal(groups, MIXED)
        times = [set(drawn[MIXED == group]) for group in range(N_GROUPS)]
        assert all(len(of_group) == 1 for of_group in times)
        assert times[3] == {0} and {0, 1, 2} <= set.union(*times)
        assert sum(map(max, times)) == N_GROUPS - 1
    # One group alone cannot be held out; such a member holds out some of its rows.
    bagging.set_params(max_samples=1)
    told.clear()
    bagging.fit(rows, groups=MIXED)
    assert [groups for _, groups in told] == [None, None]
    with pytest.raises(ValueError, match="at least 2 groups to draw, got 1"):
        bagging.fit(rows, groups=np.zeros(len(rows)))
    with pytest.raises(ValueError, match="at most the 20 groups, got 21"):
        bagging.set_params(max_samples=21, bootstrap=False).fit(rows, groups=MIXED)


def test_weights_of_bagging_are_of_groups_not_drawn(rows, monkeypatch):
    from skl_sae.autoencoders import _bagging

    seen, products_of = [], _bagging.error_products

    def noted(members, X, weights):
        seen.append(weights)
        return products_of(members, X, weights)

    monkeypatch.setattr(_bagging, "error_products", noted)
    BaggingSparseAutoencoder(flat(), weights="least_squares", random_state=0).fit(
        rows, groups=MIXED
    )
    [weights] = seen
    for of_member in weights:
        assert all(len(set(of_member[MIXED == group])) == 1 for group in range(N_GROUPS))
        assert set(of_member) == {0, 1}


def test_members_without_groups_of_their_own_are_told_none(rows):
    class Own(TopKSparseAutoencoder):
        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X, y, sample_weight)

    own = Own(**flat().get_params())
    for ensemble in (BaggingSparseAutoencoder, BoostingSparseAutoencoder):
        assert len(ensemble(own, n_estimators=2, random_state=0).fit(rows).estimators_) == 2
    assert own.fit_transform(rows).shape == (len(rows), 32)


def test_stages_of_boosting_hold_out_groups(rows, splits):
    BoostingSparseAutoencoder(flat(), n_estimators=2, random_state=0).fit(rows, groups=MIXED)
    assert len(splits) == 2
    train, held_out = splits[0]
    assert not groups_in(train, rows, MIXED)[0] & groups_in(held_out, rows, MIXED)[0]
    assert all(set(train.groups).isdisjoint(held_out.groups) for train, held_out in splits)


# --- As scikit-learn passes them ---


def test_groups_come_through_a_pipeline(rows, splits):
    make_pipeline(MinMaxScaler(), flat()).fit(rows, topksparseautoencoder__groups=MIXED)
    [(train, held_out)] = splits
    assert set(train.groups).isdisjoint(held_out.groups)


def test_groups_come_to_a_step_in_the_middle(rows, splits):
    """Pipelines call fit_transform there."""
    classifier = make_pipeline(flat(), LogisticRegression())
    classifier.fit(rows, MIXED % 2, topksparseautoencoder__groups=MIXED)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(flat().set_fit_request(groups=True), LogisticRegression())
        routed.fit(rows, MIXED % 2, groups=MIXED)
    codes = flat().fit_transform(rows, groups=MIXED)
    for pipeline in (classifier, routed):
        assert (pipeline[0].transform(rows) != codes).nnz == 0
    for train, held_out in splits:
        assert set(train.groups).isdisjoint(held_out.groups)


def test_a_search_routes_groups_to_its_splits_and_to_the_model(rows, splits):
    with sklearn.config_context(enable_metadata_routing=True):
        sae = flat().set_fit_request(groups=True)
        search = GridSearchCV(sae, {"k": [3, 4]}, cv=GroupKFold(4), error_score="raise")
        search.fit(rows, groups=MIXED)
    assert len(splits) == 2 * 4 + 1
    for train, held_out in splits:
        assert set(train.groups).isdisjoint(held_out.groups)
    assert search.best_params_["k"] == 4


def test_ranks_compare_groups(rows):
    facts = [
        facts_of({}, ArrayRows.of(rows, None, groups))["groups (checksum)"]
        for groups in (None, GROUPS, MIXED)
    ]
    assert facts[0] is None and len(set(facts)) == 3


# --- Bad ones ---


@pytest.mark.parametrize("groups, words", [
    (np.arange(499), "inconsistent numbers of samples"),
    (np.full(500, np.nan), "NaN"),
    (np.zeros((500, 2)), r"shape \(n_samples,\), got \(500, 2\)"),
    ([(1, 2)] * 500, r"shape \(n_samples,\), got \(500, 2\)"),
    ([None, "a"] * 250, "all numbers or all strings"),
    (np.array([1, "a"] * 250, dtype=object), "all numbers or all strings"),
    (np.zeros(500), "at least 2 groups, got 1"),
    (np.append(np.zeros(499), 1), "beside the largest"),
], ids=["too few", "NaN", "table", "pairs", "none", "mixed", "one group", "one row"])  # fmt: skip
def test_bad_groups_are_refused(rows, groups, words):
    sae = flat().fit(rows)
    before = sae.components_.copy()
    with pytest.raises(ValueError, match=words):
        sae.fit(rows, groups=groups)
    np.testing.assert_array_equal(sae.components_, before)
    with pytest.raises(ValueError, match=words):
        BoostingSparseAutoencoder(flat(), n_estimators=2).fit(rows, groups=groups)


def test_few_samples_need_no_groups_to_hold_out():
    """Fewer than fifty are all learned at once; nothing is held out, of whatever group."""
    X = make_rows(np.repeat([0, 1], 20), 0)
    fits = [flat().fit(X, groups=groups) for groups in (None, np.zeros(40))]
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
