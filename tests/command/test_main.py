"""The command line, run as a user runs it."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from skl_sae import ImageLoader, find_images, load
from skl_sae import __main__ as command
from skl_sae._command import _figures, _images, _run
from skl_sae._command._output import FILES, mark
from skl_sae._model_file import _atomic
from skl_sae.datasets import load_photographs, make_cells

SMALL = ["--n-components", "32", "--k", "4", "--members", "2", "--epochs", "1"]


def test_main_path(tmp_path, capsys):
    assert command.main([*SMALL, "--size", "32", "--output", str(tmp_path / "a" / "b")]) == 0
    out = capsys.readouterr().out
    for text in (
        "32x32x3",
        "ensemble",
        "member 2",
        "PCA, 4 components",
        "PCA, 8 components",
        "dead",
        "rows a second",
    ):
        assert text in out
    codes = sp.load_npz(tmp_path / "a" / "b" / "codes.npz")
    assert codes.shape == (1000, 64)
    assert codes.format == "csr"
    assert codes.getnnz(axis=1).max() <= 8
    model = load(tmp_path / "a" / "b" / "model.safetensors")[-1]
    rows = load_photographs(800, (32, 32)).data
    np.testing.assert_allclose(model.transform(rows).toarray(), codes[:800].toarray(), atol=1e-3)
    image = np.asarray(Image.open(tmp_path / "a" / "b" / "training.png"))
    assert image.std() > 1
    report = tmp_path / "a" / "b" / "report.html"
    assert f"open {report}." in out
    assert "200 colour images of 32x32 pixels" in report.read_text(encoding="utf-8")


@pytest.fixture
def cells(tmp_path):
    make_cells(tmp_path / "cells", n_samples=20, size=40)
    return tmp_path / "cells"


def figures(out, name):
    """The numbers of a line of a table."""
    (line,) = (line for line in out.splitlines() if line.startswith(name))
    return [float(cell) for cell in line.removeprefix(name).split()]


def test_folder_of_classes_and_fault_125(cells, tmp_path, capsys):
    (cells / "round" / "broken.png").write_text("no image")
    options = ["--size", "12x16", "--mode", "L", "--augment", "--untied", "--output", str(tmp_path)]
    assert command.main([str(cells), *SMALL, *options]) == 0
    out, err = capsys.readouterr()
    assert "20 images as 12x16: 16 to learn, 4 held out." in out
    assert re.search(r"note: 1 unreadable.*broken\.png.*PNG, JPEG", err)
    with open(tmp_path / "images.csv", newline="") as file:
        table = list(csv.DictReader(file))
    images = find_images(cells, on_error="raise")
    names = [name for name in images.filenames if "broken" not in name]
    assert [line["filename"] for line in table] == names
    assert [line["class"] for line in table] == ["round"] * 10 + ["spindle"] * 10
    assert sum(int(line["held_out"]) for line in table) == 4

    # The figures by class are of the held-out rows of that class.
    codes = sp.load_npz(tmp_path / "codes.npz")
    assert codes.shape == (20, 64)
    n_round, by_class, _ = figures(out, "round ")
    n_spindle, other, _ = figures(out, "spindle ")
    overall = figures(out, "ensemble")[0]
    assert n_round == n_spindle == 2
    assert (by_class + other) / 2 == pytest.approx(overall, abs=1e-3)
    accuracy = cross_val_score(LogisticRegression(max_iter=1000), codes, [0] * 10 + [1] * 10, cv=5)
    assert figures(out, "sparse codes")[0] == pytest.approx(accuracy.mean(), abs=1e-3)
    assert figures(out, "always the largest class") == [0.5]

    # The report is of the held-out images, under their names within the folder.
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    held_out = [line["filename"] for line in table if line["held_out"] == "1"]
    assert all(os.path.relpath(name, cells) in report for name in held_out)
    assert f"<dd>{overall:.4f}</dd>" in report
    # One figure under one name, which is of the rows learned and held out that the command has.
    (fvu,) = re.findall(r"<dt>FVU</dt><dd>(.+?)</dd>", report)
    assert figures(out, "ensemble")[1] == float(fvu)
    assert str(tmp_path) not in report


CONV = ["--conv", "--n-components", "16", "--kernel-size", "6", "--stride", "3", "--epochs", "1"]


def test_small_atoms_of_a_folder(cells, tmp_path, capsys):
    options = ["--size", "18x15", "--mode", "L", "--k", "30", "--augment", "--output"]
    assert command.main([str(cells), *CONV, *options, str(tmp_path)]) == 0
    out = capsys.readouterr().out
    model = load(tmp_path / "model.safetensors")[-1]
    assert model.components_.shape == (16, 36) and model.maps_shape_ == (7, 6, 16)
    codes = sp.load_npz(tmp_path / "codes.npz")
    assert codes.shape == (20, 7 * 6 * 16) and codes.getnnz(axis=1).max() == 30
    correlation, fvu, n_active = figures(out, "small atoms")
    assert n_active == 30
    rows = ImageLoader((18, 15), "L").transform(find_images(cells).filenames)
    np.testing.assert_allclose(model.transform(rows).toarray(), codes.toarray(), atol=1e-4)
    with open(tmp_path / "images.csv", newline="") as file:
        held_out = [line["held_out"] == "1" for line in csv.DictReader(file)]
    assert correlation == pytest.approx(model.score(rows[held_out]), abs=1e-4)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "16 atoms of 6x6 pixels at all places" in report
    assert float(re.findall(r"<dt>FVU</dt><dd>(.+?)</dd>", report)[0]) == fvu
    accuracy = cross_val_score(LogisticRegression(max_iter=1000), codes, [0] * 10 + [1] * 10, cv=5)
    assert figures(out, "sparse codes")[0] == pytest.approx(accuracy.mean(), abs=1e-3)


def test_small_atoms_of_photographs_by_default(tmp_path, capsys):
    arguments = ["--conv", "--size", "16", "--epochs", "1", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    model = load(tmp_path / "model.safetensors")[-1]
    assert (model.n_components_, model.atom_shape_, model.k_) == (128, (8, 8, 3), 32)
    assert model._stride == (4, 4)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--kernel-size", "4"], "--kernel-size"), (["--stride", "4"], "--stride"),
        ([*CONV, "--members", "2"], "--members"), ([*CONV, "--consistency", "1"], "--consistency"),
        ([*CONV, "--stride", "7"], "--stride"), (["--conv", "--stride", "9"], "--stride"),
        ([*CONV, "--size", "6", "--k", "145"], "--k"),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_do_not_suit_small_atoms(
    arguments, named, cells, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(_images, "search_images", lambda *_: pytest.fail("images are read"))
    try:
        status = command.main([str(cells), *arguments, "--output", str(tmp_path / "new")])
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2 and not (tmp_path / "new").exists()
    assert error.startswith(f"python -m skl_sae: error: argument {named}: ")
    assert error.count("\n") == 1


def test_flat_folder_and_odd_names(cells, tmp_path, capsys):
    folder = tmp_path / "flat"
    folder.mkdir()
    for i, path in enumerate(sorted((cells / "round").iterdir())):
        os.rename(path, os.fsencode(folder) + b"/\xff, \n%d.png" % i)
    output = tmp_path / "out"
    options = ["--size", "8", "--output", str(output), "--transform-algorithm", "omp"]
    assert command.main([str(folder), *SMALL, *options]) == 0
    out = capsys.readouterr().out
    assert "10 images as 8x8x3" in out and "PCA" in out
    assert "Logistic" not in out and "by class" not in out
    with open(output / "images.csv", newline="", errors="surrogateescape") as file:
        names = [line["filename"] for line in csv.DictReader(file)]
    assert names == find_images(folder).filenames.tolist()


def test_classes_too_small_for_a_classifier(cells, tmp_path, capsys):
    for path in sorted((cells / "spindle").iterdir())[1:]:
        path.unlink()
    options = ["--size", "8", "--output", str(tmp_path / "out")]
    assert command.main([str(cells), *SMALL, *options]) == 0
    assert "No classifier" in capsys.readouterr().out


def test_printed_figures_are_those_of_the_members(X):
    from skl_sae import TopKSparseAutoencoder

    sae = TopKSparseAutoencoder(16, k=4, n_estimators=3, max_iter=1, random_state=0).fit(X)
    codes = sae.transform(X)
    members = list(_figures._member_reconstructions(sae, codes))
    np.testing.assert_allclose(
        np.mean(members, axis=0), sae.inverse_transform(codes), rtol=1e-5, atol=1e-6
    )


def test_fault_114_twice_in_one_folder(cells, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(cells)
    for output in ("skl_sae_output", "results", "round/results", "."):
        for _ in range(2):
            assert command.main([".", *SMALL, "--size", "8", "--output", output]) == 0
            assert "20 images as 8x8x3" in capsys.readouterr().out
            assert {*os.listdir(cells / output)} >= {*FILES}
    assert find_images(cells).target_names == ["round", "spindle"]


def test_fault_114_a_picture_is_not_replaced(cells, capsys):
    """The curves' file would take the place of a picture that nobody called output."""
    os.rename(sorted((cells / "round").iterdir())[0], cells / "round" / "training.png")
    content = (cells / "round" / "training.png").read_bytes()
    with pytest.raises(SystemExit):
        command.main([str(cells), *SMALL, "--output", str(cells / "round")])
    assert re.search(r"--output.*training\.png", capsys.readouterr().err)
    assert (cells / "round" / "training.png").read_bytes() == content


