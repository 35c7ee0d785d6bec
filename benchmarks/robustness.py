"""Held-out error on about thirty kinds of data, beside PCA's and the mean's.

    python benchmarks/robustness.py [--seeds 3] [--kinds NAME ...] [--settings NAME ...] [--rst]

Each setting learns the training rows of each kind and reconstructs the rows held out. FVU is
the fraction of variance unexplained about the training mean, so that of the mean itself is 1. A
fit passes if its FVU is at most 1.1 times that of PCA with `k_` components, or below 0.01, and
never above 1 (with fewer than 50 rows: if it is never above 1.1). Printed are the largest FVU
over seeds and, in brackets, the largest ratio to PCA's; those that do not pass are marked with
an exclamation mark. The exit status says whether all pass.
"""

import argparse
import sys
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skl_sae import TopKSparseAutoencoder
from skl_sae.datasets import load_photographs

N_TRAIN, N_TEST, N_FEATURES = 1500, 500, 64
FEW = 50  # rows, below which reconstructing about as badly as the mean does is all that is asked

SETTINGS = {
    "default": {},
    "k 8 of 256": {"n_components": 256, "k": 8},
    "k 2 of 64": {"n_components": 64, "k": 2},
    "batch_topk, k 8 of 256": {"n_components": 256, "k": 8, "sparsity": "batch_topk"},
    "OMP, k 8 of 256": {"n_components": 256, "k": 8, "transform_algorithm": "omp"},
}


# --- Data: each a function of a generator and a number of rows ---


def normal(rng, n, n_features=N_FEATURES):
    return rng.standard_normal((n, n_features))


def correlated_normal(rng, n):
    mixing = rng.standard_normal((N_FEATURES, N_FEATURES))
    return normal(rng, n) @ mixing


def power_law(rng, n):
    """Variances fall as 1 / i along random directions."""
    basis, _ = np.linalg.qr(rng.standard_normal((N_FEATURES, N_FEATURES)))
    return normal(rng, n) * np.arange(1, N_FEATURES + 1) ** -0.5 @ basis


def low_rank(rng, n):
    return normal(rng, n, 5) @ rng.standard_normal((5, N_FEATURES))


def low_rank_with_noise(rng, n):
    return low_rank(rng, n) + 0.1 * normal(rng, n)


def unit_sphere(rng, n):
    X = normal(rng, n)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def sparse_dictionary(rng, n):
    """Three of 128 random unit-norm atoms a row."""
    atoms = unit_sphere(rng, 2 * N_FEATURES)
    codes = np.zeros((n, len(atoms)))
    for code in codes:
        code[rng.choice(len(atoms), 3, replace=False)] = rng.uniform(0.5, 1.5, 3)
    return codes @ atoms


def clusters(rng, n):
    centers = 3 * normal(rng, 10)
    return centers[rng.integers(10, size=n)] + 0.3 * normal(rng, n)


def sparse_counts(rng, n):
    return rng.poisson(0.1, (n, N_FEATURES))


def duplicated_rows(rng, n):
    return normal(rng, 20)[rng.integers(20, size=n)]


def one_outlier(rng, n):
    X = normal(rng, n)
    X[0, 0] = 1e4
    return X


def constant_column(rng, n):
    X = normal(rng, n)
    X[:, 0] = 1e7
    return X


def huge_column(rng, n):
    X = normal(rng, n)
    X[:, 0] *= 1e4
    return X


def one_hot(rng, n):
    return np.eye(N_FEATURES)[rng.integers(N_FEATURES, size=n)]


def _digits(rng, n):
    X = load_digits().data
    return X[rng.permutation(len(X))[:n]]


def digits(rng, n):
    return _digits(rng, n)


def digits_standardised(rng, n):
    return StandardScaler().fit_transform(_digits(rng, n))


def digits_whitened(rng, n):
    return PCA(40, whiten=True, random_state=0).fit_transform(_digits(rng, n))


def digits_with_outlier(rng, n):
    X = _digits(rng, n)
    X[0] = 1e4
    return X


def photographs(rng, n):
    seed = int(rng.integers(2**31))
    return load_photographs(n, (16, 16), random_state=seed).data


