"""Run `transform` and `report`: a saved model, and other images."""

import csv
import os
import webbrowser

import numpy as np
import scipy.sparse as sp

from .._model_file._atomic import replacing
from ..images._finder import check_found, unreadable_said
from ..metrics import row_correlations
from ..report._reading import shown_step
from ._coding import autoencoder_of, loaded_pipeline, parts_of_files, said_of
from ._figures import say_table
from ._images import listed, loaded, without
from ._options import OptionError
from ._page import write_report


def transform(options, progress):
    """Write the codes of a folder's images."""
    pipeline = loaded_pipeline(options, progress)
    progress.say(said_of(pipeline))
    # Files are read once: those that cannot be are found as they are coded.
    images = listed(options, progress, lambda paths: (paths, []))
    os.makedirs(options.output, exist_ok=True)
    errors = None if options.on_error == "raise" else {}
    parts, labels, n_done = [], _class_names(images), 0
    with _table(options.output / "codes.csv") as file:
        table = csv.writer(file)
        table.writerow(["row", "filename", "class", "correlation", "active", "codes"])
        for indices, rows, codes in parts_of_files(pipeline, images.filenames, progress, errors):
            correlations = _correlations(pipeline, rows, codes)
            named = [(images.filenames[i], labels[i]) for i in indices]
            table.writerows(_lines(n_done, named, correlations, codes))
            parts.append(codes)
            n_done += len(indices)
        remarks = unreadable_said(without(images.filenames, errors or {})[1])
        check_found(parts, options.folder, remarks)
    for remark in remarks:
        progress.note(remark)
    progress.begin("Writing codes")
    codes = sp.vstack(parts, format="csr")
    with replacing(options.output / "codes.npz") as file:
        sp.save_npz(file, codes)
    progress.end()
    _say_classes(pipeline, images, progress)
    n, width = codes.shape
    progress.say(
        f"{n:,} codes of {width:,} numbers, {codes.nnz / n:,.1f} of them active on average."
    )
    progress.say(f"Wrote codes.npz and codes.csv to {options.output}.")


def _table(path):
    """File of a table; names of files of any bytes are preserved."""
    return replacing(path, "w", newline="", encoding="utf-8", errors="surrogateescape")


def _class_names(images):
    if images.target is None:
        return [""] * len(images.filenames)
    return [images.target_names[label] for label in images.target]


def _correlations(pipeline, rows, codes):
    """Return the correlation of each image with its reconstruction, as text; empty if unknown."""
    sae = autoencoder_of(pipeline)
    if sae is None:
        return [""] * len(rows)
    if sae._codes_suffice:
        correlations = row_correlations(rows, sae.inverse_transform(codes))
    else:
        correlations = sae.score_samples(rows)
    return ["" if np.isnan(value) else f"{value:.4f}" for value in correlations]


def _lines(first, named, correlations, codes):
    """Yield lines of the table: an image's largest codes first, as column:value."""
    for i, ((name, label), correlation) in enumerate(zip(named, correlations, strict=True)):
        columns, values = (
            part[codes.indptr[i] : codes.indptr[i + 1]] for part in (codes.indices, codes.data)
        )
        order = np.argsort(-abs(values), kind="stable")
        text = " ".join(f"{c}:{v:.6g}" for c, v in zip(columns[order], values[order], strict=True))
        yield [first + i, name, label, correlation, len(values), text]


def _say_classes(pipeline, images, progress):
    """Tell classes that the model has not learned."""
    known = getattr(pipeline, "target_names_", None)
    if known is None or images.target is None:
        return
    new = [name for name in images.target_names if name not in known]
    if new:
        progress.note(f"{len(new)} class(es) that the model has not learned, such as {new[0]!r}.")


def _check_shown(sae, pipeline, options):
    """Check, before any image is read, that a report can show the model."""
    if sae is None:
        raise OptionError(
            "MODEL", "Expected an ImageLoader and one autoencoder, which a report can show, got "
            f"{' and '.join(type(step).__name__ for step in pipeline)}: {str(options.model)!r}.",
        )  # fmt: skip
    try:
        shown_step(sae)
    except ValueError as error:
        raise OptionError("MODEL", str(error)) from error


def report(options, progress):
    """Write a report on a folder's images."""
    pipeline = loaded_pipeline(options, progress)
    progress.say(said_of(pipeline))
    sae, loader = autoencoder_of(pipeline), pipeline[0]
    _check_shown(sae, pipeline, options)
    images = loaded(loader, options, progress)
    images.image_shape = loader._image_shape()
    os.makedirs(options.output, exist_ok=True)
    figures = write_report(sae, images, np.arange(len(images.data)), options, progress)
    progress.end()
    _say_classes(pipeline, images, progress)
    say_table(progress, ["Images", "correlation", "FVU"], [(f"{len(images.data):,}", *figures)])
    path = options.output / "report.html"
    progress.say(f"Wrote {path}.")
    if options.open:
        webbrowser.open(path.resolve().as_uri())
