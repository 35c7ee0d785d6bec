"""Active atoms of new samples: thresholds of batch top-k, and pursuit that stops at a tolerance.

    python benchmarks/sparsity.py [--seeds 3] [--sets digits shuffled ...] [--only batch tolerance]

"batch": how many active atoms samples have that were not learned, as a share of k; by the threshold
of the samples learned and by the fitted one; and what it leaves (FVU, the fraction of variance
unexplained) with the threshold at which they have exactly k. Test sets are large, since the mean of
few samples is uncertain itself: its standard error is printed, and that of as many samples as are
learned, which is the least that any threshold fitted to these errs by. "tolerance": what matching
pursuit leaves with as many active atoms as each sample needs, and with equally many for all. What
is printed are Markdown tables.
"""

import argparse
from copy import copy

import numpy as np
from quality import Data, digits, mnist
from sklearn.datasets import load_digits

from skl_sae import TopKSparseAutoencoder
from skl_sae.datasets import load_photographs


def shuffled(n_train, n_components, seed):
    """Digits of writers of whom others are learned; the last of them are by other writers."""
    X, y = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(X))
    X, y = X[order].astype(np.float32), y[order]
    return Data(X[:n_train], y[:n_train], X[n_train:], y[n_train:], n_components, 8)


def photographs(side, n_train, n_components, k, seed, n_test=2000):
    X = load_photographs(n_train + n_test, (side, side), random_state=seed).data
    y = np.zeros(len(X))
    return Data(X[:n_train], y[:n_train], X[n_train:], y[n_train:], n_components, k)


def writers(data):
    """Numbers of the writers of the digits learned, about: each of 13 wrote a run of them."""
    return np.arange(len(data.train)) * 13 // (len(data.train) + len(data.test))


SETS = {
    "digits": lambda seed: digits(),
    "digits, groups": lambda seed: digits(),
    "digits, shuffled": lambda seed: shuffled(1437, 256, seed),
    "600 digits": lambda seed: shuffled(600, 128, seed),
    "300 digits": lambda seed: shuffled(300, 128, seed),
    "100 digits": lambda seed: shuffled(100, 128, seed),
    "MNIST": lambda seed: mnist(),
    "300 photographs of 16x16": lambda seed: photographs(16, 300, 256, 16, seed),
    "1,000 photographs of 16x16": lambda seed: photographs(16, 1000, 256, 16, seed),
    "photographs of 32x32": lambda seed: photographs(32, 800, 768, 32, seed),
    "photographs of 64x64": lambda seed: photographs(64, 800, 3072, 128, seed, n_test=600),
}
GROUPS = {"digits, groups": writers}


def unexplained(sae, X, codes):
    """Fraction of variance unexplained: of all samples, and of each."""
    left = np.square(X - sae.inverse_transform(codes)).sum(axis=1)
    spread = np.square(X - sae.centers_[0]).sum(axis=1)
    return left.sum() / spread.sum(), left / spread


def threshold_for(sae, X, k):
    """The threshold at which samples have k active atoms on average."""
    activations = (X - sae.centers_[0]) @ sae.encoder_.T + sae.encoder_bias_
    return np.sort(activations, axis=None)[-k * len(X)]


def with_threshold(sae, threshold):
    changed = copy(sae)
    changed.activation_thresholds_ = np.array([threshold], np.float32)
    return changed


def batch(data, seed, groups=None):
    """Active atoms by the learned samples' threshold and the fitted one; error, and that at k."""
    sae = TopKSparseAutoencoder(
        data.n_components, k=data.k, sparsity="batch_topk", random_state=seed
    ).fit(data.train, groups=groups)
    learned = with_threshold(sae, threshold_for(sae, data.train, data.k))
    exact = with_threshold(sae, threshold_for(sae, data.test, data.k))
    codes = sae.transform(data.test)
    counts = np.diff(codes.indptr)
    return [
        learned.transform(data.test).nnz / len(data.test) / data.k,
        counts.mean() / data.k,
        counts.std() / np.sqrt(len(counts)) / data.k,
        counts.std() / np.sqrt(len(data.train)) / data.k,
        unexplained(sae, data.test, codes)[0],
        unexplained(exact, data.test, exact.transform(data.test))[0],
    ]


TOLERANCES = 0.3, 0.1


def tolerance(data, seed):
    """Mean, least and most atoms by each tolerance; errors and shares of samples above it."""
    sae = TopKSparseAutoencoder(
        data.n_components, k=data.k, transform_algorithm="omp", random_state=seed
    ).fit(data.train)
    for tol in TOLERANCES:
        adaptive = copy(sae).set_params(transform_tol=tol)
        adaptive.k_ = min(4 * data.k, data.n_components)
        codes = adaptive.transform(data.test)
        counts = np.diff(codes.indptr)
        fixed = copy(sae)
        fixed.k_ = round(counts.mean())
        row = [tol, counts.mean(), counts.min(), counts.max()]
        for model, code in ((adaptive, codes), (fixed, fixed.transform(data.test))):
            whole, each = unexplained(model, data.test, code)
            row += [whole, (each > 1.001 * tol).mean()]
        yield row


def report_batch(sets, n_seeds):
    print(
        "| set | learned samples' threshold | fitted | standard deviation over seeds "
        "| standard error: test | learned | FVU | at k |\n|---|---|---|---|---|---|---|---|"
    )
    for name in sets:
        data = [SETS[name](seed) for seed in range(n_seeds)]
        groups = [GROUPS[name](one) if name in GROUPS else None for one in data]
        figures = np.array(list(map(batch, data, range(n_seeds), groups)))
        learned, fitted, *errors, fvu, at_k = figures.mean(axis=0)
        spread = np.std(figures[:, 1], ddof=min(1, n_seeds - 1))
        of_test, of_learned = (f"{error:.3f}" for error in errors)
        print(f"| {name} | {learned:.3f} | {fitted:.3f} | {spread:.3f} | {of_test} | {of_learned} "
              f"| {fvu:.4f} | {at_k:.4f} |", flush=True)  # fmt: skip


def report_tolerance(sets, n_seeds):
    print("| set | tolerance | atoms: mean, least, most | FVU | above | FVU, all alike | above |")
    print("|---|---|---|---|---|---|---|")
    for name in sets:
        figures = np.array([list(tolerance(SETS[name](seed), seed)) for seed in range(n_seeds)])
        for tol, mean, least, most, fvu, above, alike, alike_above in figures.mean(axis=0):
            print(f"| {name} | {tol:g} | {mean:.1f}, {least:.0f}, {most:.0f} | {fvu:.4f} "
                  f"| {above:.0%} | {alike:.4f} | {alike_above:.0%} |", flush=True)  # fmt: skip


PARTS = {"batch": report_batch, "tolerance": report_tolerance}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS)[:-1])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    for part in options.only:
        PARTS[part](options.sets, options.seeds)


if __name__ == "__main__":
    main()
