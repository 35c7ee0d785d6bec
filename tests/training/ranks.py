"""Fits that several processes share, run as one of them: python ranks.py task folder.

Results go to the folder, one file for each task and rank.
"""

import contextlib
import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    LazyRows,
    TopKSparseAutoencoder,
)
from skl_sae._engine import _tuning
from skl_sae._engine._parameters import Batch, Objective
from skl_sae._engine._parts import Parts
from skl_sae._engine._sharded_atoms import AtomShards
from skl_sae._engine._spread import spread_model
from skl_sae._engine.init._start import Code, initial_parameters
from skl_sae._training import _collective, _lazy, _one_machine
from skl_sae.datasets import load_photographs

# A random start, since gradients at one of principal directions are little but rounding, which Adam
# makes steps of.
GIVEN = {
    "n_components": 97, "k": 8, "init": "random", "max_iter": 4, "random_state": 0, "device": "cpu",
}  # fmt: skip
ATOMS = {
    "untied": {"tied": False},
    "tied": {},
    "dense products": {"k": 16, "tied": False},
    "dense products, tied": {"k": 16},
    "few atoms": {"n_components": 7, "k": 5},
    "batch top-k": {"sparsity": "batch_topk"},
    "batch top-k, early stopping": {"sparsity": "batch_topk", "early_stopping": True},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 1, "max_iter": 6},
    "pursuit": {"transform_algorithm": "omp"},
    "dead atoms": {"n_components": 512, "tied": False, "max_iter": 6},
    "dead atoms, dense": {"n_components": 512, "k": 64, "batch_size": 8, "learning_rate": 0.02},
}
WEIGHTED = {"weights": {}, "weights, batch top-k": {"sparsity": "batch_topk"}}
MEMBERS = {
    "members": {"n_estimators": 2, "tied": False},
    "uneven members": {"n_estimators": 3},
    "dense members": {"n_estimators": 3, "k": 16, "n_components": 96},
    "dense members, uneven": {"n_estimators": 3, "k": 16},
    "consistency": {"n_estimators": 3, "consistency": 0.3, "tied": False, "max_iter": 8},
    "large members": {"n_estimators": 2, "n_components": 3072, "tied": False, "max_iter": 3},
}
DEFAULTS = {
    "default start": {"init": "pca"},
    "default start, untied": {"init": "pca", "tied": False},
}
RESUMED = {"members": MEMBERS["members"], "untied": ATOMS["untied"]}
# Of four batches, two are learned by the time that a file is written.
RESUMED |= {
    f"{name}, within an epoch": settings | {"checkpoint_interval": 0.3}
    for name, settings in RESUMED.items()
}
STEPS = {
    "untied": (1, 96, False), "tied": (1, 96, True), "dense": (1, 24, False),
    "dense, tied": (1, 24, True), "members": (3, 96, False), "dense members": (3, 24, True),
    "three by atoms": (3, 96, False), "dense, three by atoms": (3, 24, False),
}  # fmt: skip
CURVES = "loss_curve_", "correlation_curve_", "validation_scores_"
ARRAYS = (
    "components_", "encoder_", "encoder_bias_", "centers_", "activation_thresholds_",
    "atom_frequency_",
)  # fmt: skip


def photographs(n=120):
    return load_photographs(n, (12, 12), "L").data


def weights(n=120):
    """Weights that are no whole numbers; some rows count for nothing."""
    return np.random.default_rng(0).choice([0, 0.5, 1, 2.25], n)


def fitted(settings, weight=None):
    """Attributes of a fit, by name."""
    return attributes(TopKSparseAutoencoder(**GIVEN | settings).fit(photographs(), None, weight))


def fitted_to_file(settings):
    """Attributes of a fit to rows that are read when they are asked for."""
    X = photographs()
    rows = LazyRows(lambda start, stop: X[start:stop], X.shape, n_at_once=7)
    with mock.patch.object(_lazy, "_FEW_NUMBERS", 10):
        return attributes(TopKSparseAutoencoder(**GIVEN | settings).fit(rows))


def ensembles(seed):
    """Scores of ensembles, whose members are fitted one after another."""
    member = TopKSparseAutoencoder(**GIVEN | {"random_state": None})
    kinds = BaggingSparseAutoencoder, BoostingSparseAutoencoder
    fits = [kind(member, n_estimators=2, random_state=seed).fit(photographs()) for kind in kinds]
    return {type(fit).__name__: np.asarray(fit.score(photographs())) for fit in fits}


def attributes(sae):
    found = {name: getattr(sae, name, None) for name in (*ARRAYS, *CURVES)}
    found["score"] = sae.score(photographs())
    model = sae._trainer.model
    found |= {f"model.{name}": array for name, array in model.optimizer_arrays().items()}
    return {name: np.asarray(value) for name, value in found.items() if value is not None}


