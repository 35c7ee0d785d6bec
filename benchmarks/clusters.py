"""A search on two workers of Dask, beside one worker.

    python benchmarks/clusters.py [--rounds 5]

Workers are processes of this machine with one thread each, that are started and warmed before
anything is measured. One worker does the whole search by itself, two are given its fits by
joblib. They take turns, in one run, and every search has to choose the same candidate by the same
scores. Printed is a Markdown table; ratios are those of neighbouring searches. What else the cores
do is in the seconds, but not in the ratio of processor time: one worker's to that of the busier of
two.
"""

import argparse
import os
import statistics
import time

import joblib
import numpy as np
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV

from skl_sae import TopKSparseAutoencoder
from skl_sae.datasets import load_photographs

GRID = {"k": [24, 32, 48, 64], "n_components": [128, 256]}  # eight candidates


def search(X, max_iter):
    """The search, done where it is called; the best is not fitted again."""
    sae = TopKSparseAutoencoder(max_iter=max_iter, random_state=0, device="cpu")
    return GridSearchCV(sae, GRID, cv=2, refit=False).fit(X)


def search_by_one(client, X, max_iter):
    # joblib would keep to this process where there is one worker.
    return client.submit(search, client.scatter(X), max_iter, pure=False).result()


def search_by_two(client, X, max_iter):
    return search(X, max_iter)  # joblib is told of the workers once for all rounds


def measure(searching, client, X, max_iter):
    """Seconds of a search, those of the busiest worker's processor, what was chosen, and scores."""
    before, start = client.run(time.process_time), time.perf_counter()
    result = searching(client, X, max_iter)
    seconds, after = time.perf_counter() - start, client.run(time.process_time)
    busiest = max(after[worker] - before[worker] for worker in before)
    return seconds, busiest, result.best_params_, result.cv_results_["mean_test_score"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    X = load_photographs(600, (16, 16), random_state=0).data

    settings = {"threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        LocalCluster(n_workers=1, **settings) as one, Client(one) as client_of_one,
        LocalCluster(n_workers=2, **settings) as two, Client(two) as client_of_two,
        # Rows that are given up and scattered again at once may be lost on the way.
        client_of_two.as_current(), joblib.parallel_config(backend="dask", scatter=[X]),
    ):  # fmt: skip
        ways = {1: (search_by_one, client_of_one), 2: (search_by_two, client_of_two)}
        for way in ways.values():
            measure(*way, X, max_iter=1)  # imports, and compiled code is read
        print(f"{os.cpu_count()} cores, {len(X)} rows of {X.shape[1]}, 8 candidates, 2 folds")
        print("| round | one worker, s | two workers, s | ratio | of processor time |")
        print("|---|---|---|---|---|")
        ratios = []
        for i in range(options.rounds):
            # Who is first changes, so that a machine that slows down favours neither.
            order = (1, 2) if i % 2 == 0 else (2, 1)
            taken = {n: measure(*ways[n], X, options.epochs) for n in order}
            (*of_one, chosen, scores), (*of_two, same, same_scores) = taken[1], taken[2]
            if chosen != same or not np.array_equal(scores, same_scores):
                raise SystemExit(f"Expected the choice and scores of one worker, got {same}.")
            ratios.append([one / two for one, two in zip(of_one, of_two, strict=True)])
            wall, processor = ratios[-1]
            print(
                f"| {i + 1} | {of_one[0]:.2f} | {of_two[0]:.2f} | {wall:.2f} | {processor:.2f} |",
                flush=True,
            )
    wall, processor = map(statistics.median, zip(*ratios, strict=True))
    print(f"Median ratios {wall:.2f}, {processor:.2f}; the best in every search: {chosen}")


if __name__ == "__main__":
    main()
