"""UsageDisplay: how few atoms carry most of the reconstructions' variance."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from ..images._typing import SparseOrDense
from ..inspection import atom_usage
from ..inspection._estimators import fitted_step
from ..inspection._members import scaled_atoms
from ..inspection._placed import PlacedImages, by_place, has_places
from ..inspection._usage import cumulative_share
from ._axes import new_axes
from ._display import _Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class UsageDisplay(_Display):
    """Cumulative share of the reconstructions' variance by number of atoms.

    The curve is the share of the variance that the atoms of the largest shares have
    together (see :func:`skl_sae.inspection.atom_usage`), with a mark at 80 %. An atom that is
    looked for at many places of an image has the share of all of them.

    Parameters
    ----------
    usage : Bunch
        Result of :func:`skl_sae.inspection.atom_usage`.

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
    >>> from skl_sae.plotting import UsageDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = UsageDisplay.from_estimator(sae, X)
    >>> display.ax_.get_ylabel()
    'Share of the variance'
    """

    def __init__(self, usage: Bunch) -> None:
        self.usage = usage

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: "Axes | None" = None) -> Self:
        """Draw how much a fitted estimator uses its atoms for the samples of X.

        Parameters
        ----------
        estimator : estimator with ``components_`` and transform
            Fitted autoencoder, or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            Samples to transform.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : UsageDisplay
            The display, drawn.
        """
        estimator, X = fitted_step(estimator, X, needs="components_")
        if has_places(estimator):
            codes = by_place(estimator, PlacedImages(estimator, X).codes)
            return cls.from_codes(codes, ax=ax)
        return cls.from_codes(estimator.transform(X), scaled_atoms(estimator), ax=ax)

    @classmethod
    def from_codes(
        cls, codes: SparseOrDense, components: ArrayLike | None = None, *, ax: "Axes | None" = None
    ) -> Self:
        """Draw how much atoms are used in codes.

        Parameters
        ----------
        codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
            Codes, as transform returns them.
        components : array-like of shape (n_atoms, n_features) or None, default=None
            Atoms, one for each column of codes. None means atoms of unit norm.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.

        Returns
        -------
        display : UsageDisplay
            The display, drawn.
        """
        return cls(atom_usage(codes, components)).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : UsageDisplay
            The display itself.
        """
        ax = new_axes() if ax is None else ax
        usage, n_atoms = self.usage, len(self.usage.share)
        ax.plot(np.arange(n_atoms + 1), cumulative_share(usage.share))
        self._mark_80_percent(ax, n_atoms)
        n_dead = np.count_nonzero(usage.dead)
        if n_dead:  # they have no share, so they are the last
            label = f"{n_dead} dead"
            ax.axvspan(n_atoms - n_dead, n_atoms, color="0.5", alpha=0.2, lw=0, label=label)
            ax.legend(loc="lower right")
        ax.set(xlabel="Atoms, largest share first", ylabel="Share of the variance")
        ax.set(xlim=(0, n_atoms), ylim=(0, 1.02))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        ax.grid(alpha=0.3)
        return self._drawn_on(ax)

    def _mark_80_percent(self, ax, n_atoms):
        n = self.usage.atoms_for_80
        ax.plot([0, n, n], [0.8, 0.8, 0], ":", color="0.4")
        ax.plot(n, 0.8, "o", color="C0")
        ax.annotate(
            f"{n} of {n_atoms} atoms ({100 * self.usage.fraction_for_80:.0f} %)\nhave 80 %",
            (n, 0.8),
            xytext=(8, -8),
            textcoords="offset points",
            va="top",
        )
