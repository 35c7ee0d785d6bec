"""Codes of small atoms at all places of an image: by atom, by place, and as pictures."""

import copy
import math
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from ..images._typing import SparseOrDense
from ..metrics import unwrap_pipeline
from ._activations import activations_of


def atom_activations(
    estimator: Any, codes: SparseOrDense, function: Literal["max", "mean"] = "max"
) -> Any:
    """Pool codes of all places into one column an atom, as functions of codes take them.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted autoencoder, or a Pipeline that ends with one.
    codes : {array-like, sparse matrix} of shape (n_samples, n_places * n_components)
        Codes, as transform of a :class:`~skl_sae.ConvTopKSparseAutoencoder` returns them; of
        images of any size. Codes of other estimators have one column an atom already.
    function : {"max", "mean"}, default="max"
        What is kept of an atom's activations at all places of an image: the largest, or the mean.

    Returns
    -------
    activations : sparse array of shape (n_samples, n_components), float64
        Activations: absolute values, so of codes by ``transform_algorithm="omp"`` too. An atom
        is active in an image if it is anywhere in it.

    Raises
    ------
    ValueError
        If the number of columns is not one for each atom at each place.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import ConvTopKSparseAutoencoder
    >>> from skl_sae.inspection import atom_activations, class_selectivity
    >>> digits = load_digits()
    >>> images, y = digits.images[:200], digits.target[:200]
    >>> sae = ConvTopKSparseAutoencoder(16, kernel_size=4, k=16, max_iter=2, random_state=0)
    >>> codes = sae.fit_transform(images)
    >>> activations = atom_activations(sae, codes)
    >>> codes.shape, activations.shape
    ((200, 400), (200, 16))
    >>> class_selectivity(activations, y).auc.shape
    (10, 16)
    """
    if function not in ("max", "mean"):
        raise ValueError(f"Expected function='max' or 'mean', got {function!r}.")
    estimator, _ = unwrap_pipeline(estimator)
    activations = activations_of(codes)
    if not has_places(estimator):
        return activations
    n_images, n_columns = activations.shape
    n_atoms, entries = estimator.n_components_, by_place(estimator, activations).tocoo()
    n_places = n_columns // n_atoms
    at = entries.row // n_places, entries.col
    if function == "mean":
        values = entries.data / n_places
        return sp.csr_array(sp.coo_array((values, at), shape=(n_images, n_atoms)))
    return _largest(at, entries.data, (n_images, n_atoms))


def _largest(at, values, shape):
    """Return the largest of all values at each row and column, as a CSR array."""
    keys = at[0].astype(np.int64) * shape[1] + at[1]
    order = np.lexsort((-values, keys))
    kept = order[np.flatnonzero(np.diff(keys[order], prepend=-1))]
    return sp.csr_array((values[kept], (at[0][kept], at[1][kept])), shape=shape)


def by_place(estimator, codes):
    """Return codes with a row for each place of each image, and a column for each atom."""
    n_atoms = estimator.n_components_
    if codes.shape[1] % n_atoms:
        raise ValueError(
            f"Expected codes with a multiple of {n_atoms} columns, one for each atom at each "
            f"place, got {codes.shape[1]}."
        )
    return codes.reshape(-1, n_atoms).tocsr()


def has_places(estimator):
    """Return whether the estimator's atoms are smaller than images, and looked for in them."""
    return hasattr(estimator, "maps_shape_")


def image_activations(estimator, X):
    """Return codes of X; of an estimator with places, activations with one column an atom."""
    last, _ = unwrap_pipeline(estimator)
    if not has_places(last):
        return estimator.transform(X)
    last, X = unwrap_pipeline(estimator, X)
    return atom_activations(last, PlacedImages(last, X).codes)


