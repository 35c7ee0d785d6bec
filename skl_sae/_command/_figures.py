"""Figures that the command prints: held-out errors beside PCA's, and accuracies by class."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from .. import pearson_correlation
from ..inspection._estimators import training_mean
from ..inspection._placed import has_places
from ..metrics import fraction_of_variance_unexplained


def fitted_pca(images, k, seed):
    """Fit PCA with as many components as a member has active atoms, if there are as many."""
    # There are no more directions than samples or features.
    n_directions = min(k, len(images.train), images.data.shape[1])
    return PCA(n_directions, random_state=seed).fit(images.data[images.train])


def say_figures(say, images, sae, codes, pca):
    """Print held-out correlation and unexplained variance (FVU) of ensemble, members and PCA."""
    test, held_out = images.data[images.test], codes[images.test]
    kind, about = "ensemble", "mean"
    if has_places(sae):
        kind, about = "small atoms", "channels' means"
    rows = [(kind, sae.inverse_transform(held_out), sae.k_ * len(sae.centers_))]
    if len(sae.centers_) > 1:
        members = _member_reconstructions(sae, held_out)
        rows += [(f"member {i}", member, sae.k_) for i, member in enumerate(members, 1)]
    rows.append((_name(pca), pca.inverse_transform(pca.transform(test)), pca.n_components_))
    mean = training_mean(sae, test.shape[1])
    table = [
        (
            name,
            f"{pearson_correlation(test, reconstruction):.4f}",
            f"{fraction_of_variance_unexplained(test, reconstruction, mean):.4f}",
            str(n_active),
        )
        for name, reconstruction, n_active in rows
    ]
    _say_table(say, ["Held out", "correlation", "FVU", "active numbers"], table)
    say(f"FVU: fraction of variance unexplained, about the {about} of the images learned.")


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
            correlations = (f"{pearson_correlation(X, r):.4f}" for r in (ours, pcas))
            rows.append((_printable(name), str(len(test)), *correlations))
    _say_table(progress.say, ["Held out, by class", "images", "correlation", "PCA's"], rows)
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
        progress.begin(f"Telling classes by {name}")
        rows.append((name, *_accuracy(X, images.target, n_folds)))
    chance = np.bincount(images.target).max() / len(images.target)
    rows.append(("always the largest class", f"{chance:.3f}", ""))
    header = [f"Logistic regression, {n_folds} folds", "accuracy", "spread"]
    _say_table(progress.say, header, rows)
    progress.say("All images take part. The codes and PCA were learned without their labels.")


def _accuracy(X, y, n_folds):
    """Return mean and standard deviation of the accuracy over the folds, as text."""
    # Unscaled: on cells and digits, scaling made all three kinds of features worse or no better.
    scores = cross_val_score(LogisticRegression(max_iter=1000), X, y, cv=n_folds)
    return f"{scores.mean():.3f}", f"{scores.std():.3f}"


def _printable(name):
    """Make a file's name safe for a terminal: without control characters or invalid bytes."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _say_table(say, header, rows):
    """Print a table, its first column aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    say()
    for row in (header, *rows):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]).rstrip())