def test_fault_116_an_output_is_replaced_whole_or_not_at_all(cells, tmp_path, monkeypatch):
    """Wherever the disk fails, each file is the old one or a whole new one."""
    output = tmp_path / "out"
    arguments = [str(cells), *SMALL, "--size", "8", "--output", str(output)]
    mark(output)
    for name in FILES:
        (output / name).write_text("old")
        (output / name).chmod(0o600)
    fsync, calls = os.fsync, []

    def failing(handle):
        calls.append(handle)
        if len(calls) in failures:
            raise OSError(28, "No space left on device")
        return fsync(handle)

    monkeypatch.setattr(_atomic.os, "fsync", failing)
    for n_whole in range(len(FILES)):
        calls.clear()
        failures = {2 * n_whole + 1}  # one for each file, and one for the folder
        assert command.main(arguments) == 2
        assert {*os.listdir(output)} == {*FILES, ".skl_sae_output"}
        assert sum((output / name).read_bytes() != b"old" for name in FILES) == n_whole
    failures = set()
    assert command.main(arguments) == 0
    assert_whole(output, n_rows=20)
    assert {(output / name).stat().st_mode & 0o777 for name in FILES} == {0o600}


def assert_whole(output, n_rows):
    """Each file of an output folder can be read to its end."""
    load(output / "model.safetensors")
    assert sp.load_npz(output / "codes.npz").shape[0] == n_rows
    with Image.open(output / "training.png") as image:
        image.load()
    with open(output / "images.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == n_rows
    assert (output / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


AGAIN_AND_AGAIN = """
import sys
from skl_sae.__main__ import main
while True:
    assert main(sys.argv[1:]) == 0
"""


@pytest.mark.parametrize("n_kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_fault_116_killed_at_any_moment(cells, tmp_path, n_kills):
    """Every file is whole of a command that writes one output after another."""
    output, rng = tmp_path / "out", np.random.default_rng(0)
    arguments = [str(cells), *SMALL, "--size", "8", "--output", str(output)]
    for _ in range(n_kills):
        process = subprocess.Popen(
            [sys.executable, "-c", AGAIN_AND_AGAIN, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        with process:
            while not process.stdout.readline().startswith("To see"):
                assert process.poll() is None
            time.sleep(rng.uniform(0, 2))
            process.kill()
        assert_whole(output, n_rows=20)
    left = {*os.listdir(output)} - {*FILES, ".skl_sae_output"}
    assert all(name.startswith(".skl_sae-") for name in left)


def test_fault_121_first_line_order_and_silence(cells, tmp_path):
    """Through a pipe: lines come as they are due, and errors in their place."""
    (cells / "round" / "broken.png").write_text("no image")
    arguments = [str(cells), *SMALL, "--size", "8", "--output", str(tmp_path / "out")]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "skl_sae", *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines, times = [], [start]
    with process:
        for line in process.stdout:
            lines.append(line.rstrip())
            times.append(time.monotonic())
    assert process.returncode == 0, lines
    assert lines[0].startswith("skl_sae ") and lines[1] == "Loading libraries ..."
    order = [
        "Reading images ...", "python -m skl_sae: note: 1 unreadable", "20 images as", "Starting",
        "Epoch 1/1", "Held out ", "Writing the report ...", "To see",
    ]  # fmt: skip
    places = [i for text in order for i, line in enumerate(lines) if line.startswith(text)]
    assert len(places) >= len(order) and places == sorted(places), lines
    # A second and two on a machine that has nothing else to do; no test knows what else it does.
    assert times[1] - start < 0.5 * (times[-1] - start)
    assert max(np.diff(times)) < 60


def test_fault_121_whoever_reads_may_leave(cells, tmp_path):
    arguments = [str(cells), *SMALL, "--size", "8", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "skl_sae", *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_fault_122_a_stray_picture(cells, tmp_path, capsys):
    stray = cells / "stray.png"
    stray.write_bytes(sorted((cells / "round").iterdir())[0].read_bytes())
    arguments = [str(cells), *SMALL, "--size", "8", "--output", str(tmp_path / "out")]
    assert command.main(arguments) == 0
    out, err = capsys.readouterr()
    assert "20 images as" in out
    assert re.search(r"note: 1 image\(s\) beside.*stray\.png", err)
    assert command.main([*arguments, "--on-error", "raise"]) == 2
    assert re.search(r"stray\.png.*round", capsys.readouterr().err)


@pytest.mark.parametrize(
    "option, value",
    [
        ("--k", "0"), ("--k", "33"), ("--k", "1.5"), ("--k", "nan"), ("--members", "0"),
        ("--n-components", "-1"), ("--n-components", "1000000000"), ("--device", "banana"),
        ("--device", "cuda:99"), ("--size", "0"), ("--size", "8x0"), ("--size", "8x"),
        ("--size", "1000000"), ("--epochs", "0"), ("--batch-size", "0.5"),
        ("--learning-rate", "0"), ("--learning-rate", "inf"), ("--consistency", "-1"),
        ("--consistency", "x"), ("--seed", "-1"), ("--seed", "4294967296"),
        ("--output", "/dev/null/x"), ("--output", "/proc/x"),
        ("--output", "{folder}/file/x"), ("--output", "{folder}/file"),
        ("--output", "{folder}/out"),
    ],
)  # fmt: skip
def test_fault_120_options_are_checked_before_images(option, value, tmp_path, capsys, monkeypatch):
    """In one line that names the option; and nothing is left behind."""
    monkeypatch.setattr(_images, "search_images", lambda *_: pytest.fail("images are read"))
    (tmp_path / "file").touch()
    (tmp_path / "out" / "codes.npz").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    arguments = [str(tmp_path), *SMALL, "--output", str(tmp_path / "new" / "er")]
    try:
        status = command.main([*arguments, option, value.format(folder=tmp_path)])
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2
    named = "--n-components" if value == "1000000" else option  # its weights are what is too many
    assert error.startswith(f"python -m skl_sae: error: argument {named}: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_warnings_are_notes_in_a_line(cells, tmp_path, capsys, monkeypatch):
    def fit(*arguments):
        for _ in range(2):
            warnings.warn("something\nodd", UserWarning, stacklevel=1)
        return fitted(*arguments)

    fitted = _run._fitted
    monkeypatch.setattr(_run, "_fitted", fit)
    arguments = [str(cells), *SMALL, "--size", "8", "--output", str(tmp_path / "out")]
    assert command.main(arguments) == 0
    assert "python -m skl_sae: note: something odd\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--bogus"], ["--k", "x"], ["--k", "999"], ["--device", "banana"], ["--epochs", "0"],
     ["--output", "/dev/null/x"], ["--n-components", "1000000000"],
     ["--size", "8by8"], ["--size", "0"], ["nowhere"]],
)  # fmt: skip
def test_bad_options_end_in_one_line(options, capsys):
    try:
        status = command.main([*SMALL, *options])
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("python -m skl_sae: error: ")
    assert error.count("\n") == 1


def test_fault_124_interrupt(cells, tmp_path, interruptible):
    options = ["--size", "8", *SMALL, "--epochs", "1000000", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "skl_sae", str(cells), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        while not process.stdout.readline().startswith("Epoch 1/"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=300)  # for a busy machine
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1] == "python -m skl_sae: interrupted"
