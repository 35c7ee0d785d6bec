"""Where compiled code cannot be kept on disk: each case in a process of its own, on tiny loops."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from skl_sae import TopKSparseAutoencoder
from skl_sae._engine.kernels import _ahead
from skl_sae._engine.kernels._compile import source_stamp
from skl_sae._engine.kernels._lazy_adam import update_atoms

LOOPS = """
from skl_sae._engine.kernels._compile import compiled

@compiled
def twice(x):
    return 2 * x

@compiled
def four_times(x):
    return twice(twice(x))
"""
START = """
import os, resource, sys, warnings
import numba
from skl_sae._engine.kernels import _compile as _compiler
numba.njit(lambda x: x + 1.0)(1.0)  # loads all that it needs, before anything is forbidden

def result():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from loops import four_times, twice
        number = four_times(3.0)
    return number, [str(warning.message) for warning in caught]
"""


def run_child(tmp_path, code, **environment):
    (tmp_path / "loops.py").write_text(LOOPS)
    kept = tmp_path / "kept"
    kept.mkdir(exist_ok=True)
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([str(tmp_path), root])
    variables = {"NUMBA_CACHE_DIR": str(kept), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    variables = {**os.environ, **variables, **environment}
    child = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True,
        env={name: value for name, value in variables.items() if value is not None},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return child.stdout, kept


GOES_ON = """
number, told = result()
assert number == 12
assert len(told) == 1 and "cannot be kept" in told[0] and "NUMBA_CACHE_DIR" in told[0], told
assert not _compiler.is_compiled(twice)
"""


def test_fault_115_a_full_disk(tmp_path):
    """The limit on a file's size stands for it."""
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))\n"
    _, kept = run_child(tmp_path, full + GOES_ON.replace("(twice)", "(sys.modules['loops'].twice)"))
    assert not [path for path in kept.rglob("*") if path.is_file()]


def test_fault_115_a_folder_that_cannot_be_written(open_folder):
    """Nor anything else where numba would put it, and no home."""
    other = "if os.getuid() == 0:\n    os.setuid(65534)\n"
    (open_folder / "kept").mkdir()
    (open_folder / "kept").chmod(0o555)
    (open_folder / "loops.py").write_text(LOOPS)
    open_folder.chmod(0o555)
    code = other + GOES_ON.replace("(twice)", "(sys.modules['loops'].twice)")
    run_child(open_folder, code, HOME=None)


def test_fault_115_damaged_files(tmp_path):
    _, kept = run_child(tmp_path, "assert result() == (12, [])")
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        path.write_bytes(path.read_bytes()[:-7])
    run_child(tmp_path, "assert result()[0] == 12")


def test_fault_115_four_processes_at_once(tmp_path):
    code = """
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        os._exit(result() != (12, []))
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
import loops
assert _compiler.is_compiled(loops.twice)
"""
    run_child(tmp_path, code)


@pytest.mark.parametrize("times", [1, 2])
def test_is_compiled(tmp_path, times):
    code = "import loops; print(_compiler.is_compiled(loops.twice)); result()"
    for i in range(times):
        output, _ = run_child(tmp_path, code)
        assert output.strip() == str(i > 0)


FIT = """
import hashlib
from sklearn.datasets import load_digits
from skl_sae import TopKSparseAutoencoder

sae = TopKSparseAutoencoder(32, k=2, max_iter=3, random_state=0).fit(load_digits().data[:266] / 16)
print(hashlib.sha256(sae.components_.tobytes() + sae.encoder_bias_.tobytes()).hexdigest())
"""


def run_fit(kept, code):
    """Run code in a process that keeps what is compiled in a folder."""
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(kept)}
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )


def test_what_is_compiled_ahead_is_what_a_fit_calls():
    X = np.random.default_rng(0).random((60, 20), np.float32)
    for init in ("pca", "random"):
        TopKSparseAutoencoder(32, k=2, init=init, max_iter=1, random_state=0).fit(X)
    for loop, arguments in _ahead._jobs():
        assert tuple(map(numba.typeof, arguments)) in loop.overloads, loop


NAMES_COMPILED = """
import numba.core.event
class Names(numba.core.event.Listener):
    def on_start(self, event):
        names.append(event.data["dispatcher"].__name__)
        os.write(2, b"%d " % os.getpid())
    def on_end(self, event):
        pass
names = [str(os.getpid())]
numba.core.event.register("numba:compile", Names())
"""


@pytest.fixture(scope="module")
def first_fit(tmp_path_factory):
    """Folder of what a first fit compiles, by all cores, and what it printed."""
    folder = tmp_path_factory.mktemp("compiled")
    return folder, run_fit(folder, "import os\n" + NAMES_COMPILED + FIT + "print(*names)\n")


def test_the_first_fit_on_a_machine_gives_the_bits_of_later_ones(first_fit):
    """Code that was just compiled is linked otherwise than code that is read from disk."""
    folder, first = first_fit
    assert run_fit(folder, FIT).stdout.split() == first.stdout.split()[:1] != []


@pytest.mark.skipif(sys.platform != "linux", reason="processes fork on Linux alone")
@pytest.mark.parametrize("n_cores", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_second_core_compiles_ahead(tmp_path, first_fit, n_cores):
    if n_cores > len(os.sched_getaffinity(0)):
        pytest.skip("this process may use one core only")
    done = first_fit[1]
    if n_cores == 1:
        core = "import os\nos.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        done = run_fit(tmp_path, core + NAMES_COMPILED + FIT + "print(*names)\n")
    parent, *names = done.stdout.splitlines()[1].split()
    assert "select_rows" in names
    assert set(done.stderr.split()) == {parent}, "a child tells what its parent tells"
    assert ("update_atoms" in names) == ("gather_picks" in names) == (n_cores == 1)


def test_a_child_that_dies_or_hangs_costs_nothing_but_time(tmp_path):
    code = """
_compiler._LONGEST = 0.2
four = _compiler.compiled(lambda x: x + 3)
compile_here, parent = four.compile, os.getpid()
for trouble in ("os._exit(3)", "time.sleep(60)"):
    import time
    _compiler._run_in_child(four, lambda sig: exec(trouble), "float64(float64)")
    assert os.getpid() == parent
assert four(1.0) == 4
"""
    run_child(tmp_path, code)


def test_code_is_compiled_again_when_a_constant_of_another_file_changes():
    """numba itself would go on using what it has."""
    file = update_atoms._cache._cache_file
    assert file._source_stamp == source_stamp()
    names = [name for name, *_ in file._source_stamp]
    assert {"_parcels.py", "_lazy_adam.py", "_tuning.py"} <= set(names)
