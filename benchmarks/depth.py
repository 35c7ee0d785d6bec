"""Layers of the encoder: held-out error, and time to fit and to code.

    python benchmarks/depth.py [--seeds 3] [--sets digits mnist photographs] [--rows 2000]
        [--layers 1 2 3 4] [--sparsity batch_topk] [--hidden 64] [--omp]

Rows and atoms are those of `quality.py`. FVU is divided by that of PCA with k components, in one
pass and with values fitted anew (refit); beside that is the mean number of active atoms, as a
multiple of k. Codes are made in turn by all models and by pursuit
(`TopKSparseAutoencoder`'s), and times are the least of several, so that their ratios hold on a
machine that does other work, too. With --hidden, three layers before a decoder with hidden layers
of these sizes, by its linear part alone and by the whole; with --omp, atoms adapted to pursuit.
What is printed are Markdown tables of means over seeds.
"""

import argparse
import copy
import time

import numpy as np
from quality import SETS
from sklearn.decomposition import PCA

from skl_sae import DeepTopKSparseAutoencoder

ROUNDS = 7


def make(data, seed, **parameters):
    return DeepTopKSparseAutoencoder(data.n_components, k=data.k, random_state=seed, **parameters)


def unexplained(data, rows):
    mean = data.train.mean(axis=0)
    return np.square(data.test - rows).sum() / np.square(data.test - mean).sum()


def error(model, data):
    return unexplained(data, model.inverse_transform(model.transform(data.test)))


def seconds(function, X):
    start = time.perf_counter()
    function(X)
    return time.perf_counter() - start


def report_layers(data, of_pca, layers, n_seeds, sparsity):
    """FVU in one pass and refitted, seconds to fit, and to code by each number of layers."""
    figures = {n: [] for n in layers}
    for seed in range(n_seeds):
        models = {n: make(data, seed, n_encoder_layers=n, sparsity=sparsity) for n in layers}
        fits = {n: seconds(model.fit, data.train) for n, model in models.items()}
        times = coding_times(data, models)
        for n, model in models.items():
            errors = error(model, data), error(model.set_params(refit=True), data)
            n_active = model.transform(data.test).nnz / len(data.test) / data.k
            figures[n].append([*(e / of_pca for e in errors), n_active, fits[n], times[n]])
    print("| layers | one pass | refit | active / k | fit, s | codes, us a row |")
    print("|---|---|---|---|---|---|")
    for n, rows in figures.items():
        row = "| {} | {:.3f} | {:.3f} | {:.3f} | {:.1f} | {:.0f} |"
        print(row.format(n, *np.mean(rows, axis=0)))
    print(f"\nPursuit with the atoms of the last: {times['omp']:.0f} us a row.", flush=True)


def coding_times(data, models):
    """Microseconds a row, by name; pursuit is that of the last model's atoms."""
    *_, last = models.values()
    pursuit = copy.deepcopy(last).set_params(transform_algorithm="omp")
    models = models | {"omp": pursuit}
    rounds = [
        {name: seconds(model.transform, data.test) for name, model in models.items()}
        for _ in range(ROUNDS)
    ]
    return {name: 1e6 * min(r[name] for r in rounds) / len(data.test) for name in models}


def report_hidden(data, of_pca, sizes, n_seeds):
    """FVU of the linear part of a decoder with hidden layers, and of the whole."""
    figures = []
    for seed in range(n_seeds):
        model = make(data, seed, decoder_hidden_layer_sizes=sizes).fit(data.train)
        linear = model.transform(data.test) @ model.components_ + model.centers_[0]
        figures.append([unexplained(data, linear) / of_pca, error(model, data) / of_pca])
    linear, whole = np.mean(figures, axis=0)
    print(f"\nHidden layers {sizes}: {whole:.4f}, their linear part {linear:.4f}", flush=True)


def report_pursuit(data, of_pca, n_seeds):
    errors = [
        error(make(data, seed, transform_algorithm="omp").fit(data.train), data)
        for seed in range(n_seeds)
    ]
    print("\nOMP:", *(f"{e / of_pca:.3f}" for e in errors), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=["digits", "mnist", "photographs"]
    )
    parser.add_argument("--rows", type=int, help="number of rows to learn, if not all")
    parser.add_argument("--layers", nargs="*", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--sparsity", choices=["topk", "batch_topk"], default="topk")
    parser.add_argument("--hidden", nargs="+", type=int, default=[])
    parser.add_argument("--omp", action="store_true")
    options = parser.parse_args()
    DeepTopKSparseAutoencoder(16, max_iter=2).fit(np.eye(20))  # compiles, once on a machine
    for name in options.sets:
        data = SETS[name]()
        data = data._replace(train=data.train[: options.rows])
        of_pca = error(PCA(data.k, random_state=0).fit(data.train), data)
        print(f"\n**{name}**: {data.n_components} atoms, k {data.k}, FVU / PCA's\n", flush=True)
        if options.layers:
            report_layers(data, of_pca, options.layers, options.seeds, options.sparsity)
        if options.hidden:
            report_hidden(data, of_pca, tuple(options.hidden), options.seeds)
        if options.omp:
            report_pursuit(data, of_pca, options.seeds)


if __name__ == "__main__":
    main()
