"""Judge: a model's figures on rows, and thresholds that are fitted to rows."""

import contextlib

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._engine._threads import one_thread
from .._engine._tuning import ROWS_AT_A_TIME
from ..metrics import row_correlations
from . import _collective

# Number of rows, about, that thresholds are fitted to.
_THRESHOLD_ROWS = 1024


class Judge:
    """Figures of a model on rows.

    Parameters
    ----------
    model : LinearModel
        In scaled units; changed only by `fit_thresholds`.
    scaling : Scaling
        The model's units.
    prefixes : tuple of int
        Numbers of first atoms that are models, too.
    """

    def __init__(self, model, scaling, prefixes=()):
        self.model, self.scaling, self.prefixes = model, scaling, prefixes

    def scaled(self, X):
        """Rows as a tensor in scaled units, where the model is."""
        return torch.from_numpy(self.scaling.scale_rows(X)).to(self.model.device)

    def _parts(self, rows, batch_size):
        """Rows a few at a time: of the data, scaled, and their weights."""
        for X, weight in rows.parts(batch_size):
            yield X, self.scaled(X), np.ones(len(X)) if weight is None else weight

    def _nested(self):
        """Models of the first atoms, as the prefixes say."""
        return [self.model.prefix(n_components) for n_components in self.prefixes]

    @one_thread()
    def error(self, rows, consistency=0.0):
        """Mean squared error of the combined reconstruction, and consistency, in scaled units.

        It judges epochs. The training loss is the mean error of the members instead. Meanwhile
        thresholds are such that the rows have k active atoms on average, as in training. With
        prefixes it is the mean over their models and that of all atoms.
        """
        total, X, nested = 0.0, rows.copies(), self._nested()
        with self.thresholds_fitted_to(rows):
            for batch in gen_batches(len(X), ROWS_AT_A_TIME):
                scaled = self.scaled(X[batch])
                error = self.model.error(scaled, consistency)
                error += sum(model.error(scaled) for model in nested)
                total += error * len(scaled)
        return _collective.first(total / len(X) / (1 + len(nested)))

    @one_thread()
    def score(self, rows, batch_size):
        """Mean correlation of rows with their reconstruction; a constant row counts as 0.

        With prefixes it is the mean over their models, too.
        """
        total, models = 0.0, [self.model, *self._nested()]
        for X, scaled, weight in self._parts(rows, batch_size):
            for model in models:
                reconstruction = model.reconstruct(scaled).cpu().numpy()
                correlations = row_correlations(X, self.scaling.unscale_rows(reconstruction))
                total += (np.nan_to_num(correlations, nan=0.0) * weight).sum()
        return _collective.first(float(total / rows.n_samples / len(models)))

    @one_thread()
    def fired(self, rows):
        """Weight of the rows on which each atom fires, a tensor of shape (E, H)."""
        fired = torch.zeros_like(self.model.counts.fired)
        for _, scaled, weight in self._parts(rows, ROWS_AT_A_TIME):
            active = self.model.encode(scaled)
            fires = (active.values > 0).to(fired)
            fires *= torch.from_numpy(weight).to(fired)[:, None]
            atoms = active.indices.flatten(1) % fired.shape[1]
            fired.scatter_add_(1, atoms, fires.flatten(1))
        return fired

    # --- Thresholds ---

    @one_thread()
    def fit_thresholds(self, rows, k=None):
        """Find thresholds that k of a row's activations reach, on average over some of the rows."""
        self.model.fit_thresholds(self.some_scaled(rows), k)

    @one_thread()
    def above_thresholds(self, rows, part):
        """Activations of rows, divided by the thresholds, that are above a part of these.

        Returns
        -------
        activations : list of tensor of shape (any,), dtype float64
            Of each member.
        """
        with self._thresholds_kept() as kept:
            self.model.parameters.thresholds *= part
            values = self.model.encode(self.scaled(rows.copies())).values
        return [
            of_member[of_member > 0].double() / threshold
            for of_member, threshold in zip(values, kept, strict=True)
        ]

    @contextlib.contextmanager
    def thresholds_fitted_to(self, rows, k=None):
        """Give the thresholds as they were, None for top-k; they are fitted to rows meanwhile."""
        if self.model.parameters.thresholds is None:
            yield None
            return
        with self._thresholds_kept() as kept:
            self.fit_thresholds(rows, k)
            yield kept

    @contextlib.contextmanager
    def _thresholds_kept(self):
        """Give the thresholds as they are, and bring them back to that."""
        thresholds = self.model.parameters.thresholds
        kept = thresholds.clone()
        yield kept
        thresholds.copy_(kept)

    def some_scaled(self, rows):
        """Some of the rows, scaled, as many as thresholds need."""
        X = rows.copies()
        return self.scaled(X[:: 1 + len(X) // _THRESHOLD_ROWS])
