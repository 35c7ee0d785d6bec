"""python -m skl_sae [FOLDER]: learn images, print figures beside PCA's, and write a report."""

import argparse
import csv
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

PROGRAM = "python -m skl_sae"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments=None):
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        return 2
    return 0


def _parser():
    parser = _Parser(
        prog=PROGRAM,
        description="Train Top-K sparse autoencoders on the images of a folder, or on crops of "
        "the two photographs that come with scikit-learn; print held-out figures beside PCA's; "
        "and write model.safetensors (for TopKSparseAutoencoder.load), codes.npz (the codes of "
        "all images), training.png, report.html (the held-out images and the atoms, to look at "
        "in a browser) and, for a folder, images.csv (which row is which file). Sub-folders are "
        "classes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folder", nargs="?", metavar="FOLDER", help="images to learn; without one, the photographs")
    add("--size", type=_height_and_width, default="64x64", metavar="HxW", help="in pixels")
    add("--mode", choices=["RGB", "L"], default="RGB", help="colour or grey")
    add("--aspect", choices=["stretch", "crop", "pad"], default="stretch",
        help="how pictures of another shape are brought to the size")  # fmt: skip
    add("--augment", action="store_true", help="learn five fresh variants of each image, too")
    add("--n-components", type=int, default=1024, metavar="N", help="atoms of a member")
    add("--k", type=_int_or_fraction, default=64, help="active atoms, or a fraction of N")
    add("--members", type=int, default=3, metavar="E", help="autoencoders side by side")
    add("--consistency", type=float, default=0.0, metavar="C", help="pulls members together")
    add("--epochs", type=int, default=10, metavar="N", help="passes over the training rows")
    add("--batch-size", type=int, default=32, metavar="N", help="rows of a training step")
    add("--learning-rate", type=_float_or_auto, default="auto", metavar="R", help="Adam's step")
    add("--untied", action="store_true", help="encoder with weights of its own")
    add("--transform-algorithm", choices=["topk", "omp"], default="topk", help="how to code")
    add("--init", choices=["pca", "orthogonal", "random"], default="pca", help="initial atoms")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--seed", type=int, default=0, metavar="N", help="seed of every random choice")
    add("--output", type=Path, default="skl_sae_output", metavar="FOLDER", help="where to write")
    return parser


def _height_and_width(text):
    height, _, width = text.partition("x")
    return int(height), int(width or height)


_height_and_width.__name__ = "size"  # what argparse calls it in an error


def _int_or_fraction(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


_int_or_fraction.__name__ = "number"  # what argparse calls it in an error


def _float_or_auto(text):
    return text if text == "auto" else float(text)


_float_or_auto.__name__ = "number"


def _run(options):
    # Here, so that bad options are answered before torch's users have waited for it.
    import scipy.sparse as sp

    from . import ImageAugmenter, TopKSparseAutoencoder

    images = _photographs(options) if options.folder is None else _folder(options)
    options.output.mkdir(parents=True, exist_ok=True)
    print(images.description)
    augmenter = ImageAugmenter(images.image_shape) if options.augment else None
    tied = False if options.untied else "auto"
    sae = TopKSparseAutoencoder(
        options.n_components, k=options.k, n_estimators=options.members, tied=tied,
        transform_algorithm=options.transform_algorithm, init=options.init,
        consistency=options.consistency, learning_rate=options.learning_rate,
        batch_size=options.batch_size, max_iter=options.epochs, augmenter=augmenter,
        device=options.device, random_state=options.seed, verbose=1,
    )  # fmt: skip
    start = time.perf_counter()
    sae.fit(images.data[images.train])
    seconds = time.perf_counter() - start
    codes = sae.transform(images.data)
    written = ["model.safetensors", "codes.npz", "training.png", "report.html"]
    sae.save(options.output / "model.safetensors")
    sp.save_npz(options.output / "codes.npz", codes)
    _plot_training(sae, options.output / "training.png")
    if options.folder is not None:
        _write_names(images, options.output / "images.csv")
        written.append("images.csv")

    pca = _fitted_pca(images, sae.k_, options.seed)
    _print_figures(images, sae, codes, pca)
    if options.folder is not None and images.target is not None:
        _print_classes(images, sae, codes, pca)
    n_rows = len(images.train) * (1 + augmenter.n_copies if augmenter else 1)
    _print_summary(sae, n_rows * sae.n_iter_, seconds)
    _write_report(sae, images, options)
    print(f"Wrote {', '.join(written)} to {options.output}.")
    print(f"To see the held-out images and the atoms, open {options.output / 'report.html'}.")


# --- Images ---


def _photographs(options):
    """Crops of the two photographs, those to learn first."""
    from sklearn.utils import Bunch

    from .datasets import load_photographs

    train, test = (
        load_photographs(n, options.size, options.mode, subset=subset, random_state=options.seed)
        for n, subset in ((800, "train"), (200, "test"))
    )
    shape = "x".join(map(str, train.image_shape))
    return Bunch(
        data=np.concatenate([train.data, test.data]),
        target=None,
        image_shape=train.image_shape,
        train=np.arange(800),
        test=np.arange(800, 1000),
        description=f"{len(train.data)} photograph crops of {shape} to learn, {len(test.data)} "
        "held out, from parts of the photographs not learned.",
    )


def _folder(options):
    """The images of a folder, a fifth of them, of each class where that is possible, held out."""
    from sklearn.model_selection import train_test_split

    from . import ImageLoader, find_images

    loader = ImageLoader(options.size, options.mode, aspect=options.aspect, n_jobs=-1)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        images = find_images(options.folder, on_error="warn")
        images.data = loader.set_params(verbose=1).fit_transform(images.filenames)
    for note in notes:
        print(f"{PROGRAM}: note: {note.message}", file=sys.stderr)
    n = len(images.data)
    if n < 2:
        raise ValueError(f"Expected at least 2 images in {options.folder!r}, found {n}.")
    n_test = max(1, n // 5)
    counts = np.bincount(images.target) if images.target is not None else np.array([0])
    stratify = images.target if counts.min() >= 2 and len(counts) <= n_test else None
    images.train, images.test = train_test_split(
        np.arange(n), test_size=n_test, stratify=stratify, random_state=options.seed
    )
    images.image_shape = loader.inverse_transform(images.data[:1]).shape[1:]
    shape = "x".join(map(str, images.image_shape))
    images.description = f"{n} images as {shape}: {n - n_test} to learn, {n_test} held out."
    return images


def _write_names(images, path):
    """Which row of the codes is which file. Names of any bytes come out as they are."""
    held_out = np.isin(np.arange(len(images.data)), images.test)
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "filename", "class", "held_out"])
        for i, name in enumerate(images.filenames):
            label = "" if images.target is None else images.target_names[images.target[i]]
            writer.writerow([i, name, label, int(held_out[i])])


