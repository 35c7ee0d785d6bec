"""Files of any model of this package: autoencoders, ensembles, and Pipelines of our steps."""

from typing import Any

from sklearn.pipeline import Pipeline

from .._model_file._format import FORMAT
from .._model_file._pipeline import read_pipeline, write_pipeline
from .._model_file._safetensors import ModelFileError, open_file
from ..images._augmenter import ImageAugmenter
from ..images._loader import ImageLoader
from ..images._typing import AnyPath
from ._bagging import BaggingSparseAutoencoder
from ._base import BaseSparseAutoencoder, _warn_of_version
from ._boosting import BoostingSparseAutoencoder
from ._conv import ConvTopKSparseAutoencoder
from ._deep import DeepTopKSparseAutoencoder
from ._pooling import CodePooling
from ._topk import TopKSparseAutoencoder

AUTOENCODERS = {
    cls.__name__: cls
    for cls in (
        TopKSparseAutoencoder, ConvTopKSparseAutoencoder, DeepTopKSparseAutoencoder,
        BaggingSparseAutoencoder, BoostingSparseAutoencoder,
    )
}  # fmt: skip
STEPS = AUTOENCODERS | {cls.__name__: cls for cls in (ImageLoader, ImageAugmenter, CodePooling)}


def save(
    estimator: BaseSparseAutoencoder | Pipeline, path: AnyPath, *, optimizer: bool = False
) -> None:
    """Write a fitted autoencoder, or a Pipeline of steps of this package, to one file.

    The file is in the safetensors format, is replaced as a whole or not at all, and runs no code
    when it is loaded. Therefore a Pipeline may have these steps and no others:
    :class:`ImageLoader`, :class:`ImageAugmenter`, :class:`CodePooling`, and the autoencoders and
    ensembles of this package, at least one.

    Parameters
    ----------
    estimator : autoencoder or :class:`~sklearn.pipeline.Pipeline`
        Fitted. Of a Pipeline that ends with a classifier, ``pipeline[:-1]`` may be kept.
    path : str or path-like
        The file, by custom with the suffix ``.safetensors``.
    optimizer : bool, default=False
        Whether to keep the optimizer's moments; see :meth:`TopKSparseAutoencoder.save`.

    Raises
    ------
    ModelFileError
        If a step is of another class, with the reason (:class:`ImageEmbedder` holds a network,
        which is a program); if the ImageLoader is not the first step, or its rows are not those
        that the model takes; or as for one model.
    OSError
        If the file cannot be written. What was there before is then left as it was.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Warns
    -----
    UserWarning
        If ``memory`` of the Pipeline or ``checkpoint`` of a model is set: no file keeps a path.

    See Also
    --------
    load : Reads such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.pipeline import make_pipeline
    >>> from skl_sae import ImageLoader, TopKSparseAutoencoder, find_images, load, save
    >>> from skl_sae.datasets import make_cells
    >>> sae = TopKSparseAutoencoder(16, k=4, max_iter=1, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = make_cells(folder, n_samples=8, size=32)
    ...     filenames = find_images(folder).filenames
    ...     pipeline = make_pipeline(ImageLoader((8, 8), "L"), sae).fit(filenames)
    ...     path = os.path.join(folder, "cells.safetensors")
    ...     save(pipeline, path)
    ...     codes = load(path).transform(filenames)
    >>> codes.shape
    (8, 16)
    """
    if isinstance(estimator, BaseSparseAutoencoder):
        estimator.save(path, optimizer=optimizer)
    elif type(estimator) is Pipeline:
        write_pipeline(path, estimator, STEPS, optimizer=optimizer)
    else:
        raise ModelFileError(
            path, "Expected an autoencoder of skl_sae or a Pipeline with one, got a "
            f"{type(estimator).__name__}.",
        )  # fmt: skip


def load(path: AnyPath) -> Any:  # whoever asks knows which
    """Read any model or Pipeline of this package; safe also with files from strangers.

    Nothing in the file is run, and its classes are chosen from a closed list, as
    :meth:`TopKSparseAutoencoder.load` says.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : autoencoder or :class:`~sklearn.pipeline.Pipeline`
        The fitted estimator, of the class that the file says. A Pipeline that the command
        ``skl-sae fit`` wrote has two attributes more: ``target_names_``, the names of the classes
        of the folder, if it had any, and ``held_out_``, a dictionary of figures of the images held
        out. :func:`save` keeps them.

    Raises
    ------
    ModelFileError
        If the file is not a model that this version can read, whole and usable.
    FileNotFoundError
        If there is none.

    Warns
    -----
    UserWarning
        If another version of skl_sae wrote the file.

    See Also
    --------
    save : Writes such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import BaggingSparseAutoencoder, TopKSparseAutoencoder, load, save
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(16, k=4, max_iter=1)
    >>> bagging = BaggingSparseAutoencoder(sae, 2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "digits.safetensors")
    ...     save(bagging, path)
    ...     type(load(path)).__name__
    'BaggingSparseAutoencoder'
    """
    with open_file(path) as file:
        if _is_pipeline(file):
            estimator, written_by = read_pipeline(file, STEPS)
        elif file.metadata.get("kind") == "checkpoint":
            raise ModelFileError(
                path, "Expected a model, got the checkpoint of a fit, which goes on from it with "
                "checkpoint=... and warm_start=True.",
            )  # fmt: skip
        else:
            # What else it says of itself is checked by the class, also where there is none of it.
            cls = AUTOENCODERS.get(file.metadata.get("class"), TopKSparseAutoencoder)
            estimator, written_by = cls._read(file)
    _warn_of_version(written_by)
    return estimator


def read_as(path, cls):
    """An autoencoder of a class, also of a Pipeline's file, and the version if another wrote it."""
    with open_file(path) as file:
        if not _is_pipeline(file):
            return cls._read(file)
        pipeline, written_by = read_pipeline(file, STEPS)
    *_, step = (step for _, step in pipeline.steps if isinstance(step, BaseSparseAutoencoder))
    if type(step) is not cls:
        raise ModelFileError(
            path, f"Expected class {cls.__name__!r}, got the Pipeline of a {type(step).__name__}. "
            "skl_sae.load reads models and Pipelines of any class.",
        )  # fmt: skip
    return step, written_by


def _is_pipeline(file):
    return file.metadata.get("format") == FORMAT and file.metadata.get("kind") == "pipeline"
