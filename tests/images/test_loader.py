"""Finding and loading images: known pixels, odd files, hostile files."""

import io
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.ImageFile
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import ImageLoader, ImageLoadError, TopKSparseAutoencoder, find_images
from skl_sae._command._output import mark
from skl_sae.datasets import make_cells
from skl_sae.images import _loader as images_module

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
    """The pixels of one file, float32."""
    loader = ImageLoader(size, mode, **options)
    return loader.fit_transform([path]).reshape(loader._image_shape())


@pytest.fixture
def alarm():
    """Ends a test that blocks."""

    def stop(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)  # for a busy machine
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


# --- Folders ---


def test_fault_55_folders_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\.png.*nowhere"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"\.png.*file"):
        find_images(tmp_path / "file")
    with pytest.raises(ValueError, match=r"\.png.*found none"):
        find_images(tmp_path)


def test_classes_and_order(tmp_path):
    names = ["b/2.png", "b/deep/er/1.png", "a/10.png", "a/9.png", "Z/x.png", "é/x.png"]
    for name in names:
        save(tmp_path / name)
    (tmp_path / "no images").mkdir()
    found = find_images(tmp_path)
    relative = [os.path.relpath(path, tmp_path) for path in found.filenames]
    assert relative == sorted(names, key=os.fsencode)
    assert found.target_names == ["Z", "a", "b", "é"]
    assert found.target.tolist() == [0, 1, 1, 2, 2, 3]
    assert found.target.dtype == np.int64


def test_flat_folder(tmp_path):
    save(tmp_path / "a.png")
    found = find_images(str(tmp_path))
    assert found.target is None
    assert found.target_names == []


def test_images_at_both_levels(tmp_path):
    save(tmp_path / "top.png")
    save(tmp_path / "sub" / "below.png")
    with pytest.raises(ValueError, match=r"top\.png.*below\.png"):
        find_images(tmp_path)


def test_fault_74_76_77_78_what_counts(tmp_path, alarm):
    for name in ("a.PNG", "b.JPG", "c.tiff", ".hidden.png", "._a.png", ".dir/d.png"):
        save(tmp_path / name)
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)
        server.bind("socket.png")
        os.chdir(here)
        found = find_images(tmp_path)
    assert [Path(path).name for path in found.filenames] == ["a.PNG", "b.JPG", "c.tiff"]


def test_fault_75_names_of_any_bytes(tmp_path):
    names = [" a.png", "new\nline.png", "'\"<b>.png", "-x.png", "#?%.png", "é.png", "e\u0301.png"]
    for name in names:
        save(tmp_path / name)
    os.rename(save(tmp_path / "x.png"), os.fsencode(tmp_path) + b"/\xff.png")
    found = find_images(tmp_path)
    assert len(found.filenames) == len(names) + 1
    assert ImageLoader((4, 4)).fit_transform(found.filenames).shape == (8, 48)


def test_fault_79_links(tmp_path, alarm):
    real = save(tmp_path / "z" / "real.png")
    (tmp_path / "z" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "z" / "again.png").symlink_to(real)
    assert find_images(tmp_path).filenames.tolist() == [real]
    (tmp_path / "z" / "dangling.png").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="dangling"):
        find_images(tmp_path)
    with pytest.warns(UserWarning, match="dangling"):
        assert find_images(tmp_path, on_error="warn").filenames.tolist() == [real]


def test_fault_123_a_link_to_itself(tmp_path):
    real = save(tmp_path / "real.png")
    for name, target in (
        ("one.png", "one.png"),
        ("two.png", "three.png"),
        ("three.png", "two.png"),
    ):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(FileNotFoundError, match=r"(one|two|three)\.png"):
            find_images(tmp_path)
        with pytest.raises(FileNotFoundError, match=name):
            ImageLoader().fit_transform([tmp_path / name])
    with pytest.warns(UserWarning, match=r"3 unreadable.*one\.png"):
        assert find_images(tmp_path, on_error="warn").filenames.tolist() == [real]


