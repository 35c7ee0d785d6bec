"""Measures of codes and atoms: each against plain loops, and against a case known exactly."""

from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    TopKSparseAutoencoder,
)
from skl_sae.datasets import make_sparse_rows
from skl_sae.inspection import (
    dictionary_recovery,
    monosemanticity,
    picture_coherence,
    preservation,
    reconstruction_figures,
    shared_atoms,
    sparse_probing,
    spatial_coherence,
    untrained_twin,
)
from skl_sae.inspection._intervals import of_splits, resampled
from skl_sae.inspection._probing import variance_between


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def codes(rng):
    """Sparse codes of 40 samples by 6 atoms; one is dead, one active everywhere."""
    dense = rng.random((40, 6)) * (rng.random((40, 6)) < 0.4)
    dense[:, 2] = 0
    dense[:, 4] = rng.uniform(1, 2, 40)
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300].astype(np.float32), y[:300]


@pytest.fixture(scope="module")
def sae(digits):
    return TopKSparseAutoencoder(24, k=4, max_iter=4, random_state=0).fit(digits[0])


@pytest.fixture(scope="module")
def twin(sae, digits):
    return untrained_twin(sae, digits[0])


def assert_has_figures(result, shape):
    """All figures, of which intervals hold what they are of, or None without a baseline."""
    assert np.shape(result.value) == shape
    assert np.shape(result.interval) == (2, *shape)
    assert np.all(result.interval[0] <= result.value)
    assert np.all(result.value <= result.interval[1])
    if result.baseline is None:
        assert result.difference is None
        assert result.difference_interval is None
    else:
        np.testing.assert_allclose(result.difference, result.value - result.baseline)
        assert np.all(result.difference_interval[0] <= result.difference)
        assert np.all(result.difference <= result.difference_interval[1])


# --- Intervals ---


def test_bootstrap_intervals_are_as_wide_as_those_of_the_normal_distribution(rng):
    units = rng.normal(size=(1, 400))
    results = resampled(units, None, paired=False, random_state=0)
    assert results["value"] == units.mean()
    expected = 1.96 * units.std() / 20
    # The width of a 95 % interval from 999 resamples is known to about 5 %.
    np.testing.assert_allclose(np.diff(results["interval"]), 2 * expected, rtol=0.15)


def test_the_same_units_are_drawn_together(rng):
    units = rng.normal(size=(1, 50))
    together = resampled(units, units - 1, paired=True, random_state=0)
    apart = resampled(units, units - 1, paired=False, random_state=0)
    np.testing.assert_allclose(together["difference_interval"], [1, 1])
    assert np.ptp(apart["difference_interval"]) > 0.3


def test_fewer_than_two_units_have_no_interval():
    results = resampled(np.ones((1, 1)), np.ones((1, 3)), paired=False, random_state=0)
    assert results["value"] == 1
    assert results["difference"] == 0
    assert np.isnan(results["interval"]).all()
    assert np.isnan(results["difference_interval"]).all()


def test_splits_have_the_interval_of_student():
    results = of_splits(np.array([1.0, 2.0, 3.0]), None, test_share=1 / 3)
    # t of 2 degrees of freedom is 4.3027, the variance 1, and (1/3 + 1/3) of it counts.
    half = 4.302653 * np.sqrt(2 / 3)
    np.testing.assert_allclose(results["interval"], [2 - half, 2 + half], rtol=1e-6)


# --- Untrained twins ---


