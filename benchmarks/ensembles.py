"""Held-out error of autoencoders that add up or are averaged, beside one as large as all of them.

    python benchmarks/ensembles.py [--seeds 3] [--sets digits mnist photographs cells]
        [--only NAME ...]

FVU is the fraction of variance about the training mean that is left unexplained of rows held out, a
mean over seeds. Digits: members of 256 atoms, k 8; one of 768, k 24. Photographs, MNIST and cells:
a flat model and small atoms, which share the active numbers that each alone has. What is printed
are Markdown tables.
"""

import argparse
import math
import tempfile
import time
import warnings
from functools import partial

import numpy as np
from quality import SETS as ALL_SETS
from quality import Data

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    ImageLoader,
    TopKSparseAutoencoder,
)
from skl_sae.datasets import make_cells
from skl_sae.metrics import fraction_of_variance_unexplained

PURSUIT = {"transform_algorithm": "omp"}


def one(data, seed, **parameters):
    sae = TopKSparseAutoencoder(3 * data.n_components, k=3 * data.k, random_state=seed)
    return sae.set_params(**parameters)


def member(data, **parameters):
    return TopKSparseAutoencoder(data.n_components, k=data.k).set_params(**parameters)


def boosting(data, seed, together=False, algorithm="stages", **parameters):
    """Stages; values of all are fitted together, or atoms of all are picked together."""
    return BoostingSparseAutoencoder(
        member(data, **parameters), 3, refit=together, transform_algorithm=algorithm,
        random_state=seed,
    )  # fmt: skip


def side_by_side(data, seed, **parameters):
    return member(data, n_estimators=3, random_state=seed, **parameters)


def bagging(data, seed, weights="uniform", **parameters):
    estimator = member(data, **parameters)
    return BaggingSparseAutoencoder(estimator, 3, weights=weights, random_state=seed)


OF_DIGITS = {
    "one of 768, k 24": one,
    "one, refit": partial(one, refit=True),
    "one of 256, k 24": partial(one, n_components=256),
    "one of 256, k 24, refit": partial(one, n_components=256, refit=True),
    "boosting 3 of 256, k 8": boosting,
    "boosting, stages refit": partial(boosting, refit=True),
    "boosting, refit": partial(boosting, together=True),
    "boosting, batch top-k": partial(boosting, sparsity="batch_topk"),
    "boosting, batch top-k, refit": partial(boosting, sparsity="batch_topk", together=True),
    "n_estimators=3": side_by_side,
    "bagging, uniform": bagging,
    "bagging, least squares": partial(bagging, weights="least_squares"),
    "one by pursuit": partial(one, **PURSUIT),
    "one of 256, k 24, by pursuit": partial(one, n_components=256, **PURSUIT),
    "boosting by pursuit": partial(boosting, **PURSUIT),
    "boosting by pursuit, refit": partial(boosting, together=True, **PURSUIT),
    "boosting by pursuit among all": partial(boosting, algorithm="omp", **PURSUIT),
    "n_estimators=3 by pursuit": partial(side_by_side, **PURSUIT),
    "bagging by pursuit": partial(bagging, **PURSUIT),
}


def flat(data, k):
    return TopKSparseAutoencoder(data.n_components, k=k)


def small_atoms(data, k):
    """Atoms of 16x16 pixels of photographs, of 8x8 pixels of MNIST and cells."""
    if data.image_shape:
        return ConvTopKSparseAutoencoder(512, image_shape=data.image_shape, kernel_size=16, k=k)
    side = math.isqrt(data.train.shape[1])
    return ConvTopKSparseAutoencoder(256, image_shape=(side, side), kernel_size=8, k=k)


def alone(data, seed, make=flat, refit=False):
    return make(data, data.k).set_params(random_state=seed, refit=refit)


def hierarchy(data, seed, makes=(flat, small_atoms), shares=(0.5, 0.5), refit=False):
    """Stages that share k."""
    stages = [
        (f"{make.__name__} {i}", make(data, round(share * data.k)))
        for i, (make, share) in enumerate(zip(makes, shares, strict=True))
    ]
    return BoostingSparseAutoencoder(stages, refit=refit, random_state=seed)


OF_IMAGES = {
    "flat": alone,
    "small atoms": partial(alone, make=small_atoms),
    "flat, then small atoms": hierarchy,
    "small atoms, then flat": partial(hierarchy, makes=(small_atoms, flat)),
    "flat, refit": partial(alone, refit=True),
    "small atoms, refit": partial(alone, make=small_atoms, refit=True),
    "flat, then small atoms, refit": partial(hierarchy, refit=True),
    "small atoms, then flat, refit": partial(hierarchy, makes=(small_atoms, flat), refit=True),
    "two flat, refit": partial(hierarchy, makes=(flat, flat), refit=True),
    "flat for a quarter, refit": partial(hierarchy, shares=(0.25, 0.75), refit=True),
}


def cells():
    """Synthetic cells in 32x32 pixels: 480 to learn and 120 held out."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_cells(folder, 600, 128, random_state=0)
        X = ImageLoader((32, 32), mode="L").fit_transform(files.filenames)
    order = np.random.RandomState(0).permutation(len(X))
    X, y = np.float32(X[order]), files.target[order]
    return Data(X[:480], y[:480], X[480:], y[480:], n_components=512, k=32)


CONTENDERS = {
    "digits": OF_DIGITS, "mnist": OF_IMAGES, "photographs": OF_IMAGES, "cells": OF_IMAGES,
}  # fmt: skip
SETS = ALL_SETS | {"cells": cells}


def measure(make, data, seeds):
    """FVU and active numbers of rows held out, and seconds of fit; means over seeds."""
    figures = []
    for seed in range(seeds):
        start = time.perf_counter()
        sae = make(data, seed).fit(data.train)
        seconds = time.perf_counter() - start
        codes = sae.transform(data.test)
        error = fraction_of_variance_unexplained(
            data.test, sae.inverse_transform(codes), data.train.mean(axis=0)
        )
        figures.append((error, codes.nnz / len(data.test), seconds))
    return np.mean(figures, axis=0)


def main(sets, seeds, only):
    for name in sets:
        print(f"\n{name}, {seeds} seed(s)\n\n| | FVU | active | fit, s |\n|---|---|---|---|")
        data = SETS[name]()
        for label, make in CONTENDERS[name].items():
            if only and label not in only:
                continue
            error, active, seconds = measure(make, data, seeds)
            print(f"| {label} | {error:.4f} | {active:.1f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--only", nargs="+", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    main(arguments.sets, arguments.seeds, arguments.only)
