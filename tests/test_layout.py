"""Which module may import which, read from the syntax trees; and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skl_sae

FOLDER = Path(skl_sae.__file__).parent

# What each module may import of the package; those to come are named already.
ALLOWED = {
    "_shares": set(),
    "_threads": {"_shares"},
    "_compiler": set(),
    "_kernels": {"_compiler", "_shares"},
    "_atom_adam": {"_compiler", "_kernels"},
    "_small_step": {"_atom_adam", "_compiler", "_kernels"},
    "_clusters": {"_threads"},
    "_basis": {"_clusters", "_threads"},
    "_dictionary": {"_basis", "_threads"},
    "_scoring": set(),
    "_images": set(),
    "_augmenter": {"_images", "_threads"},
    "datasets": {"_images"},
    "_codes": set(),
    "_topk": {"_threads"},
    "_optimizer": {"_atom_adam", "_kernels", "_small_step", "_threads", "_topk"},
    "_ensemble": {"_kernels", "_optimizer", "_threads", "_topk"},
    "_pursuit": {"_ensemble", "_pursuit_kernels", "_threads"},
    "_pursuit_kernels": {"_compiler", "_kernels"},
    "_training": {"_ensemble", "_pursuit", "_scoring", "_threads"},
    "_thumbnails": set(),
    "_report_arrays": set(),
    "report": {"_fitted", "_images", "_report_arrays", "_scoring", "_thumbnails", "inspection"},
    "inspection": set(),
    "_fitted": set(),
    "_axes": set(),
    "_pictures": {"_axes", "_fitted", "_images", "_scoring"},
    "_tables": {"_axes", "inspection"},
    "plotting": {"_axes", "_fitted", "_pictures", "_tables", "inspection"},
    "_atomic": set(),
    "_storage": {"_atomic"},
    # __init__ holds the version, and is whole by the time that a model is saved.
    "_model_file": {"__init__", "_augmenter", "_ensemble", "_optimizer", "_storage", "_training"},
    "_autoencoder": {
        "_model_file",
        "_codes",
        "_dictionary",
        "_ensemble",
        "_pursuit",
        "_scoring",
        "_threads",
        "_training",
    },
    "__init__": {"_augmenter", "_autoencoder", "_images", "_scoring", "_storage"},
    "__main__": {"__init__", "datasets", "plotting", "report"},
}


def package_imports(path):
    """Names of the package's modules that a module imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.add(node.module or "")
            if not node.module:
                found.discard("")
                found |= {
                    alias.name if (FOLDER / f"{alias.name}.py").exists() else "__init__"
                    for alias in node.names
                }
    return found


def outside_imports(path):
    """Names of the other packages that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_imports_run_one_way(path):
    assert package_imports(path) <= ALLOWED[path.stem]
    assert "skl_sae" not in outside_imports(path)


def test_the_engine_knows_no_scikit_learn():
    for name in (
        "_ensemble",
        "_optimizer",
        "_kernels",
        "_atom_adam",
        "_topk",
        "_dictionary",
        "_pursuit",
        "_threads",
        "_shares",
    ):
        assert "sklearn" not in outside_imports(FOLDER / f"{name}.py")
    for name in (
        "_shares",
        "_compiler",
        "_kernels",
        "_atom_adam",
        "_small_step",
        "_pursuit_kernels",
    ):
        assert "torch" not in outside_imports(FOLDER / f"{name}.py")


def test_what_looks_at_fitted_arrays_knows_no_torch():
    for name in ("inspection", "_fitted", "_axes", "_pictures", "_tables", "plotting"):
        assert "torch" not in outside_imports(FOLDER / f"{name}.py")
    for name in ("inspection", "_fitted"):
        assert "matplotlib" not in outside_imports(FOLDER / f"{name}.py")


def test_import_brings_no_plots_and_no_compiler():
    code = "import sys, skl_sae; print({'matplotlib', 'numba'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