def test_fault_122_pictures_beside_classes(tmp_path):
    for name in ("a/1.png", "b/1.png", "top.png"):
        save(tmp_path / name)
    with pytest.raises(ValueError, match=r"top\.png.*on_error='warn'"):
        find_images(tmp_path)
    with pytest.warns(UserWarning, match=r"1 image\(s\) beside .*top\.png'\.$") as record:
        found = find_images(tmp_path, on_error="warn")
    assert len(record) == 1 and record[0].filename == __file__
    assert found.target_names == ["a", "b"] and found.target.tolist() == [0, 1]
    save(tmp_path / "other.png")
    with pytest.warns(UserWarning, match=r"2 image\(s\) beside .*other\.png' and so on"):
        find_images(tmp_path, on_error="warn")


def test_fault_114_output_of_the_command_is_no_class(tmp_path):
    expected = [save(tmp_path / "a" / "1.png"), save(tmp_path / "b" / "1.png")]
    save(tmp_path / "b" / "skl_sae_output" / "training.png")  # by its name, at any depth
    for folder in ("new", "b/empty"):
        mark(tmp_path / folder)
        save(tmp_path / folder / "training.png")
        save(tmp_path / folder / "and" / "plots" / "of it.png")
    # Nobody's pictures vanish because the command writes beside them.
    mark(tmp_path / "a")
    save(tmp_path / "a" / "training.png")
    assert find_images(tmp_path).filenames.tolist() == expected
    # What is asked for itself is looked at.
    assert len(find_images(tmp_path / "new").filenames) == 1
    assert len(find_images(tmp_path / "b" / "skl_sae_output").filenames) == 1
    with open(tmp_path / "new" / ".skl_sae_output", "wb") as file:
        file.write(b"\xff\0*")  # damaged, it marks nothing
    with pytest.raises(ValueError, match="sub-folders"):
        save(tmp_path / "stray.png")
        find_images(tmp_path)
    os.remove(tmp_path / "stray.png")
    assert len(find_images(tmp_path).filenames) == 4


def test_fault_81_unreadable_files_are_left_out_in_step(tmp_path):
    for label in "ab":
        for i in range(3):
            save(tmp_path / label / f"{i}.png")
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "b" / "0.png").write_text("text")
    assert len(find_images(tmp_path).filenames) == 6
    with pytest.warns(UserWarning, match="2 unreadable") as record:
        found = find_images(tmp_path, on_error="warn")
    assert len(record) == 1
    assert [Path(path).parent.name for path in found.filenames] == ["a", "a", "b", "b"]
    assert found.target.tolist() == [0, 0, 1, 1]


def test_fault_81_file_removed_after_listing(tmp_path):
    path = save(tmp_path / "a.png")
    paths = find_images(tmp_path).filenames
    os.remove(path)
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        ImageLoader().fit_transform(paths)


def test_fault_82_duplicates_and_hard_links_are_kept(tmp_path):
    path = save(tmp_path / "a.png")
    os.link(path, tmp_path / "b.png")
    assert len(find_images(tmp_path).filenames) == 2
    assert len(ImageLoader((2, 2)).fit_transform([path, path])) == 2


