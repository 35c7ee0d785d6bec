"""AtomDisplay: atoms as pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from ..images._typing import Shape
from ..inspection._estimators import fitted_step, shape_of, sorted_atoms
from ..inspection._members import atoms_of_member, is_ensemble, members_of
from ._display import _Display
from ._image_grid import axes_for_pictures, draw_pictures, pictures_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


class AtomDisplay(_Display):
    """Atoms as pictures.

    Parameters
    ----------
    components : array-like of shape (n_atoms, n_features)
        Atoms to show, in this order.
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and, in colour, 3.
    captions : sequence of str or None, default=None
        Text above each atom. None counts from 0.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with an image for each atom.
    figure_ : matplotlib Figure
        Figure of the Axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import AtomDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = AtomDisplay.from_estimator(sae, image_shape=(8, 8), n_atoms=20)
    >>> len(display.ax_.images), display.ax_.get_title()
    (20, '20 of 32 atoms, most used first')

    The atoms that mark each class best, one class in each row:

    >>> from skl_sae.inspection import class_selectivity, discriminative_atoms
    >>> selectivity = class_selectivity(sae.transform(X), load_digits().target[:200])
    >>> atoms = discriminative_atoms(selectivity, n=6).ravel()
    >>> display = AtomDisplay.from_estimator(
    ...     sae, image_shape=(8, 8), order=atoms, n_columns=6
    ... )

    Small atoms, whose shape their estimator knows:

    >>> from skl_sae import ConvTopKSparseAutoencoder
    >>> images = load_digits().images[:200]
    >>> sae = ConvTopKSparseAutoencoder(16, kernel_size=4, k=16, max_iter=2, random_state=0)
    >>> display = AtomDisplay.from_estimator(sae.fit(images), order=[1, 2])
    >>> display.image_shape
    (4, 4)
    """

    def __init__(
        self, components: ArrayLike, *, image_shape: Shape, captions: Sequence[str] | None = None
    ) -> None:
        self.components = components
        self.image_shape = image_shape
        self.captions = captions

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: Shape | None = None,
        order: Literal["use"] | ArrayLike | None = "use",
        n_atoms: int | None = 64,
        member: int | None = None,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw atoms of a fitted estimator, with their indices in ``components_``.

        Parameters
        ----------
        estimator : estimator with ``components_``
            Fitted autoencoder, or a Pipeline that ends with one. PCA and other estimators
            with ``components_`` need another order than "use".
        image_shape : tuple of (int, int) or (int, int, int), default=None
            Height, width and, in colour, 3. None is that of the estimator's atoms: of small ones
            ``atom_shape_``, of others that of the images it was fitted to, ``image_shape_``, or
            that its Pipeline loads.
        order : "use", None or array-like of int, default="use"
            Order of the atoms: "use" begins with those that fired on most training samples of
            the last epoch; None keeps the order of ``components_``; indices select these
            atoms, in this order.
        n_atoms : int or None, default=64
            Largest number of atoms, unless order selects them. None shows all.
        member : int or None, default=None
            Index of a member, to show its atoms only.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : AtomDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such member or atom, or image_shape does not fit.
        """
        given, (estimator, _) = estimator, fitted_step(estimator, needs="components_")
        image_shape = shape_of(given, image_shape, ("atom_shape_", "image_shape_"))
        all_atoms = atoms_of_member(estimator, member)
        atoms = sorted_atoms(estimator, all_atoms, order)
        if order is None or isinstance(order, str):  # atoms given by index are all shown
            atoms = atoms[:n_atoms]
        components = np.asarray(estimator.components_)[atoms]
        display = cls(components, image_shape=image_shape, captions=list(map(str, atoms)))
        display.plot(ax, **kwargs)
        of_member = "" if member is None else f" of {_name_of_member(estimator, member)}"
        how = ", most used first" if isinstance(order, str) else ""
        title = f"{len(atoms)} of {len(all_atoms)} atoms{of_member}{how}"
        display.ax_.set_title(title, fontsize="medium")
        return display

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        scale: Literal["diverging", "picture"] | tuple[float, float] = "diverging",
        cmap: "str | Colormap | None" = None,
        n_columns: int | None = None,
    ) -> Self:
        """Draw the atoms.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        scale : {"diverging", "picture"} or tuple of (float, float), default="diverging"
            Scale of the colours. "diverging" shows each atom from minus to plus its largest
            absolute value, with 0 in the middle: white in the default map for grey, grey in
            colour. "picture" shows each atom from its smallest to its largest value, as black
            to white or in colour. Two numbers are the limits for all atoms.
        cmap : str, matplotlib Colormap or None, default=None
            Colour map of grey atoms. None is "RdBu_r" on the diverging scale, else "gray".
        n_columns : int or None, default=None
            Number of atoms side by side. None fills the given Axes; on a new figure it is 8.

        Returns
        -------
        display : AtomDisplay
            The display itself.
        """
        pictures = pictures_of(self.components, self.image_shape, scale, cmap)
        captions = self.captions
        if captions is None:
            captions = list(map(str, range(len(pictures))))
        if len(captions) != len(pictures):
            raise ValueError(f"Expected {len(pictures)} captions, got {len(captions)}.")
        if ax is None:
            n_columns = min(n_columns or 8, len(pictures))
            n_rows = -(-len(pictures) // n_columns)  # rounded up
            ax = axes_for_pictures(n_rows, n_columns, pictures[0])
        draw_pictures(ax, pictures, captions, n_columns=n_columns)
        return self._drawn_on(ax)


def _name_of_member(estimator, member):
    return members_of(estimator)[member].name if is_ensemble(estimator) else f"member {member}"
