"""Autoencoders made of autoencoders, against the same by hand."""

import json
import pickle
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib.figure import Figure
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.linear_model import orthogonal_mp
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    ImageAugmenter,
    LazyRows,
    ModelFileError,
    TopKSparseAutoencoder,
    load_codes,
)
from skl_sae._engine import _pursuit, _refit
from skl_sae._model_file import _ensemble
from skl_sae._model_file._safetensors import write_arrays
from skl_sae.autoencoders import _boosting
from skl_sae.autoencoders._bagging import best_weights, error_products
from skl_sae.inspection import atom_usage, match_members
from skl_sae.plotting import AtomDisplay, ReconstructionDisplay


def flat(**parameters):
    return TopKSparseAutoencoder(16, k=3, max_iter=2).set_params(**parameters)


def small_atoms():
    return ConvTopKSparseAutoencoder(8, image_shape=(8, 8), kernel_size=4, k=8, max_iter=1)


HIERARCHY = [("flat", flat()), ("conv", small_atoms())]
CONFIGURATIONS = [
    BoostingSparseAutoencoder(flat(), random_state=0),
    BoostingSparseAutoencoder(flat(k=2), 2, refit=True, sparse_output=False, random_state=0),
    BoostingSparseAutoencoder([("a", flat()), ("b", flat(k=2))], random_state=0),
    BaggingSparseAutoencoder(flat(), random_state=0),
    BaggingSparseAutoencoder(flat(), weights="least_squares", sparse_output=False, random_state=0),
]  # fmt: skip
AUGMENTED = flat(augmenter=ImageAugmenter((8, 8), n_copies=1))
NESTED = [
    BaggingSparseAutoencoder(BaggingSparseAutoencoder(AUGMENTED, 1), 2, random_state=0),
    BaggingSparseAutoencoder(BoostingSparseAutoencoder(flat(), 2), 2, random_state=0),
    BoostingSparseAutoencoder(
        [("bag", BaggingSparseAutoencoder(flat(), 2, weights="least_squares")),
         ("sum", BoostingSparseAutoencoder(HIERARCHY))], random_state=0
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:300].astype(np.float32)


# --- scikit-learn ---


@parametrize_with_checks(
    [CONFIGURATIONS[i] for i in (1, 2, 4)],
    expected_failed_checks=lambda estimator: {
        # As of the autoencoders that they are made of: tests/autoencoders/test_sklearn_api.py.
        "check_sample_weight_equivalence_on_dense_data": "batches of shuffled samples differ"
    },
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.touches_globals("NumPy's generator")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.touches_globals("NumPy's generator")
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize("configuration", [CONFIGURATIONS[i] for i in (1, 2, 3)], ids=range(3))
@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
        "check_param_validation",
        "check_inplace_ensure_writeable",
        "check_get_feature_names_out_error",
    ],
)
def test_checks_that_scikit_learn_does_not_yield(name, configuration):
    getattr(estimator_checks, name)(type(configuration).__name__, clone(configuration))


def test_searches_over_own_and_nested_parameters(digits):
    boosting = BoostingSparseAutoencoder(flat(), 2, random_state=0)
    digits, grid = digits[:150], {"estimator__k": [1, 4], "n_estimators": [2], "refit": [True]}
    search = GridSearchCV(boosting, grid, cv=2).fit(digits)
    assert search.best_params_ == {"estimator__k": 4, "n_estimators": 2, "refit": True}
    named = BoostingSparseAutoencoder([("one", flat()), ("two", flat())], random_state=0)
    search = GridSearchCV(named, {"two__k": [1, 4]}, cv=2).fit(digits)
    assert search.best_params_ == {"two__k": 4}
    bagging = BaggingSparseAutoencoder(flat(), random_state=0)
    grid = {"estimator__k": [1, 4], "weights": ["least_squares"]}
    search = GridSearchCV(bagging, grid, cv=2).fit(digits)
    assert search.best_params_["estimator__k"] == 4


