"""Measures of each atom: one number an atom, NaN where it is undefined."""

import math

import numpy as np
import scipy.sparse as sp

from ..inspection import spatial_coherence
from ..inspection._coherence import coherence_of_pictures
from ..inspection._estimators import is_of_another_library
from ..inspection._probing import variance_between
from ._arrays import cosines_to_nearest

# Measures that say nothing of an atom that fires on none of the images.
_OF_FIRING = (
    "mean_activation", "max_activation", "auc", "purity", "accuracy", "class_variance",
)  # fmt: skip


def atom_measures(reading, selectivity=None, labels=None):
    """Return the measures of all atoms, arrays of shape (n_atoms,) by name.

    Parameters
    ----------
    reading : Reading
        The estimator and its codes of the images.
    selectivity : Bunch or None, default=None
        Result of class_selectivity, if there are two classes or more.
    labels : ndarray of shape (n_images,), dtype int
        Indices of the images' classes; needed with ``selectivity``.
    """
    usage, subject = reading.usage, reading.subject
    measures = {
        name: usage[name].astype(np.float64)
        for name in ("frequency", "place_frequency", "mean_activation", "max_activation", "share")
        if name in usage
    }
    n_atoms = len(subject.atoms)
    measures["smoothness"] = _smoothness(subject)
    measures["spatial_coherence"] = _coherence_of_places(subject)
    measures["nearest_cosine"] = cosines_to_nearest(subject.atoms, reading.members, reading.gram)
    measures["encoder_cosine"] = encoder_cosines(reading.estimator, n_atoms)
    measures["dead_in_training"] = _dead_in_training(reading.estimator, n_atoms)
    if selectivity is not None:
        measures |= _class_measures(subject.activations, selectivity, labels)
    for name in set(_OF_FIRING) & set(measures):
        measures[name] = np.where(usage.dead, np.nan, measures[name])
    return measures


def _class_measures(activations, selectivity, labels):
    best = selectivity.auc.argmax(axis=0)
    share, dominant = purity(activations, labels)
    return {
        "best_class": best,
        "auc": selectivity.auc.max(axis=0),
        "p_adjusted": np.take_along_axis(selectivity.p_adjusted, best[None], axis=0)[0],
        "accuracy": threshold_accuracy(activations, labels, best),
        "purity": share,
        "dominant_class": dominant,
        "class_variance": variance_between(sp.csr_array(activations, dtype=np.float64), labels),
    }


def _smoothness(subject):
    """Return Moran's I of each atom as a picture; NaN where it has none."""
    if math.prod(subject.atom_shape[:2]) < 2:
        return np.full(len(subject.atoms), np.nan)
    return coherence_of_pictures(subject.atoms, subject.atom_shape)


def _coherence_of_places(subject):
    """Return Moran's I of each atom's activations over places; NaN where it has none."""
    if subject.maps_shape is None or math.prod(subject.maps_shape[:2]) < 2:
        return np.full(len(subject.atoms), np.nan)
    return spatial_coherence(subject.codes, subject.maps_shape).atoms


def encoder_cosines(estimator, n_atoms):
    """Return each atom's cosine with its encoder's weights; NaN if they are tied or averaged."""
    encoder, atoms = getattr(estimator, "encoder_", None), estimator.components_
    # Tied weights that were loaded from a file are two arrays of the same numbers.
    if encoder is None or len(atoms) != n_atoms or np.array_equal(encoder, atoms):
        return np.full(n_atoms, np.nan)
    lengths = np.linalg.norm(encoder, axis=1) * np.linalg.norm(atoms, axis=1)
    products = np.einsum("ij,ij->i", encoder, atoms, dtype=np.float64)
    return np.divide(products, lengths, np.full(n_atoms, np.nan), where=lengths > 0)


def _dead_in_training(estimator, n_atoms):
    """Return 1 where an atom fired on no sample of the last epoch, in any member; else 0."""
    if is_of_another_library(estimator):
        return np.full(n_atoms, np.nan)
    fired = estimator.atom_frequency_.reshape(-1, n_atoms) > 0
    return 1.0 - fired.any(axis=0)


