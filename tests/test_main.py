"""The command line, run as a user runs it."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image

from skl_sae import __main__ as command

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
    image = np.asarray(Image.open(tmp_path / "a" / "b" / "training.png"))
    assert image.std() > 1


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
     ["--output", "/dev/null/x"], ["--n-components", "1000000000"]],
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


def test_interrupt(tmp_path):
    arguments = [sys.executable, "-u", "-m", "skl_sae", "--epochs", "100000", "--members", "1"]
    process = subprocess.Popen(
        [*arguments, "--output", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        while not process.stdout.readline().startswith("Epoch 1/"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.strip() == "python -m skl_sae: interrupted"
