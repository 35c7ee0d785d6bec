"""What `python -m skl_sae` does with its options: learn, print figures, and write files."""

import contextlib
import csv
import os
import time
import warnings

import numpy as np
import scipy.sparse as sp
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.utils import Bunch

from .. import ImageAugmenter, ImageLoader, TopKSparseAutoencoder, pearson_correlation
from .._engine.kernels._announce import compiling_announced
from .._model_file._atomic import replacing
from .._training._loop import check_memory, resolve_device
from ..datasets import load_photographs
from ..images._finder import search_images
from ..inspection._estimators import training_mean
from ..metrics import fraction_of_variance_unexplained
from ..plotting import TrainingDisplay
from ..report import SAEReport
from ._options import OptionError
from ._output import mark

_COMPILING = "Compiling, once on this machine (about ten seconds)"


def run(options, progress):
    """Learn, tell how well, and write everything; what goes on is said on the way."""
    _check_machine(options)
    with (
        _warnings_as_notes(progress),
        compiling_announced(lambda on: progress.interrupt(_COMPILING if on else None)),
    ):
        _run(options, progress)


def _check_machine(options):
    """What the options ask of this machine."""
    try:
        resolve_device(options.device)
    except ValueError as error:
        problem = f"Expected a device that this machine has, got {options.device!r}."
        raise OptionError("--device", problem) from error
    n_features = options.size[0] * options.size[1] * (3 if options.mode == "RGB" else 1)
    try:
        check_memory((options.members, options.n_components, n_features), not options.untied)
    except MemoryError as error:
        raise OptionError("--n-components", str(error)) from error


@contextlib.contextmanager
def _warnings_as_notes(progress):
    """Say each warning once, in a line, when it comes."""
    said = set()

    def note(message, *_args, **_options):
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            progress.note(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = note
        yield


def _run(options, progress):
    images = (_photographs if options.folder is None else _folder)(options, progress)
    progress.say(images.description)
    sae, seconds = _fitted(images, options, progress)
    progress.begin("Coding all images")
    codes = sae.transform(images.data)
    progress.begin("Writing model and codes")
    written = _write_files(sae, images, codes, options)
    progress.begin("Comparing with PCA")
    pca = _fitted_pca(images, sae.k_, options.seed)
    _say_figures(progress.say, images, sae, codes, pca)
    if options.folder is not None and images.target is not None:
        _say_classes(progress, images, sae, codes, pca)
    n_rows = len(images.train) * (1 + sae.augmenter.n_copies if options.augment else 1)
    _say_summary(progress.say, sae, n_rows * sae.n_iter_, seconds)
    progress.begin("Writing the report")
    _write_report(sae, images, options)
    progress.end()
    progress.say(f"Wrote {', '.join([*written, 'report.html'])} to {options.output}.")
    report = options.output / "report.html"
    progress.say(f"To see the held-out images and the atoms, open {report}.")


# --- Fitting ---


def _fitted(images, options, progress):
    """The fitted estimator, and how many seconds it took."""
    augmenter = ImageAugmenter(images.image_shape) if options.augment else None
    sae = TopKSparseAutoencoder(
        options.n_components, k=options.k, n_estimators=options.members,
        tied=False if options.untied else "auto", init=options.init,
        transform_algorithm=options.transform_algorithm, consistency=options.consistency,
        learning_rate=options.learning_rate, batch_size=options.batch_size,
        max_iter=options.epochs, augmenter=augmenter, device=options.device,
        random_state=options.seed, verbose=1,
    )  # fmt: skip
    sae._watch = _step_watcher(progress, options.epochs)
    progress.begin("Starting: initial atoms")
    start = time.perf_counter()
    with progress.saying_what_is_printed():
        sae.fit(images.data[images.train])
    seconds = time.perf_counter() - start
    del sae._watch
    return sae, seconds


def _step_watcher(progress, n_epochs):
    """What is called after each training step."""

    def detail(done, total):
        if done == total:
            return "finishing"
        epoch = done * n_epochs // total + 1
        return f"epoch {epoch:,} of {n_epochs:,}, {100 * done // total} %"

    def watch(n_steps, n_planned):
        if n_steps == 1:
            progress.begin("Training", n_planned, detail)
        progress.reach(n_steps)

    return watch


# --- Images ---


def _photographs(options, progress):
    """Crops of the two photographs, those to learn first."""
    progress.begin("Cutting crops of the photographs")
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


def _folder(options, progress):
    """The images of a folder, a fifth of them, of each class where that is possible, held out."""
    loader = ImageLoader(options.size, options.mode, aspect=options.aspect, n_jobs=-1)
    progress.begin("Listing images")

    def update(n, total):
        if n == 0:
            progress.begin("Checking images", total)
        progress.reach(n)

    images, remarks = search_images(options.folder, options.on_error, update)
    progress.begin("Reading images", len(images.filenames))
    images.data, more = loader._rows(images.filenames, progress.add)
    for remark in remarks + more:
        progress.note(remark)
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


# --- Figures ---


def _fitted_pca(images, k, seed):
    n_directions = min(k, len(images.train), images.data.shape[1])
    return PCA(n_directions, random_state=seed).fit(images.data[images.train])


def _say_figures(say, images, sae, codes, pca):
    """Held-out correlation and fraction of variance unexplained (FVU) of all, members, and PCA."""
    test, held_out = images.data[images.test], codes[images.test]
    rows = [("ensemble", sae.inverse_transform(held_out), sae.k_ * len(sae.centers_))]
    if len(sae.centers_) > 1:
        members = _member_reconstructions(sae, held_out)
        rows += [(f"member {i}", member, sae.k_) for i, member in enumerate(members, 1)]
    name = f"PCA, {pca.n_components_} components"
    rows.append((name, pca.inverse_transform(pca.transform(test)), pca.n_components_))
    mean = training_mean(sae)
    _say_table(
        say,
        ["Held out", "correlation", "FVU", "active numbers"],
        [
            (
                name,
                f"{pearson_correlation(test, reconstruction):.4f}",
                f"{fraction_of_variance_unexplained(test, reconstruction, mean):.4f}",
                str(n_active),
            )
            for name, reconstruction, n_active in rows
        ],
    )
    say("FVU: fraction of variance unexplained, about the mean of the images learned.")


def _member_reconstructions(sae, codes):
    """Each member's own reconstruction of rows from the members' codes side by side."""
    n_components = sae.n_components
    for e, center in enumerate(sae.centers_):
        atoms = slice(e * n_components, (e + 1) * n_components)
        yield codes[:, atoms] @ sae.components_[atoms] + center


def _say_classes(progress, images, sae, codes, pca):
    """Held-out correlation by class; and how well a linear classifier tells the classes."""
    rows = []
    for label, name in enumerate(images.target_names):
        members = images.test[images.target[images.test] == label]
        if len(members):
            X = images.data[members]
            guesses = sae.inverse_transform(codes[members]), pca.inverse_transform(pca.transform(X))
            figures = (f"{pearson_correlation(X, guess):.4f}" for guess in guesses)
            rows.append((_printable(name), str(len(members)), *figures))
    _say_table(progress.say, ["Held out, by class", "images", "correlation", "PCA's"], rows)

    n_folds = min(5, *np.bincount(images.target))
    if len(images.target_names) < 2 or n_folds < 2:
        progress.say("\nNo classifier: that takes two classes, of two images each.")
        return
    features = {
        "sparse codes": codes,
        f"PCA, {pca.n_components_} components": pca.transform(images.data),
        "raw pixels": images.data,
    }
    rows = []
    for name, X in features.items():
        progress.begin(f"Telling classes by {name}")  # which take so different times: no count
        rows.append((name, *_accuracy(X, images.target, n_folds)))
    chance = np.bincount(images.target).max() / len(images.target)
    rows.append(("always the largest class", f"{chance:.3f}", ""))
    header = [f"Logistic regression, {n_folds} folds", "accuracy", "spread"]
    _say_table(progress.say, header, rows)
    progress.say("All images take part. The codes and PCA were learned without their labels.")


def _accuracy(X, y, n_folds):
    """Mean and standard deviation over the folds."""
    # Unscaled: on cells and digits, scaling made all three kinds of features worse or no better.
    scores = cross_val_score(LogisticRegression(max_iter=1000), X, y, cv=n_folds)
    return f"{scores.mean():.3f}", f"{scores.std():.3f}"


def _printable(name):
    """A file's name on a terminal: no control characters, no bytes that are not text."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _say_table(say, header, rows):
    """A table with its first column at the left and the others at the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    say()
    for row in (header, *rows):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]).rstrip())


