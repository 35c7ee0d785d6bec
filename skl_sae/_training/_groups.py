"""Groups of samples that are held out together, such as those of one person, slide or film."""

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from .._engine.init._start import MIN_JUDGES, MOST_JUDGES


def numbers_of_groups(groups, X):
    """Numbers from 0 of the groups of samples, in the order of their labels."""
    groups = check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
    if groups.ndim == 2 and groups.shape[1] == 1:
        groups = groups.ravel()
    if groups.ndim != 1:
        raise ValueError(f"Expected groups of shape (n_samples,), got {groups.shape}.")
    check_consistent_length(X, groups)
    try:
        return np.unique(groups, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            "Expected labels of groups that are all numbers or all strings, with none missing."
        ) from error


def choose_groups(groups, weight, n_wanted, rng):
    """Choose whole groups of rows at random that have about so many samples together.

    In random order a group is taken if that brings their number nearer to the one that is wanted.
    Where these are too few to tell anything, as the others are large, the smallest of the others
    follow.

    Parameters
    ----------
    groups : ndarray of int, of shape (n_rows,)
        Numbers of the rows' groups.
    weight : ndarray of shape (n_rows,) or None
        Samples that each row stands for; None for 1.
    n_wanted : int
        Number of samples.
    rng : RandomState
        Source of the order.

    Returns
    -------
    chosen : ndarray of bool, of shape (n_rows,)
        Whether each row's group is chosen. At least one is, and one is not.

    Raises
    ------
    ValueError
        If there is one group, or if all but one are too small.
    """
    sizes = np.bincount(groups, weight)
    # A row of a large weight is still one row.
    kept = groups if weight is None else groups[weight > 0]
    n_rows = np.minimum(sizes, np.bincount(kept, minlength=len(sizes)))
    order = rng.permutation(np.flatnonzero(n_rows))
    if len(order) < 2:
        raise ValueError("Expected samples of at least 2 groups, got 1, which cannot be held out.")
    taken, n_taken = [], 0
    for group in order:
        if n_taken >= n_wanted or len(taken) == len(order) - 1:
            break
        if abs(n_taken + sizes[group] - n_wanted) < abs(n_taken - n_wanted):
            taken.append(group)
            n_taken += sizes[group]
    n_least = min(n_wanted, MIN_JUDGES)
    others = order[~np.isin(order, taken)]
    for group in others[np.argsort(sizes[others], kind="stable")][:-1]:
        if n_taken >= n_wanted / 2 and n_rows[taken].sum() >= n_least:
            break
        taken.append(group)
        n_taken += sizes[group]
    if n_rows[taken].sum() < n_least:
        raise ValueError(
            f"Expected groups of which some have {n_least} samples, beside the largest: fewer "
            "held out tell nothing."
        )
    return np.isin(groups, taken)


def few_enough(rows, n_wanted):
    """Some of the rows of groups held out, evenly spread, where they are more than can judge."""
    if n_wanted > MOST_JUDGES or len(rows) <= MOST_JUDGES:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MOST_JUDGES).astype(int)]


def folds_of_groups(groups, n_folds, rng):
    """Row numbers of parts of about equal size, made of whole groups.

    A part with more than half of the rows, of one large group, is left out: too few are beside it.
    """
    names, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    # The largest first, each to the part that has least.
    filled, fold_of = np.zeros(n_folds), np.empty(len(names), np.int64)
    for group in order:
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    fold_of_row = fold_of[np.searchsorted(names, groups)]
    folds = [np.flatnonzero(fold_of_row == fold) for fold in range(n_folds)]
    return [fold for fold in folds if 0 < len(fold) <= len(groups) / 2]
