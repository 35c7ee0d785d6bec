"""Figures that the command prints: held-out errors beside PCA's, and accuracies by class."""

import time
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from .._model_file._safetensors import printable
from ..inspection._estimators import training_mean
from ..inspection._placed import has_places
from ..metrics import fraction_of_variance_unexplained, row_correlations

# PCA of more numbers times components than this takes more than some seconds, and a part tells how
# many.
_LARGE, _PART = 3e9, 8


class _Row(NamedTuple):
    """Row of the table of held-out figures."""

    name: str
    correlation: float | None  # None where it is undefined
    fvu: float | None
    n_active: int  # numbers of an image's code, at most


def held_out_figures(images, sae, codes):
    """Return figures of the images held out, as a model's file keeps them."""
    held_out = codes[images.test]
    row = _row("", images, sae, sae.inverse_transform(held_out), 0)
    return {
        "n_learned": len(images.train), "n_images": len(images.test),
        "n_active": held_out.nnz / len(images.test), "correlation": row.correlation, "fvu": row.fvu,
    }  # fmt: skip


def say_figures(progress, images, sae, codes, figures):
    """Print held-out figures of the model, its members, and PCA with as many active numbers.

    Returns
    -------
    pca : PCA
        With as many components as the model has active numbers, if there are as many.
    """
    n_members, k = len(sae.centers_), int(sae.k_)
    name, about = "autoencoder", "mean"
    if n_members > 1:
        name = "ensemble"
    elif has_places(sae):
        name, about = "small atoms", "channels' means"
    rows = [_Row(name, figures["correlation"], figures["fvu"], k * n_members)]
    pca = _fitted_pca(images, k * n_members, progress)
    rows.append(_pca_row(pca, images, sae))
    if n_members > 1:
        progress.begin("Comparing members with PCA")
        members = _member_reconstructions(sae, codes[images.test])
        rows += [_row(f"member {i}", images, sae, m, k) for i, m in enumerate(members, 1)]
        if k < pca.n_components_:  # else there are no more directions than that one has
            rows.append(_pca_row(_fitted_pca(images, k, progress), images, sae))
    say_table(progress, ["Held out", "correlation", "FVU", "active numbers"], [
        (row.name, figure(row.correlation), figure(row.fvu), str(row.n_active))
        for row in rows
    ])  # fmt: skip
    _say_constant(progress, images)
    progress.say(
        f"FVU: fraction of variance unexplained, about the {about} of the images learned.\n"
        f"Active numbers: at most; of an image's code {figures['n_active']:,.1f} on average."
    )
    return pca


def _say_constant(progress, images):
    """Tell how many images have no correlation."""
    test = images.data[images.test]
    n_constant = int(np.isnan(row_correlations(test, test)).sum())
    if n_constant:
        progress.note(
            f"{n_constant} of {len(test)} images held out are one tone of grey, and have no "
            "correlation."
        )


def _row(name, images, sae, reconstruction, n_active):
    """Row of reconstructions of the images held out."""
    test = images.data[images.test]
    fvu = fraction_of_variance_unexplained(
        test, reconstruction, training_mean(sae, images.data.shape[1])
    )
    return _Row(
        name, _mean_correlation(test, reconstruction), None if np.isnan(fvu) else fvu, n_active
    )  # fmt: skip


def _mean_correlation(X, reconstruction):
    """Mean correlation of images that vary with their reconstructions; None if there are none."""
    correlations = row_correlations(X, reconstruction)
    varying = correlations[~np.isnan(correlations)]
    return float(varying.mean()) if len(varying) else None


def _fitted_pca(images, n_components, progress):
    """Fit PCA with so many components, if there are as many."""
    # There are no more directions than samples or features.
    n_directions = min(n_components, len(images.train), images.data.shape[1])
    name = f"Fitting PCA with {n_directions:,} components"
    progress.begin(name)
    train, few = images.data[images.train], len(images.train) // _PART
    if few >= 2 * n_directions and train.size * n_directions > _LARGE:
        # Its time grows with the samples; a part of them tells how long all will take.
        start = time.perf_counter()
        PCA(n_directions, random_state=images.seed).fit(train[:few])
        progress.begin_of(name, _PART * (time.perf_counter() - start))
    return PCA(n_directions, random_state=images.seed).fit(train)


