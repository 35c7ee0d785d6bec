"""Sums over the batches of an epoch."""

import numpy as np


class EpochSums:
    """Sums over the batches of an epoch under way."""

    def __init__(self, n_batches=0, loss=0.0, correlation=(0.0, 0.0)):
        self.n_batches, self.loss, self.correlation = n_batches, loss, Mean(*correlation)

    def as_json(self):
        correlation = [self.correlation.total, self.correlation.weight]
        return {"n_batches": self.n_batches, "loss": self.loss, "correlation": correlation}


class Mean:
    """A weighted mean of numbers that come in batches; NaN is left out."""

    def __init__(self, total=0.0, weight=0.0):
        self.total, self.weight = total, weight

    def add(self, values, weight=None):
        known = ~np.isnan(values)
        weight = known.astype(np.float64) if weight is None else weight * known
        self.total += float((np.where(known, values, 0) * weight).sum())
        self.weight += float(weight.sum())

    @property
    def value(self):
        return self.total / self.weight if self.weight else 0.0
