"""Install the built wheel in empty environments, with old and new libraries, and try it there.

    python tests/run_versions.py DIST [SET ...]

DIST is a folder with one wheel and one source distribution, as `make dist` writes it. A SET is a
name of the table below; without any, all are run. In an environment of its own each gets the
wheel, with "oldest" the lowest version of every library that the wheel admits, as its metadata
say, so that no bound goes untried; with "newest" whatever pip takes today. Torch is of the version
in .ci/constraints.txt, unless PIP_CONSTRAINT names another file: of the others there are, for some
machines, only builds for GPUs, of several gigabytes.

There the README's ten lines run and must print what the README says; then tests run from the
unpacked source distribution, without its package, so that what is tested is the wheel, and what is
missing in the source distribution is noticed. A table is printed at the end.
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent

# Beside the libraries of the wheel: versions of theirs, and of the tests, that fit such old ones.
SETS = {
    "oldest": [
        "pyparsing<3.2",  # Matplotlib calls it by names of which later ones warn
        "pytest<9",  # scikit-learn gives its checks as a generator, of which later ones warn
    ],
    "newest": [],
}
# What those tests import, and what scikit-learn's bar of progress does.
TOOLS = ["pytest>=8", "hypothesis>=6.100", "pandas", "rich"]
SHOWN = ["numpy", "scipy", "scikit-learn", "torch", "numba", "pillow", "matplotlib"]

# Tests that call what other libraries may change, each with the library that it is chosen for:
# arithmetic of our own is the same wherever these pass.
TESTS = {
    "tests/autoencoders/test_sklearn_api.py": "scikit-learn: all its checks of all estimators",
    "tests/autoencoders/test_prefixes.py": "NumPy and torch: a fit from start to end",
    "tests/engine/test_kernels.py": "Numba: compiled loops beside plain ones",
    "tests/engine/test_model.py": "torch: steps beside its automatic gradients",
    "tests/engine/test_threads.py": "joblib and threadpoolctl: who uses which threads",
    "tests/images/test_loader.py": "Pillow: decoding",
    "tests/images/test_augmenter.py": "Pillow: transforming",
    "tests/inspection/test_inspection.py": "SciPy: sparse codes and statistics",
    "tests/model_file/test_conv_file.py": "NumPy: dtypes and bytes of files",
    "tests/plotting": "Matplotlib: all displays",
    "tests/command/test_progress.py": "tqdm: bars in terminals",
    "tests/test_properties.py": "all together, on drawn data",
}  # fmt: skip


def wheel_and_source(folder):
    """The one wheel and the one source distribution of a folder."""
    found = [sorted(folder.glob(pattern)) for pattern in ("*.whl", "*.tar.gz")]
    if [len(paths) for paths in found] != [1, 1]:
        raise SystemExit(f"Expected one wheel and one .tar.gz in {folder}; `make dist` puts them.")
    return found[0][0].resolve(), found[1][0].resolve()


def lowest(wheel):
    """The lowest version of each library that a wheel admits, as pip's requirements."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = message_from_bytes(archive.read(name)).get_all("Requires-Dist")
    required = [line for line in required if "extra ==" not in line]
    bounds = [re.fullmatch(r"([\w-]+)>=([\w.]+)", line) for line in required]
    if not all(bounds):
        raise SystemExit(f"Expected NAME>=VERSION of every library, got {required}.")
    return [f"{name}=={version}" for name, version in (bound.groups() for bound in bounds)]


def environment(folder, requirements):
    """Make an environment with what is required, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    constraints = {"PIP_CONSTRAINT": str(ROOT / ".ci" / "constraints.txt")}
    subprocess.run([*pip, *requirements], check=True, env=constraints | clean_environment())
    subprocess.run([python, "-m", "pip", "check", "--disable-pip-version-check"], check=True)
    return python


def clean_environment():
    """The variables of this process, but for those by which another package could be imported."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def versions(python):
    """Versions of the libraries in an environment, by name."""
    code = "import sys; from importlib.metadata import version\nfor n in sys.argv[1:]: "
    result = subprocess.run(
        [python, "-c", code + "print(version(n))", *SHOWN], check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    return result.stdout.split()


def ten_lines(python, folder):
    """Run the README's first program; what went wrong, or nothing."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    printed = re.search(r"```text\n(.*?)```", readme, re.DOTALL)[1]
    result = subprocess.run(
        [python, "-W", "error", "-c", program], capture_output=True, text=True, cwd=folder,
        env=clean_environment(),
    )  # fmt: skip
    if result.returncode:
        return result.stderr
    return "" if result.stdout == printed else f"Expected {printed!r}, got {result.stdout!r}.\n"


def unpacked(source, folder):
    """Unpack a source distribution without its package, and return where it lies."""
    with tarfile.open(source) as archive:
        members = [m for m in archive if m.name.split("/")[1:2] != ["skl_sae"]]
        archive.extractall(folder, members, filter="data")
    (inner,) = folder.iterdir()
    return inner


def tested(python, folder):
    """Run the tests in a folder: pytest's last line, and all that it printed if it failed."""
    command = [
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-k", "not browser",
    ]  # fmt: skip
    result = subprocess.run(
        [*command, *TESTS], cwd=folder, env=clean_environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    summary = result.stdout.strip().splitlines()[-1].strip("= ")
    return summary, result.stdout if result.returncode else ""


def tried(name, wheel, source, folder):
    """Try a set of versions: a row of the table, and what was printed of failures."""
    start = time.perf_counter()
    python = environment(
        folder / "env",
        [wheel, *TOOLS, *SETS[name], *(lowest(wheel) if name == "oldest" else [])],
    )
    installed = time.perf_counter()
    (folder / "elsewhere").mkdir()
    failure = ten_lines(python, folder / "elsewhere")
    ran = time.perf_counter()
    summary, output = tested(python, unpacked(source, folder / "source"))
    seconds = installed - start, ran - installed, time.perf_counter() - ran
    row = [name, "{}.{}.{}".format(*sys.version_info), *versions(python)]
    row += ["wrong" if failure else "as printed", summary, *(f"{s:.0f}" for s in seconds)]
    return row, failure + output


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dist", type=Path, help="folder with a wheel and a source distribution")
    parser.add_argument("sets", nargs="*", metavar="SET", help=" or ".join(SETS))
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"Expected {' or '.join(SETS)}, got {', '.join(sorted(unknown))}.")
    wheel, source = wheel_and_source(options.dist)
    rows, failures = [], []
    for name in options.sets or SETS:
        print(f"{name} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            row, failure = tried(name, wheel, source, Path(folder))
        rows.append(row)
        failures += [f"{name}:\n{failure}"] * bool(failure)
    head = [
        "libraries",
        "Python",
        *SHOWN,
        "ten lines",
        "tests",
        "install, s",
        "lines, s",
        "tests, s",
    ]
    for row in [head, ["---"] * len(head), *rows]:
        print("|", " | ".join(row), "|")
    print(*failures, sep="\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
