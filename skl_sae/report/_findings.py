"""Findings: all that a report says in numbers, computed once for its page and its JSON."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..inspection import class_selectivity, monosemanticity
from ._compare import comparisons, matched_cosines, models
from ._measures import atom_measures, in_classes
from ._reading import Reading
from ._summary import defined, summary_figures

_ATOMS_OF_A_CLASS = 8


class Labels(NamedTuple):
    """Classes, names and labels as they were given; None for classes and names that were not."""

    classes: list | None  # names of the classes
    of_image: np.ndarray | None  # index of each image's class
    names: list | None  # names of the images
    of_atoms: dict  # texts by column of the codes

    def n_classes(self):
        """Return the number of classes; 0 without any."""
        return 0 if self.classes is None else len(self.classes)


class ClassFigures(NamedTuple):
    """Figures of each class."""

    counts: np.ndarray  # numbers of images (n_classes,)
    correlations: np.ndarray  # mean correlations (n_classes,); NaN if none is defined
    means: np.ndarray  # mean images (n_classes, n_features)
    atoms: np.ndarray  # its most selective atoms, best first (n_classes, n)
    auc: np.ndarray  # their areas under the curve (n_classes, n)


class Findings:
    """All figures of a report.

    Parameters
    ----------
    reading : Reading
        The estimator and its codes of the images.
    labels : Labels
        Classes and names of the images.
    other : Reading or None
        An estimator to compare, and its codes of the same images.
    embeddings : ndarray of shape (n_images, n_dimensions) or None
        A vector for each image.
    """

    def __init__(
        self, reading: Reading, labels: Labels, other: Reading | None = None, embeddings=None
    ):
        self.reading, self.labels, self.other = reading, labels, other
        self._embeddings = embeddings

    @cached_property
    def summary(self):
        """Numbers of the summary, by name."""
        figures, scores = summary_figures(self.reading), self.monosemanticity
        if scores is None:
            return figures
        return figures | {
            "monosemanticity": defined(scores.value),
            "monosemanticity_chance": defined(scores.chance),
        }

    @cached_property
    def monosemanticity(self):
        """Result of monosemanticity, or None without embeddings."""
        if self._embeddings is None:
            return None
        return monosemanticity(self.reading.subject.activations, self._embeddings)

    @cached_property
    def selectivity(self):
        """Result of class_selectivity, or None with fewer than two classes."""
        if self.labels.n_classes() < 2:
            return None
        return class_selectivity(self.reading.subject.activations, self.labels.of_image)

    @cached_property
    def measures(self):
        """Measures of all atoms, by name."""
        measures = atom_measures(self.reading, self.selectivity, self.labels.of_image)
        if self.monosemanticity is not None:
            measures["monosemanticity"] = self.monosemanticity.atoms
        return measures | matched_cosines(self.reading, self.comparisons)

    @cached_property
    def comparisons(self):
        """Matched atoms of two models or members."""
        return comparisons(self.reading, self.other)

    @cached_property
    def models(self):
        """Names and figures of models or members side by side."""
        return models(self.reading, self.other)

    @cached_property
    def classes(self):
        """Figures of each class, or None with fewer than two classes."""
        if self.selectivity is None:
            return None
        auc, labels = self.selectivity.auc, self.labels.of_image
        counts = np.bincount(labels)
        correlations, _ = self.reading.reconstruction
        defined = ~np.isnan(correlations)
        n_defined = np.bincount(labels, weights=defined)
        sums = np.bincount(labels, weights=np.nan_to_num(correlations))
        best = np.argsort(-auc, axis=1, kind="stable")[:, :_ATOMS_OF_A_CLASS]
        return ClassFigures(
            counts=counts,
            correlations=np.where(n_defined > 0, sums / np.maximum(n_defined, 1), np.nan),
            means=in_classes(labels) @ self.reading.subject.rows / counts[:, None],
            atoms=best,
            auc=np.take_along_axis(auc, best, axis=1),
        )