def step(name, ranks=None):
    """Parameters and moments after a step with dead atoms and consistency, and what it lost."""
    n_members, n_components, tied = STEPS[name]
    rows = torch.from_numpy(photographs(40))
    rows = (rows - rows.mean(0)) / rows.std()
    shape, generator = (n_members, n_components, rows.shape[1]), torch.Generator().manual_seed(0)
    parameters, _ = initial_parameters("random", None, shape, Code(6, True), generator)
    if not tied:
        parameters.encoder = parameters.decoder.copy()
    if ranks is not None and "by atoms" in name:  # as with more ranks than members
        parts = Parts(shape, ranks.size, ranks.rank, by_members=False)
        model = AtomShards(parameters, k=6, ranks=ranks, parts=parts)
    else:
        model = spread_model(parameters, ranks, k=6)
    model.counts.rows_since[:, ::3] = 1000
    result = model.step(Batch(rows[:20]), Objective(0.3, 0.25, 500), 1e-3)
    found = model.arrays().named() | model.optimizer_arrays()
    return found | {"loss": np.asarray(float(result.loss)), "guess": result.reconstruction.numpy()}


# --- Tasks ---


def task_fits(folder):
    """Every case, one after another."""
    for cases in (ATOMS, MEMBERS, DEFAULTS):
        for name, settings in cases.items():
            keep(folder, name, fitted(settings))
    for name, settings in WEIGHTED.items():
        keep(folder, name, fitted(settings, weights()))
    for name, settings in RESUMED.items():
        keep(folder, f"{name}, file", fitted_to_file(settings))
    keep(folder, "any seed", fitted({"random_state": None}))
    keep(folder, "untied, again", fitted(ATOMS["untied"]))
    with mock.patch.object(_one_machine, "_FOLDER", "none"):
        for name in ("untied", "consistency"):
            keep(folder, f"{name}, by connections", fitted((ATOMS | MEMBERS)[name]))
    if dist.get_rank() == 0:  # one that nobody shares would wait for ever
        with ThreadPoolExecutor() as pool:
            pool.submit(fitted, ATOMS["few atoms"]).result()
    conv = ConvTopKSparseAutoencoder(
        16, image_shape=(12, 12), kernel_size=4, k=8, max_iter=2, random_state=0, device="cpu"
    ).fit(photographs())
    keep(folder, "conv", {"components_": conv.components_, "centers_": conv.centers_})
    sae = TopKSparseAutoencoder(**GIVEN)
    for rows in np.split(photographs(), 2):
        sae.partial_fit(rows)
    keep(folder, "partial_fit", attributes(sae))
    keep(folder, "ensembles", ensembles(0))
    keep(folder, "ensembles, any seed", ensembles(None))
    with _collective._joined():
        for name in STEPS:
            keep(folder, f"step, {name}", step(name, _collective.current()))
    checkpoints(folder)
    troubles(folder)


def checkpoints(folder):
    """Write two checkpoints, and go on from those of a single process."""
    for name, settings in RESUMED.items():
        interrupt(settings | resumable(folder / f"{name}, two"))
        keep(folder, f"resumed {name}", fitted(settings | resumable(folder / f"{name}, one")))


def resumable(path):
    """Parameters of a fit of six epochs that begins, or goes on, with a file."""
    return {"checkpoint": path, "max_iter": 6, "warm_start": True}


def interrupt(settings):
    """Fit, until the user stops it in the fifth epoch."""
    epochs = itertools.count(1)

    def stop(*_):
        if next(epochs) == 5:
            raise KeyboardInterrupt

    with mock.patch.object(TopKSparseAutoencoder, "_print_epoch", stop):
        with contextlib.suppress(KeyboardInterrupt):
            fitted(settings)


def troubles(folder):
    """Fits that fail on one rank or all, and one that does not, by the same processes."""
    rank, X = dist.get_rank(), photographs()
    sae = TopKSparseAutoencoder(**GIVEN)
    broken = np.where(np.arange(len(X))[:, None] == 0, np.nan, X)
    of_rank = TopKSparseAutoencoder(**GIVEN | {"k": 8 + rank})
    told = {}
    for name, fit in {
        "other rows": lambda: sae.fit(X + rank),
        "other parameters": lambda: of_rank.fit(X),
        "one refuses": lambda: sae.fit(broken if rank else X),
        "one is interrupted": lambda: Interrupted(**GIVEN).fit(X),
    }.items():
        start = time.monotonic()
        try:
            fit()
        except (Exception, KeyboardInterrupt) as error:
            told[name] = f"{type(error).__name__}: {error}", time.monotonic() - start
    keep(folder, "troubles", {name: np.asarray(what) for name, (what, _) in told.items()})
    keep(folder, "seconds", {name: np.asarray(seconds) for name, (_, seconds) in told.items()})
    keep(folder, "after troubles", attributes(sae.fit(X)))


class Interrupted(TopKSparseAutoencoder):
    """Stopped by its user after the second epoch, where it prints."""

    def _print_epoch(self, progress):
        if dist.get_rank() == 1 and progress.n_epochs == 2:
            raise KeyboardInterrupt


def task_long(folder):
    """A fit with checkpoints that would take minutes."""
    settings = {"max_iter": 100000, "tied": False, "checkpoint": folder / "long.ckpt"}
    fitted(settings)


def keep(folder, name, arrays):
    np.savez(folder / f"{name}-{dist.get_rank()}.npz", **arrays)


if __name__ == "__main__":
    _tuning.SPREAD_SIZE = _tuning.HALVED = 0
    dist.init_process_group("gloo")
    globals()[f"task_{sys.argv[1]}"](Path(sys.argv[2]))
    dist.destroy_process_group()
