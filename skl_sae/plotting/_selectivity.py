"""SelectivityDisplay: the atoms that mark each class best."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from ..images._typing import SparseOrDense
from ..inspection import class_selectivity, discriminative_atoms
from ..inspection._placed import image_activations
from ._axes import label_cells, new_axes
from ._display import _Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


class SelectivityDisplay(_Display):
    """Table of the atoms that mark each class best, and their AUC for all classes.

    Rows are classes and columns are atoms: first those of the largest AUC for the first class,
    then those for the second, and so on. The colour is the AUC: 0.5 for an atom without
    information on a class, more for one that fires on it rather than on others, less for one
    that fires on others rather than on it. A cross marks an atom selected for a class although
    its AUC may be due to chance. Of an atom that is looked for at many places, the largest
    activation in an image counts (see :func:`skl_sae.inspection.atom_activations`).

    Parameters
    ----------
    selectivity : Bunch
        Result of :func:`skl_sae.inspection.class_selectivity`.

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
    >>> from skl_sae.plotting import SelectivityDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit(X)
    >>> display = SelectivityDisplay.from_estimator(sae, X, y, n_atoms=2)
    >>> display.ax_.images[0].get_array().shape
    (10, 20)
    """

    def __init__(self, selectivity: Bunch) -> None:
        self.selectivity = selectivity

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """Draw the selectivity of a fitted estimator's atoms on the samples of X.

        Parameters
        ----------
        estimator : estimator with transform
            Fitted autoencoder, or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features)
            Samples to transform.
        y : array-like of shape (n_samples,)
            Class of each sample.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : SelectivityDisplay
            The display, drawn.
        """
        return cls.from_codes(image_activations(estimator, X), y, ax=ax, **kwargs)

    @classmethod
    def from_codes(
        cls, codes: SparseOrDense, y: ArrayLike, *, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """Draw the selectivity of the atoms of codes.

        Parameters
        ----------
        codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
            Codes, as transform returns them.
        y : array-like of shape (n_samples,)
            Class of each sample.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : SelectivityDisplay
            The display, drawn.
        """
        return cls(class_selectivity(codes, y)).plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        n_atoms: int = 3,
        display_labels: Sequence[str] | None = None,
        cmap: "str | Colormap" = "PuOr_r",
    ) -> Self:
        """Draw the table.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        n_atoms : int, default=3
            Number of atoms for each class.
        display_labels : sequence of str or None, default=None
            Names of the classes, in the order of ``selectivity.classes``.
        cmap : str or matplotlib Colormap, default="PuOr_r"
            Diverging colour map.

        Returns
        -------
        display : SelectivityDisplay
            The display itself.
        """
        ax = new_axes() if ax is None else ax
        classes = self.selectivity.classes
        atoms = discriminative_atoms(self.selectivity, n_atoms).ravel()
        labels = classes if display_labels is None else display_labels
        if len(labels) != len(classes):
            raise ValueError(f"Expected {len(classes)} display_labels, got {len(labels)}.")
        auc = self.selectivity.auc[:, atoms]
        # From 0 to 1, so that 0.5, no information, is the middle of the map.
        image = ax.imshow(auc, vmin=0, vmax=1, cmap=cmap, aspect="auto", interpolation="nearest")
        ax.figure.colorbar(image, ax=ax, label="AUC")
        # Lines between the atoms of one class and those of the next.
        borders = np.arange(n_atoms, len(atoms), n_atoms) - 0.5
        ax.vlines(borders, -0.5, len(labels) - 0.5, "0.4", lw=1)
        note = self._mark_chance(ax, atoms, n_atoms)
        label_cells(ax, list(map(str, atoms)), list(map(str, labels)))
        ax.set(xlabel=f"Atoms of the largest AUC, class by class{note}", ylabel="Class")
        return self._drawn_on(ax)

    def _mark_chance(self, ax, atoms, n_atoms):
        """Cross out atoms that are not significant for their own class; return a legend."""
        own = np.repeat(np.arange(len(self.selectivity.classes)), n_atoms)
        chance = np.flatnonzero(self.selectivity.p_adjusted[own, atoms] > 0.05)
        if not len(chance):
            return ""
        ax.plot(chance, own[chance], "x", color="k", markersize=4)
        return "\n(x: adjusted p > 0.05)"
