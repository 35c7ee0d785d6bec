"""Rows that training sees: of an array, held out of it, or varied for each epoch."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import check_array, check_random_state, gen_batches

from .._engine.init._start import MIN_JUDGES, MOST_JUDGES

# Number of samples that judge a fit from which a twentieth is enough.
ENOUGH_JUDGES = 16
# Copies made of rows with weights, at most, unless there are more rows; a start looks at no more.
_MOST_COPIES = 2**15


class RawBatch(NamedTuple):
    """Rows in the units of the data, of which the trainer makes a `Batch`."""

    X: np.ndarray  # (B, D)
    weight: np.ndarray | None = None  # (B,): how much each counts, 1 on average; None: all 1


class RowSource(Protocol):
    """Rows of an epoch, in the units of the data: what `Trainer.run_epoch` needs.

    The beginning of a fit, which finds units, rows to hold out and initial atoms, looks at an
    `ArrayRows`: all rows, or a sample of them.
    """

    n_rows: int
    n_features: int

    def batches(self, batch_size: int, rng: np.random.RandomState) -> Iterator[RawBatch]:
        """Pass once over all rows, in random order."""


class ArrayRows:
    """Rows of an array.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The rows.
    weight : ndarray of shape (n_rows,) or None
        Positive weights. Whole ones are numbers of copies, others are 1 on average; None for 1.
    """

    def __init__(self, X, weight=None):
        self.X, self.weight = X, weight
        self.n_rows, self.n_features = X.shape

    @classmethod
    def of(cls, X, weight):
        """Rows with the weights that a user gives, or None; rows of weight 0 are left out."""
        if weight is None:
            return cls(X)
        if not (weight > 0).all():
            X, weight = X[weight > 0], weight[weight > 0]
        if (weight == 1).all():
            return cls(X)
        is_whole = (weight == np.floor(weight)).all()
        return cls(X, weight if is_whole else weight * (len(X) / weight.sum()))

    @property
    def n_samples(self):
        """Number of samples that the rows stand for, with all copies."""
        return self.n_rows if self.weight is None else round(float(self.weight.sum()))

    def __getitem__(self, rows):
        return ArrayRows(self.X[rows], None if self.weight is None else self.weight[rows])

    def batches(self, batch_size, rng):
        order = rng.permutation(self.n_rows)
        # Relative to their mean, so that the loss is a mean, and a batch has no weight of its own.
        weight = self.weight
        if weight is not None:
            weight = (weight / weight.mean()).astype(np.float32)
        for batch in gen_batches(self.n_rows, batch_size):
            rows = order[batch]
            yield RawBatch(self.X[rows], None if weight is None else weight[rows])

    def copies(self):
        """Repeat every row as often as its weight says, for what has no use for weights.

        Weights that are no whole numbers, or too many copies, are scaled and rounded such that no
        cumulative sum of weights changes by more than a half.
        """
        if self.weight is None:
            return self.X
        n = min(self.n_samples, max(self.n_rows, _MOST_COPIES))
        # Rounding the cumulative sum, not each weight, keeps the total: rounded differences.
        upto = np.floor(np.cumsum(self.weight) * (n / self.weight.sum()) + 0.5).astype(np.int64)
        return np.repeat(self.X, np.diff(upto, prepend=0), axis=0)


class EpochRows:
    """The rows of each epoch: those given, or what an augmenter makes of them."""

    def __init__(self, rows, augmenter, rng):
        self.rows, self.rng = rows, rng
        self.augmenter = None if augmenter is None else clone(augmenter)

    def draw(self):
        """An ArrayRows for one epoch."""
        if self.augmenter is None:
            return self.rows
        _set_random_states(self.augmenter, self.rng)
        X = self.augmenter.fit_transform(self.rows.X)
        X = check_array(X, dtype=np.float32, order="C")
        if X.shape[1] != self.rows.n_features:
            raise ValueError(
                f"Expected the augmenter to keep {self.rows.n_features} features, got {X.shape[1]}."
            )
        return ArrayRows(X, self._weights_of(X))

    def _weights_of(self, X):
        """Weights of variants, which come in blocks of one variant of each row."""
        if self.rows.weight is None:
            return None
        n_blocks, rest = divmod(len(X), self.rows.n_rows)
        if rest:
            raise ValueError(
                f"Expected the augmenter to make a multiple of {self.rows.n_rows} rows, which have "
                f"weights, got {len(X)}."
            )
        return np.tile(self.rows.weight, n_blocks)


def check_generator(random_state):
    """The generator of all that is random; NumPy's global one only gives one number to it."""
    if random_state is None or random_state is np.random:
        return np.random.RandomState(check_random_state(None).randint(2**31 - 1))
    return check_random_state(random_state)


def hold_out(rows, n_held_out, rng):
    """Split rows into those to train on and those held out, each in their order.

    Copies of a row are rows of their own, of which some may be held out.
    """
    if not n_held_out:
        return rows, rows[:0]
    if rows.weight is None or (rows.weight != np.floor(rows.weight)).any():
        order = rng.permutation(rows.n_rows)
        return rows[np.sort(order[n_held_out:])], rows[np.sort(order[:n_held_out])]
    order = rng.permutation(rows.n_samples)
    # Copies are shuffled like rows; what is left of a row's copies is its weight in each part.
    row_of_copy = np.repeat(np.arange(rows.n_rows), rows.weight.astype(np.int64))
    parts = []
    for chosen in (order[n_held_out:], order[:n_held_out]):
        counts = np.bincount(row_of_copy[chosen], minlength=rows.n_rows).astype(np.float64)
        parts.append(ArrayRows(rows.X[counts > 0], counts[counts > 0]))
    return tuple(parts)


def n_judges(n_samples):
    """Number of samples that judge a fit for a while: a twentieth, or up to a tenth if few."""
    n = min(max(n_samples // 20, ENOUGH_JUDGES), n_samples // 10, MOST_JUDGES)
    return n if n >= MIN_JUDGES else 0