def test_fault_83_order_is_independent_of_the_listing(tmp_path, monkeypatch):
    for i in (3, 1, 2):
        save(tmp_path / f"{i}.png")
    expected = find_images(tmp_path).filenames.tolist()

    class Reversed:
        def __init__(self, path):
            with scandir(path) as scan:
                self.entries = sorted(scan, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            pass

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", Reversed)
    assert find_images(tmp_path).filenames.tolist() == expected


def test_fault_84_more_files_than_descriptors(tmp_path):
    paths = [save(tmp_path / f"{i}.png") for i in range(150)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        rows = ImageLoader((2, 2), n_jobs=2).fit_transform(paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(rows) == 150


MEASURE_PEAK = """
import re, sys
from pathlib import Path
from skl_sae import ImageLoader

def status(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

n_jobs, *paths = sys.argv[1:]
loader = ImageLoader((64, 64), n_jobs=int(n_jobs))
loader.fit_transform(paths[:1])
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
loader.fit_transform(paths[1:])
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells peaks")
@pytest.mark.parametrize(
    "suffix, mode", [("png", "RGB"), ("png", "RGBA"), ("png", "P"), ("tif", "L")]
)
def test_fault_85_memory_of_one_thread(tmp_path, suffix, mode):
    """The output, and at most two decoded pictures: as it is, and in its true colours."""
    side, n_files = 2500, 8
    image = Image.new("RGB", (side, side), (10, 20, 30)).convert(mode)
    small = save(tmp_path / f"small.{suffix}")
    large = save(tmp_path / f"large.{suffix}", image)
    for i in range(n_files):
        os.link(large, tmp_path / f"{i}.{suffix}")
    paths = [small, *(str(tmp_path / f"{i}.{suffix}") for i in range(n_files))]
    command = [sys.executable, "-c", MEASURE_PEAK, "1", *paths]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    decoded, output = 4 * side**2, 4 * n_files * 64 * 64 * 3
    assert int(result.stdout) < 2.1 * decoded + output


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
    monkeypatch.setattr(images_module, "MAX_PIXELS", 10)
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


# --- The transformer ---


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return make_cells(tmp_path_factory.mktemp("cells"), n_samples=16, size=48)


def test_kinds_of_columns(cells):
    loader = ImageLoader((8, 8), "L")
    paths = cells.filenames.tolist()
    expected = loader.fit_transform(paths)
    assert expected.dtype == np.float32
    for same in (
        cells.filenames,
        np.array(paths),
        np.array(paths)[:, None],
        pd.Series(paths),
        pd.DataFrame({"path": paths}),
        [Path(path) for path in paths],
    ):
        np.testing.assert_array_equal(loader.fit_transform(same), expected)
    np.testing.assert_array_equal(ImageLoader((8, 8), "L", n_jobs=2).fit_transform(paths), expected)


@pytest.mark.parametrize("bad", ["a.png", [], [1], [["a", "b"]], [None]])
def test_no_paths(bad):
    with pytest.raises(ValueError, match="Expected"):
        ImageLoader().fit_transform(bad)


@pytest.mark.parametrize(
    "parameter",
    [
        {"size": (8,)},
        {"size": (0, 8)},
        {"size": None},
        {"mode": "CMYK"},
        {"aspect": "x"},
        {"max_pixels": 0},
    ],
)
def test_bad_parameters_and_fault_70(cells, parameter):
    """Without a size, files of mixed sizes would have to be refused; so there is always one."""
    with pytest.raises(ValueError, match=next(iter(parameter))):
        ImageLoader(**parameter).fit(cells.filenames)


def test_contract(cells):
    loader = ImageLoader((4, 6)).fit(cells.filenames)
    assert clone(loader).get_params() == loader.get_params()
    rows = pickle.loads(pickle.dumps(loader)).transform(cells.filenames)
    images = loader.inverse_transform(rows)
    assert images.shape == (16, 4, 6, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images.reshape(16, -1) / np.float32(255), rows)
    names = loader.get_feature_names_out()
    assert len(set(names)) == 72
    assert names[:4].tolist() == ["pixel_0_0_r", "pixel_0_0_g", "pixel_0_0_b", "pixel_0_1_r"]
    frame = loader.set_output(transform="pandas").transform(cells.filenames)
    assert list(frame.columns) == names.tolist()
    with pytest.raises(ValueError, match=r"72.*71"):
        loader.inverse_transform(rows[:, 1:])


def test_progress_bar_only_when_asked(cells, capsys):
    ImageLoader().fit_transform(cells.filenames)
    assert capsys.readouterr() == ("", "")
    ImageLoader(verbose=1).fit_transform(cells.filenames)
    assert "Loading" in capsys.readouterr().err


def test_from_files_to_a_classifier(cells, tmp_path):
    pipeline = make_pipeline(
        ImageLoader((16, 16), "L"),
        TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0),
        LogisticRegression(max_iter=500),
        memory=str(tmp_path),
    )
    assert pipeline.fit(cells.filenames, cells.target).score(cells.filenames, cells.target) > 0.8
    search = GridSearchCV(
        pipeline[:2],
        {
            "imageloader__size": [(8, 8), (16, 16)],
            "topksparseautoencoder__k": [1, 8],
            "topksparseautoencoder__n_components": [16, 32],
        },
        cv=2,
    ).fit(cells.filenames.tolist())
    assert search.best_params_["topksparseautoencoder__k"] == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_column_transformer(cells):
    frame = pd.DataFrame({"path": cells.filenames, "age": np.arange(16.0)})
    images = make_pipeline(
        ImageLoader((8, 8), "L"), TopKSparseAutoencoder(16, k=2, max_iter=1, random_state=0)
    )
    columns = ColumnTransformer([("image", images, ["path"]), ("age", StandardScaler(), ["age"])])
    assert columns.fit_transform(frame).shape == (16, 17)
