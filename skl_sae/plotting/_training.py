"""TrainingDisplay: loss and correlation by epoch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ..inspection._estimators import fitted_step
from ..inspection._members import is_ensemble, trainings_of
from ._axes import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Epochs up to which each has a marker; fits up to which each has a colour of its own.
_MOST_MARKED, _MOST_COLOURS = 50, 10


class TrainingDisplay:
    """Loss and correlation by epoch.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,), or dict of them by name
        Training loss of each epoch; of several fits, such as an ensemble's members, by their names.
    correlation_curve : array-like of shape (n_epochs,), or dict of them by name
        Correlation of the training samples with their reconstructions in each epoch.
    validation_scores : array-like of shape (n_epochs,), dict of them by name or None, default=None
        Correlation of the held-out samples of early stopping, for those fits that had it.

    Attributes
    ----------
    axes_ : ndarray of shape (2,)
        Axes of the loss and of the correlation.
    figure_ : matplotlib Figure
        Figure of the Axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import TrainingDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = TrainingDisplay.from_estimator(sae)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['Training loss', 'Correlation']

    Of an ensemble:

    >>> from skl_sae import BoostingSparseAutoencoder
    >>> boosting = BoostingSparseAutoencoder(sae, n_estimators=2).fit(X)
    >>> display = TrainingDisplay.from_estimator(boosting)
    >>> display.axes_[1].get_legend_handles_labels()[1]
    ['stage 1', 'stage 2']
    """

    def __init__(
        self,
        loss_curve: ArrayLike | Mapping[str, ArrayLike],
        correlation_curve: ArrayLike | Mapping[str, ArrayLike],
        validation_scores: ArrayLike | Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.correlation_curve = correlation_curve
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, axes: "Sequence[Axes] | np.ndarray | None" = None
    ) -> Self:
        """Draw the curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : estimator
            Fitted autoencoder, or a Pipeline that ends with one. Of a bagging or boosting ensemble
            the curves of all members are drawn.
        axes : array-like of 2 matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : TrainingDisplay
            The display, drawn.
        """
        last, _ = fitted_step(estimator, needs="n_features_in_")
        if is_ensemble(last) and hasattr(last, "image_shape_"):  # none of another package
            fits = trainings_of(last)
            held_out = {one.name: one.held_out for one in fits if one.held_out}
            display = cls(
                {one.name: one.loss for one in fits}, {one.name: one.correlation for one in fits},
                held_out or None,
            )  # fmt: skip
            return display.plot(axes)
        last, _ = fitted_step(estimator, needs="loss_curve_")
        return cls(last.loss_curve_, last.correlation_curve_, last.validation_scores_).plot(axes)

    def plot(self, axes: "Sequence[Axes] | np.ndarray | None" = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        axes : array-like of 2 matplotlib Axes or None, default=None
            Axes of the loss and of the correlation; None makes a figure.

        Returns
        -------
        display : TrainingDisplay
            The display itself.
        """
        is_new = axes is None
        if is_new:
            axes = new_axes(1, 2, figsize=(8, 3.2))
        axes = np.ravel(axes)
        if len(axes) != 2:
            raise ValueError(f"Expected 2 Axes, got {len(axes)}.")
        if isinstance(self.loss_curve, Mapping):
            self._draw_fits(axes)
            # Entries of many fits would hide curves, and beside Axes of the user's have no room.
            beside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)}
            axes[1].legend(**(beside if is_new else {}))
        else:
            self._draw_fit(axes)
        for ax, ylabel in zip(axes, ("Training loss", "Correlation"), strict=True):
            ax.set(xlabel="Epoch", ylabel=ylabel)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(alpha=0.3)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_fit(self, axes):
        """Draw the curves of a single fit."""
        _draw(axes[0], self.loss_curve, "o-", label="Training rows")
        _draw(axes[1], self.correlation_curve, "o-", label="Training rows")
        if self.validation_scores is not None:
            _draw(axes[1], self.validation_scores, "s--", label="Held-out rows")
            axes[1].legend()

    def _draw_fits(self, axes):
        """Draw the curves of several fits, each in its colour."""
        names, held_out = list(self.loss_curve), self.validation_scores or {}
        if set(names) != set(self.correlation_curve) or not set(held_out) <= set(names):
            raise ValueError("Expected curves of the same names, and validation scores of these.")
        are_many = len(names) > _MOST_COLOURS
        colours = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
        for i, name in enumerate(names):
            colour = colours[i] if are_many else f"C{i}"
            # Colours of many fits follow their order, which the first and the last tell.
            is_told = not are_many or name in (names[0], names[-1])
            label = name if is_told else "_nolegend_"
            _draw(axes[0], self.loss_curve[name], "o-", color=colour, label=label)
            _draw(axes[1], self.correlation_curve[name], "o-", color=colour, label=label)
            if name in held_out:
                _draw(axes[1], held_out[name], "s--", color=colour)
        if held_out:
            axes[1].plot([], [], "s--", color="grey", markersize=3, label="held out")


def _draw(ax, curve, style, **kwargs):
    """Draw a curve over epochs. Markers show a fit of one epoch, and would hide curves of many."""
    epochs = np.arange(1, len(curve) + 1)
    style = style if len(epochs) <= _MOST_MARKED else style[1:]
    ax.plot(epochs, curve, style, markersize=3, **kwargs)
