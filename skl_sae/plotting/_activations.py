"""ActivationDisplay: how strongly atoms fire."""

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from ..images._typing import SparseOrDense
from ..inspection._activations import activations_of, check_atom
from ..inspection._placed import image_activations
from ._axes import new_axes
from ._display import _Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ActivationDisplay(_Display):
    """Histogram of activations, with logarithmic counts.

    Of an atom that is looked for at many places, the largest activation in an image counts (see
    :func:`skl_sae.inspection.atom_activations`).

    Parameters
    ----------
    activations : array-like of shape (n_active,)
        Activations: absolute values of the codes that are not 0.
    n_codes : int
        Number of codes, including those that are 0.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the drawing.
    figure_ : matplotlib Figure
        Figure of the Axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import ActivationDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = ActivationDisplay.from_estimator(sae, X)
    >>> display.ax_.get_yscale()
    'log'
    """

    def __init__(self, activations: ArrayLike, n_codes: int) -> None:
        self.activations = activations
        self.n_codes = n_codes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        atom: int | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the activations of a fitted estimator's atoms on the samples of X.

        Parameters
        ----------
        estimator : estimator with transform
            Fitted autoencoder, or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            Samples to transform.
        atom : int or None, default=None
            See :meth:`from_codes`.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
            The display, drawn.
        """
        return cls.from_codes(image_activations(estimator, X), atom=atom, ax=ax, **kwargs)

    @classmethod
    def from_codes(
        cls,
        codes: SparseOrDense,
        *,
        atom: int | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the activations in codes.

        Parameters
        ----------
        codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
            Codes, as transform returns them.
        atom : int or None, default=None
            Index of an atom, a column of codes; None takes all atoms together.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such atom.
        """
        activations = activations_of(codes)
        if atom is not None:
            check_atom(atom, activations.shape[1])
            activations = activations[:, [atom]]
        return cls(activations.data, math.prod(activations.shape)).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, *, bins: int | str | ArrayLike = 50) -> Self:
        """Draw the histogram.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        bins : int, str or array-like, default=50
            Bins, as in :func:`numpy.histogram`.

        Returns
        -------
        display : ActivationDisplay
            The display itself.
        """
        ax = new_axes() if ax is None else ax
        counts, edges = np.histogram(self.activations, bins=bins)
        ax.set_yscale("log", nonpositive="clip")
        # From less than a code, so that a bin of one code is visible on a logarithmic axis.
        ax.stairs(counts, edges, fill=True, baseline=0.7)
        ax.set_ylim(0.7, 2 * max(counts.max(), 1))
        _tick_whole_numbers(ax.yaxis, counts.max())
        percent = 100 * len(self.activations) / self.n_codes
        ax.set_title(f"{percent:.1f} % of the codes are not 0", fontsize="medium")
        ax.set(xlabel="Activation", ylabel="Number of codes")
        ax.grid(alpha=0.3)
        return self._drawn_on(ax)


def _tick_whole_numbers(axis, largest):
    """Label powers of ten, and 2 and 5 of them if there are few."""
    axis.set_major_locator(LogLocator(subs=(1,) if largest > 100 else (1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(NullLocator())
