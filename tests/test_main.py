"""The command line, run as a user runs it."""

import csv
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from skl_sae import TopKSparseAutoencoder, find_images
from skl_sae import __main__ as command
from skl_sae.datasets import load_photographs, make_cells

SMALL = ["--n-components", "32", "--k", "4", "--members", "2", "--epochs", "1"]


def test_main_path(tmp_path, capsys):
    assert command.main([*SMALL, "--output", str(tmp_path / "a" / "b")]) == 0
    out = capsys.readouterr().out
    for text in ("64x64x3", "ensemble", "member 2", "PCA, 4 components", "dead", "rows a second"):
        assert text in out
    codes = sp.load_npz(tmp_path / "a" / "b" / "codes.npz")
    assert codes.shape == (1000, 64)
    assert codes.format == "csr"
    assert codes.getnnz(axis=1).max() <= 8
    model = TopKSparseAutoencoder.load(tmp_path / "a" / "b" / "model.safetensors")
    rows = load_photographs(800, (64, 64)).data
    np.testing.assert_allclose(model.transform(rows).toarray(), codes[:800].toarray(), atol=1e-3)
    image = np.asarray(Image.open(tmp_path / "a" / "b" / "training.png"))
    assert image.std() > 1
    report = tmp_path / "a" / "b" / "report.html"
    assert f"open {report}." in out
    assert "200 colour images of 64x64 pixels" in report.read_text(encoding="utf-8")


@pytest.fixture
def cells(tmp_path):
    make_cells(tmp_path / "cells", n_samples=20, size=40)
    return tmp_path / "cells"


def figures(out, name):
    """The numbers of a line of a table."""
    (line,) = (line for line in out.splitlines() if line.startswith(name))
    return [float(cell) for cell in line.removeprefix(name).split()]


def test_folder_of_classes(cells, tmp_path, capsys):
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
    assert str(tmp_path) not in report


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
    members = list(command._member_reconstructions(sae, codes))
    np.testing.assert_allclose(
        np.mean(members, axis=0), sae.inverse_transform(codes), rtol=1e-5, atol=1e-6
    )


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