# Rows to learn, rows held out, and the function; other numbers where that is the point.
KINDS = {
    "normal": (N_TRAIN, N_TEST, normal),
    "normal, correlated": (N_TRAIN, N_TEST, correlated_normal),
    "normal, power law": (N_TRAIN, N_TEST, power_law),
    "normal, 1e6 + N(0, 1)": (N_TRAIN, N_TEST, lambda rng, n: 1e6 + normal(rng, n)),
    "normal, in units of 1e-20": (N_TRAIN, N_TEST, lambda rng, n: 1e-20 * normal(rng, n)),
    "normal, 1 feature": (N_TRAIN, N_TEST, lambda rng, n: normal(rng, n, 1)),
    "normal, 3 features": (N_TRAIN, N_TEST, lambda rng, n: normal(rng, n, 3)),
    "normal, 60 rows": (60, N_TEST, normal),
    "normal, 10 rows": (10, N_TEST, normal),
    "normal, 100 rows of 1,000": (100, N_TEST, lambda rng, n: normal(rng, n, 1000)),
    "constant column of 1e7": (N_TRAIN, N_TEST, constant_column),
    "column 1e4 times the others": (N_TRAIN, N_TEST, huge_column),
    "one outlier": (N_TRAIN, N_TEST, one_outlier),
    "low rank": (N_TRAIN, N_TEST, low_rank),
    "low rank with noise": (N_TRAIN, N_TEST, low_rank_with_noise),
    "duplicated rows": (N_TRAIN, N_TEST, duplicated_rows),
    "clusters": (N_TRAIN, N_TEST, clusters),
    "sparse dictionary": (N_TRAIN, N_TEST, sparse_dictionary),
    "unit sphere": (N_TRAIN, N_TEST, unit_sphere),
    "uniform": (N_TRAIN, N_TEST, lambda rng, n: rng.random((n, N_FEATURES))),
    "binary": (N_TRAIN, N_TEST, lambda rng, n: rng.integers(2, size=(n, N_FEATURES))),
    "one-hot": (N_TRAIN, N_TEST, one_hot),
    "Poisson": (N_TRAIN, N_TEST, lambda rng, n: rng.poisson(3, (n, N_FEATURES))),
    "Poisson, mostly 0": (N_TRAIN, N_TEST, sparse_counts),
    "exponential": (N_TRAIN, N_TEST, lambda rng, n: rng.exponential(size=(n, N_FEATURES))),
    "lognormal": (N_TRAIN, N_TEST, lambda rng, n: rng.lognormal(size=(n, N_FEATURES))),
    "t, 3 degrees": (N_TRAIN, N_TEST, lambda rng, n: rng.standard_t(3, (n, N_FEATURES))),
    "t, 1.5 degrees": (N_TRAIN, N_TEST, lambda rng, n: rng.standard_t(1.5, (n, N_FEATURES))),
    "Cauchy": (N_TRAIN, N_TEST, lambda rng, n: rng.standard_cauchy((n, N_FEATURES))),
    "digits": (1297, N_TEST, digits),
    "digits, 10 rows": (10, N_TEST, digits),
    "digits, standardised": (1297, N_TEST, digits_standardised),
    "digits, whitened": (1297, N_TEST, digits_whitened),
    "digits, one outlier": (1297, N_TEST, digits_with_outlier),
    "photographs, 16x16": (600, 200, photographs),
}


def split_rows(kind, seed):
    """Training rows and held-out rows; an outlier is among the first, which are learned."""
    n_train, n_test, make = KINDS[kind]
    X = np.asarray(make(np.random.default_rng(seed), n_train + n_test), dtype=np.float64)
    return X[:n_train], X[n_train:]


def fvu(X, X_reconstructed, mean):
    return float(np.square(X - X_reconstructed).sum() / np.square(X - mean).sum())


def pca_fvu(train, test, k):
    model = PCA(min(k, *train.shape), random_state=0).fit(train)
    return fvu(test, model.inverse_transform(model.transform(test)), train.mean(axis=0))


def figures(kind, setting, seed):
    """FVU of a fit, that of PCA with `k_` components, whether it passes, and the seconds."""
    train, test = split_rows(kind, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sae = TopKSparseAutoencoder(**SETTINGS[setting], random_state=seed).fit(train)
        reconstructed = sae.inverse_transform(sae.transform(test))
    seconds = time.perf_counter() - start
    ours, theirs = fvu(test, reconstructed, train.mean(axis=0)), pca_fvu(train, test, sae.k_)
    if len(train) < FEW:
        passes = ours <= 1.1
    else:
        passes = ours <= 1 and (ours <= 1.1 * theirs or ours < 0.01)
    return ours, theirs, passes, seconds


def cell(results):
    """The worst over seeds."""
    ours = max(result[0] for result in results)
    ratio = max(result[0] / max(result[1], 1e-12) for result in results)
    ratio = f"{ratio:.2f}" if ratio < 100 else ">100"
    return f"{ours:.3f} ({ratio})" + ("" if all(result[2] for result in results) else " !")


def print_row(cells, widths):
    print("  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip())


def print_rst(rows):
    """As a list table for the documentation."""
    print(".. list-table::\n   :header-rows: 1\n")
    for row in rows:
        for i, text in enumerate(row):
            print(f"   {'  ' if i else '* '}- {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--rst", action="store_true", help="also as a table for the docs")
    options = parser.parse_args()
    header = ["largest FVU (ratio to PCA's)", *options.settings]
    widths = [max(map(len, [header[0], *options.kinds]))]
    widths += [max(len(name), 16) for name in options.settings]
    print_row(header, widths)
    rows, n_failed, n_fits, seconds = [header], 0, 0, 0.0
    for kind in options.kinds:
        row = [kind]
        for setting in options.settings:
            results = [figures(kind, setting, seed) for seed in range(options.seeds)]
            row.append(cell(results))
            n_failed += sum(not result[2] for result in results)
            n_fits += len(results)
            seconds += sum(result[3] for result in results)
        rows.append(row)
        print_row(row, widths)
        sys.stdout.flush()
    print(f"\n{n_fits - n_failed} of {n_fits} fits pass; {seconds:.0f} s in all.")
    if options.rst:
        print_rst(rows)
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
