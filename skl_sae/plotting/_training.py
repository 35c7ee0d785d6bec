"""TrainingDisplay: loss and correlation by epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ..inspection._estimators import fitted_step
from ._axes import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class TrainingDisplay:
    """Loss and correlation by epoch.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.
    correlation_curve : array-like of shape (n_epochs,)
        Correlation of the training samples with their reconstructions in each epoch.
    validation_scores : array-like of shape (n_epochs,) or None, default=None
        Correlation of the held-out samples of early stopping.

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
    """

    def __init__(
        self,
        loss_curve: ArrayLike,
        correlation_curve: ArrayLike,
        validation_scores: ArrayLike | None = None,
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
        estimator : TopKSparseAutoencoder
            Fitted autoencoder, or a Pipeline that ends with one.
        axes : array-like of 2 matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : TrainingDisplay
            The display, drawn.
        """
        estimator, _ = fitted_step(estimator, needs="loss_curve_")
        display = cls(
            estimator.loss_curve_, estimator.correlation_curve_, estimator.validation_scores_
        )
        return display.plot(axes)

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
        if axes is None:
            axes = new_axes(1, 2, figsize=(8, 3.2))
        axes = np.ravel(axes)
        if len(axes) != 2:
            raise ValueError(f"Expected 2 Axes, got {len(axes)}.")
        epochs = np.arange(1, len(self.loss_curve) + 1)
        # Markers show a fit of one epoch, and would hide curves of many.
        style = {"marker": "o", "markersize": 3} if len(epochs) <= 50 else {}
        axes[0].plot(epochs, self.loss_curve, label="Training rows", **style)
        axes[1].plot(epochs, self.correlation_curve, label="Training rows", **style)
        if self.validation_scores is not None:
            style = {"marker": "s", "markersize": 3} if style else {}
            axes[1].plot(epochs, self.validation_scores, "--", label="Held-out rows", **style)
            axes[1].legend()
        for ax, ylabel in zip(axes, ("Training loss", "Correlation"), strict=True):
            ax.set(xlabel="Epoch", ylabel=ylabel)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(alpha=0.3)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self
