"""Figures of a report's summary as numbers, and as text with explanations."""

import numpy as np

from ..inspection._estimators import is_of_another_library
from ..inspection._members import has_stages

# Figures besides those that all see at once.
_MORE = {
    "cosine": ("Cosine", "Direction", "of image and reconstruction about {mean}: 1 is the same"),
    "length_ratio": ("Length", "Contrast", "of the reconstruction, by the image's: 1 is as much"),
    "bias": ("Bias", "Shrinkage", "below 1 codes are too small: divided by it they are not"),
}


def summary_figures(reading):
    """Return the figures of a summary, numbers by name; None where there is none.

    Parameters
    ----------
    reading : Reading
        The estimator and its codes of the images.
    """
    subject, estimator = reading.subject, reading.estimator
    trained, matching = None, reading.matching
    curve = getattr(estimator, "correlation_curve_", ())
    if has_stages(estimator):  # which are to differ
        matching = None
    if not is_of_another_library(estimator):
        trained = int((estimator.atom_frequency_ == 0).sum())
    return {
        "n_images": len(subject.rows),
        "n_atoms": subject.activations.shape[1],
        "n_members": len(estimator.centers_),
        "n_trained_atoms": len(estimator.components_),
        **model_figures(*reading.reconstruction, subject.codes, reading.usage),
        "dead_in_training": trained,
        "correlation_in_training": defined(curve[-1]) if len(curve) else None,
        "stability": None if matching is None else matching.stability,
    }


def model_figures(correlations, figures, codes, usage):
    """Return the figures that two models, or members of one, have in common."""
    varying = correlations[~np.isnan(correlations)]
    n_active = np.diff(codes.indptr)
    return {
        "correlation": float(varying.mean()) if len(varying) else None,
        **{name: defined(figures[name]) for name in ("fvu", *_MORE)},
        "active_atoms": float(n_active.mean()),
        "most_active_atoms": int(n_active.max()),
        "dead_atoms": int(usage.dead.sum()),
        "dead_fraction": float(usage.dead.mean()),
        "atoms_for_80": usage.atoms_for_80,
        "fraction_for_80": usage.fraction_for_80,
    }


def defined(value):
    """Return a number as a float, or None if it is none, such as NaN."""
    return float(value) if np.isfinite(value) else None


def described(figures, mean_words):
    """Return name, value, plain words and explanation of each of the figures."""
    values = values_of(figures)
    dead = f"{figures['dead_atoms']:,} of {figures['n_atoms']:,} fire on none of these images"
    if figures["dead_in_training"] is not None:
        dead += (
            f"; in the last epoch of training {figures['dead_in_training']:,} "
            f"of {figures['n_trained_atoms']:,}"
        )
    in_training = ""
    if figures["correlation_in_training"] is not None:
        in_training = f"; in training {figures['correlation_in_training']:.4f}"
    words = {
        "Correlation": (
            "Likeness",
            "of an image and its reconstruction, on average; 1 at most" + in_training,
        ),
        "FVU": (
            "Unexplained variance",
            f"what part of these images' variance about {mean_words} is not rebuilt; 0 is best",
        ),
        "Active atoms": (
            "Atoms used",
            f"by an image, on average; {figures['most_active_atoms']:,} at most",
        ),
        "Dead atoms": ("Atoms never used", dead),
        "Atoms for 80 %": (
            "Atoms that do most of the work",
            f"{figures['atoms_for_80']:,} atoms carry 80 % of the reconstructions' variance",
        ),
        "Stability": (
            "Agreement of members",
            "mean cosine of atoms matched between members; 1 if all learned the same atoms",
        ),
    }
    return [(name, value, *words[name]) for name, value in values.items()]


def more_described(figures, mean_words):
    """Return the same of the figures that are shown on request."""
    return [
        (title, _text(figures, name, 3), word, explanation.format(mean=mean_words))
        for name, (title, word, explanation) in _MORE.items()
    ]


def values_of(figures):
    """Return the figures of one model as text, by the names that a page gives them."""
    values = {
        "Correlation": _text(figures, "correlation", 4),
        "FVU": _text(figures, "fvu", 4),
        "Active atoms": f"{figures['active_atoms']:,.1f}",
        "Dead atoms": f"{100 * figures['dead_fraction']:.1f} %",
        "Atoms for 80 %": f"{100 * figures['fraction_for_80']:.1f} %",
    }
    if figures.get("stability") is not None:
        values["Stability"] = f"{figures['stability']:.3f}"
    return values


def _text(figures, name, digits):
    return "undefined" if figures[name] is None else f"{figures[name]:.{digits}f}"
