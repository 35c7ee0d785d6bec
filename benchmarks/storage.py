"""Saving and loading a large model, beside writing and reading as many bytes with hashing.

    python benchmarks/storage.py [--members 3] [--rounds 3]

Both in turns, in one run, in a folder of the current one. Loading's peak of memory is that of a
process that does nothing else. What is printed is a Markdown table.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from speed import peak_memory

from skl_sae import TopKSparseAutoencoder

CHUNK = 2**24
WARM = 2**30  # bytes


def large_model(n_members):
    """Untied members of 3,072 atoms over 12,288 features, hardly trained."""
    rows = np.random.default_rng(0).random((32, 12288), dtype=np.float32)
    return TopKSparseAutoencoder(
        3072, k=128, n_estimators=n_members, tied=False, init="random", max_iter=1, random_state=0
    ).fit(rows)


def write_plainly(path, content):
    digest = hashlib.sha256()
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(content), CHUNK):
            digest.update(content[start : start + CHUNK])
            file.write(content[start : start + CHUNK])
        os.fsync(file.fileno())


def read_plainly(path):
    content, digest = np.empty(os.path.getsize(path), np.uint8), hashlib.sha256()
    view = memoryview(content)
    with open(path, "rb", buffering=0) as file:
        for start in range(0, len(view), CHUNK):
            file.readinto(view[start : start + CHUNK])
            digest.update(view[start : start + CHUNK])


def seconds(function, *arguments):
    """Seconds of a call that, like the one before it, finds memory already handed out."""
    np.ones(WARM, np.uint8)
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure(model, folder, n_rounds):
    """Median seconds to save, write, load and read, and of each round's two ratios."""
    saved, plain = folder / "model.safetensors", folder / "plain"
    model.save(saved)
    content = memoryview(saved.read_bytes())
    rounds = []
    for _ in range(n_rounds):
        # Each writes a new file: what an old one is worth in the cache is no matter of ours.
        for path in (saved, plain):
            path.unlink(missing_ok=True)
        rounds.append([
            seconds(model.save, saved), seconds(write_plainly, plain, content),
            seconds(TopKSparseAutoencoder.load, saved), seconds(read_plainly, plain),
        ])  # fmt: skip
    ratios = [(save / write, load / read) for save, write, load, read in rounds]
    return [statistics.median(column) for column in zip(*rounds, strict=True)] + [
        statistics.median(column) for column in zip(*ratios, strict=True)
    ]


def growth_of_loading(path):
    """Bytes by which the peak of a process's memory grows while it loads a model."""
    before = peak_memory()
    TopKSparseAutoencoder.load(path)
    return peak_memory() - before


def growth_of_saving(model, path):
    before = peak_memory()
    model.save(path)
    return peak_memory() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth-of-loading", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.growth_of_loading:
        print(growth_of_loading(options.growth_of_loading))
        return
    with tempfile.TemporaryDirectory(dir=".") as folder:
        model = large_model(options.members)
        path = Path(folder) / "model.safetensors"
        growth = growth_of_saving(model, path)
        save, write, load, read, save_ratio, load_ratio = measure(
            model, Path(folder), options.rounds
        )
        size = path.stat().st_size
        command = [sys.executable, __file__, "--growth-of-loading", str(path)]
        loading = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"A model of {size / 1e6:.0f} MB\n")
    print("| | seconds | plain, s | ratio | memory taken, / model |")
    print("|---|---|---|---|---|")
    print(f"| save | {save:.2f} | {write:.2f} | {save_ratio:.2f} | {growth / size:.2f} |")
    print(f"| load | {load:.2f} | {read:.2f} | {load_ratio:.2f} | {loading / size:.2f} |")


if __name__ == "__main__":
    main()
