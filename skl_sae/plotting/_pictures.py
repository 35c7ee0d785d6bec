"""Rows as pictures: the displays of atoms and of reconstructions, and how they are drawn."""

import math
from itertools import chain

import matplotlib as mpl
import numpy as np
import scipy.sparse as sp
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from sklearn.utils import _safe_indexing, check_array

from ..images._shapes import checked_image_shape
from ..inspection._estimators import atoms_of_codes, atoms_of_member, fitted_step, sorted_atoms
from ..metrics import row_correlations
from ._axes import new_axes, size_in_points

_MAPS = {"diverging": "RdBu_r", "picture": "gray"}  # unless said otherwise, for grey rows
_GAP = 0.06  # between pictures, as a fraction of their width
_CAPTION, _LINE = 8, 14  # size of captions and height of their lines, in points
_LEGIBLE = 5  # captions that would have to be smaller, in points, are left out
_LETTER = 0.6  # mean width of a letter, as a fraction of its size
_FIGURE_WIDTH = 6.4  # in inches


class AtomDisplay:
    """Atoms as pictures.

    Parameters
    ----------
    components : array-like of shape (n_atoms, n_features)
        The atoms to show, in this order.
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and, in colour, 3.
    captions : sequence of str or None, default=None
        What to write above each atom. None counts from 0.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on: an image for each atom.
    figure_ : matplotlib Figure
        Its figure.

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

    Those that mark the class of each row best, one class below the other:

    >>> from skl_sae.inspection import class_selectivity, discriminative_atoms
    >>> selectivity = class_selectivity(sae.transform(X), load_digits().target[:200])
    >>> atoms = discriminative_atoms(selectivity, n=6).ravel()
    >>> display = AtomDisplay.from_estimator(
    ...     sae, image_shape=(8, 8), order=atoms, n_columns=6
    ... )
    """

    def __init__(self, components, *, image_shape, captions=None):
        self.components = components
        self.image_shape = image_shape
        self.captions = captions

    @classmethod
    def from_estimator(
        cls, estimator, *, image_shape, order="use", n_atoms=64, member=None, ax=None, **kwargs
    ):
        """Draw atoms of a fitted estimator, with their numbers: rows of ``components_``.

        Parameters
        ----------
        estimator : estimator with ``components_``
            A fitted autoencoder, or a Pipeline that ends with one. PCA and the like have
            ``components_``, too, and need another order than "use".
        image_shape : tuple of (int, int) or (int, int, int)
            Height, width and, in colour, 3.
        order : "use", None or array-like of int, default="use"
            "use": those that fired on most of the last epoch's rows first. None: as they are.
            Numbers of atoms: these, in this order.
        n_atoms : int or None, default=64
            Number of atoms at most, where order does not name them. None is all.
        member : int or None, default=None
            Show only atoms of this member, counted from 0.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : AtomDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If there is no such member or atom, or image_shape does not fit.
        """
        estimator, _ = fitted_step(estimator, needs="components_")
        all_atoms = atoms_of_member(estimator, member)
        atoms = sorted_atoms(estimator, all_atoms, order)
        if order is None or isinstance(order, str):
            atoms = atoms[:n_atoms]
        components = np.asarray(estimator.components_)[atoms]
        display = cls(components, image_shape=image_shape, captions=list(map(str, atoms)))
        display.plot(ax, **kwargs)
        whose = "" if member is None else f" of member {member}"
        how = ", most used first" if isinstance(order, str) else ""
        title = f"{len(atoms)} of {len(all_atoms)} atoms{whose}{how}"
        display.ax_.set_title(title, fontsize="medium")
        return display

    def plot(self, ax=None, *, scale="diverging", cmap=None, n_columns=None):
        """Draw the atoms.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        scale : {"diverging", "picture"} or tuple of (float, float), default="diverging"
            "diverging": each atom from minus to plus its largest absolute value, with 0 in the
            middle: white in the default map for grey, grey in colour. "picture": each atom from
            its smallest to its largest value, as black to white or in colour. Two numbers: one
            scale for all atoms.
        cmap : str, matplotlib Colormap or None, default=None
            The map for grey atoms. None is "RdBu_r" on the diverging scale, else "gray".
        n_columns : int or None, default=None
            Number of atoms side by side. None suits the Axes; on a figure of its own it is 8.

        Returns
        -------
        display : AtomDisplay
            Itself.
        """
        pictures = pictures_of(self.components, self.image_shape, scale, cmap)
        captions = self.captions
        if captions is None:
            captions = list(map(str, range(len(pictures))))
        if len(captions) != len(pictures):
            raise ValueError(f"Expected {len(pictures)} captions, got {len(captions)}.")
        if ax is None:
            n_columns = min(n_columns or 8, len(pictures))
            ax = axes_for_pictures(-(-len(pictures) // n_columns), n_columns, pictures[0])
        draw_pictures(ax, pictures, captions, n_columns=n_columns)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ReconstructionDisplay:
    """Images, their reconstructions, and the atoms that take the largest part in them.

    The number above a reconstruction is its Pearson correlation with the image; above an atom
    are its number and its code. Atoms are shown on diverging scales of their own.

    Parameters
    ----------
    X : array-like of shape (n_images, n_features)
        The images.
    X_reconstructed : array-like of shape (n_images, n_features)
        Their reconstructions.
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and, in colour, 3.
    codes : {array-like, sparse matrix} of shape (n_images, n_atoms) or None, default=None
        Their codes; None shows no atoms.
    components : array-like of shape (n_atoms, n_features) or None, default=None
        The atoms, one for each column of codes.

    Attributes
    ----------
    correlations : ndarray of shape (n_images,)
        The correlations; 0 for a constant image.
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

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
        """Draw what a fitted estimator makes of the first rows of X.

        Parameters
        ----------
        estimator : estimator with ``components_``, transform and inverse_transform
            A fitted autoencoder, PCA or the like; or a Pipeline that ends with one, which is
            shown what its last step gets.
        X : array-like of shape (n_samples, n_features)
            What the estimator transforms.
        image_shape : tuple of (int, int) or (int, int, int)
            Height, width and, in colour, 3.
        n_images : int, default=5
            Number of rows of X, at most.
        ax : matplotlib Axes or None, default=None
            See :meth:`plot`.
        **kwargs : dict
            Other parameters of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            What was drawn.
        """
        X = _safe_indexing(X, slice(n_images))
        estimator, X = fitted_step(estimator, X, needs="components_")
        codes = estimator.transform(X)
        display = cls(
            X, estimator.inverse_transform(codes),
            image_shape=image_shape, codes=codes, components=atoms_of_codes(estimator),
        )  # fmt: skip
        return display.plot(ax, **kwargs)

    @classmethod
    def from_predictions(cls, X, X_reconstructed, *, image_shape, ax=None, **kwargs):
        """Draw images and reconstructions of whatever origin, without atoms.

        Parameters
        ----------
        X : array-like of shape (n_images, n_features)
            The images.
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
            What was drawn.
        """
        return cls(X, X_reconstructed, image_shape=image_shape).plot(ax, **kwargs)

    def plot(self, ax=None, *, n_atoms=4, cmap=None):
        """Draw a row of pictures for each image.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        n_atoms : int, default=4
            Number of atoms of each image, those of the largest activation.
        cmap : str, matplotlib Colormap or None, default=None
            The map for grey atoms; None is "RdBu_r".

        Returns
        -------
        display : ReconstructionDisplay
            Itself.
        """
        X = check_array(self.X, dtype=np.float64, input_name="X")
        self.correlations = np.nan_to_num(row_correlations(X, self.X_reconstructed), nan=0.0)
        inside = X.min() >= 0 and X.max() <= 1
        scale = (0, 1) if inside else (X.min(), X.max())  # of images and reconstructions alike
        pictures = [[picture] for picture in pictures_of(X, self.image_shape, scale)]
        captions = [["", f"r = {correlation:.2f}"] for correlation in self.correlations]
        for i, picture in enumerate(pictures_of(self.X_reconstructed, self.image_shape, scale)):
            pictures[i].append(picture)
        headers = [(0, 2, "Image, reconstruction")]
        if self.codes is not None and self.components is not None and n_atoms > 0:
            self._add_atoms(pictures, captions, n_atoms, cmap)
            headers.append((2, len(pictures[0]) - 2, "Strongest atoms: number, code"))
        n_columns = len(pictures[0])
        if ax is None:
            ax = axes_for_pictures(len(pictures), n_columns, pictures[0][0])
        pictures, captions = list(chain(*pictures)), list(chain(*captions))
        draw_pictures(ax, pictures, captions, n_columns=n_columns, headers=headers)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _add_atoms(self, pictures, captions, n_atoms, cmap):
        """Add to each image's pictures and captions those of its strongest atoms."""
        codes = check_array(self.codes, accept_sparse="csr", input_name="codes")
        codes = codes.toarray() if sp.issparse(codes) else codes
        components = np.asarray(self.components)
        for i, code in enumerate(codes):
            atoms = np.argsort(-np.abs(code), kind="stable")[:n_atoms]
            drawn = pictures_of(components[atoms], self.image_shape, "diverging", cmap)
            fires = code[atoms] != 0
            pictures[i] += [p if f else None for p, f in zip(drawn, fires, strict=True)]
            captions[i] += [f"{a}: {_number(code[a])}" if code[a] else "" for a in atoms]


def _number(value):
    """Three digits, more only before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


# --- Drawing ---


def pictures_of(rows, image_shape, scale, cmap=None):
    """Rows as RGB pictures of shape (n, height, width, 3), values in [0, 1].

    The scale is "diverging" (each row from minus to plus its largest absolute value, so that 0
    is always the middle), "picture" (each row from its smallest to its largest value), or the
    pair of the smallest and the largest value for all rows. Rows of one number a pixel are
    coloured by cmap; colour rows are shown as they are, those on a diverging scale around grey.
    """
    rows = check_array(rows, dtype=np.float64, ensure_all_finite=True, input_name="rows")
    height, width, n_channels = (*checked_image_shape(image_shape, rows.shape[1]), 1)[:3]
    low, high = _limits(rows, scale)
    extent = np.where(high > low, high - low, 1)
    # A row that is the same everywhere is shown by the middle of the scale.
    values = np.where(high > low, (rows - low) / extent, 0.5).clip(0, 1)
    values = values.reshape(-1, height, width, n_channels)
    if n_channels == 3:
        return values
    if cmap is None:
        cmap = _MAPS["diverging" if isinstance(scale, str) and scale == "diverging" else "picture"]
    return mpl.colormaps.get_cmap(cmap)(values[..., 0])[..., :3]


def _limits(rows, scale):
    """Smallest and largest value of the scale of each row."""
    if isinstance(scale, str):
        if scale == "diverging":
            largest = np.abs(rows).max(axis=1, keepdims=True)
            return -largest, largest
        if scale == "picture":
            return rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
        raise ValueError(f"Expected scale='diverging' or 'picture', got {scale!r}.")
    return scale


def axes_for_pictures(n_rows, n_columns, picture):
    """Axes on a new figure with room for rows of pictures and their captions."""
    ratio = picture.shape[0] / picture.shape[1]
    cell = _FIGURE_WIDTH / n_columns / (1 + _GAP)
    height = n_rows * (cell * ratio + _LINE / 72) + 0.35  # for a title or headers
    return new_axes(figsize=(_FIGURE_WIDTH, height))


def draw_pictures(ax, pictures, captions, *, n_columns=None, headers=()):
    """Draw pictures in rows of n_columns, each with its caption above it.

    A picture that is None leaves its place empty. Each header is its first column, its number of
    columns and its text. Without n_columns, as many as make the pictures largest.
    """
    ax.set_axis_off()
    height, width = next(p.shape[:2] for p in pictures if p is not None)
    ratio, line = height / width, _LINE if any(captions) else 0
    n_columns, cell = _layout(ax, len(pictures), ratio, line, n_columns)
    longest = max(map(len, captions), default=0)
    size = min(_CAPTION, cell / (_LETTER * max(longest, 1)))
    line = max(line / cell, _GAP)
    top = 1.2 * line if headers else 0
    n_rows = math.ceil(len(pictures) / n_columns)
    frames = []
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = (i % n_columns) * (1 + _GAP)
        upper = top + (i // n_columns) * (ratio + line) + line
        if picture is not None:
            ax.imshow(picture, extent=(left, left + 1, upper + ratio, upper))
            frames.append(Rectangle((left, upper), 1, ratio))
        if caption and size >= _LEGIBLE:
            _write(ax, left + 0.5, upper, caption, size)
    ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor="0.6", linewidth=0.5))
    size = min([_CAPTION + 1, *(n * cell / (_LETTER * len(text)) for _, n, text in headers)])
    for first, n, text in headers:
        _write(ax, first * (1 + _GAP) + (n + (n - 1) * _GAP) / 2, top, text, size)
    ax.set_xlim(-_GAP, n_columns * (1 + _GAP))
    ax.set_ylim(top + n_rows * (ratio + line) + _GAP, 0)
    ax.set_aspect("equal", anchor="N")


def _layout(ax, n_pictures, ratio, line, n_columns):
    """Number of columns, and width of a picture in points, that fill the Axes."""
    width, height = size_in_points(ax)

    def cell(n_columns):
        n_rows = math.ceil(n_pictures / n_columns)
        return min(width / n_columns, (height / n_rows - line) / ratio) / (1 + _GAP)

    if n_columns is None:
        n_columns = max(range(1, n_pictures + 1), key=cell)
    return n_columns, max(cell(n_columns), 1)


def _write(ax, x, y, text, size):
    ax.annotate(
        text, (x, y), xytext=(0, 2), textcoords="offset points", fontsize=size, ha="center",
        parse_math=False,
    )  # fmt: skip
