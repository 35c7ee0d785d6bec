"""Files that are written whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from skl_sae._model_file._atomic import IrregularFileError, replacing

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def permissions(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_fault_113_permissions_are_kept_and_never_exceeded(tmp_path, umask, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    with replacing(path) as file:
        (temporary,) = tmp_path.glob(".skl_sae-*.tmp")
        assert permissions(temporary) & ~mode == 0
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and permissions(path) == mode


def test_a_new_file_has_what_the_umask_leaves(tmp_path, umask):
    with replacing(tmp_path / "file", "w", encoding="utf-8") as file:
        file.write("text")
    assert permissions(tmp_path / "file") == 0o644


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_link_goes_on_pointing_at_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"new"


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IrregularFileError, match="regular file"), replacing(tmp_path):
        pass


WITHOUT_PERMISSION = """
import os, sys
import numpy as np
from skl_sae import TopKSparseAutoencoder
sae = TopKSparseAutoencoder(4, k=2, max_iter=1, init="random", random_state=0)
sae.fit(np.random.default_rng(0).random((9, 5)))
if os.getuid() == 0:
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        sae.save(path)
    except PermissionError as error:
        print("refused", os.path.basename(os.path.dirname(str(error.filename))))
"""


def test_a_save_into_a_folder_without_permission(open_folder):
    """As another user, where the tests run as root, whom nothing is forbidden."""
    folder = open_folder / "closed"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    folder.chmod(0o555)
    try:
        child = subprocess.run(
            [sys.executable, "-c", WITHOUT_PERMISSION, folder / "old", folder / "new"],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT},
        )  # fmt: skip
    finally:
        folder.chmod(0o755)
    assert child.stdout == "refused closed\nrefused closed\n", child.stderr
    assert os.listdir(folder) == ["old"] and (folder / "old").read_bytes() == b"old"
