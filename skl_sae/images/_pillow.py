"""Decode image files with Pillow: safely, upright, in one mode and at one size."""

import contextlib
import threading

import numpy as np
from PIL import Image, ImageFile, ImageOps

# Pillow looks at the content, not at the name. So only these decoders may be tried: others start
# programs (EPS) or have been used for attacks.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
# The colour behind transparent pixels.
BACKGROUND = "white"
# All exceptions that Pillow's own fuzzers accept as an answer to a damaged file.
PILLOW_ERRORS = (
    OSError, SyntaxError, MemoryError, ValueError, NotImplementedError, OverflowError,
    TypeError, KeyError, IndexError, EOFError, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip
_ORIENTATION = 0x0112  # of EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = {_UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}


def decoded(image, size, mode, aspect):
    """Return the pixels of an opened file, from 0 to 255, brought to a (height, width)."""
    height, width = size
    # A JPEG is decoded at an eighth, a quarter or half of its size where that leaves at least
    # twice what is needed; and as grey, where that is asked for.
    needed = 2 * max(size)
    if min(image.size) >= 2 * needed or mode == "L":
        image.draft(mode, (needed, needed))
    image.load()
    transpose = _upright_transpose(image)  # not earlier: load itself transposes a TIFF file
    target = (height, width) if transpose in _SWAPPING else (width, height)
    image = _resized(_converted(image, mode), target, aspect)
    return np.asarray(image if transpose is None else image.transpose(transpose))


def pixels_of(image):
    """Pixels (H, W) or (H, W, 3) in [0, 1] of an image of Pillow, as `ImageLoader` gives them.

    Grey remains grey, all else becomes colour.
    """
    image.load()
    transpose = _upright_transpose(image)  # not earlier: load itself transposes a TIFF file
    is_grey = image.mode in ("1", "L") or image.mode.startswith("I;16")
    image = _converted(image, "L" if is_grey and not image.has_transparency_data else "RGB")
    if transpose is not None:
        image = image.transpose(transpose)
    return np.asarray(image, np.float32) / 255


def _upright_transpose(image):
    """Return the transposition that EXIF asks for; None if there is none or it is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except (*PILLOW_ERRORS, UserWarning):  # Pillow warns; the user may make that an error
        return None
    return _UPRIGHT.get(orientation)


def _converted(image, mode):
    """Convert to a mode; 16-bit grey to mode F with values from 0 to 255.

    Of a large image there is at most one other copy at a time.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.asarray(image) / np.float32(257))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"mode {image.mode} has no range that is known to be black to white; save it as "
            "8 or 16 bits"
        )
    if image.has_transparency_data:
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        below = Image.new("RGB", image.size, BACKGROUND)
        below.paste(image, mask=image)
        image = below
    elif image.mode == "P":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _resized(image, size, aspect):
    """Bring an image to a (width, height) by stretching, cropping or padding it."""
    if image.size == size:  # Pillow would copy it
        return image
    if aspect == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
    if aspect == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return _padded(image, *size)


def _padded(image, width, height):
    """Fit the whole image, at least one pixel thick, into the middle of a black one."""
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    result = Image.new(image.mode, (width, height))
    place = (width - inner[0]) // 2, (height - inner[1]) // 2
    result.paste(image.resize(inner, Image.Resampling.BILINEAR, reducing_gap=3), place)
    return result


class _TruncationLock:
    """Context that clears Pillow's flag to accept truncated files while any thread loads."""

    def __init__(self):
        self.lock, self.n_users, self.flag = threading.Lock(), 0, False

    @contextlib.contextmanager
    def __call__(self):
        with self.lock:
            if self.n_users == 0:
                self.flag = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self.n_users += 1
        try:
            yield
        finally:
            with self.lock:
                self.n_users -= 1
                if self.n_users == 0:
                    ImageFile.LOAD_TRUNCATED_IMAGES = self.flag


truncation_refused = _TruncationLock()