def in_classes(labels):
    """Return a sparse array of shape (n_classes, n_images), 1 where an image is of a class."""
    return sp.csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))))


def purity(activations, labels):
    """Return the share of the most frequent class among the images on which an atom fires.

    Returns
    -------
    share : ndarray of shape (n_atoms,)
        Between 0 and 1; NaN if the atom fires on none.
    dominant : ndarray of shape (n_atoms,)
        Index of that class.
    """
    counts = (in_classes(labels) @ activations.astype(bool).astype(np.float64)).toarray()
    total = counts.sum(axis=0)
    share = np.divide(counts.max(axis=0), total, np.full(len(total), np.nan), where=total > 0)
    return share, counts.argmax(axis=0)


def threshold_accuracy(activations, labels, wanted):
    """Return how well one threshold on an atom alone tells its class from all others.

    Balanced accuracy, (1 + rate in the class - rate in others) / 2, of the images whose activation
    reaches the threshold. It is learned on one half of the images and scored on the other, both
    ways, and the two are averaged: 0.5 is chance. Halves take turns within each class.

    Parameters
    ----------
    activations : sparse array of shape (n_images, n_atoms)
        Activations.
    labels : ndarray of shape (n_images,)
        Indices of the images' classes.
    wanted : ndarray of shape (n_atoms,)
        Class of each atom.

    Returns
    -------
    accuracy : ndarray of shape (n_atoms,)
        NaN where the class, or all others, have fewer than two images.
    """
    order = np.argsort(labels, kind="stable")
    half = np.empty(len(labels), dtype=np.int64)
    half[order] = np.arange(len(labels)) % 2
    entries = sp.coo_array(abs(activations))
    accuracies = []
    for learned in (0, 1):
        gain = _gain(entries, labels, wanted, half == learned)
        threshold = _thresholds(entries, gain, half[entries.row] == learned, len(wanted))
        gain = _gain(entries, labels, wanted, half != learned)
        kept = (half[entries.row] != learned) & (entries.data >= threshold[entries.col])
        sums = np.bincount(entries.col[kept], weights=gain[kept], minlength=len(wanted))
        n_in = np.bincount(labels, weights=half != learned)[wanted]
        n_out = np.count_nonzero(half != learned) - n_in
        defined = (np.bincount(labels)[wanted] > 1) & (n_in > 0) & (n_out > 0)
        accuracies.append(np.where(defined, (1 + sums) / 2, np.nan))
    return np.mean(accuracies, axis=0)


def _gain(entries, labels, wanted, part):
    """Return what each entry adds to the rate in its atom's class less the rate in others."""
    n_in = np.bincount(labels, weights=part)[wanted]
    n_out = np.count_nonzero(part) - n_in
    inside = labels[entries.row] == wanted[entries.col]
    inverse_in, inverse_out = 1 / np.maximum(n_in, 1), 1 / np.maximum(n_out, 1)
    return np.where(inside, inverse_in[entries.col], -inverse_out[entries.col])


def _thresholds(entries, gain, learned, n_atoms):
    """Return each atom's activation at which the sum of gains from there on is the largest."""
    atom, value, gain = entries.col[learned], entries.data[learned], gain[learned]
    order = np.lexsort((-value, atom))
    atom, value = atom[order], value[order]
    first = np.searchsorted(atom, np.arange(n_atoms))
    sums = np.cumsum(gain[order])
    before = np.append(0, sums)[first]  # of the atoms before
    sums = sums - before[atom]
    # Equal activations are on the same side of any threshold.
    is_last = np.append((atom[1:] != atom[:-1]) | (value[1:] != value[:-1]), True)[: len(atom)]
    atom, value, sums = atom[is_last], value[is_last], sums[is_last]
    by_sum = np.lexsort((sums, atom))
    best = by_sum[np.append(atom[by_sum][1:] != atom[by_sum][:-1], True)[: len(atom)]]
    threshold = np.full(n_atoms, np.inf)
    threshold[atom[best]] = np.where(sums[best] > 0, value[best], np.inf)
    return threshold
