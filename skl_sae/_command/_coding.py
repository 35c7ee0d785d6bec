"""Saved models, and codes of many images by them, with progress."""

import contextlib
import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches

from .. import ImageAugmenter, ImageLoader, load
from .._engine._device import resolve_device
from .._engine.kernels._announce import compiling_announced
from ._options import OptionError

# Rows coded between two updates of the progress.
_ROWS_AT_A_TIME = 128
_COMPILING = "Compiling, once on this machine (some seconds)"


@contextlib.contextmanager
def told(progress):
    """Context in which warnings are notes, and compilation is told.

    Each warning is printed once, in one line, when it is raised.
    """
    said = set()

    def note(message, *_args, **_options):
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            progress.note(text)

    # Not record=True, which would keep the warnings until the end.
    with (
        warnings.catch_warnings(),
        compiling_announced(lambda on: progress.interrupt(_COMPILING if on else None)),
    ):
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = note
        yield


def check_device(name):
    """Raise an OptionError unless this machine has the device."""
    try:
        resolve_device(name)
    except ValueError as error:
        problem = f"Expected a device that this machine has, got {name!r}."
        raise OptionError("--device", problem) from error


def loaded_pipeline(options, progress):
    """Return the Pipeline of a model's file, which begins with an ImageLoader."""
    if options.device is not None:
        check_device(options.device)
    progress.begin("Reading the model")
    pipeline = load(options.model)
    if not isinstance(pipeline, Pipeline) or not isinstance(pipeline[0], ImageLoader):
        got = f"a {type(pipeline).__name__}"
        if isinstance(pipeline, Pipeline):
            got += f" that begins with a {type(pipeline[0]).__name__}"
        raise OptionError(
            "MODEL", "Expected a Pipeline that begins with an ImageLoader, as fit writes it and "
            f"skl_sae.save, got {got}, which does not say how images are loaded: "
            f"{str(options.model)!r}.",
        )  # fmt: skip
    if options.device is not None:
        for name, step in pipeline.steps:
            if "device" in step.get_params(deep=False):
                pipeline.set_params(**{f"{name}__device": options.device})
    return pipeline


def said_of(pipeline):
    """Return in words what a Pipeline is."""
    loader, sae = pipeline[0], pipeline[-1]
    size = "x".join(map(str, loader.size))
    kind = "colour" if loader.mode == "RGB" else "grey"
    return f"{type(sae).__name__} of {kind} images of {size} pixels."


def autoencoder_of(pipeline):
    """Return the autoencoder that codes images as they are loaded; None if there are more steps."""
    *others, last = pipeline[1:]
    return last if all(isinstance(step, ImageAugmenter) for step in others) else None


def all_codes(coder, rows, progress):
    """Return CSR codes of rows, with progress."""
    progress.begin("Coding all images", len(rows))
    return sp.vstack(list(coded_parts(coder, rows, progress)), format="csr")


def coded_parts(coder, rows, progress):
    """Yield CSR codes, some rows at a time."""
    for part in gen_batches(len(rows), _ROWS_AT_A_TIME):
        yield sp.csr_matrix(coder.transform(rows[part]))
        progress.add(part.stop - part.start)


def parts_of_files(pipeline, filenames, progress, errors=None):
    """Yield indices of files, their rows and CSR codes, some files at a time.

    ``errors`` is a dict that takes those of files that cannot be read, by index; None raises them.
    """
    loader, coder, has_remarked = pipeline[0], pipeline[1:], False
    progress.begin("Coding images", len(filenames))
    for part in gen_batches(len(filenames), _ROWS_AT_A_TIME):
        own = None if errors is None else {}
        rows, remarks = loader._rows(filenames[part], lambda n: None, own)
        indices = np.delete(np.arange(part.start, part.stop), list(own or ()))
        if own:
            errors |= {part.start + i: error for i, error in own.items()}
        if not len(rows):
            continue
        codes = sp.csr_matrix(coder.transform(rows))
        if codes.shape[0] != len(rows):
            raise ValueError(
                f"Expected a code for each of {len(rows)} images, got {codes.shape[0]} codes."
            )
        if remarks and not has_remarked:  # once, not for each part
            has_remarked = True
            progress.note(remarks[0])
        yield indices, rows, codes
        progress.reach(part.stop)
