"""Thumbnails are means of pixels, and keep to their budget."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from skl_sae.report import _thumbnails


def test_large_images_are_shrunk():
    rng = np.random.default_rng(0)
    rows = rng.random((6, 96 * 128 * 3), dtype=np.float32)
    small = _thumbnails.shrink(rows, (96, 128, 3))
    assert small.shape == (6, 48, 64, 3) == (6, *_thumbnails.tile_shape((96, 128, 3)))
    blocks = rows.reshape(6, 48, 2, 64, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(small, blocks, rtol=1e-5)
    odd = _thumbnails.shrink(rows[:, : 100 * 90], (100, 90))
    assert odd.shape == (6, 64, 58, 1)
    np.testing.assert_allclose(odd.mean(axis=(1, 2, 3)), rows[:, :9000].mean(axis=1), rtol=1e-4)
    assert _thumbnails.tile_shape((1, 500)) == (1, 64, 1)


@pytest.mark.parametrize("budget", [100_000, 300_000])
def test_sheets_keep_to_the_budget(budget):
    noise = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    contents = list(_thumbnails.sheets([noise[:256], noise[256:]], 300, budget))
    assert sum(map(len, contents)) <= budget
    picture = Image.open(io.BytesIO(base64.b64decode(contents[1])))
    assert picture.format == "WEBP" and picture.size == (256, 48)
    assert not picture.getexif() and not picture.info.get("icc_profile")
