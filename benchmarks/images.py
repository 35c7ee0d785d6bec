"""Images, beside plain loops of Pillow, in one run, in turns: loading files, and augmenting.

    python benchmarks/images.py [--files 2000] [--rounds 5]

What is printed are Markdown tables.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from skl_sae import ImageAugmenter, ImageLoader
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
    """Do what one writes first."""
    rows = np.empty((len(paths), SIZE[0] * SIZE[1] * 3), np.float32)
    for row, path in zip(rows, paths, strict=True):
        with Image.open(path) as image:
            row[:] = np.asarray(image.convert("RGB").resize(SIZE[::-1])).ravel()
    rows /= 255
    return rows


def loading(n_files, n_rounds):
    contenders = {
        "plain loop": plain_loop,
        "ImageLoader, 1 thread": ImageLoader(SIZE).fit_transform,
        "ImageLoader, 2 threads": ImageLoader(SIZE, n_jobs=2).fit_transform,
    }
    print(f"{n_files} files to 64x64 RGB, medians of {n_rounds} rounds\n")
    print("| files | loader | s | plain loop's time / this |")
    print("|---|---|---|---|")
    for side, suffix in ((600, "jpg"), (64, "jpg"), (64, "png")):
        with tempfile.TemporaryDirectory() as folder:
            paths = write(folder, n_files, side, suffix)
            for name, seconds, ratio in compare(contenders, n_rounds, paths):
                print(f"| {side}x{side} .{suffix} | {name} | {seconds:.2f} | {ratio:.2f} |")


def compare(contenders, n_rounds, *arguments):
    """Return each contender's name, median seconds, and how many times faster than the first."""
    times = {name: [] for name in contenders}
    for _ in range(n_rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            call(*arguments)
            times[name].append(time.perf_counter() - start)
    first = next(iter(times.values()))
    for name, taken in times.items():
        ratios = [plain / this for plain, this in zip(first, taken, strict=True)]
        yield name, statistics.median(taken), statistics.median(ratios)


def plain_augmentation(images, n_copies=5, seed=0):
    """The same set as ImageAugmenter's, image by image with Pillow; black beyond the border."""
    rng = np.random.default_rng(seed)
    height, width = images.shape[1:3]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    rows = [images]
    for _ in range(n_copies):
        varied = np.empty_like(images)
        for image, variant in zip(images, varied, strict=True):
            picture = Image.fromarray(np.rint(255 * image).astype(np.uint8))
            left, top, right, bottom = rng.uniform(0, 0.1, 4)
            box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
            picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
            if rng.uniform() < 0.5:
                picture = ImageOps.mirror(picture)
            if rng.uniform() < 0.5:
                picture = ImageOps.flip(picture)
            shift = rng.uniform(-0.1, 0.1, 2) * (width, height)
            picture = picture.rotate(
                rng.uniform(-15, 15), Image.Resampling.BILINEAR, translate=tuple(shift)
            )
            moved = corners + rng.uniform(-0.1, 0.1, (4, 2)) * (width, height)
            picture = picture.transform(
                (width, height),
                Image.Transform.PERSPECTIVE,
                perspective_coefficients(corners, moved),
                Image.Resampling.BILINEAR,
            )
            picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.2))
            picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.8, 1.2))
            variant[:] = picture
        varied /= 255
        rows.append(varied)
    return np.concatenate(rows)


def perspective_coefficients(corners, moved):
    """Coefficients with which Pillow moves the corners."""
    equations = []
    for (u, v), (x, y) in zip(corners, moved, strict=True):
        equations.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        equations.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.linalg.solve(equations, corners.ravel())


def augmenting(n_rounds):
    print(f"39 images of 64x64 to 234 rows, medians of {n_rounds} rounds\n")
    print("| images | augmentation | ms | plain loop's time / this |")
    print("|---|---|---|---|")
    for mode in ("L", "RGB"):
        data = load_photographs(39, size=SIZE, mode=mode)
        images = data.data.reshape(-1, *data.image_shape)
        augmenter = ImageAugmenter(data.image_shape, random_state=0)
        contenders = {
            "plain loop": plain_augmentation,
            "ImageAugmenter": lambda images, a=augmenter: a.fit_transform(
                images.reshape(len(images), -1)
            ),
        }
        for name, seconds, ratio in compare(contenders, n_rounds, images):
            print(f"| {mode} | {name} | {1e3 * seconds:.1f} | {ratio:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    loading(options.files, options.rounds)
    print()
    augmenting(4 * options.rounds)


if __name__ == "__main__":
    main()
