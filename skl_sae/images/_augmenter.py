"""ImageAugmenter: random variants of images, by one homography and one resampling each."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from .._engine._device import check_fits
from .._engine._threads import share_operators
from ._loader import check_sides

# Pixels resampled at a time; their coordinates take about ten times the bytes of grey pixels.
_PIXELS_AT_A_TIME = 2**18
# What finding the map of a variant takes: some equations of eight unknowns.
_MAP_BYTES = 2**11
_AMOUNTS = ("rotation", "translation", "perspective", "crop", "brightness", "contrast")


class ImageAugmenter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Random variants of images: flipped, turned, shifted, tilted, cropped, lit differently.

    All the geometry of a variant is one homography, the composition of a crop resized to the
    full picture, flips, a rotation about the centre, a translation and a change of
    perspective [1]_; each variant is resampled once, bilinearly. What comes from beyond the
    border is the mirrored picture. Then :math:`x` becomes :math:`\bar x + c\,(b x - \bar x)`,
    clipped to [0, 1], with a brightness :math:`b`, a contrast :math:`c` and the mean
    :math:`\bar x` of :math:`b x`. All amounts are drawn uniformly, for each variant anew.

    In an unsupervised Pipeline this is a step of its own: fit_transform returns more rows than
    it was given. Where there are labels, give it to
    :class:`~skl_sae.TopKSparseAutoencoder` as ``augmenter`` instead, so that rows and labels
    stay in step.

    Parameters
    ----------
    image_shape : tuple of (int, int) or (int, int, int)
        Height, width and, where there are several, number of channels of an image; a row is
        an image in C order.
    n_copies : int, default=5
        Number of variants of each image.
    rotation : float, default=15
        Largest angle, in degrees, either way. At most 180.
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
        The values are multiplied by a factor in [1 - brightness, 1 + brightness]. At most 1.
    contrast : float, default=0.2
        The distances from the mean are multiplied by a factor in
        [1 - contrast, 1 + contrast]. At most 1.
    random_state : int, RandomState instance or None, default=None
        Determines the variants. With an int each call draws the same ones.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    ImageLoader : Load image files as rows.

    Notes
    -----
    Zero or False switches a part off.

    What is drawn for an image decides its variant to the bit, by any number of threads and
    whatever other images there are.

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
        image_shape,
        *,
        n_copies=5,
        rotation=15,
        translation=0.1,
        perspective=0.2,
        crop=0.1,
        horizontal_flip=True,
        vertical_flip=True,
        brightness=0.2,
        contrast=0.2,
        random_state=None,
    ):
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
    def fit(self, X, y=None):
        """Check the parameters and the shape of X; there is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images as rows, values in [0, 1].
        y : None
            Ignored.

        Returns
        -------
        self : ImageAugmenter
            The augmenter.

        Raises
        ------
        ValueError
            If the rows do not have the shape of the images, or values outside [0, 1].
        """
        self._validate_rows(X, reset=True)
        return self

    def transform(self, X):
        """Return X as it came: only what is learned from is varied.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images as rows, values in [0, 1].

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The same rows.
        """
        check_is_fitted(self)
        return self._validate_rows(X, reset=False)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """The rows of X, then n_copies blocks with one variant of each of them.

        Labels that go with the result are ``np.tile(y, 1 + n_copies)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images as rows, values in [0, 1].
        y : None
            Ignored.

        Returns
        -------
        rows : ndarray of shape ((1 + n_copies) * n_samples, n_features)
            The rows in the dtype of X, float32 or float64; float32 for any other.
        """
        index = getattr(X, "index", None)
        X = self._validate_rows(X, reset=True)
        shape = self._image_shape()
        n_variants = self.n_copies * len(X)
        check_fits(
            (1 + self.n_copies) * X.nbytes + n_variants * _MAP_BYTES,
            f"Making n_copies={self.n_copies} variants of each of {len(X)} images",
        )
        maps, gains = self._draw(n_variants, shape[1] / shape[0])
        rows = np.empty((1 + self.n_copies, *X.shape), dtype=X.dtype)
        rows[0] = X
        batch_size = max(1, _PIXELS_AT_A_TIME // (shape[0] * shape[1]))

        def vary(piece):
            i, batch = piece
            drawn = slice(i * len(X) + batch.start, i * len(X) + batch.stop)
            images = torch.from_numpy(rows[0, batch]).reshape(-1, *shape)
            images = _resample(images, torch.from_numpy(maps[drawn]))
            _light(images, *torch.from_numpy(gains[:, drawn]))
            rows[1 + i, batch] = images.reshape(len(images), -1).numpy()

        batches = list(gen_batches(len(X), batch_size))
        share_operators(vary, [(i, batch) for i in range(self.n_copies) for batch in batches])
        rows = rows.reshape(-1, X.shape[1])
        if index is not None and _get_output_config("transform", self)["dense"] == "pandas":
            # scikit-learn would give the frame the index of X, which has fewer rows.
            import pandas as pd

            names = self.get_feature_names_out()
            rows = pd.DataFrame(rows, np.tile(index, 1 + self.n_copies), names)
        return rows

    def _validate_rows(self, X, *, reset):
        X = validate_data(self, X, dtype=[np.float32, np.float64], order="C", reset=reset)
        shape = self._image_shape()
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
        """Height, width and number of channels; a ValueError for anything else."""
        for name in ("n_copies", *_AMOUNTS):
            if getattr(self, name) is True:
                raise InvalidParameterError(
                    f"The {name!r} parameter of ImageAugmenter must be a number. Got True instead."
                )
        sides = check_sides("image_shape", self.image_shape, ("height", "width", "channels"))
        return (*sides, 1) if len(sides) == 2 else sides

    def _draw(self, n, aspect):
        """What n variants are to be: (n, 3, 3) maps, and (2, n) brightness and contrast.

        The maps are homographies from places in the variant to places in the image, as
        (x, y, 1) from the centre, in units of half the width and half the height.
        """
        rng = check_random_state(self.random_state)
        crops = rng.uniform(0, self.crop, (2, 2, n))  # (x and y, either end)
        angles = np.deg2rad(self.rotation) * rng.uniform(-1, 1, n)
        shifts = 2 * self.translation * rng.uniform(-1, 1, (2, n))
        flips = np.where(rng.uniform(size=(2, n)) < 0.5, -1.0, 1.0)
        flips[~np.array([self.horizontal_flip, self.vertical_flip])] = 1
        corners = _CORNERS + self.perspective * rng.uniform(-1, 1, (n, 4, 2))
        gains = 1 + np.array([[self.brightness], [self.contrast]]) * rng.uniform(-1, 1, (2, n))
        # From the variant back to the image: each map undoes one change, the last first.
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


# --- Homographies ---

_CORNERS = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])


def _identities(n):
    return np.tile(np.eye(3), (n, 1, 1))


def scale_maps(x, y):
    """Maps that multiply places; by -1 is a flip."""
    maps = _identities(len(x))
    maps[:, 0, 0], maps[:, 1, 1] = x, y
    return maps


def shift_maps(x, y):
    """Maps that add to places."""
    maps = _identities(len(x))
    maps[:, 0, 2], maps[:, 1, 2] = x, y
    return maps


def crop_maps(x, y):
    """Maps onto what is left when fractions of the width and height are cut at both ends."""
    scaled = scale_maps(1 - x.sum(axis=0), 1 - y.sum(axis=0))
    return shift_maps(x[0] - x[1], y[0] - y[1]) @ scaled


def rotation_maps(angles, aspect):
    """Rotations by angles in pixels, where the width is aspect times the height."""
    maps = _identities(len(angles))
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angles)
    maps[:, 0, 1], maps[:, 1, 0] = -np.sin(angles) / aspect, np.sin(angles) * aspect
    return maps


def corner_maps(corners):
    """Maps of the picture's corners onto others, (n, 4, 2), by solving for 8 numbers each.

    With ``h`` the first eight numbers of the map, the ninth being 1, a corner (x, y) goes to
    (u, v) if ``(x, y, 1) . h[:3] - u (x, y) . h[6:8] = u``, and so for v with ``h[3:6]``.
    """
    n = len(corners)
    equations = np.zeros((n, 2, 4, 8))
    equations[:, 0, :, 0:2] = equations[:, 1, :, 3:5] = _CORNERS
    equations[:, 0, :, 2] = equations[:, 1, :, 5] = 1
    places = corners.transpose(0, 2, 1)  # (n, 2, 4)
    equations[..., 6:8] = -places[..., None] * _CORNERS
    solution = np.linalg.solve(equations.reshape(n, 8, 8), places.reshape(n, 8, 1))
    return np.concatenate([solution[..., 0], np.ones((n, 1))], axis=1).reshape(n, 3, 3)


# --- Pixels ---
# A variant is the same bits whatever is computed beside it and by however many threads. So there
# is no product of matrices here and no sum by torch, whose order follows from how work is split:
# what is left rounds a number at a time, or an image at a time.


def _resample(images, maps):
    """Bilinear values of (n, H, W, C) images where the maps send the centres of the pixels."""
    n, height, width, _ = images.shape
    grid = images.new_empty((n, height, width, 2))
    u, v, w = _places(maps, height, width, images.dtype)
    torch.div(u, w, out=grid[..., 0])
    torch.div(v, w, out=grid[..., 1])
    variants = torch.nn.functional.grid_sample(
        images.permute(0, 3, 1, 2), grid, padding_mode="reflection", align_corners=False
    )
    return variants.permute(0, 2, 3, 1)


def _places(maps, height, width, dtype):
    """Where (n, 3, 3) maps send the centres of the pixels: three (n, H, W), homogeneous.

    One part of them is the same in a column and the other in a row: few numbers, in float64.
    """
    down, right = (
        (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1 for side in (height, width)
    )
    x, y, one = maps.double().unsqueeze(3).unbind(2)  # (n, 3, 1) each
    by_column, by_row = (x * right).to(dtype), (y * down + one).to(dtype)
    return (by_column[:, :, None, :] + by_row[:, :, :, None]).unbind(1)


def _light(images, brightness, contrast):
    """Multiply the values and then their distances from their mean, in place."""
    brightness, contrast = (gain.to(images)[:, None, None, None] for gain in (brightness, contrast))
    # NumPy adds up a row by itself. The rows are views: images has its channels first in memory.
    sums = np.add.reduce(images.permute(0, 3, 1, 2).flatten(1).numpy(), axis=1)
    mean = torch.from_numpy(sums)[:, None, None, None] / images[0].numel()
    images *= brightness * contrast
    images += brightness * (1 - contrast) * mean
    images.clamp_(0, 1)
