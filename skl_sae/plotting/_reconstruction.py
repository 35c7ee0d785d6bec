"""ReconstructionDisplay: images beside their reconstructions and strongest atoms."""

from itertools import chain

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing, check_array

from ..inspection._estimators import atoms_of_codes, fitted_step
from ..metrics import row_correlations
from ._display import _Display
from ._image_grid import axes_for_pictures, draw_pictures, pictures_of


class ReconstructionDisplay(_Display):
    """Images, their reconstructions, and the atoms with the largest activations.

    The number above a reconstruction is its Pearson correlation with the image; the numbers
    above an atom are its index and its code. Each atom is shown on its own diverging scale.

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
        Atoms, one for each column of codes.

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

    def __init__(self, X, X_reconstructed, *, image_shape, codes=None, components=None):
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.image_shape = image_shape
        self.codes = codes
        self.components = components

    @classmethod
    def from_estimator(cls, estimator, X, *, image_shape, n_images=5, ax=None, **kwargs):
        """Draw a fitted estimator's reconstructions of the first samples of X.

        Parameters
        ----------
        estimator : estimator with ``components_``, transform and inverse_transform
            Fitted autoencoder, PCA or similar; or a Pipeline that ends with one, for which
            the input of its last step is shown.
        X : array-like of shape (n_samples, n_features)
            Samples to transform.
        image_shape : tuple of (int, int) or (int, int, int)
            Height, width and, in colour, 3.
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
        estimator, X = fitted_step(estimator, X, needs="components_")
        codes = estimator.transform(X)
        display = cls(
            X,
            estimator.inverse_transform(codes),
            image_shape=image_shape,
            codes=codes,
            components=atoms_of_codes(estimator),
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_predictions(cls, X, X_reconstructed, *, image_shape, ax=None, **kwargs):
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

    def plot(self, ax=None, *, n_atoms=4, cmap=None):
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
            headers.append((2, len(pictures[0]) - 2, "Strongest atoms: number, code"))
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
        codes = check_array(self.codes, accept_sparse="csr", input_name="codes")
        codes = codes.toarray() if sp.issparse(codes) else codes
        components = np.asarray(self.components)
        for i, code in enumerate(codes):
            atoms = np.argsort(-np.abs(code), kind="stable")[:n_atoms]
            drawn = pictures_of(components[atoms], self.image_shape, "diverging", cmap)
            fires = code[atoms] != 0  # of fewer atoms the remaining places stay empty
            pictures[i] += [p if f else None for p, f in zip(drawn, fires, strict=True)]
            captions[i] += [f"{a}: {_number(code[a])}" if code[a] else "" for a in atoms]


def _number(value):
    """Format three digits, or more if all are before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
