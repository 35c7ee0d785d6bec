"""Image files that tests write, and read back as pixels."""

import numpy as np
from PIL import Image

from skl_sae import ImageLoader

FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "gif": "GIF", "tif": "TIFF", "webp": "WEBP"}


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels=None, **options):
    """Write pixels (8x8 noise without any) and return the path as str."""
    image = pixels if isinstance(pixels, Image.Image) else None
    if image is None:
        image = Image.fromarray(noise((8, 8, 3)) if pixels is None else pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return str(path)


def load(path, size=(8, 8), mode="RGB", **options):
    """Return the pixels of one file, float32."""
    loader = ImageLoader(size, mode, **options)
    return loader.fit_transform([path]).reshape(loader._image_shape())
