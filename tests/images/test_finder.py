"""Finding images: classes, links, odd names, output of the command."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from image_files import save

from skl_sae import ImageLoader, find_images
from skl_sae._command._output import mark


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


def test_names_and_classes_alone(tmp_path):
    for name in ("a/1.png", "b/2.png"):
        save(tmp_path / name)
    found, (filenames, target) = find_images(tmp_path), find_images(tmp_path, return_X_y=True)
    np.testing.assert_array_equal(filenames, found.filenames)
    np.testing.assert_array_equal(target, found.target)
    assert find_images(tmp_path / "a", return_X_y=True)[1] is None
    with pytest.raises(ValueError, match="return_X_y"):
        find_images(tmp_path, return_X_y=2)


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
