"""Time a row and peak of memory of fit, by the number of rows and where they are.

    python benchmarks/scale.py [--rows 1e3 1e4 1e5] [--sources array float32 uint8 ...]
                               [--peers] [--rounds 1] [--folder scale_data]

Rows of 768 numbers are mixtures of photographs, written to files in the folder, which is kept; JPEG
files are of 256 x 256 pixels, in colour, and loaded by one thread, which is the default ("jpeg"),
or by as many as there are cores ("jpeg, all cores"). Each fit runs in a process of its own, in
turns. Memory is anonymous memory (RssAnon: pages of mapped files do not count) with all that is
imported. What is printed are Markdown tables. 1e7 rows of uint8 take 7.7 GB of disk.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.base import clone

from skl_sae import ImageLoader, TopKSparseAutoencoder, find_images
from skl_sae._training._lazy import read_ahead
from skl_sae._training._loop import Trainer
from skl_sae.datasets import load_photographs

N_FEATURES, N_ATOMS, K, BATCH = 768, 1024, 16, 32
# As many files of a folder, and their size in pixels; they are coded at 64 x 64 in grey.
JPEG_SIDE, CODED_SIDE, JPEG_ATOMS, JPEG_BATCH = 256, 64, 256, 256
DTYPES = {"array": "float32", "float32": "float32", "float16": "float16", "uint8": "uint8"}
FOLDERS = {"jpeg": None, "jpeg, all cores": -1}  # n_jobs of the loader
SOURCES = [*DTYPES, "zarr", *FOLDERS]
WRITTEN = 20_000  # rows at a time


def mixtures(n, size, mode, seed):
    """Rows of n random mixtures of two photographs each, in [0, 1]."""
    photographs = load_photographs(600, size, mode, random_state=0).data.astype(np.float32)
    rng = np.random.default_rng(seed)
    first, second = rng.integers(len(photographs), size=(2, n))
    share = rng.random((n, 1), dtype=np.float32)
    rows = share * photographs[first]
    rows += (1 - share) * photographs[second]
    return rows


# --- Data ---


def write_rows(path, n, dtype):
    if path.exists():
        return
    unfinished = path.with_suffix(".part")
    rows = np.lib.format.open_memmap(unfinished, "w+", np.dtype(dtype), (n, N_FEATURES))
    for start in range(0, n, WRITTEN):
        part = mixtures(min(WRITTEN, n - start), (16, 16), "RGB", start)
        rows[start : start + len(part)] = part * 255 if dtype == "uint8" else part
    rows.flush()
    unfinished.rename(path)


def write_zarr(path, n):
    import zarr

    if path.exists():
        return
    rows = zarr.create_array(path, shape=(n, N_FEATURES), chunks=(1000, N_FEATURES), dtype="f4")
    for start in range(0, n, WRITTEN):
        rows[start : start + WRITTEN] = mixtures(min(WRITTEN, n - start), (16, 16), "RGB", start)


def write_jpegs(folder, n):
    """Crops of photographs, blended and turned."""
    if (folder / f"{n - 1:06}.jpg").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    size = JPEG_SIDE, JPEG_SIDE
    crops = load_photographs(200, size, "RGB", random_state=0).data.reshape(-1, *size, 3)
    crops = [Image.fromarray(np.uint8(255 * crop)) for crop in crops]
    rng = np.random.default_rng(0)
    for i in range(n):
        first, second = rng.integers(len(crops), size=2)
        picture = Image.blend(crops[first], crops[second], rng.random())
        picture.transpose(Image.Transpose(rng.integers(7))).save(folder / f"{i:06}.jpg", quality=85)


def prepare(source, n, folder):
    if source in FOLDERS:
        write_jpegs(folder / f"jpeg_{n}", n)
    elif source == "zarr":
        write_zarr(folder / f"rows_{n}.zarr", n)
    else:
        write_rows(folder / f"rows_{n}_{DTYPES[source]}.npy", n, DTYPES[source])


def opened(source, n, folder):
    if source in FOLDERS:
        loader = ImageLoader((CODED_SIDE, CODED_SIDE), "L", n_jobs=FOLDERS[source])
        return loader.lazy(find_images(folder / f"jpeg_{n}").filenames)
    if source == "zarr":
        import zarr

        return zarr.open_array(folder / f"rows_{n}.zarr", mode="r")
    rows = np.load(folder / f"rows_{n}_{DTYPES[source]}.npy", mmap_mode="r")
    return np.array(rows) if source == "array" else rows


# --- Measures ---


def anonymous_memory():
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("RssAnon"))
    return int(size) * 1024


class MemoryWatch:
    """Largest anonymous memory while it is entered, looked at by a thread."""

    def __enter__(self):
        self.peak, self.is_on = 0, True
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def _watch(self):
        while self.is_on:
            self.peak = max(self.peak, anonymous_memory())
            time.sleep(0.02)

    def __exit__(self, *error):
        self.is_on = False


def timed_epochs():
    """A list that gets the seconds of each epoch."""
    seconds, train_epoch = [], Trainer.train_epoch

    def timed(self, rows):
        start = time.perf_counter()
        train_epoch(self, rows)
        seconds.append(time.perf_counter() - start)

    Trainer.train_epoch = timed
    return seconds


def measure_fit(source, n, folder):
    """Seconds and bytes of a fit of one epoch, in this process; compiled before."""
    estimator = TopKSparseAutoencoder(N_ATOMS, k=K, batch_size=BATCH, max_iter=1, random_state=0)
    if source in FOLDERS:
        estimator.set_params(n_components=JPEG_ATOMS, batch_size=JPEG_BATCH)
    X = opened(source, n, folder)
    # A small fit first, which loads what is compiled.
    clone(estimator).set_params(n_components=32, k=2).fit(np.random.default_rng(0).random((60, 32)))
    before, epochs = anonymous_memory(), timed_epochs()
    with MemoryWatch() as memory:
        start = time.perf_counter()
        estimator.fit(X)
        seconds = time.perf_counter() - start
    result = {"fit": seconds, "epoch": sum(epochs), "peak": memory.peak, "before": before,
              "correlation": estimator.correlation_curve_[-1]}  # fmt: skip
    if source in FOLDERS:
        result["decoding"] = seconds_of_decoding(X)
    return result


def seconds_of_decoding(X):
    """Seconds that the loader takes for all files by itself."""
    start = time.perf_counter()
    for _ in read_ahead(X[i : i + 1024] for i in range(0, len(X), 1024)):
        pass
    return time.perf_counter() - start


def measure_peer(name, n, folder):
    """Seconds of one pass of a library's step over what torch's DataLoader draws from a file."""
    import speed

    rows = np.load(folder / f"rows_{n}_float32.npy", mmap_mode="r")
    speed.SHAPES["scale"] = ((16, 16), "RGB", N_ATOMS, K, BATCH)
    step = speed.CONTENDERS[name]("scale", N_FEATURES)
    few = torch.from_numpy(np.array(rows[:10_000]))
    mean, scale = few.mean(0), float(few.std())
    loader = torch.utils.data.DataLoader(_Rows(rows), BATCH, shuffle=True)
    with MemoryWatch() as memory:
        start = time.perf_counter()
        for x in loader:
            step((x - mean) / scale)
        seconds = time.perf_counter() - start
    return {"epoch": seconds, "peak": memory.peak}


class _Rows(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return np.array(self.rows[i])


PEERS = "plain loop", "dictionary-learning", "sparsify"


def in_process(*arguments):
    """Result of a measure in a process of its own; None if it fails."""
    command = [sys.executable, __file__, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        print(f"{arguments} failed: {result.stderr.splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(result.stdout.splitlines()[-1])


# --- Tables ---


def print_fits(results):
    print(
        "| rows | where | epoch, us a row | fit, us a row | peak, MB | above the model's, MB |\n"
        "|---|---|---|---|---|---|"
    )
    for (n, source), rounds in results.items():
        best = {name: min(result[name] for result in rounds) for name in ("epoch", "fit")}
        peak = max(result["peak"] for result in rounds) / 1e6
        n_features = CODED_SIDE**2 if source in FOLDERS else N_FEATURES
        # Tied atoms, Adam's moments, and the best atoms of the fit so far.
        model = 16 * (JPEG_ATOMS if source in FOLDERS else N_ATOMS) * n_features / 1e6
        print(
            f"| {n:,} | {source} | {best['epoch'] / n * 1e6:.1f} | {best['fit'] / n * 1e6:.1f} "
            f"| {peak:.0f} | {peak - model:.0f} |"
        )
        for result in rounds:
            if "decoding" in result:
                print(
                    f"|  | decoding alone | {result['decoding'] / n * 1e6:.1f} | "
                    f"{result['decoding'] / result['epoch']:.2f} of the epoch's speed | | |"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e3, 1e4, 1e5])
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("scale_data"))
    parser.add_argument("--fit", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    if options.fit:
        print(json.dumps(measure_fit(options.fit[0], int(options.fit[1]), options.folder)))
        return
    if options.peer:
        print(json.dumps(measure_peer(options.peer[0], int(options.peer[1]), options.folder)))
        return
    results, peers = {}, {}
    cases = [(int(n), source) for n in options.rows for source in options.sources]
    for n, source in cases:
        prepare(source, n, options.folder)
    for _ in range(options.rounds):
        for n, source in cases:
            result = in_process("--fit", source, n, "--folder", options.folder)
            if result is not None:
                results.setdefault((n, source), []).append(result)
        if options.peers:
            n = int(options.rows[-1])
            for name in PEERS:
                result = in_process("--peer", name, n, "--folder", options.folder)
                if result is not None:
                    peers.setdefault(name, []).append(result)
    print_fits(results)
    if peers:
        print("\n| with torch's DataLoader | epoch, us a row | peak, MB |\n|---|---|---|")
        for name, rounds in peers.items():
            seconds = min(result["epoch"] for result in rounds)
            peak = max(result["peak"] for result in rounds) / 1e6
            print(f"| {name} | {seconds / n * 1e6:.1f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
