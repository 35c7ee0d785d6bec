"""Prefixes: models of the first atoms, trained at once."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skl_sae import TopKSparseAutoencoder
from skl_sae._training._loop import Trainer

NAMES = "components_", "encoder_", "encoder_bias_", "centers_", "atom_frequency_", "loss_curve_"


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:300].astype(np.float32)


def nested(**parameters):
    given = {"n_components": 96, "k": 6, "prefixes": (4, 24), "max_iter": 4, "init": "random"}
    return TopKSparseAutoencoder(**{"random_state": 0} | given | parameters)


def error_of(sae, X):
    return np.square(X - sae.inverse_transform(sae.transform(X))).mean()


def assert_same(one, other):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [{}, {"tied": False}, {"n_estimators": 2, "consistency": 0.5}, {"k": 12}],
    ids=["tied", "untied", "members", "dense products"],
)
def test_a_prefix_is_the_model_of_the_first_atoms(X, settings):
    sae = nested(**settings).fit(X)
    small = sae.prefix(24)
    assert (small.n_components, small.k, small.prefixes) == (24, min(sae.k, 24), (4,))
    shape = len(sae.centers_), 96, -1
    for name in ("components_", "encoder_", "encoder_bias_", "atom_frequency_"):
        expected = getattr(sae, name).reshape(shape)[:, :24]
        got = getattr(small, name).reshape(expected.shape)
        np.testing.assert_array_equal(got, expected)
    assert not np.shares_memory(small.components_, sae.components_)
    # A code by hand: top-k among the first atoms alone. Those whose k-th is near the next one are
    # left out, since float32 may take either.
    centred = X - sae.centers_[0]
    answers = np.maximum(centred @ small.encoder_[:24].T + small.encoder_bias_[:24], 0)
    largest = np.sort(answers, axis=1)[:, ::-1]
    smallest, following = largest[:, small.k - 1], largest[:, small.k]
    clear = (smallest - following > 1e-4 * answers.max()) | (smallest == 0)
    expected = np.where(answers >= smallest[:, None], answers, 0)
    got = small.transform(X).toarray()[:, :24]
    assert clear.mean() > 0.5
    np.testing.assert_allclose(got[clear], expected[clear], atol=1e-4 * answers.max())
    assert_same(small.prefix(4), sae.prefix(4))
    assert_same(sae.prefix(96), sae)
    assert sae.prefix(4).prefixes is None


@pytest.mark.parametrize("size", [4, 6, 10], ids=["fewer than k", "k", "fewer than 2 k"])
@pytest.mark.parametrize(
    "settings", [{}, {"tied": False}, {"n_estimators": 2}], ids=["tied", "untied", "members"]
)
def test_first_atoms_of_a_small_prefix_are_always_active(X, settings, size):
    """As a code without ReLU for these, by hand; those of another member are a row each, too."""
    sae = nested(prefixes=(size, 24), **settings).fit(X)
    small = sae.prefix(size)
    assert (small.k, small.prefixes) == (min(sae.k, size), None)
    n_members, n_always = len(sae.centers_), min(size, 2 * 6 - size)
    codes = small.transform(X).toarray().reshape(len(X), n_members, size)
    assert (codes[..., :n_always] > 0).all()
    assert ((codes > 0).sum(axis=2) <= small.k).all()
    expected = np.zeros((len(X), 64))
    for e in range(n_members):
        first = slice(96 * e, 96 * e + size)
        z = (X - sae.centers_[e]) @ sae.encoder_[first].T + sae.encoder_bias_[first]
        others = np.maximum(z[:, n_always:], 0)
        smallest = others.argsort(axis=1)[:, : size - small.k]
        others[np.arange(len(X))[:, None], smallest] = 0
        z[:, n_always:] = others
        expected += (z @ sae.components_[first] + sae.centers_[e]) / n_members
    got = small.inverse_transform(small.transform(X))
    # All but samples with two activations that float32 may take either of.
    is_same = np.isclose(got, expected, atol=1e-3 * X.max()).all(axis=1)
    assert is_same.mean() > 0.98


def test_prefixes_reconstruct_better_than_atoms_that_were_trained_without():
    X, X_test = load_digits().data[:1400], load_digits().data[1400:]
    given = {"n_components": 128, "k": 4, "max_iter": 10, "init": "pca"}
    sae = nested(**given, prefixes=(32,)).fit(X)
    cut = nested(**given, prefixes=None).fit(X).set_params(prefixes=(32,))
    assert error_of(sae.prefix(32), X_test) < 0.9 * error_of(cut.prefix(32), X_test)


def test_all_atoms_are_a_prefix_in_any_case(X):
    plain = nested(prefixes=None).fit(X)
    assert_same(nested(prefixes=[96]).fit(X), plain)
    one = nested(prefixes=(4, 24, 96)).fit(X)
    assert_same(one, nested(prefixes=np.array([4, 24])).fit(X))
    assert (one.components_ != plain.components_).any()
    assert nested(n_components=None, prefixes=(4, 24, 40)).fit(X).n_components_ == 40


@pytest.mark.parametrize(
    "prefixes", [(), (0, 4), (4, 4), (24, 4), (-1,), (2.0,), (True,), ("4",), ((4,), (24,)), [None]]
)
def test_prefixes_that_are_no_sizes(X, prefixes):
    sae = nested(prefixes=prefixes)
    with pytest.raises(ValueError, match="Expected prefixes as rising integers"):
        sae.fit(X)
    with pytest.raises(ValueError, match="Expected prefixes as rising integers"):
        sae.partial_fit(X)


def test_prefixes_that_do_not_fit(X):
    with pytest.raises(ValueError, match="prefixes <= n_components, got 97 > 96"):
        nested(prefixes=(4, 97)).fit(X)
    with pytest.raises(ValueError, match=r"sparsity='topk'.*threshold"):
        nested(sparsity="batch_topk").fit(X)
    with pytest.raises(ValueError, match=r"one of \(4, 24, 96\), got 5"):
        nested().fit(X).prefix(5)
    with pytest.raises(ValueError, match=r"one of \(96,\), got 4"):
        nested(prefixes=None).fit(X).prefix(4)


def test_search_over_prefixes(X):
    search = GridSearchCV(nested(max_iter=1), {"prefixes": [None, (8,), (8, 32)]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert clone(search.best_estimator_).prefixes == search.best_params_["prefixes"]


def test_processes_do_not_share_a_model_of_prefixes(X, monkeypatch):
    """A fake of the other rank fails if it is asked for anything."""
    monkeypatch.setattr("skl_sae._engine._tuning.SPREAD_SIZE", 0)
    monkeypatch.setattr(
        "skl_sae._training._architecture.current", lambda: SimpleNamespace(size=2, rank=0)
    )
    nested().fit(X)
    with pytest.raises(AttributeError):
        nested(prefixes=None).fit(X)


def test_an_interrupted_fit_goes_on_to_the_same_bits(X, tmp_path):
    expected = nested(max_iter=6).fit(X)

    class Stop(Exception):
        pass

    class Interrupted(TopKSparseAutoencoder):
        def _watch(self, done, planned):
            if done == 20:
                raise Stop

    path = tmp_path / "checkpoint"
    parameters = nested(max_iter=6, checkpoint=path, warm_start=True).get_params()
    Interrupted.__name__ = "TopKSparseAutoencoder"  # what a file is asked for
    with pytest.raises(Stop):
        Interrupted(**parameters).fit(X)
    assert path.exists()
    assert_same(TopKSparseAutoencoder(**parameters).fit(X), expected)


def test_training_goes_on_for_prefixes(X):
    """Warm starts and partial_fit train all prefixes; other prefixes begin with fresh moments."""
    sae = nested(warm_start=True).fit(X)
    before = error_of(sae.prefix(24), X)
    assert error_of(sae.fit(X).prefix(24), X) < before
    trainer = sae.partial_fit(X)._trainer
    assert sae.partial_fit(X)._trainer is trainer
    assert sae.set_params(prefixes=(24,)).partial_fit(X)._trainer is not trainer
    sae.prefix(24)


def test_auto_rate_of_a_fit_of_prefixes_is_raised_where_samples_are_many(X, monkeypatch):
    rates, begin = [], Trainer.begin

    def noted(trainer, *args):
        begin(trainer, *args)
        rates.append(trainer._learning_rate(X.shape[1]))

    monkeypatch.setattr(Trainer, "begin", noted)
    monkeypatch.setattr("skl_sae._training._loop._LARGEST_RAISED_RATE", 1.0)
    for parameters in ({"prefixes": None}, {}, {"learning_rate": 0.01}):
        nested(max_iter=1, **parameters).fit(X)
    nested(max_iter=1, early_stopping=True).fit(X[:20])  # 18 to learn, 64 features
    few = 0.01 * 8 * (18 / 64) ** 1.5
    np.testing.assert_allclose(rates, [0.01, 0.08, 0.01, few])
    assert nested().partial_fit(X)._trainer._learning_rate(X.shape[1]) == 0.01


def test_held_out_samples_judge_all_prefixes(X):
    sae = nested(early_stopping=True, max_iter=3).fit(X)
    assert len(sae.validation_scores_) == 3
    assert sae.best_validation_score_ >= max(sae.validation_scores_)
    # The first of four atoms alone correlate less than all.
    assert sae.prefix(4).score(X) < sae.best_validation_score_ < sae.score(X)


def test_pursuit_leaves_atoms_as_they_were_trained(X):
    """Atoms adapted to pursuit of all would no longer begin with a model of the first ones."""
    X = X[:100]
    trained, pursued = nested().fit(X), nested(transform_algorithm="omp").fit(X)
    assert_same(trained, pursued)
    assert pursued.prefix(24).transform(X).nnz == 6 * len(X)


def test_blocks_of_a_file_are_learned_as_arrays_are(X, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, X)
    mapped = nested().fit(np.load(path, mmap_mode="r"))
    assert_same(mapped.prefix(24), nested().fit(np.load(path, mmap_mode="r")).prefix(24))
    assert mapped.prefix(24).score(X) > 0.7
