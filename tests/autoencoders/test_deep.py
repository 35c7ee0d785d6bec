"""DeepTopKSparseAutoencoder: codes, stages of a fit, files and pickles."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skl_sae import (
    DeepTopKSparseAutoencoder,
    ImageAugmenter,
    LazyRows,
    ModelFileError,
    TopKSparseAutoencoder,
)
from skl_sae._training._deep import StageTrainer
from skl_sae._training._scaling import Scaling


def make(**parameters):
    given = {"n_components": 64, "k": 6, "max_iter": 6, "random_state": 0} | parameters
    return DeepTopKSparseAutoencoder(**given)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data.astype(np.float32) / 16


@pytest.fixture(scope="module")
def fitted(digits):
    return make().fit(digits[:800])


def code_of(row, sae):
    """The equations, for one row, in the units of the data."""

    def largest(answers):
        code = np.zeros_like(answers)
        picks = np.argsort(answers)[-sae.k_ :]
        code[picks] = np.maximum(answers[picks], 0)
        return code

    row = row.astype(np.float64) - sae.centers_[0]
    code = largest(sae.encoder_ @ row + sae.encoder_bias_)
    for scales, bias in zip(sae.encoder_scales_[1:], sae.correction_biases_, strict=True):
        products = sae.components_ @ (row - sae.components_.T @ code)
        answers = code + scales * products + bias
        code = largest(answers)
    if sae.activation_thresholds_ is not None:
        return np.where(answers >= sae.activation_thresholds_[0], answers, 0)
    return code


def state(estimator):
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else value
        for name, value in vars(estimator).items() if name.endswith("_")
    }  # fmt: skip


def errors(sae, X):
    return ((X - sae.inverse_transform(sae.transform(X))) ** 2).sum(axis=1)


def test_codes_are_those_of_the_equations(digits, fitted):
    X = digits[800:850]
    expected = np.stack([code_of(row, fitted) for row in X])
    codes = fitted.transform(X)
    np.testing.assert_allclose(codes.toarray(), expected, atol=1e-3)
    assert np.diff(codes.indptr).max() <= 6
    np.testing.assert_allclose(
        fitted.inverse_transform(codes), expected @ fitted.components_ + fitted.centers_[0],
        atol=1e-3,
    )  # fmt: skip


def test_fitted_attributes(digits, fitted):
    assert fitted.encoder_scales_.shape == (3, 64)
    assert fitted.correction_biases_.shape == (2, 64)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 6
    assert fitted.atom_frequency_.shape == (64,)
    np.testing.assert_allclose(np.linalg.norm(fitted.components_, axis=1), 1, atol=1e-5)
    for name, value in vars(fitted).items():
        if name.endswith("_") and isinstance(value, np.ndarray):
            assert value.dtype == np.float32, name


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("rate", ["auto", 1.0])
def test_never_worse_than_the_linear_start_on_rows_held_out(
    digits, monkeypatch, early_stopping, rate
):
    """Not even where training destroys all."""
    trainers = []
    begin = StageTrainer.begin

    def noted(trainer, rows, start=None, interrupted=None):
        begin(trainer, rows, start, interrupted)
        trainers.append((trainer, trainer.held_out, start))

    monkeypatch.setattr(StageTrainer, "begin", noted)
    sae = make(learning_rate=rate, early_stopping=early_stopping)
    sae.fit(digits[:400])
    (_, first, _), (_, held_out, start) = trainers
    assert held_out is first
    linear = clone(sae)
    vars(linear).update(vars(sae))
    vars(linear).update(linear._parameter_attributes(start))
    if early_stopping:
        assert sae.score(held_out.X) >= linear.score(held_out.X) - 1e-5
    else:
        assert errors(sae, held_out.X).sum() <= errors(linear, held_out.X).sum() * (1 + 1e-5)


def test_rates_of_more_than_three_layers_are_halved_for_each(digits, monkeypatch):
    monkeypatch.setattr("skl_sae._training._loop._LARGEST_RAISED_RATE", 1.0)
    rates, begin = {}, StageTrainer.begin

    def noted(trainer, *args):
        begin(trainer, *args)
        scales = trainer.model.parameters.scales
        rates[1 if scales is None else len(scales)] = trainer._learning_rate(64)

    monkeypatch.setattr(StageTrainer, "begin", noted)
    for n in (2, 3, 4, 5):
        make(n_encoder_layers=n, max_iter=1).fit(digits[:100])
    assert rates == {n: 0.01 * factor for n, factor in ((1, 1), (2, 16), (3, 16), (4, 8), (5, 4))}


def test_corrections_help(digits):
    X, X_test = digits[:1200], digits[1200:]
    one, three = (
        DeepTopKSparseAutoencoder(
            128, k=8, n_encoder_layers=n, max_iter=12, random_state=0
        ).fit(X) for n in (1, 3)
    )  # fmt: skip
    assert errors(three, X_test).sum() < 0.95 * errors(one, X_test).sum()


def test_one_layer_is_the_linear_encoder(digits):
    sae = make(n_encoder_layers=1).fit(digits[:300])
    assert sae.encoder_scales_.shape == (1, 64)
    assert sae.encoder_ is sae.components_
    np.testing.assert_allclose(
        sae.transform(digits[:5]).toarray(), [code_of(row, sae) for row in digits[:5]], atol=1e-3
    )


def test_a_threshold_selects_in_the_last_layer(digits):
    """New samples have k on average, though not each; and no more is left than by k of each."""
    X = np.random.default_rng(0).permutation(digits)
    sae = make(sparsity="batch_topk", max_iter=10).fit(X[:800])
    codes = sae.transform(X[800:])
    np.testing.assert_allclose(
        codes[:5].toarray(), [code_of(row, sae) for row in X[800:805]], atol=1e-3
    )
    counts = codes.getnnz(axis=1)
    assert counts.mean() == pytest.approx(6, rel=0.15)
    assert counts.min() < 6 < counts.max()
    assert sae.activation_thresholds_.shape == (1,)
    assert errors(sae, X[800:]).sum() < errors(make(max_iter=10).fit(X[:800]), X[800:]).sum()
    in_other_units = make(sparsity="batch_topk", max_iter=10).fit(256 * X[:800])
    np.testing.assert_allclose(
        in_other_units.activation_thresholds_, 256 * sae.activation_thresholds_, rtol=1e-3
    )


def test_one_layer_with_a_threshold_is_linear(digits):
    parameters = {"n_components": 64, "k": 6, "sparsity": "batch_topk", "random_state": 0}
    one = make(n_encoder_layers=1, sparsity="batch_topk").fit(digits[:300])
    linear = TopKSparseAutoencoder(**parameters, tied=True, max_iter=6).fit(digits[:300])
    assert one.score(digits) == pytest.approx(linear.score(digits), abs=0.02)
    assert one.activation_thresholds_.shape == (1,)


def test_same_seed_same_bits(digits):
    X = digits[:300]
    one, other, another = (make(random_state=seed).fit(X) for seed in (0, 0, 1))
    assert state(one) == state(other)
    assert state(one) != state(another)


def test_pickle_goes_on_and_holds_nothing_of_torch(digits, fitted):
    payload = pickle.dumps(fitted)
    assert b"torch" not in payload
    loaded = pickle.loads(payload)
    assert (loaded.transform(digits) != fitted.transform(digits)).nnz == 0
    before = loaded.score(digits)
    loaded.partial_fit(digits)
    assert loaded.n_iter_ == fitted.n_iter_ + 1
    assert loaded.score(digits) > before - 0.02


def test_partial_fit_learns(digits):
    sae = make()
    scores = [sae.partial_fit(digits[:800]).score(digits[800:]) for _ in range(4)]
    assert sae.encoder_scales_.shape == (3, 64)
    assert scores[-1] > scores[0]
    with pytest.raises(ValueError, match="n_encoder_layers=3 as fitted, got 2"):
        sae.set_params(n_encoder_layers=2).partial_fit(digits)


def test_partial_fit_that_fails_leaves_all_as_it_was(digits, fitted):
    sae = pickle.loads(pickle.dumps(fitted))
    before = state(sae)
    with pytest.raises(ValueError, match="diverged"):
        sae.set_params(learning_rate=1e12).partial_fit(digits)
    assert state(sae) == before


@pytest.mark.parametrize("parameters", [
    {}, {"n_encoder_layers": 1}, {"early_stopping": True}, {"transform_algorithm": "omp"},
    {"refit": True, "init": "random"}, {"augmenter": ImageAugmenter((8, 8), n_copies=1)},
    {"sparsity": "batch_topk"}, {"sparsity": "batch_topk", "refit": True, "early_stopping": True},
], ids=str)  # fmt: skip
def test_files(digits, parameters, tmp_path):
    X = digits[:200]
    sae = make(max_iter=3, **parameters).fit(X)
    sae.save(tmp_path / "model.safetensors")
    loaded = DeepTopKSparseAutoencoder.load(tmp_path / "model.safetensors")
    assert state(loaded) == state(sae)
    assert (loaded.transform(digits) != sae.transform(digits)).nnz == 0
    loaded.partial_fit(X)


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
def test_training_goes_on_from_a_file_to_the_same_bits(digits, tmp_path, n_layers, sparsity):
    X, path = digits[:200], tmp_path / "model.safetensors"
    sae = make(max_iter=3, n_encoder_layers=n_layers, sparsity=sparsity).fit(X)
    sae.partial_fit(X)
    sae.save(path, optimizer=True)
    loaded = DeepTopKSparseAutoencoder.load(path)
    for _ in range(2):
        sae.partial_fit(X)
        loaded.partial_fit(X)
    assert state(loaded) == state(sae)
    anew = DeepTopKSparseAutoencoder.load(path)
    anew._trainer = None
    assert state(anew.partial_fit(X).partial_fit(X)) != state(sae)


def test_a_warm_start_goes_on_with_all_layers(digits):
    X = digits[:400]
    sae = make(warm_start=True).fit(X)
    before = errors(sae, X).sum()
    scales = sae.encoder_scales_.copy()
    sae.fit(X)
    assert errors(sae, X).sum() < before
    assert sae.n_iter_ == 6 and (sae.encoder_scales_ != scales).any()
    other = make(warm_start=True).fit(X).fit(X)
    assert state(other) == state(sae)
    with pytest.raises(ValueError, match="n_encoder_layers=3 as fitted"):
        sae.set_params(n_encoder_layers=2).fit(X)


def test_files_of_other_classes(digits, fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    with pytest.raises(ModelFileError, match="DeepTopKSparseAutoencoder"):
        TopKSparseAutoencoder.load(path)
    TopKSparseAutoencoder(16, max_iter=1, random_state=0).fit(digits[:50]).save(path)
    with pytest.raises(ModelFileError, match="DeepTopKSparseAutoencoder"):
        DeepTopKSparseAutoencoder.load(path)


def test_search_over_depth_and_k(digits):
    search = GridSearchCV(make(max_iter=4), {"n_encoder_layers": [1, 2], "k": [2, 6]}, cv=2)
    search.fit(digits[:300])
    assert search.best_params_["k"] == 6
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_weights_of_0_and_rows_left_out(digits):
    X = digits[:300]
    weight = np.ones(300)
    weight[200:] = 0
    assert state(make().fit(X, sample_weight=weight)) == state(make().fit(X[:200]))
    weight[:200] = np.linspace(0.5, 1.5, 200)
    assert np.isfinite(make().fit(X, sample_weight=weight).score(X))


def test_rows_that_are_read_when_asked_for(digits):
    rows = LazyRows(lambda start, stop: digits[start:stop], digits.shape, digits.dtype)
    lazily = make().fit(rows)
    assert lazily.score(digits) == pytest.approx(make().fit(digits).score(digits), abs=0.02)
    assert (lazily.transform(rows) != lazily.transform(digits)).nnz == 0


def test_few_rows_that_are_read_when_asked_for(digits):
    few = digits[:30]
    rows = LazyRows(lambda start, stop: few[start:stop], few.shape, few.dtype)
    sae = make(n_components=16, k=2).fit(rows)
    assert (sae.transform(rows) != sae.transform(few)).nnz == 0


def test_partial_fit_goes_on_at_the_constant_rate_of_one_layer(digits):
    """Whether the trainer of fit lives on or not; and it keeps no rows."""
    sae = make().fit(digits[:200])
    assert sae._trainer.rows_split is None
    loaded = pickle.loads(pickle.dumps(sae)).partial_fit(digits)
    rate = loaded._trainer._learning_rate(64)
    assert sae._trainer._learning_rate(64) == rate


def test_values_fitted_anew_and_pursuit(digits, fitted):
    X = digits[800:1000]
    refitted = pickle.loads(pickle.dumps(fitted)).set_params(refit=True)
    assert (errors(refitted, X) <= errors(fitted, X) * (1 + 1e-4) + 1e-3).all()
    pursued = make(transform_algorithm="omp").fit(digits[:800])
    assert errors(pursued, X).sum() < errors(refitted, X).sum()


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
def test_few_rows(digits, n, sparsity):
    sae = make(n_components=16, k=2, sparsity=sparsity).fit(digits[:n])
    assert sae.encoder_scales_.shape == (3, 16)
    assert np.isfinite(sae.inverse_transform(sae.transform(digits))).all()


def test_biases_follow_the_units():
    p = make(max_iter=2).fit(load_digits().data[:200])._parameters()
    scaling = Scaling(np.arange(64.0), 7.0)
    again = scaling.unscale_parameters(scaling.scale_parameters(p))
    for name, array in p.named().items():
        np.testing.assert_allclose(again.named()[name], array, rtol=1e-5, atol=1e-4, err_msg=name)


def test_tensors_and_devices(digits, fitted):
    codes = fitted.transform(torch.from_numpy(digits[:10]))
    assert (codes != fitted.transform(digits[:10])).nnz == 0
