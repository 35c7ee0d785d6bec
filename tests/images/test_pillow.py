"""Decoding image files: known pixels, odd files, hostile files."""

import io
import os
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL.ImageFile
import pytest
from image_files import FORMATS, load, noise, save
from PIL import Image

from skl_sae import ImageLoader, ImageLoadError
from skl_sae.images import _loader

# --- Broken and hostile files ---


@pytest.mark.parametrize("content", [b"", b"text", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_fault_56_no_image(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageLoadError, match=r"a\.png"):
        load(path)


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_fault_57_58_truncated(tmp_path, suffix, flag, monkeypatch):
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", flag)
    path = Path(save(tmp_path / f"a.{suffix}", noise((64, 64, 3))))
    load(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageLoadError, match=r"a\."):
        load(path)
    assert PIL.ImageFile.LOAD_TRUNCATED_IMAGES is flag


def png(width, height, *chunks):
    """A PNG file with the given header and chunks, without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side, flag", [(30_000, 1), (10_000, 1), (30_000, None)])
def test_fault_59_60_bombs(tmp_path, side, flag, monkeypatch, recwarn):
    if flag is None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    # Refused by its header: no pixel is decoded, and no memory taken for any.
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", None)
    path = tmp_path / "a.png"
    path.write_bytes(png(side, side))
    with pytest.raises(ImageLoadError, match=r"a\.png.*pixels"):
        load(path)


def test_fault_60_own_limit(tmp_path):
    path = save(tmp_path / "a.png", noise((20, 20, 3)))
    load(path, max_pixels=400)
    with pytest.raises(ImageLoadError, match=r"400 pixels.*max_pixels=399"):
        load(path, max_pixels=399)


def test_fault_119_a_limit_beyond_pillows(tmp_path, monkeypatch):
    """It holds, or is refused at once and with the reason."""
    monkeypatch.setattr(_loader, "MAX_PIXELS", 10)
    path = save(tmp_path / "a.png", noise((20, 20, 3)))
    limit = 2 * Image.MAX_IMAGE_PIXELS
    load(path, max_pixels=limit)
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=rf"{limit}.*MAX_IMAGE_PIXELS.*{limit + 1}"):
            getattr(ImageLoader(max_pixels=limit + 1), method)([path])
    # Who changes Pillow's limit has changed this one.
    for pillows, largest in ((None, 10**12), (200, 400)):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            load(path, max_pixels=largest)


def test_fault_118_a_file_of_nothing_but_directories(tmp_path):
    """Frames are not counted: to count these took half a minute."""
    n = 60_000
    entries = (
        (256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64),
    )  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in entries
    )
    size = len(directory) + 4
    first = 8 + 64
    data = [struct.pack("<2sHI", b"II", 42, first), noise((8, 8)).tobytes()]
    for i in range(n):
        data.append(directory + struct.pack("<I", first + (i + 1) * size if i + 1 < n else 0))
    path = tmp_path / "a.tif"
    path.write_bytes(b"".join(data))
    start = time.perf_counter()
    with pytest.warns(UserWarning, match=r"1 file\(s\) with several frames.*a\.tif"):
        rows = ImageLoader((8, 8), "L").fit_transform([path])
    assert time.perf_counter() - start < 1
    np.testing.assert_allclose(rows.reshape(8, 8), noise((8, 8)) / 255, atol=1e-6)


def test_fault_61_text_bomb(tmp_path):
    text = b"Comment\0\0" + zlib.compress(b"x" * 2**27)
    path = tmp_path / "a.png"
    path.write_bytes(png(2, 2, (b"zTXt", text)))
    with pytest.raises(ImageLoadError, match=r"a\.png"):
        load(path)


@pytest.mark.filterwarnings("default")  # Pillow's own remarks on metadata
def test_fault_61_mutated_files(tmp_path):
    """Data, or the documented error; nothing else."""
    rng = np.random.default_rng(0)
    for suffix, name in FORMATS.items():
        buffer = io.BytesIO()
        Image.fromarray(noise((16, 16, 3))).save(buffer, format=name)
        for _ in range(15):
            data = np.frombuffer(buffer.getvalue(), dtype=np.uint8).copy()
            data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
            path = tmp_path / f"a.{suffix}"
            path.write_bytes(data.tobytes())
            try:
                pixels = load(path)
            except ImageLoadError:
                continue
            assert 0 <= pixels.min() <= pixels.max() <= 1


def test_fault_62_no_program_is_started(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    for name in ("gs", "gswin64c"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {marker}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageLoadError):
        load(path)
    assert not marker.exists()


def test_fault_77_78_80_no_regular_file(tmp_path, alarm):
    (tmp_path / "a.png").mkdir()
    os.mkfifo(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(ImageLoadError, match=rf"{name}.*not a regular file"):
            load(tmp_path / name)
    path = save(tmp_path / "c.png")
    os.chmod(path, 0)
    if os.geteuid():  # root may read it
        with pytest.raises(ImageLoadError, match=r"c\.png.*denied"):
            load(path)


# --- Known pixels ---


def test_fault_63_content_decides(tmp_path):
    pixels = noise((8, 8, 3))
    save(tmp_path / "a.png", pixels)
    os.rename(tmp_path / "a.png", tmp_path / "a.jpg")
    np.testing.assert_allclose(load(tmp_path / "a.jpg"), pixels / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_fault_64_grey_of_16_bits(tmp_path, suffix, mode):
    ramp = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    pixels = load(save(tmp_path / f"a.{suffix}", ramp), (16, 16), mode)
    assert len(np.unique(pixels)) == 256
    grey = pixels if mode == "L" else pixels[..., 0]
    np.testing.assert_allclose(grey, ramp / 65535, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_fault_65_no_known_range(tmp_path, dtype):
    path = save(tmp_path / "a.tif", np.linspace(-1, 300, 64).reshape(8, 8).astype(dtype))
    with pytest.raises(ImageLoadError, match=r"a\.tif.*mode [IF]"):
        load(path)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_fault_66_hidden_colour(tmp_path, suffix):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[...] = (255, 0, 0, 0)
    pixels[:4, :, 3] = 255
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    got = load(save(tmp_path / f"a.{suffix}", pixels, **options))
    np.testing.assert_allclose(got[:4], np.broadcast_to([1, 0, 0], (4, 8, 3)))
    np.testing.assert_allclose(got[4:], 1)
    grey = load(save(tmp_path / "la.png", Image.fromarray(pixels).convert("LA")), mode="L")
    np.testing.assert_allclose(grey[4:], 1)


def test_fault_67_palettes(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
    pixels = colours[np.arange(64).reshape(8, 8) % 4]
    palette = Image.fromarray(pixels).quantize(4)
    for suffix in ("png", "gif", "bmp", "tif"):
        got = load(save(tmp_path / f"a.{suffix}", palette))
        np.testing.assert_allclose(got, np.asarray(palette.convert("RGB")) / 255, atol=1e-6)
    see_through = save(tmp_path / "t.png", palette, transparency=int(np.asarray(palette)[0, 0]))
    np.testing.assert_allclose(load(see_through)[0, 0], 1)


def test_fault_67_one_bit_and_cmyk(tmp_path):
    bits = np.arange(64).reshape(8, 8) % 2 == 0
    np.testing.assert_allclose(load(save(tmp_path / "a.png", bits), mode="L"), bits)
    for colour in ((255, 0, 0), (0, 0, 255), (255, 255, 255)):
        image = Image.new("RGB", (8, 8), colour).convert("CMYK")
        for suffix in ("jpg", "tif"):
            got = load(save(tmp_path / f"c.{suffix}", image))
            np.testing.assert_allclose(got[4, 4], np.array(colour) / 255, atol=0.02)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_fault_68_orientation(tmp_path, suffix):
    upright = np.zeros((40, 80, 3), np.uint8)
    upright[:20, :20] = 255  # marked at the top left
    for orientation in (1, 3, 6, 8, 99):
        turns = {3: 2, 6: 1, 8: -1}.get(orientation, 0)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / f"{orientation}.{suffix}", np.rot90(upright, turns), exif=exif)
        got = load(path, (4, 8), "L")
        assert got[0, 0] > 0.9, orientation
        assert got[0, -1] < 0.1 and got[-1, 0] < 0.1


@pytest.mark.filterwarnings("default")  # Pillow's own remark on metadata
def test_fault_68_damaged_exif(tmp_path):
    path = save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load(path).shape == (8, 8, 3)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_fault_69_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), (60 * i, 0, 0)) for i in range(3)]
    options = {"save_all": True, "append_images": frames[1:]}
    if suffix == "webp":
        options["lossless"] = True
    path = save(tmp_path / f"a.{suffix}", frames[0], **options)
    other = save(tmp_path / f"b.{suffix}", frames[0], **options)
    with pytest.warns(UserWarning, match=r"2 file\(s\) with several.*a\.") as record:
        rows = ImageLoader((8, 8)).fit_transform([path, other])
    assert len(record) == 1
    assert rows.max() == 0


def test_fault_71_72_sizes(tmp_path):
    marked = np.zeros((10, 20, 3), np.uint8)
    marked[0, -1] = 255
    got = load(save(tmp_path / "a.png", marked), (10, 20))
    assert got.shape == (10, 20, 3)
    assert got[0, -1].min() == 1 and got.sum() == 3
    for shape in ((1, 1, 3), (1, 20_000, 3), (20_000, 1, 3)):
        for aspect in ("stretch", "crop", "pad"):
            path = save(tmp_path / "odd.png", np.full(shape, 100, np.uint8))
            assert load(path, aspect=aspect).max() == pytest.approx(100 / 255)


def test_aspects(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_allclose(load(path, (10, 10), "L", aspect="crop"), 1)
    padded = load(path, (30, 30), "L", aspect="pad")
    assert padded[:10].max() == padded[20:].max() == 0
    assert padded[15, 15] == 1


def test_fault_73_grey_and_colour_mixed(tmp_path):
    paths = [save(tmp_path / "a.png", noise((8, 8))), save(tmp_path / "b.png")]
    assert ImageLoader((8, 8)).fit_transform(paths).shape == (2, 192)
    assert ImageLoader((8, 8), "L").fit_transform(paths).shape == (2, 64)


def test_large_jpegs_look_like_a_plain_resize(tmp_path):
    """The decoder's own shrinking is close to decoding all of it."""
    y, x = np.mgrid[0:600, 0:800] / 800
    smooth = np.stack([x, y, (x + y) / 2], axis=2)
    path = save(tmp_path / "a.jpg", (255 * smooth).astype(np.uint8), quality=95)
    with Image.open(path) as image:
        expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(load(path, (64, 64)), expected, atol=0.02)