def _pca_row(pca, images, sae):
    test = images.data[images.test]
    reconstruction = pca.inverse_transform(pca.transform(test))
    return _row(_name(pca), images, sae, reconstruction, pca.n_components_)


def figure(value):
    """A figure as report and terminal have it."""
    return "undefined" if value is None else f"{value:.4f}"


def _name(pca):
    return f"PCA, {pca.n_components_} components"


def _member_reconstructions(sae, codes):
    """Yield each member's own reconstruction from the members' codes side by side."""
    n_components = sae.n_components
    for e, center in enumerate(sae.centers_):
        # Not inverse_transform, which adds up all members and divides by their number.
        atoms = slice(e * n_components, (e + 1) * n_components)
        yield codes[:, atoms] @ sae.components_[atoms] + center


def say_classes(progress, images, sae, codes, pca):
    """Print held-out correlations by class, and accuracies of linear classifiers."""
    rows = []
    for label, name in enumerate(images.target_names):
        test = images.test[images.target[images.test] == label]
        if len(test):
            X = images.data[test]
            ours, pcas = sae.inverse_transform(codes[test]), pca.inverse_transform(pca.transform(X))
            correlations = (figure(_mean_correlation(X, r)) for r in (ours, pcas))
            rows.append((printable(name, 200), str(len(test)), *correlations))
    say_table(progress, ["Held out, by class", "images", "correlation", "PCA's"], rows)
    # In each fold there has to be one image of each class.
    n_folds = min(5, *np.bincount(images.target))
    if len(images.target_names) < 2 or n_folds < 2:
        progress.say("\nNo classifier: that takes two classes, of two images each.")
        return
    _say_accuracies(progress, images, codes, pca, n_folds)


def _say_accuracies(progress, images, codes, pca, n_folds):
    features = {
        "sparse codes": codes,
        _name(pca): pca.transform(images.data),
        "raw pixels": images.data,
    }
    rows = []
    for name, X in features.items():
        # Not counted as parts of one stage, because they take such different times.
        progress.begin(f"Telling classes by {name}", n_folds)
        rows.append((name, *_accuracy(X, images.target, n_folds, progress)))
    chance = np.bincount(images.target).max() / len(images.target)
    rows.append(("always the largest class", f"{chance:.3f}", ""))
    header = [f"Logistic regression, {n_folds} folds", "accuracy", "spread"]
    say_table(progress, header, rows)
    progress.say("All images take part. The codes and PCA were learned without their labels.")


def _accuracy(X, y, n_folds, progress):
    """Return mean and standard deviation of the accuracy over the folds, as text."""
    # Unscaled: on cells and digits, scaling made all three kinds of features worse or no better.
    scores = []
    for train, test in StratifiedKFold(n_folds).split(X, y):
        classifier = LogisticRegression(max_iter=1000).fit(X[train], y[train])
        scores.append(classifier.score(X[test], y[test]))
        progress.add(1)
    return f"{np.mean(scores):.3f}", f"{np.std(scores):.3f}"


def say_table(progress, header, rows):
    """Print a table, its first column aligned left and the others right.

    Where a terminal has no room for it, each row becomes some lines.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    progress.say()
    if progress.columns is not None and sum(widths) + 2 * len(widths) - 2 > progress.columns:
        progress.say(f"{header[0]}:")
        for first, *others in rows:
            cells = [
                f"{name} {cell}" for name, cell in zip(header[1:], others, strict=True) if cell
            ]
            progress.say(f"{first}: {', '.join(cells)}")
        return
    for row in (header, *rows):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        progress.say("  ".join([first, *others]).rstrip())
