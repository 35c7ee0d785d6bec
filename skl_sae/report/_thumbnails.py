"""Thumbnails of images: shrunk, converted to bytes, and tiled on sheets in WebP format."""

import base64
import io

import numpy as np
from PIL import Image

LONGEST_SIDE = 64
TILES_ACROSS = 16
TILES_A_SHEET = TILES_ACROSS**2
# Tried in turn until a sheet is small enough. None is lossless.
_QUALITIES = (None, 90, 80, 65, 50, 30, 10)


def tile_shape(image_shape):
    """Return height, width and channels of a thumbnail, its longer side at most 64."""
    height, width, *channels = image_shape
    shrinkage = min(1, LONGEST_SIDE / max(height, width))
    sides = (max(1, round(side * shrinkage)) for side in (height, width))
    return *sides, *(channels or [1])


def shrink(rows, image_shape):
    """Shrink rows to thumbnails (n, height, width, channels), in the units of the rows.

    Each pixel is the mean of those it covers. This is linear, so the page's script can add up
    thumbnails of atoms to a thumbnail of the reconstruction.
    """
    height, width, n_channels = tile_shape(image_shape)
    images = rows.reshape(len(rows), *image_shape[:2], n_channels)
    if (height, width) == tuple(image_shape[:2]):
        return images
    images = np.einsum("ih,nhwc->niwc", _means(image_shape[0], height), images, optimize=True)
    return np.einsum("jw,niwc->nijc", _means(image_shape[1], width), images, optimize=True)


def _means(n_from, n_to):
    """Return the matrix that averages a line of n_from pixels to n_to pixels."""
    borders = np.arange(n_to + 1) * n_from / n_to
    pixels = np.arange(n_from)
    # The part of each old pixel that lies between the borders of each new one.
    covered = np.minimum(borders[1:, None], pixels + 1) - np.maximum(borders[:-1, None], pixels)
    return (covered.clip(0) * n_to / n_from).astype(np.float32)


def image_bytes(tiles, low, high):
    """Convert thumbnails to bytes: low is black, high is white."""
    return np.rint((tiles - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)


def signed_bytes(tiles):
    """Convert thumbnails to bytes around 128, which is 0; return also the value of one step.

    The largest half per cent of a thumbnail's absolute values is clipped, since otherwise a few
    pixels could make all others grey.
    """
    size = np.abs(tiles.reshape(len(tiles), -1))
    rank = size.shape[1] - 1 - size.shape[1] // 200
    step = np.partition(size, rank, axis=1)[:, rank] / 127
    step[step == 0] = 1
    scaled = np.rint(tiles / step[:, None, None, None])
    return (scaled.clip(-127, 127) + 128).astype(np.uint8), step


def sheets(parts, n_tiles, budget):
    """Yield the sheets of thumbnails as WebP files in base64.

    Parameters
    ----------
    parts : iterable of uint8 ndarray of shape (n, height, width, channels)
        Thumbnails of each sheet.
    n_tiles : int
        Number of all thumbnails.
    budget : int
        Approximate size limit of all sheets in bytes, including base64. What the first ones
        do not use is available to the others.

    Yields
    ------
    sheet : str
        WebP file in base64.
    """
    remaining, quality = budget * 3 // 4, 0
    for tiles in parts:
        allowed = remaining * len(tiles) // n_tiles
        # Lossless compression leaves at least a third of the bytes of such images.
        if quality == 0 and tiles.nbytes > 3 * allowed:
            quality = 1
        picture = _sheet(tiles)
        content = _webp(picture, _QUALITIES[quality])
        while len(content) > allowed and quality + 1 < len(_QUALITIES):
            quality += 1
            content = _webp(picture, _QUALITIES[quality])
        remaining -= len(content)
        n_tiles -= len(tiles)
        yield base64.b64encode(content).decode("ascii")


def _sheet(tiles):
    """Tile thumbnails on one image, 16 side by side."""
    n, height, width, n_channels = tiles.shape
    n_down = -(-n // TILES_ACROSS)
    grid = np.zeros((n_down * TILES_ACROSS, height, width, n_channels), np.uint8)
    grid[:n] = tiles
    grid = grid.reshape(n_down, TILES_ACROSS, height, width, n_channels).transpose(0, 2, 1, 3, 4)
    picture = grid.reshape(n_down * height, TILES_ACROSS * width, n_channels)
    return Image.fromarray(picture if n_channels == 3 else picture[..., 0]).convert("RGB")


def _webp(picture, quality):
    """Encode as WebP. Only pixels are passed, so no metadata of a photograph is included."""
    file = io.BytesIO()
    if quality is None:
        picture.save(file, "WEBP", lossless=True, quality=50, method=2)
    else:
        picture.save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()
