"""Helpers to read fitted estimators."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..autoencoders._members import mean_of_members
from ..images._arrays import rows_of_images, without_channel
from ..metrics import unwrap_pipeline


def fitted_step(estimator, X=None, *, needs):
    """Unwrap a Pipeline, and check that the estimator has the fitted attribute ``needs``.

    Returns
    -------
    estimator : estimator
        Last step of a Pipeline, or the estimator itself.
    X : array-like or None
        Input of that step.
    """
    estimator, X = unwrap_pipeline(estimator, X)
    if not hasattr(estimator, needs):
        check_is_fitted(estimator)
        raise ValueError(f"Expected {_needed(estimator, needs)}.")
    return estimator, X


def _needed(estimator, needs):
    """Return in words what an estimator lacks."""
    kinds = [type(one).__name__ for one in getattr(estimator, "estimators_", ())]
    if not kinds or needs == "loss_curve_":
        return f"an estimator with {needs}, got {estimator!r}"
    return (
        f"an ensemble whose atoms all are as large as its images, got a {type(estimator).__name__} "
        f"of {' and '.join(dict.fromkeys(kinds))}: atoms of other sizes have no place beside them. "
        "Take each of its estimators_[i] by itself, a stage of a sum with the images less what the "
        "stages before it reconstruct"
    )


def shape_of(estimator, shape, attributes=("image_shape_",)):
    """Return a shape that is given, or the one that a fitted estimator knows.

    It is the first of its attributes; or that of the images which a Pipeline loads, if its last
    step gets them as they are loaded or varied.
    """
    last, _ = unwrap_pipeline(estimator)
    known = [shape, *(getattr(last, name, None) for name in attributes), _shape_of_steps(estimator)]
    shape = next((shape for shape in known if shape is not None), None)
    if shape is None:
        raise ValueError(
            f"Expected image_shape=..., as {type(last).__name__} was fitted to rows and does not "
            "know the shape of their images, got None."
        )
    return shape


def _shape_of_steps(estimator):
    """Return the shape of images that all steps but the last load or vary; None if unknown."""
    steps = estimator[:-1] if isinstance(estimator, Pipeline) else ()
    shapes = [getattr(step, "_image_shape", lambda: None)() for step in steps]
    return without_channel(shapes[0]) if shapes and None not in shapes else None


def training_mean(estimator, n_features=None):
    """Return the mean of the training samples.

    Small atoms have one of the channels, which is repeated for images of n_features numbers.

    The members' centres start from it, but are then learned, so they are not the same. In a model
    of another library, whose training samples are not known, it is the decoder's bias.
    """
    mean = np.ravel(estimator._offset)
    return mean if n_features is None else np.tile(mean, n_features // len(mean))


def is_of_another_library(estimator):
    """Return whether nothing is known of the training, as in what `skl_sae.interop` read."""
    return getattr(estimator, "n_iter_", 1) == 0


def atoms_of_codes(estimator):
    """Return one atom for each column of the codes.

    If the codes are the mean of the members' codes, the atoms are the mean of the members'
    atoms: ``inverse_transform`` decodes with all members and averages, and decoding is linear.
    """
    atoms = estimator.components_
    if getattr(estimator, "aggregate", None) == "mean":
        atoms = mean_of_members(atoms, len(estimator.centers_))
    return atoms


def sorted_atoms(estimator, atoms, order):
    """Sort indices of atoms by use, keep them, or select some of them.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator.
    atoms : ndarray of int
        Indices of consecutive atoms.
    order : "use", None or array-like of int
        Sort by descending use, keep the order, or select these atoms in this order.
    """
    if order is None:
        return atoms
    if isinstance(order, str):
        if order != "use":
            raise ValueError(f"Expected order='use', None or numbers of atoms, got {order!r}.")
        fitted_step(estimator, needs="atom_frequency_")
        return atoms[np.argsort(-estimator.atom_frequency_[atoms], kind="stable")]
    selected = np.asarray(order)
    if selected.ndim != 1 or not len(selected):
        raise ValueError(f"Expected a list of numbers of atoms, got shape {selected.shape}.")
    wrong = selected[~np.isin(selected, atoms)]
    if len(wrong):
        raise ValueError(f"Expected atoms from {atoms[0]} to {atoms[-1]}, got {wrong[0]}.")
    return selected.astype(np.int64)


def coded(estimator, X):
    """Return samples at the last step, their codes and reconstructions, with a row each."""
    last, X = unwrap_pipeline(estimator, X)
    codes = last.transform(X)
    return as_rows(X), codes, as_rows(last.inverse_transform(codes))


def training_mean_or(estimator, rows):
    """Return the mean of the training samples; that of rows where an estimator keeps none."""
    last, _ = unwrap_pipeline(estimator)
    if hasattr(last, "_offset"):
        return training_mean(last, rows.shape[1])
    return getattr(last, "mean_", rows.mean(axis=0, dtype=np.float64))


def as_rows(X):
    """Return samples, or images, as rows."""
    rows, _ = rows_of_images(X)
    return np.asarray(rows)