# --- Figures ---


def _fitted_pca(images, k, seed):
    from sklearn.decomposition import PCA

    n_directions = min(k, len(images.train), images.data.shape[1])
    return PCA(n_directions, random_state=seed).fit(images.data[images.train])


def _print_figures(images, sae, codes, pca):
    """Held-out correlation and variance unexplained of the ensemble, its members, and PCA."""
    from . import pearson_correlation

    test, held_out = images.data[images.test], codes[images.test]
    rows = [("ensemble", sae.inverse_transform(held_out), sae.k_ * len(sae.centers_))]
    if len(sae.centers_) > 1:
        members = _member_reconstructions(sae, held_out)
        rows += [(f"member {i}", member, sae.k_) for i, member in enumerate(members, 1)]
    name = f"PCA, {pca.n_components_} components"
    rows.append((name, pca.inverse_transform(pca.transform(test)), pca.n_components_))
    spread = np.square(test - images.data[images.train].mean(axis=0)).sum()
    _print_table(
        ["Held out", "correlation", "variance unexplained", "active numbers"],
        [
            (
                name,
                f"{pearson_correlation(test, reconstruction):.4f}",
                f"{np.square(test - reconstruction).sum() / spread:.4f}",
                str(n_active),
            )
            for name, reconstruction, n_active in rows
        ],
    )


def _member_reconstructions(sae, codes):
    """Each member's own reconstruction of rows from the members' codes side by side."""
    n_components = sae.n_components
    for e, center in enumerate(sae.centers_):
        atoms = slice(e * n_components, (e + 1) * n_components)
        yield codes[:, atoms] @ sae.components_[atoms] + center


def _print_classes(images, sae, codes, pca):
    """Held-out correlation by class; and how well a linear classifier tells the classes."""
    from . import pearson_correlation

    rows = []
    for label, name in enumerate(images.target_names):
        members = images.test[images.target[images.test] == label]
        if len(members):
            X = images.data[members]
            guesses = sae.inverse_transform(codes[members]), pca.inverse_transform(pca.transform(X))
            figures = (f"{pearson_correlation(X, guess):.4f}" for guess in guesses)
            rows.append((_printable(name), str(len(members)), *figures))
    _print_table(["Held out, by class", "images", "correlation", "PCA's"], rows)

    n_folds = min(5, *np.bincount(images.target))
    if len(images.target_names) < 2 or n_folds < 2:
        print("\nNo classifier: that takes two classes, of two images each.")
        return
    features = {
        "sparse codes": codes,
        f"PCA, {pca.n_components_} components": pca.transform(images.data),
        "raw pixels": images.data,
    }
    chance = np.bincount(images.target).max() / len(images.target)
    rows = [(name, *_accuracy(X, images.target, n_folds)) for name, X in features.items()]
    rows.append(("always the largest class", f"{chance:.3f}", ""))
    _print_table([f"Logistic regression, {n_folds} folds", "accuracy", "spread"], rows)
    print("All images take part. The codes and PCA were learned without their labels.")


def _accuracy(X, y, n_folds):
    """Mean and standard deviation over the folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    # Unscaled: on cells and digits, scaling made all three kinds of features worse or no better.
    scores = cross_val_score(LogisticRegression(max_iter=1000), X, y, cv=n_folds)
    return f"{scores.mean():.3f}", f"{scores.std():.3f}"


def _printable(name):
    """A file's name on a terminal: no control characters, no bytes that are not text."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _print_table(header, rows):
    """A table with its first column at the left and the others at the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print()
    for row in (header, *rows):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())


def _print_summary(sae, n_rows, seconds):
    n_dead = int((sae.feature_frequency_ == 0).sum())
    print(
        f"\n{n_dead} of {len(sae.components_)} atoms dead in the last epoch; "
        f"trained in {seconds:.1f} s, {n_rows / seconds:.0f} rows a second."
    )


def _write_report(sae, images, options):
    """The page on the held-out images; their names begin where the folder ends."""
    from .report import SAEReport

    test, y, filenames = images.test, None, None
    if images.target is not None:
        y = np.array(images.target_names, dtype=object)[images.target[test]]
    if "filenames" in images:
        filenames = [os.path.relpath(name, options.folder) for name in images.filenames[test]]
    report = SAEReport(
        sae, images.data[test], y, image_shape=images.image_shape, filenames=filenames
    )
    report.write_html(options.output / "report.html")


def _plot_training(sae, path):
    """Loss and correlation by epoch, as a PNG file."""
    from matplotlib.figure import Figure

    from .plotting import TrainingDisplay

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    TrainingDisplay.from_estimator(sae, axes=figure.subplots(1, 2))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
