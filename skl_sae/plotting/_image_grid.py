"""Rows of numbers as pictures, and grids of pictures with captions on an Axes."""

import math

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from sklearn.utils import check_array

from ..images._shapes import checked_image_shape
from ._axes import new_axes, size_in_points

_MAPS = {"diverging": "RdBu_r", "picture": "gray"}  # default colour maps of grey rows
_GAP = 0.06  # between pictures, as a fraction of their width
_CAPTION, _LINE = 8, 14  # font size of captions and height of their lines, in points
_LEGIBLE = 5  # smallest font size in points; captions that need a smaller one are left out
_LETTER = 0.6  # mean width of a letter, as a fraction of its size
_FIGURE_WIDTH = 6.4  # in inches


# --- Colours ---


def pictures_of(rows, image_shape, scale, cmap=None):
    """Convert rows to RGB pictures.

    Parameters
    ----------
    rows : array-like of shape (n, n_features)
        Images or atoms.
    image_shape : tuple
        Height, width and maybe 1 or 3 channels.
    scale : "diverging", "picture" or tuple of (float, float)
        Scale of each row: from minus to plus its largest absolute value, so that 0 is always the
        middle; or from its smallest to its largest value; or the two limits for all rows.
    cmap : str, matplotlib Colormap or None, default=None
        Colour map of grey rows. Colour rows have none: on a diverging scale, 0 is middle grey.

    Returns
    -------
    pictures : ndarray of shape (n, height, width, 3)
        Values in [0, 1].
    """
    rows = check_array(rows, dtype=np.float64, ensure_all_finite=True, input_name="rows")
    height, width, n_channels = (*checked_image_shape(image_shape, rows.shape[1]), 1)[:3]
    low, high = _limits(rows, scale)
    extent = np.where(high > low, high - low, 1)
    # A row without contrast is shown by the middle of the scale.
    values = np.where(high > low, (rows - low) / extent, 0.5).clip(0, 1)
    values = values.reshape(-1, height, width, n_channels)
    if n_channels == 3:
        return values
    if cmap is None:
        cmap = _MAPS["diverging" if isinstance(scale, str) and scale == "diverging" else "picture"]
    return mpl.colormaps.get_cmap(cmap)(values[..., 0])[..., :3]


def _limits(rows, scale):
    """Return the smallest and the largest value of each row's scale."""
    if isinstance(scale, str):
        if scale == "diverging":
            largest = np.abs(rows).max(axis=1, keepdims=True)
            return -largest, largest
        if scale == "picture":
            return rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
        raise ValueError(f"Expected scale='diverging' or 'picture', got {scale!r}.")
    return scale


# --- Grids ---


def axes_for_pictures(n_rows, n_columns, picture):
    """Make Axes on a new figure with room for rows of pictures and their captions."""
    ratio = picture.shape[0] / picture.shape[1]
    cell = _FIGURE_WIDTH / n_columns / (1 + _GAP)
    height = n_rows * (cell * ratio + _LINE / 72) + 0.35  # for a title or headers
    return new_axes(figsize=(_FIGURE_WIDTH, height))


def draw_pictures(ax, pictures, captions, *, n_columns=None, headers=()):
    """Draw pictures in rows of n_columns, each with its caption above it.

    The unit of the Axes is the width of a picture.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes to draw on.
    pictures : list of (ndarray of shape (height, width, 3) or None)
        Pictures, all of one shape. None leaves a place empty.
    captions : list of str
        Captions, one for each picture.
    n_columns : int or None, default=None
        Number of columns. None makes the pictures as large as possible.
    headers : sequence of (int, int, str)
        First column, number of columns and text of each header.
    """
    ax.set_axis_off()
    height, width = next(p.shape[:2] for p in pictures if p is not None)
    ratio, line = height / width, _LINE if any(captions) else 0
    n_columns, cell = _layout(ax, len(pictures), ratio, line, n_columns)
    n_rows = math.ceil(len(pictures) / n_columns)
    line = max(line / cell, _GAP)  # no longer in points
    top = 1.2 * line if headers else 0
    corners = [
        ((i % n_columns) * (1 + _GAP), top + (i // n_columns) * (ratio + line) + line)
        for i in range(len(pictures))
    ]
    _draw_framed(ax, pictures, corners, ratio)
    _write_captions(ax, captions, corners, cell)
    _write_headers(ax, headers, top, cell)
    ax.set_xlim(-_GAP, n_columns * (1 + _GAP))
    ax.set_ylim(top + n_rows * (ratio + line) + _GAP, 0)
    ax.set_aspect("equal", anchor="N")


def _layout(ax, n_pictures, ratio, line, n_columns):
    """Return the number of columns, and the width of a picture in points, that fill the Axes."""
    width, height = size_in_points(ax)

    def cell(n_columns):
        n_rows = math.ceil(n_pictures / n_columns)
        return min(width / n_columns, (height / n_rows - line) / ratio) / (1 + _GAP)

    if n_columns is None:
        n_columns = max(range(1, n_pictures + 1), key=cell)
    return n_columns, max(cell(n_columns), 1)


def _draw_framed(ax, pictures, corners, ratio):
    """Draw the pictures whose left upper corners are given, with thin frames."""
    frames = []
    for picture, (left, upper) in zip(pictures, corners, strict=True):
        if picture is not None:
            ax.imshow(picture, extent=(left, left + 1, upper + ratio, upper))
            frames.append(Rectangle((left, upper), 1, ratio))
    # One collection is drawn much faster than many patches.
    ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor="0.6", linewidth=0.5))


def _write_captions(ax, captions, corners, cell):
    """Write captions in one size, small enough for the longest; or none."""
    longest = max(map(len, captions), default=0)
    size = min(_CAPTION, cell / (_LETTER * max(longest, 1)))
    if size < _LEGIBLE:
        return
    for caption, (left, upper) in zip(captions, corners, strict=True):
        if caption:
            _write(ax, left + 0.5, upper, caption, size)


def _write_headers(ax, headers, top, cell):
    """Write headers in one size, each centred over its columns."""
    size = min([_CAPTION + 1, *(n * cell / (_LETTER * len(text)) for _, n, text in headers)])
    for first, n, text in headers:
        _write(ax, first * (1 + _GAP) + (n + (n - 1) * _GAP) / 2, top, text, size)


def _write(ax, x, y, text, size):
    ax.annotate(
        text,
        (x, y),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=size,
        ha="center",
        parse_math=False,
    )
