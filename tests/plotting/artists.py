"""Shapes of images, results of searches, and helpers to read what was drawn."""

import numpy as np

GREY, COLOUR = (3, 4), (2, 2, 3)  # shapes of an image of 12 numbers
# Maps have 256 colours, and rounding may choose the one beside: RdBu_r's differ by up to 0.0122.
COLOUR_STEP = 0.0125


def texts(ax):
    return [text.get_text() for text in ax.texts]


def pictures(ax):
    return [np.asarray(image.get_array()) for image in ax.images]


def tick_labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def results(params, means, stds=None):
    """A table as GridSearchCV has it in cv_results_."""
    stds = np.full(len(means), 0.01) if stds is None else stds
    return {"params": params, "mean_test_score": np.array(means), "std_test_score": stds}


GRID = [{"k": k, "n_components": n} for k in (8, 4) for n in (100, 20, 3)]
