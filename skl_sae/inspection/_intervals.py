"""Intervals of measures, and what a measure says of an untrained estimator beside them."""

import numpy as np
from scipy.stats import bootstrap
from scipy.stats import t as student
from sklearn.utils import check_random_state

_CONFIDENCE, _N_RESAMPLES = 0.95, 999
_NUMBERS_AT_A_TIME = 10**7  # of all resamples that are held


def resampled(units, baseline, figures=None, *, paired, random_state):
    """Give figures of means over units, with bootstrap intervals, beside those of a baseline.

    Parameters
    ----------
    units : ndarray of shape (n_parts, n_units)
        Units that are drawn again, with replacement, such as samples or atoms.
    baseline : ndarray of shape (n_parts, n_units) or None
        The same of an untrained estimator.
    figures : callable or None, default=None
        Function of the means (n_parts, ...) of parts; None takes them as they are.
    paired : bool
        Whether units are the same in both, and so are drawn together; if not, n_parts is 1.
    random_state : int, RandomState instance or None
        Seed of the draws.

    Returns
    -------
    results : dict
        As :func:`compared` has them.
    """
    figures = figures or (lambda means: means)
    seed = check_random_state(random_state).randint(2**31)
    n_parts = len(units)

    def figure(*columns, axis=-1):
        means = [column.mean(axis=axis) if column.size else np.nan for column in columns]
        return figures(np.stack(means))

    def gain(*columns, axis=-1):
        return figure(*columns[:n_parts], axis=axis) - figure(*columns[n_parts:], axis=axis)

    own = figure(*units), _interval(figure, units, paired=True, seed=seed)
    if baseline is None:
        return compared(*own)
    both = (*units, *baseline)
    return compared(*own, figure(*baseline), _interval(gain, both, paired=paired, seed=seed))


def _interval(statistic, columns, *, paired, seed):
    """Return the limits (2, ...) of a percentile interval; NaN of fewer than two units."""
    if min(map(len, columns)) < 2:
        return np.full((2, *np.shape(statistic(*columns))), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a resample without any spread
        return np.stack(bootstrap(
            columns, statistic, paired=paired, vectorized=True, method="percentile",
            n_resamples=_N_RESAMPLES, confidence_level=_CONFIDENCE, rng=seed,
            batch=max(1, _NUMBERS_AT_A_TIME // sum(map(len, columns))),
        ).confidence_interval)  # fmt: skip


def of_splits(values, baseline, test_share):
    """Give means over splits, with intervals of Student's t, beside those of a baseline.

    Splits share samples, so the variance of the mean over J of them is (1 / J + test / train)
    times theirs (Nadeau and Bengio, "Inference for the generalization error", Machine Learning
    52, 2003).

    Parameters
    ----------
    values : ndarray of shape (n_splits, ...)
        A figure of each split.
    baseline : ndarray of the same shape or None
        The same of an untrained estimator, by the same splits.
    test_share : float
        Samples held out, as a share of those learned.
    """

    def interval(values):
        factor = 1 / len(values) + test_share
        spread = student.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * np.sqrt(
            factor * values.var(axis=0, ddof=1)
        )
        return values.mean(axis=0) + np.stack([-spread, spread])

    own = values.mean(axis=0), interval(values)
    if baseline is None:
        return compared(*own)
    return compared(*own, baseline.mean(axis=0), interval(values - baseline))


def compared(value, interval, baseline=None, difference_interval=None):
    """Return figures by the names that they have in the result of every measure."""
    return {
        "value": _plain(value),
        "interval": interval.reshape(2, *np.shape(_plain(value))),
        "baseline": None if baseline is None else _plain(baseline),
        "difference": None if baseline is None else _plain(value - baseline),
        "difference_interval": None
        if baseline is None
        else difference_interval.reshape(2, *np.shape(_plain(value))),
    }


def _plain(value):
    """Return a float for an array of one figure."""
    return value.item() if np.size(value) == 1 else value
