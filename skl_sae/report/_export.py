"""A report's figures as plain dict, of what JSON can hold."""

from numbers import Integral, Real

import numpy as np

from ..inspection._members import is_ensemble, trainings_of
from ._compare import SAME
from ._page import described

VERSION = 1
# Measures that are no real numbers: indices of classes, and what is true or false.
_OF_CLASSES, _TRUTHS = ("best_class", "dominant_class"), ("dead_in_training",)


def as_dict(findings):
    """Return all figures, as `SAEReport.to_dict` documents them."""
    estimator = findings.reading.estimator
    return {
        "format": "skl_sae.report",
        "version": VERSION,
        "estimator": type(estimator).__name__,
        "parameters": {
            name: _parameter(value) for name, value in estimator.get_params(deep=False).items()
        },
        "image_shape": list(map(int, findings.reading.subject.image_shape)),
        "summary": dict(findings.summary),
        "members": [member.name for member in findings.reading.subject.members],
        "training": _training(estimator),
        "atoms": _atoms(findings),
        "images": _images(findings),
        "classes": _classes(findings),
        "models": [{"name": name, **figures} for name, figures in findings.models],
        "comparisons": [_comparison(found) for found in findings.comparisons],
    }


def _training(estimator):
    """Return the curves of a fit; those of an ensemble are its members'."""
    found = [
        {"name": name} | {
            "loss": plain(loss), "correlation": plain(correlation), "held_out": plain(held_out)
        }
        for name, loss, correlation, held_out in trainings_of(estimator)
    ]  # fmt: skip
    if is_ensemble(estimator) or not found:
        return {"loss": [], "correlation": [], "held_out": [], "members": found}
    (own,) = found
    return {name: own[name] for name in ("loss", "correlation", "held_out")} | {"members": []}


def plain(values):
    """Return an array as lists of Python's numbers, with None for what is not finite."""
    values = np.asarray(values)
    if values.dtype.kind != "f":
        return values.tolist()
    return np.where(np.isfinite(values), values, None).tolist()


def _records(columns):
    """Return a dict for each entry of columns, lists of one length."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _atoms(findings):
    usage, measures = findings.reading.usage, dict(findings.measures)
    names = findings.labels.classes
    columns = {
        "atom": plain(np.arange(len(usage.dead))),
        "member": plain(findings.reading.members),
        "label": [findings.labels.of_atoms.get(j) for j in range(len(usage.dead))],
        "dead": plain(usage.dead),
    }
    for name, values in measures.items():
        if name in _OF_CLASSES:
            columns[name] = [
                None if dead else names[c] for c, dead in zip(values, usage.dead, strict=True)
            ]
        elif name in _TRUTHS:
            columns[name] = [None if value is None else bool(value) for value in plain(values)]
        else:
            columns[name] = plain(values)
    return _records(columns)


def _images(findings):
    correlations, _ = findings.reading.reconstruction
    labels, codes = findings.labels, findings.reading.subject.codes
    columns = {
        "row": plain(np.arange(len(correlations))),
        "correlation": plain(correlations),
        "active_atoms": plain(np.diff(codes.indptr)),
    }
    if labels.names is not None:
        columns["name"] = labels.names
    if labels.classes is not None:
        columns["class"] = [labels.classes[c] for c in labels.of_image]
    return _records(columns)


def _classes(findings):
    if findings.classes is None:
        return []
    figures = findings.classes
    return _records(
        {
            "name": findings.labels.classes,
            "n_images": plain(figures.counts),
            "correlation": plain(figures.correlations),
            "atoms": plain(figures.atoms),
            "auc": plain(figures.auc),
        }
    )


def _comparison(found):
    return {
        "names": list(found.names),
        "mean_cosine": float(found.cosines.mean()),
        "same_from": SAME,
        "shared": found.shared(),
        "atoms": plain(found.atoms),
        "cosines": plain(found.cosines),
    }


def _parameter(value):
    """Return a parameter as JSON holds it, or its description as the page has it."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and np.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_parameter(part) for part in value]
    return described(value)
