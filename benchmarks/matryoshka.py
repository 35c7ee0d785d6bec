"""Prefixes: one fit of nested models beside a fit of each size alone.

    python benchmarks/matryoshka.py [--seeds 3] [--sets digits mnist photographs]

Rows, atoms and k are those of `quality.py`. Printed are Markdown tables: the fraction of variance
unexplained on held-out rows of each prefix, of a model of as many atoms that was trained alone, and
of the first atoms of one trained without prefixes, as means over seeds, with the range of the ratio
of the first two; and the time of the one fit by that of the largest model alone and by that of all,
fitted in turn.
"""

import argparse
import time

import numpy as np
from depth import error
from quality import SETS

from skl_sae import TopKSparseAutoencoder

# Sizes of each fit: usual ones, then smallest ones of k atoms, fewer than 2 k, and as many or more.
USUAL = 32, 128, 512, 1024
PREFIXES = {
    "digits": [USUAL, (8, 32, 256), (12, 64, 256), (32, 64, 128, 256)],
    "mnist": [USUAL, (32, 256, 1024), (48, 256, 1024), (64, 256, 1024)],
    "photographs": [USUAL, (32, 192, 768), (48, 192, 768), (64, 192, 768)],
}


def fitted(data, n_components, seed, prefixes=None):
    """An estimator, and the seconds of its fit."""
    sae = TopKSparseAutoencoder(
        n_components, k=min(data.k, n_components), prefixes=prefixes, random_state=seed
    )
    start = time.perf_counter()
    sae.fit(data.train)
    return sae, time.perf_counter() - start


def measured(data, prefixes, seed):
    """FVU of each prefix, alone and cut off: (3, sizes); seconds of the one fit and of each."""
    nested, seconds = fitted(data, prefixes[-1], seed, prefixes)
    alone, seconds_alone = zip(*(fitted(data, n, seed) for n in prefixes), strict=True)
    # Of atoms that were trained without prefixes the first are just as many atoms.
    cut = alone[-1].set_params(prefixes=prefixes)
    models = [nested.prefix(n) for n in prefixes], alone, [cut.prefix(n) for n in prefixes]
    fvu = [[error(model, data) for model in row] for row in models]
    return fvu, (seconds / seconds_alone[-1], seconds / sum(seconds_alone))


def report(name, data, prefixes, n_seeds):
    results = [measured(data, prefixes, seed) for seed in range(n_seeds)]
    fvu, times = (np.array(part) for part in zip(*results, strict=True))
    print(f"\n**{name}**, k {data.k}\n")
    print("| atoms | prefix | alone | ratio | range | cut off |\n|---|---|---|---|---|---|")
    for n, (nested, alone, cut) in zip(prefixes, fvu.transpose(2, 1, 0), strict=True):
        ratios = nested / alone
        print(
            f"| {n} | {nested.mean():.4f} | {alone.mean():.4f} | {ratios.mean():.3f} | "
            f"{ratios.min():.3f} to {ratios.max():.3f} | {cut.mean():.4f} |"
        )
    largest, together = np.median(times, axis=0)
    print(
        f"\nTime by that of the largest alone {largest:.2f}, by that of all alone {together:.2f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=PREFIXES, default=[*PREFIXES])
    options = parser.parse_args()
    TopKSparseAutoencoder(16, prefixes=(8,), max_iter=2).fit(np.eye(20))  # compiles, once
    for name in options.sets:
        data = SETS[name]()
        for prefixes in PREFIXES[name]:
            report(name, data, prefixes, options.seeds)


if __name__ == "__main__":
    main()