def _say_summary(say, sae, n_rows, seconds):
    n_dead = int((sae.atom_frequency_ == 0).sum())
    say(
        f"\n{n_dead} of {len(sae.components_)} atoms dead in the last epoch; "
        f"trained in {seconds:.1f} s, {n_rows / seconds:.0f} rows a second."
    )


# --- Files ---


def _write_files(sae, images, codes, options):
    """All but the report; returns their names."""
    folder, written = options.output, ["model.safetensors", "codes.npz", "training.png"]
    mark(folder)
    sae.save(folder / "model.safetensors")
    with replacing(folder / "codes.npz") as file:
        sp.save_npz(file, codes)
    _plot_training(sae, folder / "training.png")
    if options.folder is not None:
        _write_names(images, folder / "images.csv")
        written.append("images.csv")
    return written


def _write_names(images, path):
    """Which row of the codes is which file. Names of any bytes come out as they are."""
    held_out = np.isin(np.arange(len(images.data)), images.test)
    options = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with replacing(path, "w", **options) as file:
        writer = csv.writer(file)
        writer.writerow(["row", "filename", "class", "held_out"])
        for i, name in enumerate(images.filenames):
            label = "" if images.target is None else images.target_names[images.target[i]]
            writer.writerow([i, name, label, int(held_out[i])])


def _plot_training(sae, path):
    """Loss and correlation by epoch, as a PNG file."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    TrainingDisplay.from_estimator(sae, axes=figure.subplots(1, 2))
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")


def _write_report(sae, images, options):
    """The page on the held-out images; their names begin where the folder ends."""
    test, y, filenames = images.test, None, None
    if images.target is not None:
        y = np.array(images.target_names, dtype=object)[images.target[test]]
    if "filenames" in images:
        filenames = [os.path.relpath(name, options.folder) for name in images.filenames[test]]
    report = SAEReport(
        sae, images.data[test], y, image_shape=images.image_shape, filenames=filenames
    )
    report.write_html(options.output / "report.html")