@pytest.mark.parametrize("ensemble", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_clone_pickle_and_codes_in_a_file(digits, ensemble, tmp_path):
    ensemble = clone(ensemble)
    parameters = repr(ensemble.get_params())
    codes = sp.csr_matrix(ensemble.fit(digits).transform(digits))
    assert repr(ensemble.get_params()) == parameters  # estimators that are given stay unfitted
    payload = pickle.dumps(ensemble)
    assert b"torch" not in payload
    loaded = pickle.loads(payload)
    assert (sp.csr_matrix(loaded.transform(digits)) != codes).nnz == 0
    np.testing.assert_array_equal(ensemble.score_samples(digits), loaded.score_samples(digits))
    assert (clone(ensemble).fit(digits).transform(digits) != ensemble.transform(digits)).sum() == 0
    written = loaded.transform_to(digits, tmp_path / "codes.npz")
    assert (written != codes).nnz == 0 and load_codes(tmp_path / "codes.npz").shape == codes.shape


@pytest.mark.parametrize("ensemble", [*CONFIGURATIONS, *NESTED], ids=range(8))
def test_model_file(digits, ensemble, tmp_path):
    digits = digits[:100] / 16
    ensemble, path = clone(ensemble).fit(digits), tmp_path / "model.safetensors"
    ensemble.save(path)
    loaded = type(ensemble).load(path)
    assert repr(loaded.get_params()) == repr(ensemble.get_params())
    assert vars(loaded).keys() >= {n for n in vars(ensemble) if n.endswith("_")}
    codes = [sp.csr_matrix(one.transform(digits)) for one in (ensemble, loaded)]
    assert (codes[0] != codes[1]).nnz == 0
    np.testing.assert_array_equal(ensemble.score_samples(digits), loaded.score_samples(digits))
    with pytest.raises(ModelFileError, match="Expected class"):
        TopKSparseAutoencoder.load(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        type(ensemble).load(path)


def _with(changes):
    """A change of the item that a path of keys leads to."""

    def change(config, arrays):
        *path, last = changes[0]
        for key in path:
            config = config[key]
        config[last] = changes[1]

    return change


@pytest.mark.parametrize("change", [
    *map(_with, [
        (["n_features"], 65), (["n_features"], True), (["members"], []), (["members"], {}),
        (["members", 0, "class"], "BaggingSparseAutoencoder"), (["members", 0, "class"], "os"),
        (["members", 0, "config", "k"], 2**40), (["members", 0, "config", "shape"], [1, 2**39, 64]),
        (["members", 1, "config"], {}), (["members", 1], None), (["weights"], False),
        (["feature_names"], 2**39), (["estimator"], []), (["estimator", 0, 0], "name"),
        (["estimator", 0, 1], {"checkpoint": 1}), (["estimator", 0, 1, "random_state"], -1),
        (["estimator", 0, 1, "random_state"], "0"), (["parameters"], []),
        (["parameters", "n_estimators"], 2**40), (["parameters", "weights"], "none"),
        (["parameters", "path"], "x"), (["more"], 1),
    ]),
    lambda config, arrays: config["members"].pop(),
    lambda config, arrays: arrays.pop("weights"),
    lambda config, arrays: arrays.update(weights=np.array([0.9, 0.9])),
    lambda config, arrays: arrays.update(weights=np.array([-0.5, 1.5])),
    lambda config, arrays: arrays.update(weights=np.array([np.nan, 1])),
    lambda config, arrays: arrays.update({"1.components": 2 * arrays["1.components"]}),
    lambda config, arrays: arrays.update({"2.components": arrays["1.components"]}),
])  # fmt: skip
def test_hostile_model_files(bagging_file, change, tmp_path):
    arrays, metadata = dict(bagging_file[0]), dict(bagging_file[1])
    config = json.loads(metadata["config"])
    write_arrays(tmp_path / "model", arrays, metadata)
    BaggingSparseAutoencoder.load(tmp_path / "model")
    change(config, arrays)
    write_arrays(tmp_path / "model", arrays, metadata | {"config": json.dumps(config)})
    with pytest.raises(ModelFileError):
        BaggingSparseAutoencoder.load(tmp_path / "model")


@pytest.mark.parametrize("depth", [1, 300])
def test_members_of_members_without_end_are_refused(bagging_file, depth, tmp_path):
    arrays, metadata = bagging_file
    config = json.loads(metadata["config"])
    config["parameters"]["n_estimators"], config["members"] = 1, config["members"][:1]
    for _ in range(depth):
        member = {"class": "BaggingSparseAutoencoder", "config": config}
        config = config | {"estimator": None, "members": [member]}
    write_arrays(tmp_path / "model", arrays, metadata | {"config": json.dumps(config)})
    with pytest.raises(ModelFileError, match="arrays" if depth == 1 else "Expected|recursion"):
        BaggingSparseAutoencoder.load(tmp_path / "model")


@pytest.fixture(scope="module")
def bagging_file(tmp_path_factory):
    """Arrays and metadata of an ensemble's file."""
    X = load_digits().data[:100]
    member = TopKSparseAutoencoder(16, k=2, max_iter=1)
    bagging = BaggingSparseAutoencoder(member, 2, random_state=0).fit(X)
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ensemble, "write_arrays", lambda path, *content: written.extend(content))
        bagging.save(tmp_path_factory.mktemp("ensemble") / "model")
    return written


def test_what_no_model_file_holds_is_refused(digits, tmp_path):
    class Own(TopKSparseAutoencoder):
        pass

    own = BaggingSparseAutoencoder(Own(16, k=3, max_iter=1), 1, random_state=0).fit(digits[:50])
    with pytest.raises(ModelFileError, match="got a Own"):
        own.save(tmp_path / "model")
    nested = BaggingSparseAutoencoder(flat(), 1)
    changed = BaggingSparseAutoencoder(nested, 1, random_state=0).fit(digits[:50])
    changed.set_params(estimator__estimator__k=1)
    with pytest.raises(ModelFileError, match="as it was in fit"):
        changed.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_failed_fit_leaves_all_as_it_was(digits):
    boosting = BoostingSparseAutoencoder(flat(), 2, random_state=0).fit(digits)
    before = boosting.transform(digits)
    with pytest.raises(ValueError, match="k <= n_components"):
        boosting.set_params(estimator__k=99).fit(digits[:, :32])
    assert (boosting.transform(digits) != before).nnz == 0
    assert boosting.n_features_in_ == 64


def test_progress_bar(digits, capsys):
    for ensemble in (CONFIGURATIONS[0], CONFIGURATIONS[3]):
        clone(ensemble).set_callbacks(ProgressBar()).fit(digits)
        assert type(ensemble).__name__ in capsys.readouterr().out


@pytest.mark.parametrize("ensemble", [CONFIGURATIONS[0], CONFIGURATIONS[3]], ids=["sum", "mean"])
def test_displays_and_measures_take_flat_ensembles(digits, ensemble):
    ensemble = clone(ensemble).fit(digits)
    assert match_members(ensemble).matches.shape == (3, 3, 16)
    options = {"image_shape": (8, 8), "ax": Figure().subplots()}
    assert AtomDisplay.from_estimator(ensemble, member=2, **options).ax_ is options["ax"]
    ReconstructionDisplay.from_estimator(ensemble, digits[:3], **options)
    assert len(atom_usage(ensemble.transform(digits)).frequency) == 48


# --- Boosting ---


def test_each_stage_learns_what_those_before_left(digits):
    weight = np.random.default_rng(0).integers(0, 3, len(digits))
    boosting = BoostingSparseAutoencoder(flat(), random_state=0).fit(digits, sample_weight=weight)
    rng, left, codes, total = np.random.RandomState(0), digits, [], 0
    for fitted in boosting.estimators_:
        seed = rng.randint(np.iinfo(np.int32).max)
        stage = flat(random_state=seed).fit(left, sample_weight=weight)
        np.testing.assert_allclose(stage.components_, fitted.components_, atol=1e-5)
        codes.append(fitted.transform(left))
        total = total + fitted.inverse_transform(codes[-1])
        left = digits - total
    found = boosting.transform(digits)
    np.testing.assert_allclose(found.toarray(), sp.hstack(codes).toarray(), atol=1e-4)
    np.testing.assert_allclose(boosting.inverse_transform(found), total, atol=1e-4)
    np.testing.assert_allclose(
        found @ boosting.components_ + boosting.centers_.sum(axis=0), total, atol=1e-3
    )
    errors = [
        BoostingSparseAutoencoder(flat(), n, random_state=0).fit(digits).score(digits)
        for n in (1, 2, 3)
    ]
    assert errors == sorted(errors)


def test_one_stage_is_the_estimator(digits):
    boosting = BoostingSparseAutoencoder(flat(random_state=3), 1).fit(digits)
    one = flat(random_state=3).fit(digits)
    assert (boosting.transform(digits) != one.transform(digits)).nnz == 0
    names = boosting.get_feature_names_out()
    assert list(names[:2]) == ["boostingsparseautoencoder0", "boostingsparseautoencoder1"]
    assert boosting.estimator.random_state == 3


@pytest.mark.parametrize("order", [1, -1])
def test_a_list_is_a_hierarchy(digits, order):
    boosting = BoostingSparseAutoencoder(HIERARCHY[::order], None, random_state=0).fit(digits)
    first, second = boosting.estimators_
    assert list(boosting.named_estimators_) == [name for name, _ in HIERARCHY[::order]]
    assert boosting.named_estimators_.conv.maps_shape_ == (5, 5, 8)
    codes = first.transform(digits)
    left = digits - first.inverse_transform(codes)
    both = sp.hstack([codes, second.transform(left)])
    assert (boosting.transform(digits) != both.tocsr()).nnz == 0
    assert not hasattr(boosting, "components_") and not hasattr(boosting, "centers_")
    assert boosting.score(digits) > first.score(digits)
    names = boosting.get_feature_names_out()
    assert len(set(names)) == both.shape[1] == 16 + 200
    assert "flat__topksparseautoencoder3" in names
    assert "conv__convtopksparseautoencoder_atom3_row0_column1" in names


def best_values(X, atoms, codes, either_sign):
    """Values by NumPy or SciPy, row by row."""
    found = np.zeros(codes.shape)
    for row, code, out in zip(X.astype(float), codes.toarray(), found, strict=True):
        chosen = np.flatnonzero(code)
        dictionary = atoms[chosen].T.astype(float)
        solve = np.linalg.lstsq if either_sign else nnls
        out[chosen] = solve(dictionary, row)[0]
    return found


@pytest.mark.parametrize("algorithm", ["topk", "omp"])
@pytest.mark.parametrize("kind", ["flat", "hierarchy"])
def test_refit_is_least_squares_over_all_stages(digits, algorithm, kind):
    estimator = flat(transform_algorithm=algorithm)
    if kind == "hierarchy":
        estimator = [("flat", estimator), ("conv", small_atoms())]
    boosting = BoostingSparseAutoencoder(estimator, 2, refit=True, random_state=0).fit(digits)
    one, two = boosting.estimators_
    empty = [sp.csr_matrix((1, m._n_features_out), dtype=np.float32) for m in (one, two)]
    constants = [m.inverse_transform(e) for m, e in zip((one, two), empty, strict=True)]
    atoms = np.concatenate([
        m.inverse_transform(sp.identity(m._n_features_out, np.float32, format="csr")) - c
        for m, c in zip((one, two), constants, strict=True)
    ])  # fmt: skip
    n, either_sign = one._n_features_out, algorithm == "omp"
    first = sp.csr_matrix(best_values(digits - constants[0], atoms[:n], one.transform(digits),
                                      either_sign), dtype=np.float32)  # fmt: skip
    codes = sp.hstack([first, two.transform(digits - one.inverse_transform(first))]).tocsr()
    expected = best_values(digits - sum(constants), atoms, codes, either_sign)
    reconstructed = boosting.inverse_transform(boosting.transform(digits))
    left = ((digits - reconstructed) ** 2).sum(1)
    best = ((digits - expected @ atoms - sum(constants)) ** 2).sum(1)
    # A near-tie may be decided otherwise in few rows.
    assert (np.abs(left - best) < 1e-2 * best + 1e-2).mean() > 0.98
    plain = BoostingSparseAutoencoder(estimator, 2, random_state=0).fit(digits)
    assert boosting.score(digits) > plain.score(digits)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", ["flat", "hierarchy"])
def test_stages_end_for_a_row_of_which_little_is_left(digits, kind, refit):
    """A row has the codes of its first stages, as many as bring it to the tolerance."""
    estimator = flat() if kind == "flat" else HIERARCHY
    boosting = BoostingSparseAutoencoder(estimator, 3, refit=refit, random_state=0).fit(digits)
    X = digits.copy()
    X[5] = boosting.inverse_transform(sp.csr_matrix((1, boosting._n_features_out)))  # the centres
    constant = X[5].astype(float)
    members, n_columns = boosting.estimators_, boosting._n_features_out
    expected, ends = np.zeros((len(X), n_columns)), np.zeros(len(X), int)
    is_open = np.square(X - constant).sum(1) > 0
    for n in range(1, len(members) + 1):
        first = clone(boosting)
        vars(first).update(vars(boosting) | {"estimators_": members[:n]})
        codes = first.transform(X)
        codes.resize((len(X), n_columns))
        expected[is_open], ends[is_open] = codes[is_open].toarray(), n
        left = np.square(X - boosting.inverse_transform(codes)).sum(1)
        is_open &= left > 0.4 * np.square(X - constant).sum(1)
    boosting.set_params(transform_tol=0.4)
    codes = boosting.transform(X)
    assert codes.has_sorted_indices and codes.dtype == np.float32
    # Values fitted to fewer rows may round differently.
    np.testing.assert_allclose(codes.toarray(), expected, rtol=1e-4, atol=1e-4)
    assert ends[5] == 0 and len(np.unique(ends)) == len(members) + 1
    assert boosting.transform(X[5:6]).nnz == 0


def test_pursuit_of_all_stages_ends_where_little_is_left(digits):
    stage = flat(transform_algorithm="omp")
    boosting = BoostingSparseAutoencoder(
        stage, 2, transform_algorithm="omp", transform_tol=0.3, random_state=0
    ).fit(digits)
    codes = boosting.transform(digits)
    rows = digits.astype(float) - boosting.centers_.sum(axis=0)
    path = orthogonal_mp(boosting.components_.T.astype(float), rows.T, n_nonzero_coefs=6,
                         return_path=True)  # fmt: skip
    left = np.square(rows.T[:, :, None] - np.tensordot(boosting.components_.T, path, 1)).sum(0)
    enough = left <= 0.3 * np.square(rows).sum(1)[:, None]
    expected = np.where(enough.any(axis=1), 1 + enough.argmax(axis=1), 6)
    assert (np.diff(codes.indptr) == expected).mean() > 0.98  # but for near-ties
    assert boosting._identity(digits) != clone(boosting).set_params(
        transform_tol=None).fit(digits)._identity(digits)  # fmt: skip
    with pytest.raises(ValueError, match="transform_tol"):
        clone(boosting).set_params(transform_tol=1.5).fit(digits)


def test_pursuit_among_the_atoms_of_all_stages(digits):
    stage = flat(transform_algorithm="omp")
    boosting = BoostingSparseAutoencoder(stage, 2, random_state=0).fit(digits)
    apart = boosting.score(digits)
    boosting.set_params(transform_algorithm="omp")
    codes = boosting.transform(digits)
    assert (np.diff(codes.indptr) <= 6).all() and boosting.score(digits) > apart
    rows = digits - boosting.centers_.sum(axis=0)
    expected = orthogonal_mp(boosting.components_.T.astype(float), rows.T.astype(float),
                             n_nonzero_coefs=6)  # fmt: skip
    left = ((rows - codes @ boosting.components_) ** 2).sum(1)
    best = ((rows - expected.T @ boosting.components_) ** 2).sum(1)
    assert (np.abs(left - best) < 1e-2 * best + 1e-2).mean() > 0.98
    members = flat(n_estimators=2, aggregate="mean")  # whose mean atoms are shorter
    boosting = BoostingSparseAutoencoder(members, 2, transform_algorithm="omp", random_state=0)
    assert boosting.fit(digits).transform(digits).shape == (300, 32) and boosting.score(digits) > 0
    hierarchy = BoostingSparseAutoencoder(HIERARCHY, transform_algorithm="omp", random_state=0)
    with pytest.raises(ValueError, match="smaller atoms"):
        hierarchy.fit(digits)


def test_lists_that_are_no_hierarchy_are_refused(digits):
    for wrong, match in [
        ([], "list of"), ([flat()], "list of"), ([("a", 3)], "list of"),
        ([("a", flat()), ("a", flat())], "not unique"), ([("refit", flat())], "conflict"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            BoostingSparseAutoencoder(wrong).fit(digits)
    normalized = small_atoms().set_params(normalize=True)
    with pytest.raises(ValueError, match="cannot be inverted"):
        BoostingSparseAutoencoder([("conv", normalized), ("flat", flat())], random_state=0).fit(
            digits
        )


# --- Bagging ---


def by_hand(X, n_estimators=3, n_drawn=None, replace=True, weight=None):
    """Members and the counts of the rows that they drew."""
    rng, members, counts = np.random.RandomState(0), [], []
    for _ in range(n_estimators):
        seed = rng.randint(np.iinfo(np.int32).max)
        drawn = rng.choice(len(X), n_drawn or len(X), replace=replace)
        counts.append(np.bincount(drawn, minlength=len(X)))
        told = counts[-1] if weight is None else counts[-1] * weight
        members.append(flat(random_state=seed).fit(X, sample_weight=told))
    return members, np.array(counts)


@pytest.mark.parametrize(
    "how", [{}, {"max_samples": 0.5}, {"bootstrap": False, "max_samples": 100}], ids=str
)
def test_members_learn_their_draws(digits, how):
    n_drawn = {1.0: 300, 0.5: 150, 100: 100}[how.get("max_samples", 1.0)]
    members, counts = by_hand(digits, n_drawn=n_drawn, replace=how.get("bootstrap", True))
    bagging = BaggingSparseAutoencoder(flat(), random_state=0, **how).fit(digits)
    assert (counts.sum(axis=1) == n_drawn).all()
    for fitted, member in zip(bagging.estimators_, members, strict=True):
        np.testing.assert_array_equal(fitted.components_, member.components_)
    np.testing.assert_array_equal(bagging.estimator_weights_, [1 / 3] * 3)
    codes = bagging.transform(digits)
    expected = sp.hstack([m.transform(digits) * np.float32(1 / 3) for m in members])
    assert (codes != expected.tocsr()).nnz == 0
    mean = np.mean([m.inverse_transform(m.transform(digits)) for m in members], axis=0)
    np.testing.assert_allclose(bagging.inverse_transform(codes), mean, atol=1e-3)
    formula = codes @ bagging.components_ + bagging.estimator_weights_ @ bagging.centers_
    np.testing.assert_allclose(formula, mean, atol=1e-3)
    assert match_members(bagging).matches.shape == (3, 3, 16)


def test_weights_of_samples_multiply_those_of_the_draw(digits):
    weight = np.random.default_rng(0).random(len(digits))
    members, _ = by_hand(digits, weight=weight)
    bagging = BaggingSparseAutoencoder(flat(), random_state=0).fit(digits, sample_weight=weight)
    np.testing.assert_array_equal(
        bagging.components_, np.concatenate([m.components_ for m in members])
    )
    weight[100:] = 0
    some = clone(bagging).fit(digits, sample_weight=weight)
    alone = clone(bagging).fit(digits[:100], sample_weight=weight[:100])
    np.testing.assert_array_equal(some.components_, alone.components_)


def test_weights_by_least_squares_over_rows_not_drawn(digits):
    bagging = BaggingSparseAutoencoder(flat(), weights="least_squares", random_state=0).fit(digits)
    members, counts = by_hand(digits)
    errors = [digits - m.inverse_transform(m.transform(digits)) for m in members]
    products = np.empty((3, 3))
    for e in range(3):
        for f in range(3):
            unseen = (counts[e] == 0) & (counts[f] == 0)
            products[e, f] = (errors[e] * errors[f])[unseen].sum(1).mean()
    np.testing.assert_allclose(error_products(members, digits, counts == 0), products, rtol=1e-4)
    weights = bagging.estimator_weights_
    np.testing.assert_allclose(weights, best_weights(products), atol=1e-4)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    uniform = np.full(3, 1 / 3)
    assert weights @ products @ weights <= uniform @ products @ uniform
    codes = bagging.transform(digits)
    expected = sum(w * (digits - e) for w, e in zip(weights, errors, strict=True))
    np.testing.assert_allclose(bagging.inverse_transform(codes), expected, atol=1e-3)


def test_best_weights_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    for _ in range(20):
        target, members = rng.random(50), rng.random((4, 50))
        members[:2] += target
        errors = target - members
        found = best_weights(errors @ errors.T)
        # A heavy row asks for a sum of 1.
        expected, _ = nnls(np.vstack([members.T, np.full(4, 1e4)]), np.append(target, 1e4))
        np.testing.assert_allclose(found, expected, atol=1e-4)
        unbounded = np.linalg.lstsq((errors[1:] - errors[0]).T, -errors[0])[0]
        if (unbounded >= 0).all() and unbounded.sum() <= 1:
            np.testing.assert_allclose(found[1:], unbounded, atol=1e-6)
    np.testing.assert_array_equal(best_weights(np.zeros((2, 2))), [0.5, 0.5])
    np.testing.assert_allclose(best_weights(np.diag([1, 3.0])), [0.75, 0.25])


def test_members_without_weight_leave_no_numbers(digits):
    bagging = BaggingSparseAutoencoder(flat(), 2, random_state=0).fit(digits)
    bagging.estimator_weights_ = np.array([0.0, 1.0])
    codes = bagging.transform(digits)
    assert codes[:, :16].nnz == 0 and (codes.data != 0).all()
    one = bagging.estimators_[1]
    np.testing.assert_allclose(
        bagging.inverse_transform(codes), one.inverse_transform(one.transform(digits)), atol=1e-4
    )


def test_weights_need_rows_that_are_not_drawn(digits):
    bagging = BaggingSparseAutoencoder(
        flat(), weights="least_squares", bootstrap=False, random_state=0
    )
    with pytest.raises(ValueError, match="rows that members did not draw"):
        bagging.fit(digits)
    with pytest.raises(ValueError, match="at most the 300 samples, got 301"):
        bagging.set_params(weights="uniform", max_samples=301).fit(digits)
    few = BaggingSparseAutoencoder(flat(), 9, weights="least_squares", random_state=0)
    np.testing.assert_array_equal(few.fit(digits[:8]).estimator_weights_, [1 / 9] * 9)


def test_jobs_give_the_same_bits(digits):
    bagging = BaggingSparseAutoencoder(flat(), weights="least_squares", random_state=0)
    one, two = (clone(bagging).set_params(n_jobs=n).fit(digits) for n in (1, 2))
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.estimator_weights_, two.estimator_weights_)


def test_ensembles_of_ensembles(digits):
    bagging = BaggingSparseAutoencoder(flat(), 2)
    boosting = BoostingSparseAutoencoder(bagging, 2, refit=True, random_state=0).fit(digits)
    assert boosting.transform(digits).shape == (300, 64) and boosting.components_.shape == (64, 64)
    assert boosting.score(digits) > boosting.estimators_[0].score(digits)
    small = BaggingSparseAutoencoder(small_atoms(), 2, random_state=0).fit(digits)
    codes = small.transform(digits)
    mean = np.mean([m.inverse_transform(m.transform(digits)) for m in small.estimators_], axis=0)
    np.testing.assert_allclose(small.inverse_transform(codes), mean, atol=1e-3)


def test_files_larger_than_memory(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("skl_sae._training._lazy._FEW_NUMBERS", 100)
    X = np.memmap(tmp_path / "rows", np.float32, "w+", shape=digits.shape)
    X[:] = digits
    bagging = BaggingSparseAutoencoder(flat(), weights="least_squares", random_state=0).fit(X)
    assert (bagging.transform(X) != bagging.transform(digits)).nnz == 0
    assert bagging.score(X) == pytest.approx(bagging.score(digits))
    boosting = BoostingSparseAutoencoder(flat(), 2, refit=True, random_state=0).fit(X)
    assert (boosting.transform(X) != boosting.transform(digits)).nnz == 0
    in_memory = clone(boosting).fit(digits)
    assert boosting.score(X) == pytest.approx(in_memory.score(digits), abs=0.02)
    boosting.transform_to(X, tmp_path / "codes.npz")


@pytest.mark.parametrize("source", ["memmap", "LazyRows"])
@pytest.mark.parametrize("how", ["stages", "refit", "signed", "omp", "hierarchy", "bagging"])
def test_parts_share_what_is_formed_of_the_atoms(digits, tmp_path, monkeypatch, source, how):
    """Codes of parts are those of the array, and products of atoms are formed once for all."""
    monkeypatch.setattr("skl_sae._training._lazy._FEW_NUMBERS", 100)
    monkeypatch.setattr("skl_sae._training._lazy._PART", 64 * 75)
    stage = flat(transform_algorithm="omp" if how in ("signed", "omp", "bagging") else "topk")
    if how == "bagging":
        ensemble = BaggingSparseAutoencoder(stage, 2, random_state=0)
    else:
        ensemble = BoostingSparseAutoencoder(
            HIERARCHY if how == "hierarchy" else stage, 2, refit=how not in ("stages", "omp"),
            transform_algorithm="omp" if how == "omp" else "stages", random_state=0,
        )  # fmt: skip
    X = LazyRows(lambda start, stop: digits[start:stop], digits.shape)
    if source == "memmap":
        X = np.memmap(tmp_path / "rows", np.float32, "w+", shape=digits.shape)
        X[:] = digits
    ensemble.fit(digits)
    counted = mock.Mock(wraps=_pursuit.product), mock.Mock(wraps=_refit.product)
    monkeypatch.setattr(_pursuit, "product", counted[0])
    monkeypatch.setattr(_refit, "product", counted[1])
    atoms_of = mock.Mock(wraps=_boosting.atoms_of)
    monkeypatch.setattr(_boosting, "atoms_of", atoms_of)

    def grams():
        """Products of atoms with atoms, which have few rows."""
        calls = [call for one in counted for call in one.call_args_list]
        return sum(call.args[0].shape[0] < 40 for call in calls), atoms_of.call_count

    expected, once = ensemble.transform(digits), grams()
    codes = ensemble.transform(X)
    assert (codes != expected).nnz == 0
    assert grams() == (2 * once[0], 2 * once[1]) and (sum(once) > 0 or how == "stages")


LOST = pytest.mark.parametrize("parameters", [{"pooling": 2}, {"normalize": True}])


def reconstructions(estimator, X):
    """Reconstructions of rows, also by an autoencoder whose codes do not tell them."""
    images = estimator._validate_rows(X, reset=False)
    return np.concatenate([rows for _, rows in estimator._reconstructed_parts((images,), len(X))])


@LOST
@pytest.mark.parametrize("weights", ["uniform", "least_squares"])
def test_bagging_scores_members_whose_codes_cannot_be_inverted(weights, parameters):
    X = load_digits().data[:60]
    member = small_atoms().set_params(**parameters)
    bagging = BaggingSparseAutoencoder(member, 2, weights=weights, random_state=0).fit(X)
    parts = [reconstructions(member, X) for member in bagging.estimators_]
    expected = np.tensordot(bagging.estimator_weights_, parts, axes=1)
    correlations = [np.corrcoef(x, row)[0, 1] for x, row in zip(X, expected, strict=True)]
    np.testing.assert_allclose(bagging.score_samples(X), correlations, atol=1e-5)
    assert bagging.score(X) == pytest.approx(np.mean(correlations), abs=1e-5)
    with pytest.raises(ValueError, match="cannot be inverted"):
        bagging.inverse_transform(bagging.transform(X))


@LOST
def test_boosting_scores_a_last_stage_whose_codes_cannot_be_inverted(parameters):
    X = load_digits().data[:60]
    stages = [("flat", flat()), ("small", small_atoms().set_params(**parameters))]
    boosting = BoostingSparseAutoencoder(stages, random_state=0).fit(X)
    first, last = boosting.estimators_
    explained = first.inverse_transform(first.transform(X))
    expected = explained + reconstructions(last, (X - explained).astype(np.float32))
    correlations = [np.corrcoef(x, row)[0, 1] for x, row in zip(X, expected, strict=True)]
    np.testing.assert_allclose(boosting.score_samples(X), correlations, atol=1e-5)
    alone = BoostingSparseAutoencoder(stages[1:], random_state=0).fit(X)
    np.testing.assert_allclose(
        alone.score_samples(X), alone.estimators_[0].score_samples(X), atol=1e-5
    )
