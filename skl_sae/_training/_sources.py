"""Rows that training sees: what is asked of them, those of an array, and those of an epoch."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import check_array, check_random_state, gen_batches

from .._engine.init._start import MIN_JUDGES, MOST_JUDGES
from ._collective import first
from ._groups import choose_groups, few_enough

# Number of samples that judge a fit from which a twentieth is enough.
ENOUGH_JUDGES = 16
# Copies made of rows with weights, at most, unless there are more rows; a start looks at no more.
_MOST_COPIES = 2**15


class RawBatch(NamedTuple):
    """Rows in the units of the data, of which the trainer makes a `Batch`."""

    X: np.ndarray  # (B, D)
    weight: np.ndarray | None = None  # (B,): how much each counts, 1 on average; None: all 1


class RowSource(Protocol):
    """Rows in the units of the data: what a `Trainer` needs.

    `ArrayRows` has them in memory, `BlockRows` reads them when they are asked for.
    """

    n_rows: int
    n_features: int
    n_samples: int  # that the rows stand for, with all copies
    n_threads: int  # that are busy all the time, so that rows are there when they are asked for

    def batches(
        self, batch_size: int, rng: np.random.RandomState, n_done: int = 0
    ) -> Iterator[RawBatch]:
        """Pass once over all rows, in random order, but for the first ``n_done`` batches."""

    def parts(self, n: int) -> Iterator[RawBatch]:
        """Pass once over all rows, in their order, at most n at a time."""

    def hold_out(self, n_held_out: int, rng: np.random.RandomState) -> tuple:
        """Split rows into those to train on and those held out, each in their order.

        Of groups whole ones are held out, which may have more rows or fewer.
        """

    def sample(self, rng: np.random.RandomState) -> "ArrayRows":
        """As many rows as initial atoms and units are found from."""

    def changed(self, change, rng: np.random.RandomState) -> "RowSource":
        """Rows that ``change(X, rng)`` makes of these: as many blocks, each of one for each row."""


class ArrayRows:
    """Rows of an array.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The rows.
    weight : ndarray of shape (n_rows,) or None
        Positive weights. Whole ones are numbers of copies, others are 1 on average; None for 1.
    groups : ndarray of shape (n_rows,) or None
        Numbers of the groups of which only whole ones are held out; None: every row is one.
    """

    n_threads = 0

    def __init__(self, X, weight=None, groups=None):
        self.X, self.weight, self.groups = X, weight, groups
        self.n_rows, self.n_features = X.shape

    @classmethod
    def of(cls, X, weight, groups=None):
        """Rows with the weights that a user gives, or None; rows of weight 0 are left out."""
        rows = cls(X, weight, groups)
        if weight is None:
            return rows
        if not (weight > 0).all():
            rows = rows[weight > 0]
        rows.weight = None if (rows.weight == 1).all() else counts_or_shares(rows.weight)
        return rows

    @property
    def n_samples(self):
        """Number of samples that the rows stand for, with all copies."""
        return self.n_rows if self.weight is None else round(float(self.weight.sum()))

    def __getitem__(self, rows):
        weight, groups = (
            None if of_all is None else of_all[rows] for of_all in (self.weight, self.groups)
        )
        return ArrayRows(self.X[rows], weight, groups)

    def batches(self, batch_size, rng, n_done=0):
        order = rng.permutation(self.n_rows)
        # Relative to their mean, so that the loss is a mean, and a batch has no weight of its own.
        weight = self.weight
        if weight is not None:
            weight = (weight / weight.mean()).astype(np.float32)
        for batch in islice(gen_batches(self.n_rows, batch_size), n_done, None):
            rows = order[batch]
            yield RawBatch(self.X[rows], None if weight is None else weight[rows])

    def parts(self, n):
        for part in gen_batches(self.n_rows, n):
            yield RawBatch(self.X[part], None if self.weight is None else self.weight[part])

    def hold_out(self, n_held_out, rng):
        """Split rows; copies of a row are rows of their own, of which some may be held out."""
        if not n_held_out:
            return self, self[:0]
        if self.groups is not None:
            chosen = choose_groups(self.groups, self.weight, n_held_out, rng)
            return self[~chosen], self[few_enough(np.flatnonzero(chosen), n_held_out)]
        if self.weight is None or (self.weight != np.floor(self.weight)).any():
            order = rng.permutation(self.n_rows)
            return self[np.sort(order[n_held_out:])], self[np.sort(order[:n_held_out])]
        order = rng.permutation(self.n_samples)
        # Copies are shuffled like rows; what is left of a row's copies is its weight in each part.
        row_of_copy = np.repeat(np.arange(self.n_rows), self.weight.astype(np.int64))
        parts = []
        for chosen in (order[n_held_out:], order[:n_held_out]):
            counts = np.bincount(row_of_copy[chosen], minlength=self.n_rows).astype(np.float64)
            parts.append(ArrayRows(self.X[counts > 0], counts[counts > 0]))
        return tuple(parts)

    def sample(self, rng):
        return self

    def changed(self, change, rng):
        X = change(self.X, rng)
        return ArrayRows(X, weights_of_changed(self.weight, self.n_rows, len(X)))

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


def counts_or_shares(weight):
    """Weights that are whole numbers, which are numbers of copies; others divided by their mean."""
    if (weight == np.floor(weight)).all():
        return weight
    return weight * (np.count_nonzero(weight) / weight.sum())


class EpochRows:
    """The rows of each epoch: those given, or what an augmenter makes of them."""

    def __init__(self, rows, augmenter, rng):
        self.rows, self.rng = rows, rng
        self.augmenter = None if augmenter is None else clone(augmenter)

    def draw(self):
        """The rows of one epoch."""
        return self.rows if self.augmenter is None else self.rows.changed(self._vary, self.rng)

    def _vary(self, X, rng):
        _set_random_states(self.augmenter, rng)
        variants = check_array(self.augmenter.fit_transform(X), dtype=np.float32, order="C")
        if variants.shape[1] != X.shape[1]:
            raise ValueError(
                f"Expected the augmenter to keep {X.shape[1]} features, got {variants.shape[1]}."
            )
        return variants


def weights_of_changed(weight, n_rows, n_changed):
    """Weights of variants, which come in blocks of one variant of each row."""
    if weight is None:
        return None
    n_blocks, rest = divmod(n_changed, max(1, n_rows))
    if rest:
        raise ValueError(
            f"Expected the augmenter to make a multiple of {n_rows} rows, which have weights, got "
            f"{n_changed}."
        )
    return np.tile(weight, n_blocks)


def shared_generator(random_state):
    """The generator of all that is random, that of rank 0 on all ranks that share a fit.

    NumPy's global one only gives one number to it.
    """
    if random_state is None or random_state is np.random:
        generator = np.random.RandomState(check_random_state(None).randint(2**31 - 1))
    else:
        generator = check_random_state(random_state)
    generator.set_state(first(generator.get_state()))
    return generator


def n_judges(n_samples):
    """Number of samples that judge a fit for a while: a twentieth, or up to a tenth if few."""
    n = min(max(n_samples // 20, ENOUGH_JUDGES), n_samples // 10, MOST_JUDGES)
    return n if n >= MIN_JUDGES else 0
