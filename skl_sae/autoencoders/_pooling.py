"""CodePooling: codes of places to codes of images."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_array, validate_data

from ..images._shapes import check_sides
from ..images._typing import Codes, SparseOrDense, _fit_context
from ._sparse_output import one_a_column, part_of_places


class CodePooling(TransformerMixin, BaseEstimator):
    """Pool the codes of an image's places to one code of the image.

    The places of an image are rows that follow one another, as
    :class:`ImageEmbedder` gives them with ``pooling=None``. A network's
    places are coded one by one, and of each atom the largest activation is kept: whether what it
    stands for is somewhere in the image.

    Parameters
    ----------
    n_places : int or tuple (rows, columns)
        Number of places of an image, or their shape, ``places_shape_`` of the embedder: then
        ``rows * columns`` rows are an image, in C order.
    function : {"max", "mean"}, default="max"
        What is kept of each column. Where an atom is not active, it counts as 0.
    parts : int, tuple of 2 ints or None, default=None
        Number of parts, vertically and horizontally, in which the places are pooled, as in
        :class:`ConvTopKSparseAutoencoder`; this takes their shape. None is one.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    ImageEmbedder : Rows of places, by a network.
    ConvTopKSparseAutoencoder : Small atoms, which pools by itself.

    Notes
    -----
    A Pipeline whose last step takes labels has fewer rows behind this step than before it, as many
    as images and labels. Nothing is learned, so transform needs no fit.

    Examples
    --------
    Two images of two places:

    >>> import scipy.sparse as sp
    >>> from skl_sae import CodePooling
    >>> codes = sp.csr_matrix(
    ...     [[1.0, 0.0, 2.0], [3.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 4.0, 0.0]]
    ... )
    >>> CodePooling(2).transform(codes).toarray()
    array([[3., 0., 2.],
           [0., 5., 0.]])
    >>> CodePooling(2, "mean").transform(codes).toarray()
    array([[2. , 0. , 1. ],
           [0. , 4.5, 0. ]])
    """

    _parameter_constraints: dict = {
        "n_places": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "function": [StrOptions({"max", "mean"})],
        "parts": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
    }

    def __init__(
        self,
        n_places: int | tuple[int, int],
        function: Literal["max", "mean"] = "max",
        *,
        parts: int | tuple[int, int] | None = None,
    ) -> None:
        self.n_places = n_places
        self.function = function
        self.parts = parts

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: SparseOrDense, y: object = None) -> Self:
        """Check the parameters and the number of rows; there is nothing to learn.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_images * n_places, n_features)
            Codes of places.
        y : None
            Ignored.

        Returns
        -------
        self : CodePooling
            The transformer.
        """
        X = self._validated(X, reset=True)
        self._part()
        self._n_images(X)
        return self

    def transform(self, X: SparseOrDense) -> Codes:
        """Pool codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_images * n_places, n_features)
            Codes of places, image by image.

        Returns
        -------
        X_new : {ndarray, csr_matrix} of shape (n_images, parts * n_features)
            Codes of images, CSR if X is sparse; part by part, each with all atoms.

        Raises
        ------
        ValueError
            If the number of rows is no multiple of the number of places.
        """
        self._validate_params()
        X = self._validated(X, reset=False)
        part, n_images = self._part(), self._n_images(X)
        pool = self._pooled_sparse if sp.issparse(X) else self._pooled_dense
        return pool(X, part, n_images)

    def get_feature_names_out(
        self, input_features: Sequence[str] | ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns: those of the input, with parts followed by the part's.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the codes; None for those seen in fit.

        Returns
        -------
        names : ndarray of shape (n_features_out,), dtype object
            Such as "topksparseautoencoder3", or "topksparseautoencoder3_row0_column1" with parts.
        """
        names = _check_feature_names_in(self, input_features)
        if self.parts is None:
            return names
        rows, columns = _pair("parts", self.parts)
        return np.array([
            f"{name}_row{row}_column{column}"
            for row in range(rows) for column in range(columns) for name in names
        ], dtype=object)  # fmt: skip

    def _validated(self, X, *, reset):
        options = {"accept_sparse": "csr", "dtype": [np.float32, np.float64]}
        if reset or hasattr(self, "n_features_in_"):
            return validate_data(self, X, reset=reset, **options)
        return check_array(X, input_name="X", **options)

    def _part(self):
        """Number of the part that each place of an image is in."""
        if self.parts is None:
            return np.zeros(math.prod(_shape(self.n_places)), int)
        if isinstance(self.n_places, Integral):
            raise ValueError(
                f"Expected n_places=(rows, columns) with parts, got n_places={self.n_places}."
            )
        shape, parts = _shape(self.n_places), _pair("parts", self.parts)
        if any(part > side for part, side in zip(parts, shape, strict=True)):
            raise ValueError(f"Expected at most {shape} parts, as there are places, got {parts}.")
        return part_of_places(shape, parts)

    def _n_images(self, X):
        n_places = math.prod(_shape(self.n_places))
        if X.shape[0] % n_places:
            raise ValueError(
                f"Expected a multiple of n_places={self.n_places} rows, as all places of each "
                f"image are, got {X.shape[0]} rows."
            )
        return X.shape[0] // n_places

    def _pooled_sparse(self, X, part, n_images):
        # The rows of an image's places, in a line, are one row with several numbers a column.
        counts, n_columns = np.bincount(part), X.shape[1]
        if not X.has_canonical_format:  # what stands twice at a place adds up
            X = X.copy()
            X.sum_duplicates()
        indices = X.indices
        if len(counts) > 1:
            indices = indices + np.repeat(np.tile(part, n_images), np.diff(X.indptr)) * n_columns
        codes = sp.csr_matrix(
            (X.data, indices, X.indptr[:: len(part)]), shape=(n_images, len(counts) * n_columns),
            copy=True,
        )  # fmt: skip
        return one_a_column(codes, counts.repeat(n_columns), self.function)

    def _pooled_dense(self, X, part, n_images):
        places = X.reshape(n_images, len(part), X.shape[1])
        function = {"max": np.max, "mean": np.mean}[self.function]
        pooled = [function(places[:, part == number], axis=1) for number in np.unique(part)]
        return np.concatenate(pooled, axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _pair(name, value):
    return check_sides(name, (value, value) if isinstance(value, Integral) else value)


def _shape(n_places):
    """(rows, columns) of places, of which a number is one row."""
    return check_sides("n_places", (1, n_places) if isinstance(n_places, Integral) else n_places)
