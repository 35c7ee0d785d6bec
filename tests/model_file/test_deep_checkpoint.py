"""Fits of the deep estimator that were interrupted, in any of their stages."""

import math

import numpy as np
import pytest
from hostile_files import File, interrupted

from skl_sae import DeepTopKSparseAutoencoder, ImageAugmenter, ModelFileError, TopKSparseAutoencoder
from skl_sae._training._interactions import InteractionTrainer

KINDS = {
    "three layers": {},
    "one layer": {"n_encoder_layers": 1},
    "pursuit": {"transform_algorithm": "omp"},
    "early stopping": {"early_stopping": True, "tol": 0.01, "n_iter_no_change": 1},
    "augmenter": {"augmenter": ImageAugmenter((3, 4), n_copies=1)},
    "decoder": {"decoder_hidden_layer_sizes": (4,)},
    "all rows judge": {"n_rows": 30},
    "rates that destroy": {"learning_rate": 1.0},
    "threshold": {"sparsity": "batch_topk"},
    "threshold, early stopping": {"sparsity": "batch_topk", "early_stopping": True},
    "threshold, one layer": {"sparsity": "batch_topk", "n_encoder_layers": 1},
}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).random((60, 12)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


def make(**parameters):
    given = {"n_components": 16, "k": 3, "max_iter": 6, "random_state": 0} | parameters
    return DeepTopKSparseAutoencoder(**given)


def state(estimator):
    """Fitted attributes, and the units of the data."""
    return {
        name: repr([a.tobytes() for a in value]) if name == "decoder_coefs_"
        else value.tobytes() if isinstance(value, np.ndarray) else value
        for name, value in vars(estimator).items() if name.endswith("_") or name == "_offset"
    }  # fmt: skip


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def uninterrupted(request, rows):
    """Rows, parameters, and what they fit."""
    parameters = dict(request.param)
    X = rows[: parameters.pop("n_rows", None)]
    return X, parameters, state(make(**parameters).fit(X))


@pytest.mark.parametrize("n_epochs", [1, 3, 4])
def test_a_resumed_fit_equals_an_uninterrupted_one(uninterrupted, path, n_epochs):
    X, parameters, expected = uninterrupted
    resuming = make(**parameters, checkpoint=path, warm_start=True)
    with interrupted(n_epochs):
        resuming.fit(X)
    assert state(make(**parameters, checkpoint=path, warm_start=True).fit(X)) == expected
    # The checkpoint of a finished fit gives its result again.
    assert state(make(**parameters, checkpoint=path, warm_start=True).fit(X)) == expected


@pytest.mark.parametrize("step", [9, 18])
def test_a_fit_resumed_within_an_epoch_equals_an_uninterrupted_one(uninterrupted, path, step):
    X, parameters, _ = uninterrupted
    parameters = parameters | {"batch_size": 8}
    expected, n_steps = make(**parameters), []
    expected._watch = lambda *_: n_steps.append(1)
    expected.fit(X)
    parameters |= {"checkpoint": path, "checkpoint_interval": 0.2, "warm_start": True}
    stopping, n_done = make(**parameters), []

    def stop(done, planned):
        n_done.append(done)
        if len(n_done) == step:
            raise KeyboardInterrupt

    stopping._watch = stop
    with pytest.raises(KeyboardInterrupt):
        stopping.fit(X)
    resumed = make(**parameters)
    resumed._watch = lambda *_: n_done.append(1)
    assert state(resumed.fit(X)) == state(expected)
    assert len(n_steps) <= len(n_done) <= len(n_steps) + 3  # after the last checkpoint


def test_a_fit_interrupted_while_the_decoder_is_trained(rows, path, monkeypatch):
    parameters = {"decoder_hidden_layer_sizes": (4,)}
    expected = state(make(**parameters).fit(rows))
    parameters |= {"checkpoint": path, "warm_start": True}
    with monkeypatch.context() as patch:
        patch.setattr(InteractionTrainer, "step", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            make(**parameters).fit(rows)
    assert state(make(**parameters).fit(rows)) == expected


def test_a_warm_start_of_one_layer_or_of_all_is_resumed(rows, path):
    """By the estimator that began, and by one that is not fitted."""
    for n_layers in (1, 3):
        parameters = {"warm_start": True, "learning_rate": 1e-6}
        begun = make(n_encoder_layers=n_layers).fit(rows)
        begun.set_params(**parameters)
        expected = state(begun.fit(rows))
        for is_fitted in (False, True):
            path.unlink(missing_ok=True)
            other = make(n_encoder_layers=n_layers).fit(rows)
            other.set_params(**parameters, checkpoint=path)
            with interrupted(2):
                other.fit(rows)
            if not is_fitted:
                other = make(n_encoder_layers=n_layers, **parameters, checkpoint=path)
            assert state(other.fit(rows)) == expected


def test_checkpoints_of_other_fits(rows, path):
    parameters = {"checkpoint": path, "warm_start": True}
    make(**parameters).fit(rows)
    for change in ({"n_encoder_layers": 2}, {"decoder_hidden_layer_sizes": (3,)}, {"k": 2}):
        with pytest.raises(ModelFileError, match=next(iter(change))):
            make(**parameters, **{"k": 3} | change).fit(rows)
    with pytest.raises(ModelFileError, match="rows"):
        make(**parameters).fit(rows[:-1])
    with pytest.raises(ModelFileError, match="class"):
        TopKSparseAutoencoder(16, k=3, max_iter=6, random_state=0, **parameters).fit(rows)
    with pytest.raises(ModelFileError, match="kind"):
        DeepTopKSparseAutoencoder.load(path)


@pytest.fixture(scope="module")
def saved(rows, tmp_path_factory):
    """A checkpoint of the second stage."""
    path = tmp_path_factory.mktemp("deep") / "saved"
    with interrupted(4):
        make(checkpoint=path).fit(rows)
    return path


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("n_corrections",), value) for value in (0, 1, 3, -1, 2.0, True, "2", None, 2**63)),
        *((("stage",), value) for value in (None, {}, [], {"n_before": 3}, 3)),
        *((("stage", "n_before"), value) for value in (-1, 5, 2.0, True, None, math.nan)),
        *((("stage", "has_start"), value) for value in (False, 1, None)),
        (("stage_random_state",), [0, 0]),
        (("tied",), False),
        (("shape",), [2, 16, 12]),
    ],
)
def test_stages_that_do_not_fit(rows, saved, path, keys, value):
    file = File(saved)
    inner = file.config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write(path)
    with pytest.raises(ModelFileError, match=path.name):
        make(checkpoint=path, warm_start=True).fit(rows)


@pytest.mark.parametrize("name", ["stage", "n_corrections", "stage_random_state"])
def test_stages_that_are_not_there(rows, saved, path, name):
    file = File(saved)
    del file.config[name]
    file.write(path)
    with pytest.raises(ModelFileError, match=path.name):
        make(checkpoint=path, warm_start=True).fit(rows)


def test_a_generator_of_zeros(rows, saved, path):
    file = File(saved)
    file.arrays["stage_random_state"][:] = 0
    file.write(path)
    with pytest.raises(ModelFileError, match="stage_random_state"):
        make(checkpoint=path, warm_start=True).fit(rows)
