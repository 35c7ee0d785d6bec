"""ReconstructionDisplay: images beside their reconstructions and strongest atoms."""

from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing, check_array

from ..images._typing import Shape, SparseOrDense
from ..inspection._estimators import atoms_of_codes, coded, fitted_step, shape_of
from ..inspection._placed import PlacedImages, has_places
from ..metrics import row_correlations
from ._display import _Display
from ._image_grid import axes_for_pictures, draw_pictures, pictures_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


class ReconstructionDisplay(_Display):
    """Images, their reconstructions, and the atoms with the largest activations.

    The number above a reconstruction is its Pearson correlation with the image; the numbers
    above an atom are its index and its code. Each atom is shown on its own diverging scale. Of a
    :class:`~skl_sae.ConvTopKSparseAutoencoder`, an atom is shown at its place in an image that is
    otherwise empty, and the row and the column of this place are in brackets.

    Parameters
    ----------
    X : array-like of shape (n_images, n_features)
        Images.
    X_reconstructed : array-like of shape (n_images, n_features)
        Their reconstructions.
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and, in colour, 3.
    codes : {array-like, sparse matrix} of shape (n_images, n_atoms) or None, default=None
        Codes of the images. None shows no atoms.
    components : array-like of shape (n_atoms, n_features) or None, default=None
        Atoms, one for each column of codes. Or what gives those rows when it is indexed with
        some columns, and by ``name(column)`` the name of one.

    Attributes
    ----------
    correlations : ndarray of shape (n_images,)
        Correlations of images and reconstructions; 0 for a constant image.
    ax_ : matplotlib Axes
        Axes with the pictures.
    figure_ : matplotlib Figure
        Figure of the Axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.plotting import ReconstructionDisplay
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(sae, X, image_shape=(8, 8), n_images=3)
    >>> display.correlations.shape
    (3,)
    """

    def __init__(
        self,
        X: ArrayLike,
        X_reconstructed: ArrayLike,
        *,
        image_shape: Shape,
        codes: SparseOrDense | None = None,
        components: Any = None,
    ) -> None:
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.image_shape = image_shape
        self.codes = codes
        self.components = components

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Shape | None = None,
        n_images: int = 5,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a fitted estimator's reconstructions of the first samples of X.

        Parameters
        ----------
        estimator : estimator with ``components_``, transform and inverse_transform
            Fitted autoencoder, PCA or similar; or a Pipeline that ends with one, for which
            the input of its last step is shown.
        X : array-like of shape (n_samples, n_features)
            Samples to transform; for an estimator that takes them, also images.
        image_shape : tuple of (int, int) or (int, int, int), default=None
            Height, width and, in colour, 3. None is that of the images the estimator was fitted to,
            ``image_shape_``, or that its Pipeline loads; small atoms take images of another size,
            too.
        n_images : int, default=5
            Largest number of samples.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        # First, so that no others are transformed. X may be a DataFrame, or a list of paths.
        X = _safe_indexing(X, slice(n_images))
        last, X_last = fitted_step(estimator, X, needs="components_")
        if has_places(last):
            return cls(**_placed(last, X_last, image_shape)).plot(ax, **kwargs)
        return cls(**_whole(last, X_last, shape_of(estimator, image_shape))).plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        X_reconstructed: ArrayLike,
        *,
        image_shape: Shape,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Draw images and reconstructions of any origin, without atoms.

        Parameters
        ----------
        X : array-like of shape (n_images, n_features)
            Images.
        X_reconstructed : array-like of shape (n_images, n_features)
            Their reconstructions.
        image_shape : tuple of (int, int) or (int, int, int)
            Height, width and, in colour, 3.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        return cls(X, X_reconstructed, image_shape=image_shape).plot(ax, **kwargs)

    def plot(
        self, ax: "Axes | None" = None, *, n_atoms: int = 4, cmap: "str | Colormap | None" = None
    ) -> Self:
        """Draw a row of pictures for each image.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        n_atoms : int, default=4
            Number of atoms for each image, those of the largest activations.
        cmap : str, matplotlib Colormap or None, default=None
            Colour map of grey atoms; None is "RdBu_r".

        Returns
        -------
        display : ReconstructionDisplay
            The display itself.
        """
        pictures, captions = self._image_pairs()
        headers = [(0, 2, "Image, reconstruction")]
        if self.codes is not None and self.components is not None and n_atoms > 0:
            self._add_atoms(pictures, captions, n_atoms, cmap)
            named = "number (row, column)" if _name_of(self.components) else "number"
            headers.append((2, len(pictures[0]) - 2, f"Strongest atoms: {named}, code"))
        n_columns = len(pictures[0])
        if ax is None:
            ax = axes_for_pictures(len(pictures), n_columns, pictures[0][0])
        pictures, captions = list(chain(*pictures)), list(chain(*captions))
        draw_pictures(ax, pictures, captions, n_columns=n_columns, headers=headers)
        return self._drawn_on(ax)

    def _image_pairs(self):
        """Return pictures and captions of each image and its reconstruction."""
        X = check_array(self.X, dtype=np.float64, input_name="X")
        self.correlations = np.nan_to_num(row_correlations(X, self.X_reconstructed), nan=0.0)
        # One scale for both, so that differences in brightness are visible.
        inside = X.min() >= 0 and X.max() <= 1
        scale = (0, 1) if inside else (X.min(), X.max())
        images, reconstructions = (
            pictures_of(rows, self.image_shape, scale) for rows in (X, self.X_reconstructed)
        )
        pictures = [list(pair) for pair in zip(images, reconstructions, strict=True)]
        return pictures, [["", f"r = {correlation:.2f}"] for correlation in self.correlations]

    def _add_atoms(self, pictures, captions, n_atoms, cmap):
        """Append each image's strongest atoms to its pictures and captions."""
        codes = sp.csr_array(check_array(self.codes, accept_sparse="csr", input_name="codes"))
        name = _name_of(self.components) or str
        components = self.components if _name_of(self.components) else np.asarray(self.components)
        for i in range(codes.shape[0]):
            atoms, values = _strongest(codes[[i]], n_atoms)
            drawn = pictures_of(components[atoms], self.image_shape, "diverging", cmap)
            # Of fewer atoms that fire the remaining places stay empty.
            pictures[i] += [p if z else None for p, z in zip(drawn, values, strict=True)]
            captions[i] += [
                f"{name(a)}: {_number(z)}" if z else "" for a, z in zip(atoms, values, strict=True)
            ]


def _strongest(code, n):
    """Return the columns of the n largest absolute values in a row, and the values."""
    n = min(n, code.shape[1])
    code.sum_duplicates()
    code.eliminate_zeros()
    order = np.argsort(-np.abs(code.data), kind="stable")[:n]
    columns, values = np.zeros(n, np.int64), np.zeros(n)
    columns[: len(order)], values[: len(order)] = code.indices[order], code.data[order]
    return columns, values


def _name_of(components):
    return getattr(components, "name", None)


def _whole(estimator, X, image_shape):
    """Return what a display takes of atoms as large as images."""
    rows, codes, reconstructions = coded(estimator, X)
    return {
        "X": rows,
        "X_reconstructed": reconstructions,
        "image_shape": image_shape,
        "codes": codes,
        "components": atoms_of_codes(estimator),
    }


def _placed(estimator, X, image_shape):
    """Return what a display takes of small atoms at their places."""
    images = PlacedImages(estimator, X, image_shape)
    return {
        "X": images.rows,
        "X_reconstructed": images.reconstructions(),
        "image_shape": images.image_shape,
        "codes": images.codes,
        "components": images.atoms,
    }


def _number(value):
    """Format three digits, or more if all are before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
