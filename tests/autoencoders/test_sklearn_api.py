"""scikit-learn's own checks, and the estimator inside scikit-learn's tools."""

import pickle
from importlib import metadata

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.callback import FitCallback, ProgressBar
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skl_sae import (
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    TopKSparseAutoencoder,
    reconstruction_correlation,
)


def make(**parameters):
    return TopKSparseAutoencoder(16, max_iter=2, random_state=0).set_params(**parameters)


CONFIGURATIONS = [
    make(),
    make(sparse_output=False),
    make(n_estimators=3, aggregate="mean"),
    make(tied=False, early_stopping=True, validation_fraction=0.2),
    make(transform_algorithm="omp", transform_tol=0.1),
    make(prefixes=(1,)),
    ConvTopKSparseAutoencoder(16, max_iter=2, random_state=0),
    ConvTopKSparseAutoencoder(16, max_iter=2, normalize=True, sparse_output=False, random_state=0),
    DeepTopKSparseAutoencoder(16, max_iter=2, random_state=0),
    DeepTopKSparseAutoencoder(
        16, n_encoder_layers=2, max_iter=3, early_stopping=True, refit=True, random_state=0
    ),
]
N_CHECKS = 47


def count(checks):
    return sum(1 for _ in checks)


@parametrize_with_checks(
    CONFIGURATIONS,
    expected_failed_checks=lambda estimator: {
        # It repeats samples and shuffles them, and so has other batches, to 1e-7. In one batch of
        # all, in their order, they are alike: tests/training/test_sample_weight.py.
        "check_sample_weight_equivalence_on_dense_data": "batches of shuffled samples differ"
    },
)
# scikit-learn's checks for other libraries' arrays skip themselves by warning.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.touches_globals("NumPy's generator")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_all_checks_are_collected(configuration):
    checks = estimator_checks.estimator_checks_generator(configuration)
    assert count(checks) >= N_CHECKS


@pytest.mark.touches_globals("NumPy's generator")
# Some of them fit frames and transform arrays, on purpose.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
@pytest.mark.parametrize(
    "name",
    [
        "check_estimators_partial_fit_n_features",
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


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400].astype(np.float32) / 16, y[:400]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_without_scoring(digits, n_jobs):
    X, _ = digits
    grid = {"k": [2, 8], "n_components": [32, 64]}
    sae = TopKSparseAutoencoder(max_iter=3, random_state=0)
    search = GridSearchCV(sae, grid, cv=3, n_jobs=n_jobs).fit(X)
    assert search.best_params_["k"] == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    expected = GridSearchCV(sae, grid, cv=3, n_jobs=1).fit(X)
    assert search.best_params_ == expected.best_params_
    # A worker has fewer threads.
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_search_through_a_pipeline_with_a_float_k(digits):
    X, _ = digits
    pipeline = make_pipeline(
        StandardScaler(), TopKSparseAutoencoder(32, max_iter=2, random_state=0)
    )
    search = GridSearchCV(pipeline, {"topksparseautoencoder__k": [0.05, 0.25]}, cv=2).fit(X)
    assert search.best_params_ == {"topksparseautoencoder__k": 0.25}
    assert search.best_estimator_[-1].k_ == 8
    assert search.score(X) == pytest.approx(reconstruction_correlation(search.best_estimator_, X))


def test_codes_into_classifier_and_neighbours(digits):
    X, y = digits
    classifier = make_pipeline(
        TopKSparseAutoencoder(64, k=8, max_iter=5, random_state=0), LogisticRegression(max_iter=500)
    )
    assert classifier.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.7
    codes = classifier[0].transform(X)
    assert sp.issparse(codes)
    _, nearest = NearestNeighbors(n_neighbors=2).fit(codes).kneighbors(codes)
    assert (nearest == np.arange(len(X))[:, None]).any(axis=1).all()
    assert (y[nearest[:, 1]] == y).mean() > 0.7


@pytest.mark.parametrize("aggregate", ["concat", "mean"])
def test_dataframes_out(X, estimator, aggregate):
    estimator.set_params(sparse_output=False, aggregate=aggregate).set_output(transform="pandas")
    frame = estimator.fit_transform(X)
    assert list(frame.columns) == list(estimator.get_feature_names_out())
    assert frame.columns.is_unique
    assert frame.shape == (40, 32 if aggregate == "concat" else 16)


def test_pickle_holds_nothing_of_torch(X, estimator):
    estimator.fit(X)
    payload = pickle.dumps(estimator)
    assert b"torch" not in payload
    loaded = pickle.loads(payload)
    assert (loaded.transform(X) != estimator.transform(X)).nnz == 0
    loaded.partial_fit(X)
    assert loaded.n_iter_ == estimator.n_iter_ + 1


@pytest.mark.parametrize("mmap_mode", [None, "r"])
@pytest.mark.parametrize("tied", [True, False])
def test_joblib_round_trip(X, estimator, tied, mmap_mode, tmp_path):
    estimator.set_params(tied=tied).fit(X)
    joblib.dump(estimator, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
    assert (loaded.transform(X) != estimator.transform(X)).nnz == 0
    assert (loaded.encoder_ is loaded.components_) == tied
    loaded.partial_fit(X)
    assert np.isfinite(loaded.score(X))


def test_clone_is_unfitted_with_equal_parameters(X, estimator):
    estimator.fit(X)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "components_")


class StopAfter(FitCallback):
    """Stops after some epochs and keeps what it was shown."""

    def __init__(self, n_epochs):
        self.n_epochs, self.scores = n_epochs, []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X))
        return len(self.scores) >= self.n_epochs

    def teardown(self, estimator, context):
        pass


def test_callbacks_see_a_fitted_estimator_and_stop_early(X, estimator):
    callback = StopAfter(3)
    estimator.set_params(max_iter=10).set_callbacks(callback).fit(X)
    assert estimator.n_iter_ == 3
    assert callback.scores[-1] == pytest.approx(estimator.score(X))


def test_progress_bar(X, estimator, capsys):
    estimator.set_callbacks(ProgressBar()).fit(X)
    assert "TopKSparseAutoencoder" in capsys.readouterr().out


def test_scorer_takes_anything_that_reconstructs(digits):
    X, _ = digits
    grid = GridSearchCV(PCA(random_state=0), {"n_components": [2, 8]}, cv=2,
                        scoring=reconstruction_correlation)  # fmt: skip
    assert grid.fit(X).best_params_ == {"n_components": 8}


def test_invalid_candidates_do_not_hide_the_others(digits):
    X, _ = digits
    search = GridSearchCV(make(), {"k": [2, 99]}, cv=2)
    with pytest.warns((FitFailedWarning, UserWarning)):
        search.fit(X)
    assert search.best_params_ == {"k": 2}
    assert np.isfinite(search.best_score_)
    with pytest.raises(ValueError, match="All the 4 fits failed"):
        GridSearchCV(make(), {"k": [98, 99]}, cv=2).fit(X)


def test_metadata_names_the_public_version():
    import skl_sae

    assert metadata.version("skl-sae") == skl_sae.__version__
