"""Rows that training sees: of an array, held out of it, or varied for each epoch."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from sklearn.base import clone
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import check_array, check_random_state, gen_batches

from .._engine._parameters import Batch

# Least and largest number of samples that judge a fit, and the number from which a tenth is no
# longer needed.
MIN_JUDGES, ENOUGH_JUDGES, MAX_JUDGES = 5, 16, 2**10


class RowSource(Protocol):
    """Where the rows of an epoch come from, in the units of the data."""

    n_rows: int
    n_features: int

    def batches(self, batch_size: int, rng: np.random.RandomState) -> Iterator[Batch]:
        """Pass once over all rows, in random order."""


class ArrayRows:
    """Rows of an array.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The rows.
    weight : ndarray of shape (n_rows,) or None
        How much each counts; None for 1.
    """

    def __init__(self, X, weight=None):
        self.X, self.weight = X, weight
        self.n_rows, self.n_features = X.shape

    def __len__(self):
        return self.n_rows

    def __getitem__(self, rows):
        return ArrayRows(self.X[rows], None if self.weight is None else self.weight[rows])

    def batches(self, batch_size, rng):
        order = rng.permutation(self.n_rows)
        for batch in gen_batches(self.n_rows, batch_size):
            rows = order[batch]
            yield Batch(self.X[rows], None if self.weight is None else self.weight[rows])


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
        n_blocks, rest = divmod(len(X), len(self.rows))
        if rest:
            raise ValueError(
                f"Expected the augmenter to make a multiple of {len(self.rows)} rows, which have "
                f"weights, got {len(X)}."
            )
        return np.tile(self.rows.weight, n_blocks)


def check_generator(random_state):
    """The generator of all that is random; NumPy's global one only gives one number to it."""
    if random_state is None or random_state is np.random:
        return np.random.RandomState(check_random_state(None).randint(2**31 - 1))
    return check_random_state(random_state)


def hold_out(rows, n_held_out, rng):
    """Split rows into those to train on and those held out, each in their order."""
    if not n_held_out:
        return rows, rows[:0]
    order = rng.permutation(len(rows))
    return rows[np.sort(order[n_held_out:])], rows[np.sort(order[:n_held_out])]


def n_judges(n_rows):
    """Number of rows that judge a fit for a while: a twentieth, or up to a tenth if few."""
    n = min(max(n_rows // 20, ENOUGH_JUDGES), n_rows // 10, MAX_JUDGES)
    return n if n >= MIN_JUDGES else 0
