"""Figures of the report's summary, with their explanations."""

import numpy as np

from ..inspection import match_members
from ..inspection._estimators import is_of_another_library

# Pairs of members times n_components**3. Matching takes about a second for a tenth of this.
_MOST_TO_MATCH = 1e11


def summary(estimator, subject, usage, correlations, unexplained):
    """Return name, value and explanation of each figure.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder
        Fitted estimator.
    subject : WholeImages or ImagesOfPlaces
        The report's images with their codes.
    usage : Bunch
        Result of atom_usage for them.
    correlations : ndarray of shape (n_samples,)
        Correlations with the reconstructions; NaN if undefined.
    unexplained : float
        Fraction of variance unexplained; NaN if undefined.
    """
    varying = correlations[~np.isnan(correlations)]
    mean = f"{varying.mean():.4f}" if len(varying) else "undefined"
    figures = [
        ("Correlation", mean, "of an image with its reconstruction, on average"),
        (
            "FVU",
            "undefined" if np.isnan(unexplained) else f"{unexplained:.4f}",
            f"fraction of the variance of these images, about {subject.mean_words}, "
            "that is left unexplained",
        ),
        *_usage_figures(estimator, subject.codes, usage),
    ]
    stability = _stability(estimator)
    if stability is not None:
        explanation = "mean cosine of atoms matched between members"
        figures.append(("Stability", f"{stability:.3f}", explanation))
    return figures


def _usage_figures(estimator, codes, usage):
    n_atoms, n_dead = len(usage.dead), int(usage.dead.sum())
    n_active = np.diff(codes.indptr)
    dead = f"{n_dead:,} of {n_atoms:,} fire on none of these images"
    if not is_of_another_library(estimator):
        n_dead_in_training = int((estimator.atom_frequency_ == 0).sum())
        n_trained = len(estimator.components_)
        dead += f"; in the last epoch of training {n_dead_in_training:,} of {n_trained:,}"
    return [
        (
            "Active atoms",
            f"{n_active.mean():,.1f}",
            f"an image, on average; {n_active.max():,} at most",
        ),
        ("Dead atoms", f"{100 * n_dead / n_atoms:.1f} %", dead),
        (
            "Atoms for 80 %",
            f"{100 * usage.fraction_for_80:.1f} %",
            f"{usage.atoms_for_80:,} atoms carry 80 % of the reconstructions' variance",
        ),
    ]


def _stability(estimator):
    """Return the members' stability; None for one member, or if it would take long."""
    n_members = len(estimator.centers_)
    n_components = len(estimator.components_) // n_members
    n_pairs = n_members * (n_members - 1) // 2
    if not 0 < n_pairs * n_components**3 <= _MOST_TO_MATCH:
        return None
    return match_members(estimator).stability
