"""ImageAugmenter: random variants of images, by one homography and one resampling each."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from .._engine._device import check_fits
from .._engine._threads import share_operators
from ._arrays import rows_of_images, without_channel
from ._homography import (
    CORNERS,
    change_light,
    corner_maps,
    crop_maps,
    resample,
    rotation_maps,
    scale_maps,
    shift_maps,
)
from ._shapes import check_sides
from ._typing import RandomState, Samples, Shape, _fit_context

# Pixels resampled at a time; their coordinates take about ten times the bytes of grey pixels.
_PIXELS_AT_A_TIME = 2**18
# Memory to find the map of a variant: linear equations of eight unknowns.
_MAP_BYTES = 2**11
_AMOUNTS = ("rotation", "translation", "perspective", "crop", "brightness", "contrast")


class ImageAugmenter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Random variants of images: flipped, rotated, shifted, tilted, cropped, relit.

    The geometry of a variant is one homography, the composition of a crop resized to the full
    image, flips, a rotation about the centre, a translation and a change of perspective [1]_;
    each variant is resampled once, bilinearly. Beyond its border the image is mirrored. Then
    :math:`x` becomes :math:`\bar x + c\,(b x - \bar x)`, clipped to [0, 1], with a brightness
    :math:`b`, a contrast :math:`c` and the mean :math:`\bar x` of :math:`b x`. All amounts are
    drawn uniformly and independently for each variant.

    In an unsupervised Pipeline the augmenter is a step of its own: fit_transform returns more
    samples than it is given. If there are labels, pass it to
    :class:`~skl_sae.TopKSparseAutoencoder` as ``augmenter`` instead, which keeps samples and
    labels aligned.

    Parameters
    ----------
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and, if there are several, number of channels of an image; a row is an
        image in C order.
    n_copies : int, default=5
        Number of variants of each image.
    rotation : float, default=15
        Largest angle in degrees, in either direction. At most 180.
    translation : float, default=0.1
        Largest shift, as a fraction of the width and of the height. At most 1.
    perspective : float, default=0.2
        Largest displacement of a corner, as a fraction of half the width and half the height.
        Less than 0.5.
    crop : float, default=0.1
        Largest fraction of the width and height cut away at each side. Less than 0.5.
    horizontal_flip : bool, default=True
        Whether to exchange left and right in half of the variants.
    vertical_flip : bool, default=True
        Whether to exchange top and bottom in half of the variants.
    brightness : float, default=0.2
        Largest relative change of the values: they are multiplied by a factor in
        [1 - brightness, 1 + brightness]. At most 1.
    contrast : float, default=0.2
        Largest relative change of the values' differences from their mean: these are
        multiplied by a factor in [1 - contrast, 1 + contrast]. At most 1.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of the variants. With an int each call draws the same ones.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if all are strings.

    See Also
    --------
    ImageLoader : Load image files as rows.

    Notes
    -----
    Zero or False switches a transformation off.

    The drawn numbers determine the variant of an image to the bit, regardless of the number of
    threads and of the other images.

    References
    ----------
    .. [1] R. Hartley and A. Zisserman, "Multiple View Geometry in Computer Vision", 2nd
       edition, Cambridge University Press, 2004, section 2.3.

    Examples
    --------
    >>> from skl_sae import ImageAugmenter
    >>> from skl_sae.datasets import load_photographs
    >>> photographs = load_photographs(39, size=(32, 32))
    >>> augmenter = ImageAugmenter(photographs.image_shape, random_state=0)
    >>> augmenter.fit_transform(photographs.data).shape
    (234, 3072)
    """

    _parameter_constraints: dict = {
        "image_shape": [tuple, list],
        "n_copies": [Interval(Integral, 0, None, closed="left")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "translation": [Interval(Real, 0, 1, closed="both")],
        "perspective": [Interval(Real, 0, 0.5, closed="left")],
        "crop": [Interval(Real, 0, 0.5, closed="left")],
        "horizontal_flip": ["boolean"],
        "vertical_flip": ["boolean"],
        "brightness": [Interval(Real, 0, 1, closed="both")],
        "contrast": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        image_shape: Shape,
        *,
        n_copies: int = 5,
        rotation: float = 15,
        translation: float = 0.1,
        perspective: float = 0.2,
        crop: float = 0.1,
        horizontal_flip: bool = True,
        vertical_flip: bool = True,
        brightness: float = 0.2,
        contrast: float = 0.2,
        random_state: RandomState = None,
    ) -> None:
        self.image_shape = image_shape
        self.n_copies = n_copies
        self.rotation = rotation
        self.translation = translation
        self.perspective = perspective
        self.crop = crop
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.brightness = brightness
        self.contrast = contrast
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Samples, y: object = None) -> Self:
        """Check the parameters and the shape of X; there is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            Images or their rows, values in [0, 1]; also a list of Pillow's images.
        y : None
            Ignored.

        Returns
        -------
        self : ImageAugmenter
            The augmenter.

        Raises
        ------
        ValueError
            If the rows do not have the shape of the images, or have values outside [0, 1].
        """
        self._validate_rows(X, reset=True)
        return self

    def transform(self, X: Samples) -> np.ndarray | Any:
        """Return X unchanged: only training samples are varied.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            Images or their rows, values in [0, 1]; also a list of Pillow's images.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The same, as rows.
        """
        check_is_fitted(self)
        return self._validate_rows(X, reset=False)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Samples, y: object = None) -> np.ndarray | Any:
        """Return the rows of X, followed by n_copies blocks of one variant of each.

        The labels of the result are ``np.tile(y, 1 + n_copies)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            Images or their rows, values in [0, 1]; also a list of Pillow's images.
        y : None
            Ignored.

        Returns
        -------
        rows : ndarray of shape ((1 + n_copies) * n_samples, n_features)
            Images and variants, in the dtype of X if it is float32 or float64, else float32.
        """
        index = X.index if hasattr(X, "iloc") else None
        X = self._validate_rows(X, reset=True)
        check_fits(
            (1 + self.n_copies) * X.nbytes + self.n_copies * len(X) * _MAP_BYTES,
            f"Making n_copies={self.n_copies} variants of each of {len(X)} images",
        )
        rows = np.empty((1 + self.n_copies, *X.shape), dtype=X.dtype)
        rows[0] = X
        self._fill_variants(rows)
        rows = rows.reshape(-1, X.shape[1])
        if index is not None and _get_output_config("transform", self)["dense"] == "pandas":
            # scikit-learn would give the frame the index of X, which has fewer rows.
            import pandas as pd

            names = self.get_feature_names_out()
            rows = pd.DataFrame(rows, np.tile(index, 1 + self.n_copies), names)
        return rows

    def _fill_variants(self, rows):
        """Write variants of rows[0] into rows[1], rows[2] and so on, shared by threads."""
        n_copies, n_samples = len(rows) - 1, rows.shape[1]
        height, width, _ = shape = self._image_shape()
        maps, gains = self._draw(n_copies * n_samples, width / height)

        def vary(piece):
            i, batch = piece
            drawn = slice(i * n_samples + batch.start, i * n_samples + batch.stop)
            images = torch.from_numpy(rows[0, batch]).reshape(-1, *shape)
            images = resample(images, torch.from_numpy(maps[drawn]))
            change_light(images, *torch.from_numpy(gains[:, drawn]))
            rows[1 + i, batch] = images.reshape(len(images), -1).numpy()

        batches = list(gen_batches(n_samples, max(1, _PIXELS_AT_A_TIME // (height * width))))
        share_operators(vary, [(i, batch) for i in range(n_copies) for batch in batches])

    def _validate_rows(self, X, *, reset):
        X, given = rows_of_images(X)
        X = validate_data(self, X, dtype=[np.float32, np.float64], order="C", reset=reset)
        shape = self._image_shape()
        if given not in (None, without_channel(shape)):
            raise ValueError(f"Expected images of image_shape={self.image_shape}, got {given}.")
        if X.shape[1] != np.prod(shape):
            raise ValueError(
                f"Expected rows of {np.prod(shape)} features for image_shape="
                f"{self.image_shape}, got {X.shape[1]}."
            )
        self._check_range(X)
        return X

    def _check_range(self, X):
        low, high = X.min(), X.max()
        if low < 0 or high > 1:
            start = "Negative values in data. " if low < 0 else ""  # scikit-learn's words
            raise ValueError(
                f"{start}Expected values in [0, 1], got values from {low:.4g} to {high:.4g}."
            )

    def _image_shape(self):
        """Return height, width and number of channels; check what scikit-learn does not."""
        # To Python True is the number 1, and so within all intervals.
        for name in ("n_copies", *_AMOUNTS):
            if getattr(self, name) is True:
                raise InvalidParameterError(
                    f"The {name!r} parameter of ImageAugmenter must be a number. Got True instead."
                )
        sides = check_sides("image_shape", self.image_shape, ("height", "width", "channels"))
        return (*sides, 1) if len(sides) == 2 else sides

    def _draw(self, n, aspect):
        """Draw n variants: (n, 3, 3) maps, and (2, n) factors of brightness and contrast.

        The maps are homographies from points of the variant to points of the image, both as
        (x, y, 1) from the centre, in units of half the width and half the height.
        """
        rng = check_random_state(self.random_state)
        # The order of the draws is part of what a seed means.
        crops = rng.uniform(0, self.crop, (2, 2, n))  # of x and y, at either end
        angles = np.deg2rad(self.rotation) * rng.uniform(-1, 1, n)
        shifts = 2 * self.translation * rng.uniform(-1, 1, (2, n))
        flips = np.where(rng.uniform(size=(2, n)) < 0.5, -1.0, 1.0)
        flips[~np.array([self.horizontal_flip, self.vertical_flip])] = 1
        corners = CORNERS + self.perspective * rng.uniform(-1, 1, (n, 4, 2))
        gains = 1 + np.array([[self.brightness], [self.contrast]]) * rng.uniform(-1, 1, (2, n))
        # From the variant back to the image: each map undoes one transformation, the last first.
        maps = (
            crop_maps(*crops)
            @ scale_maps(*flips)
            @ rotation_maps(angles, aspect)
            @ shift_maps(*shifts)
            @ corner_maps(corners)
        )
        return maps, gains

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.positive_only = True
        return tags
