"""Checks of image sizes and shapes that users give."""

import math
from numbers import Integral


def check_sides(name, value, words=("height", "width")):
    """Return a parameter as a tuple of positive ints; the third word may be left out."""
    sides = (value,) if isinstance(value, Integral) else tuple(value)
    if not 2 <= len(sides) <= len(words) or not all(map(_is_side, sides)):
        forms = " or ".join(f"({', '.join(words[:n])})" for n in range(2, len(words) + 1))
        raise ValueError(f"Expected {name}={forms} of positive integers, got {value!r}.")
    return tuple(map(int, sides))


def _is_side(value):
    # True is an Integral, but nobody means an image of one pixel by it.
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def checked_image_shape(image_shape, n_features):
    """Return the shape of images that can be shown: n_features numbers, in 1 or 3 channels."""
    shape = check_sides("image_shape", image_shape, ("height", "width", "channels"))
    if math.prod(shape) != n_features or shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            f"Expected image_shape of {n_features} numbers, as rows have, in 1 or 3 channels, "
            f"got {shape}."
        )
    return shape