class PlacedImages:
    """Images of an estimator of small atoms, with their codes at all places.

    They are not pooled, whatever the estimator's ``pooling`` is.

    Parameters
    ----------
    estimator : ConvTopKSparseAutoencoder
        Fitted estimator.
    X : array-like of shape (n, n_features), (n, H, W) or (n, H, W, C)
        Images.
    image_shape : tuple or None, default=None
        Shape of an image, which may be another than in fit. None is that of arrays of images; of
        rows, that of the estimator's ``image_shape``, or of fit.

    Attributes
    ----------
    rows : ndarray of shape (n, H * W * C)
        Images as rows.
    codes : csr_matrix of shape (n, n_places * n_components)
        Codes at all places.
    atoms : PlacedAtoms
        One atom for each column of the codes.
    can_be_added : bool
        Whether a reconstruction is the centre plus the atoms times their codes. It is not of
        normalized patches, whose means and spreads are those of the image.
    """

    def __init__(self, estimator, X, image_shape=None):
        estimator = copy.copy(estimator).set_params(pooling=None)
        if image_shape is not None:
            estimator.set_params(image_shape=image_shape)
        images = estimator._validate_rows(X, reset=False)
        if image_shape is not None and (*image_shape, 1)[:3] != images.shape[1:]:
            raise ValueError(
                f"Expected image_shape={images.shape[1:]}, which is that of the images, or None, "
                f"got {image_shape}."
            )
        self._estimator = estimator.set_params(image_shape=images.shape[1:])
        self.rows = images.reshape(len(images), -1)
        self.codes = self._estimator._codes(images)
        self.atoms = PlacedAtoms(estimator, images.shape[1:])
        self.can_be_added = estimator._spread is None

    @property
    def image_shape(self):
        return self.atoms.image_shape

    def reconstructions(self, part=slice(None)):
        """Return the reconstructions of some of the images, as rows."""
        if self.can_be_added:
            return self._estimator.inverse_transform(self.codes[part])
        images = self.rows[part].reshape(-1, *self.image_shape)
        return self._estimator._reconstruct(images)


class PlacedAtoms:
    """Atoms at all places of an image, each as a picture of that size when it is asked for.

    Parameters
    ----------
    estimator : ConvTopKSparseAutoencoder
        Fitted estimator.
    image_shape : tuple (H, W, C)
        Shape of an image.

    Attributes
    ----------
    atom_shape : tuple (h, w, C)
        Shape of an atom.
    counts : tuple (rows, columns)
        Number of places in both directions.
    first, stride : tuple of 2 ints
        Pixels that the first place lies before the image's corner, and from a place to the next.
    """

    def __init__(self, estimator, image_shape):
        places = estimator._places(tuple(image_shape))
        self.image_shape, self.atom_shape = places.image_shape, places.atom_shape
        self.counts, self.first, self.stride = places.counts, places.first, places.stride
        self.components = estimator.components_

    def __len__(self):
        return math.prod(self.counts) * len(self.components)

    def __getitem__(self, columns):
        """Return images, as rows, that are empty but for the atoms of these columns of codes."""
        columns = np.asarray(columns)
        height, width, n_channels = self.image_shape
        margin = self.atom_shape[:2]
        framed = np.zeros((len(columns), height + 2 * margin[0], width + 2 * margin[1], n_channels))
        tops, lefts = self.corners(columns // len(self.components))
        atoms = self.components[columns % len(self.components)]
        for image, atom, top, left in zip(framed, atoms, tops, lefts, strict=True):
            down, right = top + margin[0], left + margin[1]
            image[down : down + margin[0], right : right + margin[1]] = atom.reshape(
                self.atom_shape
            )
        inside = framed[:, margin[0] : margin[0] + height, margin[1] : margin[1] + width]
        return inside.reshape(len(columns), -1)

    def corners(self, places):
        """Return the rows and the columns of pixels at which places begin, maybe outside."""
        at = np.divmod(places, self.counts[1])
        return [
            n * step - first for n, step, first in zip(at, self.stride, self.first, strict=True)
        ]

    def name(self, column):
        """Return the atom of a column of codes, and the row and column of its place."""
        place, atom = divmod(int(column), len(self.components))
        row, at = divmod(place, self.counts[1])
        return f"{atom} ({row}, {at})"