@pytest.mark.parametrize(
    "estimator",
    [
        TopKSparseAutoencoder(16, k=3, max_iter=2, sparsity="batch_topk", n_estimators=2),
        TopKSparseAutoencoder(16, k=3, max_iter=2, transform_algorithm="omp"),
        TopKSparseAutoencoder(max_iter=2),
        DeepTopKSparseAutoencoder(16, k=3, max_iter=2),
        ConvTopKSparseAutoencoder(8, image_shape=(8, 8), kernel_size=4, max_iter=2),
        BoostingSparseAutoencoder(TopKSparseAutoencoder(16, k=3, max_iter=2), 2),
        BaggingSparseAutoencoder(
            TopKSparseAutoencoder(16, k=3, max_iter=2, transform_algorithm="omp"), 2
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_twin_has_random_atoms_and_the_same_rules(estimator, digits):
    X = digits[0][:100]
    fitted = clone(estimator).set_params(random_state=0).fit(X)
    twin = untrained_twin(fitted, X, random_state=3)
    assert type(twin) is type(fitted)
    assert twin.components_.shape == fitted.components_.shape
    np.testing.assert_allclose(np.linalg.norm(twin.components_, axis=1), 1, rtol=1e-5)
    # Random directions: the mean of n cosines has a standard deviation of about n ** -0.5 / 8.
    with_ones = twin.components_.sum(axis=1)
    assert abs(with_ones.mean()) < 5 / np.sqrt(len(with_ones))
    assert twin.transform(X).shape == fitted.transform(X).shape
    assert (twin.transform(X).min() < 0) == (fitted.transform(X).min() < 0)  # of pursuit
    assert twin.score(X) < fitted.score(X)
    again = untrained_twin(fitted, X, random_state=3)
    np.testing.assert_array_equal(again.components_, twin.components_)
    other = untrained_twin(fitted, X, random_state=4)
    assert np.abs(other.components_ - twin.components_).max() > 0.1


def test_an_ensemble_of_defaults_has_a_twin(digits):
    X = digits[0][:60]
    fitted = BoostingSparseAutoencoder(None, 2, random_state=0).fit(X)
    assert untrained_twin(fitted, X).components_.shape == fitted.components_.shape


def test_a_twin_of_something_else_is_refused(digits):
    with pytest.raises(ValueError, match="Expected an autoencoder of this package, got PCA"):
        untrained_twin(PCA(2).fit(digits[0]), digits[0])


# --- Sparse probing ---


def test_atoms_are_ranked_as_by_the_f_statistic(codes, rng):
    labels = rng.integers(3, size=40)
    live = [0, 1, 3, 4, 5]
    F, _ = f_classif(codes.toarray()[:, live].astype(float), labels)
    ours = variance_between(sp.csr_array(codes, dtype=np.float64), labels)
    np.testing.assert_allclose(ours[live] / (1 - ours[live]) * 37 / 2, F, rtol=1e-10)
    assert ours[2] == 0


def test_probing_is_that_of_a_loop(sae, twin, digits):
    X, y = digits
    codes = sae.transform(X)
    probing = sparse_probing(
        codes, y, k=(1, 5), baseline=twin.transform(X), n_splits=2, test_size=0.3, random_state=4
    )
    assert_has_figures(probing, (2,))
    dense = codes.toarray().astype(np.float64)
    splitter = StratifiedShuffleSplit(2, test_size=0.3, random_state=4)
    for i, (train, test) in enumerate(splitter.split(X, y)):
        for j, k in enumerate((1, 5)):
            kept = probing.atoms[i][:k]
            probe = make_pipeline(
                StandardScaler(with_mean=False), LogisticRegression(max_iter=1000)
            )
            probe.fit(dense[train][:, kept], y[train])
            expected = probe.score(dense[test][:, kept], y[test])
            assert probing.accuracy[i, j] == pytest.approx(expected)
    np.testing.assert_array_equal(
        sparse_probing(dense, y, k=(1, 5), n_splits=2, test_size=0.3, random_state=4).accuracy,
        probing.accuracy,
    )


def test_a_perfect_atom_is_enough(rng):
    y = np.repeat(["a", "b"], 20)
    codes = np.column_stack([rng.random(40), y == "b", np.zeros(40)])
    probing = sparse_probing(codes, y, k=1)
    assert_has_figures(probing, ())
    assert probing.value == 1
    assert probing.chance == 0.5
    assert (probing.atoms[:, 0] == 1).all()
    assert sparse_probing(codes, y, k=50).k.tolist() == [3]  # as many as there are


def test_atoms_are_ranked_without_the_samples_held_out(rng):
    """Atoms of noise that were picked by all samples tell those held out; ours do not."""
    codes, y = rng.random((60, 2000)), np.tile([0, 1], 30)
    best = np.argsort(-f_classif(codes, y)[0])[:10]
    leaking = sparse_probing(codes[:, best], y, k=10)
    assert leaking.value > 0.8
    assert sparse_probing(codes, y, k=10).value < 0.65


def test_probing_refuses_one_class(codes):
    with pytest.raises(ValueError, match="at least 2 classes"):
        sparse_probing(codes, np.zeros(40))
    with pytest.raises(ValueError, match="Expected 40 labels"):
        sparse_probing(codes, np.zeros(39))


# --- Monosemanticity ---


def pairwise_monosemanticity(codes, embeddings):
    """The definition, pair by pair."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = []
    for activations in np.abs(codes).T:
        span = np.ptp(activations)
        a = (activations - activations.min()) / span if span else activations
        pairs = list(combinations(range(len(a)), 2))
        weight = sum(a[i] * a[j] for i, j in pairs)
        total = sum(a[i] * a[j] * (unit[i] @ unit[j]) for i, j in pairs)
        scores.append(total / weight if weight else np.nan)
    return scores


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_monosemanticity_is_that_of_all_pairs(codes, rng, dtype, tolerance):
    embeddings = (rng.normal(size=(40, 70)) + 0.2).astype(dtype)
    scores = monosemanticity(codes, embeddings, baseline=codes[:, [1, 3, 5]])
    expected = pairwise_monosemanticity(codes.toarray().astype(float), embeddings.astype(float))
    np.testing.assert_allclose(scores.atoms, expected, atol=tolerance)
    assert np.isnan(scores.atoms[2])
    assert scores.value == pytest.approx(np.nanmean(expected), abs=tolerance)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(40, 1)]
    assert scores.chance == pytest.approx(cosines.mean(), abs=tolerance)
    assert_has_figures(scores, ())


def test_monosemanticity_of_classes_is_exact():
    """Embeddings of a class are equal, those of two classes orthogonal."""
    labels = np.repeat([0, 1], 10)
    # The last sample is silent, as an atom that is active everywhere counts from its minimum.
    codes = np.vstack([np.column_stack([labels == 0, np.ones(20)]), [0, 0]])
    embeddings = np.vstack([np.eye(2)[labels], [0, 0]])
    scores = monosemanticity(5 * codes, 3 * embeddings)
    # Of 190 pairs, 2 * 45 are of one class.
    np.testing.assert_allclose(scores.atoms, [1, 90 / 190])
    assert scores.baseline is None


def test_monosemanticity_refuses_other_samples(codes):
    with pytest.raises(ValueError, match="Expected 40 embeddings"):
        monosemanticity(codes, np.ones((39, 2)))


# --- Preservation ---


def test_preservation_is_between_the_mean_and_the_original(sae, twin, digits):
    X, y = digits
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
        X[:200], y[:200]
    )
    preserved = preservation(sae, classifier, X[200:], y[200:], baseline=twin)
    reconstructions = sae.inverse_transform(sae.transform(X[200:]))
    mean = np.repeat(X.mean(axis=0)[None], 100, axis=0)
    scores = [classifier.score(rows, y[200:]) for rows in (reconstructions, mean, X[200:])]
    assert preserved.value == pytest.approx((scores[0] - scores[1]) / (scores[2] - scores[1]))
    assert (preserved.reconstruction, preserved.constant, preserved.original) == pytest.approx(
        scores
    )
    assert_has_figures(preserved, ())
    assert preserved.difference_interval[0] > 0


def test_what_is_reconstructed_exactly_is_preserved_exactly(digits):
    X, y = digits
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    pca = PCA().fit(X)
    assert preservation(pca, classifier, X, y).value == 1
    nothing = FunctionTransformer(
        inverse_func=lambda X: np.repeat(pca.mean_[None], len(X), axis=0), check_inverse=False
    )
    assert preservation(nothing, classifier, X, y, mean=pca.mean_).value == 0


def test_a_regressor_is_judged_by_its_squared_error(digits, rng):
    X, _ = digits
    y = X @ rng.normal(size=64)
    pca = PCA(10).fit(X)
    regressor = LinearRegression().fit(X, y)
    preserved = preservation(pca, regressor, X, y)
    hat = regressor.predict(pca.inverse_transform(pca.transform(X)))
    # The original leaves no error, so that the mean's is the whole.
    expected = 1 - np.square(hat - y).sum() / np.square(y - y.mean()).sum()
    assert preserved.value == pytest.approx(expected, rel=1e-3)


def test_a_predictor_that_learned_nothing_is_refused(sae, digits):
    X, y = digits
    classifier = LogisticRegression(C=1e-30).fit(X, y == 0)
    with pytest.raises(ValueError, match="better on samples than on their mean"):
        preservation(sae, classifier, X, y == 0)


# --- Reconstruction ---


def test_reconstruction_figures_are_those_of_a_loop(sae, twin, digits):
    X = digits[0].astype(np.float64)
    figures = reconstruction_figures(sae, X, baseline=twin)
    codes = sae.transform(X)
    centred, hats = X - X.mean(axis=0), sae.inverse_transform(codes) - X.mean(axis=0)
    cosines = [x @ h / np.sqrt((x @ x) * (h @ h)) for x, h in zip(centred, hats, strict=True)]
    expected = {
        "fvu": np.square(centred - hats).sum() / np.square(centred).sum(),
        "cosine": np.mean(cosines),
        "length_ratio": np.mean(np.linalg.norm(hats, axis=1) / np.linalg.norm(centred, axis=1)),
        "bias": np.square(hats).sum() / (hats * centred).sum(),
        "n_active": codes.nnz / len(X),
    }
    assert figures.names == tuple(expected)
    # The mean of the estimator is in float32.
    np.testing.assert_allclose(figures.value, list(expected.values()), rtol=1e-5)
    assert [figures[name] for name in figures.names] == figures.value.tolist()
    assert_has_figures(figures, (5,))


def test_shrinkage_is_told_by_the_bias(digits):
    X = digits[0].astype(np.float64)
    mean = X.mean(axis=0)
    halved = FunctionTransformer(
        inverse_func=lambda X: mean + 0.5 * (X - mean), check_inverse=False
    )
    figures = reconstruction_figures(halved, X)
    np.testing.assert_allclose(figures.value[:4], [0.25, 1, 0.5, 0.5])


def test_small_atoms_and_pipelines_are_measured(digits):
    X = digits[0][:50]
    conv = ConvTopKSparseAutoencoder(
        8, image_shape=(8, 8), kernel_size=4, max_iter=1, random_state=0
    )
    pipeline = make_pipeline(FunctionTransformer(lambda X: X / 16), conv).fit(X)
    figures = reconstruction_figures(pipeline, X)
    assert figures.value.tolist() == reconstruction_figures(conv, X / 16).value.tolist()
    assert 0 < figures.fvu < 1


# --- Coherence ---


def moran(image):
    """Moran's I with queen contiguity, place by place; and whether it is defined."""
    height, width = image.shape
    centred = image - image.mean()
    total = n_pairs = 0
    for i, j in np.ndindex(image.shape):
        for k in range(max(i - 1, 0), min(i + 2, height)):
            for m in range(max(j - 1, 0), min(j + 2, width)):
                if (i, j) != (k, m):
                    total += centred[i, j] * centred[k, m]
                    n_pairs += 1
    return image.size / n_pairs * total / np.square(centred).sum()


def test_spatial_coherence_is_that_of_loops(rng):
    n_images, shape, n_atoms = 4, (5, 6), 3
    maps = rng.random((n_images, *shape, n_atoms)) * (rng.random((n_images, *shape, n_atoms)) < 0.3)
    maps[0, ..., 0] = 1.0 * (rng.random(shape) < 0.95)  # active nearly everywhere
    maps[1, ..., 1] = 0
    maps[..., 2] = 0
    coherence = spatial_coherence(maps.reshape(-1, n_atoms), shape)
    expected = [
        [
            moran(image)
            for image in maps[..., atom]
            if 5 <= np.count_nonzero(image) <= 0.9 * image.size
        ]
        for atom in range(n_atoms)
    ]
    assert coherence.n_images.tolist() == list(map(len, expected))
    np.testing.assert_allclose(coherence.atoms[:2], [np.mean(values) for values in expected[:2]])
    assert np.isnan(coherence.atoms[2])
    of_images = spatial_coherence(
        sp.csr_matrix(maps.reshape(n_images, -1)), (*shape, n_atoms),
        baseline=maps.reshape(n_images, -1),
    )  # fmt: skip
    np.testing.assert_allclose(of_images.atoms, coherence.atoms)
    assert_has_figures(of_images, ())
    assert of_images.difference == 0


def test_a_chequerboard_and_halves_are_exact():
    """Two places: they are neighbours, and on opposite sides of their mean."""
    assert spatial_coherence([[1], [0]], (1, 2), min_active=1).atoms.item() == -1
    halves = np.repeat([[1.0, 0.0]], 4, axis=0)  # 4 x 2: of 16 pairs 6 are within a column
    coherence = picture_coherence(halves.reshape(1, -1), (4, 2))
    # Products are 1/4 within a column, -1/4 across; of 16 pairs 6 are within, 10 across.
    assert coherence.atoms.item() == pytest.approx((6 - 10) / 16)


def test_pictures_of_several_channels_add_up(rng):
    pictures = rng.normal(size=(3, 4, 5, 2))
    coherence = picture_coherence(pictures.reshape(3, -1), (4, 5, 2), baseline=np.eye(40))
    for picture, value in zip(pictures, coherence.atoms, strict=True):
        channels = np.moveaxis(picture, -1, 0)
        weights = [np.square(channel - channel.mean()).sum() for channel in channels]
        assert value == pytest.approx(np.average(list(map(moran, channels)), weights=weights))
    assert_has_figures(coherence, ())
    assert np.isnan(picture_coherence(np.ones((1, 20)), (4, 5)).atoms).all()


def test_coherence_refuses_shapes_that_do_not_fit(codes):
    with pytest.raises(ValueError, match="multiple of 30 rows"):
        spatial_coherence(codes, (5, 6))
    with pytest.raises(ValueError, match="at least 2 places"):
        spatial_coherence(codes, (1, 1))
    with pytest.raises(ValueError, match="atoms of 30 numbers"):
        picture_coherence(np.ones((2, 20)), (5, 6))


# --- Atoms found again ---


def best_matching(cosine):
    """Best assignment of rows to columns, by all permutations."""
    n = len(cosine)
    return max(permutations(range(n)), key=lambda order: cosine[range(n), order].sum())


def test_shared_atoms_are_those_of_the_best_matching(rng):
    atoms = [rng.normal(size=(5, 3)) for _ in range(3)]
    shared = shared_atoms(atoms, threshold=0.8, baseline=[-atoms[0], -atoms[1]])
    unit = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in atoms]
    cosines, found = [], [np.zeros(5) for _ in range(3)]
    for e, f in combinations(range(3), 2):
        cosine = unit[e] @ unit[f].T
        for own, other in enumerate(best_matching(cosine)):
            cosines.append(cosine[own, other])
            found[e][own] += cosine[own, other] >= 0.8
            found[f][other] += cosine[own, other] >= 0.8
    for ours, counts in zip(shared.atoms, found, strict=True):
        np.testing.assert_array_equal(ours, counts / 2)
    assert shared.mean_cosine == pytest.approx(np.mean(cosines))
    assert shared.value == pytest.approx(np.mean(found) / 2)
    assert_has_figures(shared, ())


def test_the_same_atoms_in_another_order_are_shared(sae, digits):
    shuffled = sae.components_[np.random.default_rng(0).permutation(24)]
    assert shared_atoms([sae, shuffled]).value == 1
    more = np.vstack([shuffled, -shuffled])
    np.testing.assert_array_equal(shared_atoms([sae, more]).pairs, [[1, 1], [0.5, 1]])


def test_shared_atoms_refuses_one_estimator_and_other_sizes(sae):
    with pytest.raises(ValueError, match="at least 2 estimators, got 1"):
        shared_atoms([sae])
    with pytest.raises(ValueError, match="64 and 3 features"):
        shared_atoms([sae, np.eye(3)])


# --- A planted dictionary ---


def test_recovery_counts_each_atom_once(rng):
    dictionary = np.eye(4)
    learned = [[1, 0.1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 2], [0, 1, 1, 0], [0, -1, 0, 0]]
    recovery = dictionary_recovery(learned, dictionary, baseline=-np.eye(4))
    assert (recovery.precision, recovery.recall) == (2 / 5, 2 / 4)
    assert recovery.matches.tolist() == [1, -1, -1, 2]
    np.testing.assert_allclose(recovery.max_cosine, [1, 0.5**0.5, 0.5**0.5, 1])
    assert recovery.baseline.tolist() == [0, 0]
    assert_has_figures(recovery, (2,))


def test_most_atoms_possible_are_matched(rng):
    """By all permutations, for a threshold that several pairs pass."""
    learned, dictionary = rng.normal(size=(2, 5, 2))
    recovery = dictionary_recovery(learned, dictionary, threshold=0.6)
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (dictionary, learned)]
    cosine = unit[0] @ unit[1].T
    above = np.where(cosine >= 0.6, cosine, 0)
    best = max(above[range(5), order].sum() for order in permutations(range(5)))
    matched = np.flatnonzero(recovery.matches >= 0)
    assert above[matched, recovery.matches[matched]].sum() == pytest.approx(best)
    assert recovery.recall == len(matched) / 5


def test_an_orthogonal_dictionary_is_recovered():
    rows = make_sparse_rows(2000, n_features=16, n_atoms=16, n_active=2, noise=0.02)
    sae = TopKSparseAutoencoder(16, k=2, max_iter=20, random_state=0).fit(rows.data)
    recovery = dictionary_recovery(
        sae.components_, rows.dictionary, 0.9, baseline=untrained_twin(sae, rows.data).components_
    )
    assert recovery.recall > 0.9
    assert (recovery.difference_interval[0] > 0.5).all()


def test_planted_rows_are_sums_of_atoms():
    rows = make_sparse_rows(500, n_features=20, n_atoms=30, n_active=3, noise=0.1, random_state=1)
    np.testing.assert_allclose(np.linalg.norm(rows.dictionary, axis=1), 1, rtol=1e-6)
    assert (np.diff(rows.codes.indptr) == 3).all()
    assert rows.codes.has_sorted_indices
    assert rows.codes.data.min() >= 0.5
    assert rows.codes.data.max() <= 1.5
    signal = rows.codes @ rows.dictionary
    noise = rows.data - signal
    # Of 10,000 numbers, whose spread is known to about a hundredth.
    assert np.sqrt(np.square(noise).mean() / np.square(signal).mean()) == pytest.approx(
        0.1, rel=0.05
    )
    again = make_sparse_rows(500, n_features=20, n_atoms=30, n_active=3, noise=0.1, random_state=1)
    np.testing.assert_array_equal(again.data, rows.data)
    assert rows.data.dtype == rows.dictionary.dtype == rows.codes.dtype == np.float32
    with pytest.raises(ValueError, match="n_active <= 4"):
        make_sparse_rows(10, n_atoms=4)
