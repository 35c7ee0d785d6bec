"""A search on two workers of Dask, beside one worker.

    python benchmarks/clusters.py [--rounds 5]

Workers are processes of this machine with one thread each, that are started and warmed before
anything is measured. Searches on one and on two take turns, in one run, and every one has to choose
the same candidate by the same scores. Printed is a Markdown table; ratios are those of
neighbouring searches. Two cores are needed, and what else they do is in the figures.
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


def seconds_and_choice(client, X, max_iter):
    """Seconds of a search, what it chose and the scores; the best is not fitted again."""
    sae = TopKSparseAutoencoder(max_iter=max_iter, random_state=0, device="cpu")
    search = GridSearchCV(sae, GRID, cv=2, refit=False)
    with client.as_current(), joblib.parallel_config(backend="dask", scatter=[X]):
        start = time.perf_counter()
        search.fit(X)
        seconds = time.perf_counter() - start
    return seconds, search.best_params_, search.cv_results_["mean_test_score"]


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
    ):  # fmt: skip
        clients = {1: client_of_one, 2: client_of_two}
        for client in clients.values():
            seconds_and_choice(client, X, max_iter=1)  # imports, and compiled code is read
        print(f"{os.cpu_count()} cores, {len(X)} rows of {X.shape[1]}, 8 candidates, 2 folds")
        print("| round | one worker, s | two workers, s | ratio |")
        print("|---|---|---|---|")
        ratios = []
        for i in range(options.rounds):
            # Who is first changes, so that a machine that slows down favours neither.
            order = (1, 2) if i % 2 == 0 else (2, 1)
            taken = {n: seconds_and_choice(clients[n], X, options.epochs) for n in order}
            (seconds_of_one, chosen, scores), (seconds_of_two, *same) = taken[1], taken[2]
            if chosen != same[0] or not np.array_equal(scores, same[1]):
                raise SystemExit(f"Expected the choice and scores of one worker, got {same}.")
            ratios.append(seconds_of_one / seconds_of_two)
            print(
                f"| {i + 1} | {seconds_of_one:.2f} | {seconds_of_two:.2f} | {ratios[-1]:.2f} |",
                flush=True,
            )
    print(f"Median ratio {statistics.median(ratios):.2f}; best in every search: {chosen}")


if __name__ == "__main__":
    main()
