"""Loading image files by ImageLoader beside a plain loop of Pillow, in one run, in turns.

    python benchmarks/images.py [--files 2000] [--rounds 3]

What is printed is a Markdown table.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from skl_sae import ImageLoader
from skl_sae.datasets import load_photographs

SIZE = (64, 64)


def write(folder, n_files, side, suffix):
    """Photograph crops as files of side x side pixels; few are drawn, each is copied."""
    crops = load_photographs(20, size=(side, side))
    paths = []
    for i in range(n_files):
        path = Path(folder) / f"{side}_{i:05d}.{suffix}"
        if i < len(crops.data):
            pixels = np.rint(255 * crops.data[i].reshape(crops.image_shape)).astype(np.uint8)
            Image.fromarray(pixels).save(path)
        else:
            path.write_bytes(Path(paths[i % len(crops.data)]).read_bytes())
        paths.append(str(path))
    return paths


def plain_loop(paths):
    """What one writes first."""
    rows = np.empty((len(paths), SIZE[0] * SIZE[1] * 3), np.float32)
    for row, path in zip(rows, paths, strict=True):
        with Image.open(path) as image:
            row[:] = np.asarray(image.convert("RGB").resize(SIZE[::-1])).ravel()
    rows /= 255
    return rows


CONTENDERS = {
    "plain loop": plain_loop,
    "ImageLoader, 1 thread": ImageLoader(SIZE).fit_transform,
    "ImageLoader, 2 threads": ImageLoader(SIZE, n_jobs=2).fit_transform,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.files} files to 64x64 RGB, medians of {options.rounds} rounds\n")
    print("| files | loader | s | plain loop's time / this |")
    print("|---|---|---|---|")
    for side, suffix in ((600, "jpg"), (64, "jpg"), (64, "png")):
        with tempfile.TemporaryDirectory() as folder:
            paths = write(folder, options.files, side, suffix)
            times = {name: [] for name in CONTENDERS}
            for _ in range(options.rounds):
                for name, load in CONTENDERS.items():
                    start = time.perf_counter()
                    load(paths)
                    times[name].append(time.perf_counter() - start)
        for name, taken in times.items():
            pairs = zip(times["plain loop"], taken, strict=True)
            ratio = statistics.median(plain / this for plain, this in pairs)
            seconds = statistics.median(taken)
            print(f"| {side}x{side} .{suffix} | {name} | {seconds:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
