"""Layers of the encoder: held-out error, and time to fit and to code.

    python benchmarks/depth.py [--seeds 3] [--sets digits mnist photographs] [--layers 1 2 3 4]

Rows and atoms are those of `quality.py`. FVU is divided by that of PCA with k components, in one
pass and with values fitted anew (refit). Times to code are the least of several. What is printed
are Markdown tables of means over seeds.
"""

import argparse
import time

import numpy as np
from quality import SETS
from sklearn.decomposition import PCA

from skl_sae import DeepTopKSparseAutoencoder

ROUNDS = 7


def measured(data, n_layers, seed):
    """Seconds to fit, FVU in one pass and refitted, and seconds to code the rows held out."""
    sae = DeepTopKSparseAutoencoder(
        data.n_components, n_encoder_layers=n_layers, k=data.k, random_state=seed
    )
    start = time.perf_counter()
    sae.fit(data.train)
    row = [time.perf_counter() - start]
    for refit in (False, True):
        sae.set_params(refit=refit)
        row.append(unexplained(sae, data))
    sae.set_params(refit=False)
    return [*row, min(seconds(sae.transform, data.test) for _ in range(ROUNDS))]


def unexplained(model, data):
    left = data.test - model.inverse_transform(model.transform(data.test))
    return np.square(left).sum() / np.square(data.test - data.train.mean(axis=0)).sum()


def seconds(function, X):
    start = time.perf_counter()
    function(X)
    return time.perf_counter() - start


def report(name, layers, n_seeds):
    data = SETS[name]()
    of_pca = unexplained(PCA(data.k, random_state=0).fit(data.train), data)
    print(f"\n**{name}**: {data.n_components} atoms, k {data.k}, FVU / PCA's\n")
    print("| layers | one pass | refit | fit, s | codes, us a row |")
    print("|---|---|---|---|---|", flush=True)
    for n_layers in layers:
        rows = [measured(data, n_layers, seed) for seed in range(n_seeds)]
        fit, one_pass, refit, coding = np.mean(rows, axis=0)
        print(
            f"| {n_layers} | {one_pass / of_pca:.3f} | {refit / of_pca:.3f} | {fit:.1f} | "
            f"{1e6 * coding / len(data.test):.0f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=["digits", "mnist", "photographs"]
    )
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 2, 3, 4])
    options = parser.parse_args()
    DeepTopKSparseAutoencoder(16, max_iter=2).fit(np.eye(20))  # compiles, once on a machine
    for name in options.sets:
        report(name, options.layers, options.seeds)


if __name__ == "__main__":
    main()
