"""Run `fit`: load images, learn them, print figures, and write files."""

import csv
import math
import time

import numpy as np
import scipy.sparse as sp
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline

from .. import ConvTopKSparseAutoencoder, ImageAugmenter, TopKSparseAutoencoder, save
from .._engine.init._announce import starts_announced
from .._model_file._atomic import replacing
from .._model_file._composed import are_target_names
from .._model_file._safetensors import printable
from .._training._loop import check_memory
from ..plotting import TrainingDisplay
from ._coding import all_codes, check_device
from ._figures import held_out_figures, say_classes, say_figures
from ._images import folder_images, image_loader, photographs
from ._options import PROGRAM, OptionError
from ._output import MODEL, mark
from ._page import write_report
from ._progress import percent


def run(options, progress):
    """Learn, print how well, and write all files, with progress in between."""
    _check_machine(options)
    _run(options, progress)


def _check_machine(options):
    """Check, before any image is read, that this machine has what the options need."""
    check_device(options.device)
    shape = *options.size, 3 if options.mode == "RGB" else 1
    n_features = math.prod(shape)
    if options.conv:
        n_features = _check_places(options, shape)
    try:
        check_memory((options.members, options.n_components, n_features), not options.untied)
    except MemoryError as error:
        raise OptionError("--n-components", str(error)) from error


def _check_places(options, shape):
    """Check that images have as many places and atoms as k asks for; return an atom's size."""
    sae = _small_atoms(options, shape)
    places = sae._new_places(shape)
    try:
        sae._resolve_k(places)
    except ValueError as error:
        raise OptionError("--k", str(error)) from error
    return places.atom_size


def _run(options, progress):
    images = (photographs if options.folder is None else folder_images)(options, progress)
    progress.say(images.description)
    sae, seconds = _fitted(images, options, progress)
    codes = all_codes(sae, images.data, progress)
    figures = held_out_figures(images, sae, codes)
    # Before all comparisons, so that a failure there loses nothing.
    progress.begin("Writing model and codes")
    pipeline = _pipeline(sae, images, figures, options, progress)
    written = _write_files(pipeline, images, codes, options)
    pca = say_figures(progress, images, sae, codes, figures)
    if options.folder is not None and images.target is not None:
        say_classes(progress, images, sae, codes, pca)
    n_samples = len(images.train) * (1 + sae.augmenter.n_copies if options.augment else 1)
    _say_summary(progress.say, sae, n_samples * sae.n_iter_, seconds)
    write_report(sae, images, images.test, options, progress)
    progress.end()
    progress.say(f"Wrote {', '.join([*written, 'report.html'])} to {options.output}.")
    model, report = options.output / MODEL, options.output / "report.html"
    progress.say(f"To code other images: {PROGRAM} transform {model} FOLDER")
    progress.say(f"To see the held-out images and the atoms, open {report}.")


# --- Fitting ---


def _fitted(images, options, progress):
    """Return the fitted estimator and the seconds that fit took."""
    kind = _small_atoms if options.conv else _whole_atoms
    sae = kind(options, images.image_shape)
    # The estimator's callbacks come after epochs, which may take minutes.
    sae._watch = _step_watcher(progress, options.epochs)
    progress.begin("Starting: initial atoms", 100, percent)
    start = time.perf_counter()
    with (
        progress.saying_what_is_printed(),
        starts_announced(lambda done, total: progress.reach(100 * done // total)),
    ):
        # As images, whose shape the model keeps.
        sae.fit(images.data[images.train].reshape(-1, *images.image_shape))
    seconds = time.perf_counter() - start
    del sae._watch
    return sae.set_params(verbose=0), seconds


def _whole_atoms(options, image_shape):
    """Return an estimator of atoms as large as images."""
    return TopKSparseAutoencoder(
        n_estimators=options.members, consistency=options.consistency,
        **_common(options, image_shape),
    )  # fmt: skip


def _small_atoms(options, image_shape):
    """Return an estimator of small atoms at all places."""
    return ConvTopKSparseAutoencoder(
        image_shape=image_shape, kernel_size=options.kernel_size, stride=options.stride,
        **_common(options, image_shape),
    )  # fmt: skip


def _common(options, image_shape):
    """Return the parameters that both kinds have."""
    return {
        "n_components": options.n_components,
        "k": options.k,
        "tied": False if options.untied else "auto",
        "init": options.init,
        "transform_algorithm": options.transform_algorithm,
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "max_iter": options.epochs,
        "augmenter": ImageAugmenter(image_shape) if options.augment else None,
        "device": options.device,
        "random_state": options.seed,
        "verbose": 1,
    }


def _step_watcher(progress, n_epochs):
    """Return a function to call after each training step."""

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


def _say_summary(say, sae, n_samples, seconds):
    n_dead = int((sae.atom_frequency_ == 0).sum())
    say(
        f"\n{n_dead} of {len(sae.components_)} atoms dead in the last epoch; "
        f"trained in {seconds:.1f} s, {n_samples / seconds:.0f} rows a second."
    )


# --- Files ---


def _pipeline(sae, images, figures, options, progress):
    """Pipeline of what was learned, from files to codes, with what its file keeps besides."""
    pipeline = make_pipeline(image_loader(options), sae)
    pipeline.held_out_ = figures
    if images.target is not None:
        # Long ones of odd bytes are for the table of files.
        names = [printable(name, 200) for name in images.target_names]
        if are_target_names(names):
            pipeline.target_names_ = names
        else:
            progress.note("The names of the classes are too long for the model's file.")
    return pipeline


def _write_files(pipeline, images, codes, options):
    """Write all files but the report; return their names."""
    folder, written = options.output, [MODEL, "codes.npz", "training.png"]
    mark(folder)
    save(pipeline, folder / MODEL)
    with replacing(folder / "codes.npz") as file:
        sp.save_npz(file, codes)
    _plot_training(pipeline[-1], folder / "training.png")
    if options.folder is not None:
        _write_names(images, folder / "images.csv")
        written.append("images.csv")
    return written


def _write_names(images, path):
    """Write a table of the file, class and hold-out of each row of the codes.

    File names of any bytes are preserved.
    """
    held_out = np.isin(np.arange(len(images.data)), images.test)
    options = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with replacing(path, "w", **options) as file:
        writer = csv.writer(file)
        writer.writerow(["row", "filename", "class", "held_out"])
        for i, name in enumerate(images.filenames):
            label = "" if images.target is None else images.target_names[images.target[i]]
            writer.writerow([i, name, label, int(held_out[i])])


def _plot_training(sae, path):
    """Write the curves of loss and correlation by epoch as a PNG file."""
    # A Figure of its own: pyplot would choose a backend, and keep the figure.
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    TrainingDisplay.from_estimator(sae, axes=figure.subplots(1, 2))
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")
