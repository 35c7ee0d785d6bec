"""Arrays of images, and lists of Pillow's images, as rows."""

import math
import sys

import numpy as np


def rows_of_images(X):
    """Rows of images, and the shape of one; of anything that is no images, X itself and None.

    Parameters
    ----------
    X : object
        Images are an array of shape (n, H, W) or (n, H, W, C), in memory or read when asked for; a
        list of such arrays (H, W) or (H, W, C), or of lists as these; or a list of Pillow's images.

    Returns
    -------
    X : object
        Rows (n, H * W * C) as an array, or what reads them; floats in [0, 1] of Pillow's images,
        any other numbers as they are.
    image_shape : tuple (H, W) or (H, W, C), or None
        Without the last axis where there is one channel.
    """
    X = _stacked(X)
    shape = tuple(getattr(X, "shape", ()))
    if len(shape) not in (3, 4):
        return X, None
    if not math.prod(shape):
        raise ValueError(f"Expected at least one image, got an array of shape {shape}.")
    image_shape, n_features = without_channel(shape[1:]), math.prod(shape[1:])
    if hasattr(X, "as_images"):  # of samples that are read when they are asked for
        return X.as_images((n_features,)), image_shape
    if hasattr(X, "detach"):  # a tensor of torch
        X = X.detach().cpu().numpy()
    return np.asarray(X).reshape(shape[0], n_features), image_shape


def without_channel(shape):
    """(H, W) of images of one channel; otherwise the shape."""
    shape = tuple(map(int, shape))
    return shape[:2] if shape[2:] == (1,) else shape


def _stacked(X):
    """One array of a list of images; anything else as it is."""
    # Who has none of Pillow's images need not wait for its import.
    picture = getattr(sys.modules.get("PIL.Image"), "Image", ())
    if isinstance(X, picture):
        raise ValueError(f"Expected a list of images, got one image of size {X.size}.")
    if getattr(getattr(X, "dtype", None), "kind", "") == "O" and X.ndim == 1:
        X = list(X)  # an array of objects, or a column of a frame
    if not isinstance(X, (list, tuple)) or not len(X):
        return X
    if isinstance(X[0], picture):
        return _stacked_pictures(X, picture)
    if not _is_image(X[0]):
        return X
    images = [np.asarray(image) for image in X]
    _check_alike("shape", [image.shape for image in images])
    return np.stack(images)


def _is_image(item):
    """Whether an item of a list is an image (H, W) or (H, W, C), as an array or as lists."""
    if isinstance(item, (list, tuple)):
        return len(item) > 0 and isinstance(item[0], (list, tuple, np.ndarray))
    return getattr(item, "ndim", 0) in (2, 3) and not hasattr(item, "columns")


def _stacked_pictures(pictures, kind):
    from ._pillow import pixels_of

    for i, picture in enumerate(pictures):
        if not isinstance(picture, kind):
            raise ValueError(
                f"Expected images of Pillow only, got a {type(picture).__name__} as number {i}."
            )
    _check_alike("mode", [picture.mode for picture in pictures])
    images = [pixels_of(picture) for picture in pictures]
    _check_alike("height and width", [image.shape[:2] for image in images])
    return np.stack(images)


def _check_alike(word, values):
    for i, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"Expected images of one {word}, {values[0]} as the first has, got {value} of "
                f"number {i}."
            )
