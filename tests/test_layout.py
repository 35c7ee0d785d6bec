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
    "_dictionary": {"_basis", "_threads", "_topk"},
    "_scoring": set(),
    "_output": {"_atomic"},
    "_images": {"_output"},
    "_augmenter": {"_images", "_memory", "_threads"},
    "datasets": {"_images"},
    "_codes": set(),
    "_topk": {"_threads"},
    "_optimizer": {"_atom_adam", "_kernels", "_small_step", "_threads", "_topk"},
    "_ensemble": {"_kernels", "_optimizer", "_threads", "_topk"},
    "_pursuit": {"_ensemble", "_memory", "_pursuit_kernels", "_threads"},
    "_pursuit_kernels": {"_compiler", "_kernels"},
    "_training": {"_ensemble", "_memory", "_pursuit", "_scoring", "_threads"},
    "_thumbnails": set(),
    "_report_arrays": set(),
    "report": {
        "_atomic",
        "_fitted",
        "_images",
        "_report_arrays",
        "_scoring",
        "_thumbnails",
        "inspection",
    },
    "inspection": set(),
    "_fitted": set(),
    "_axes": set(),
    "_pictures": {"_axes", "_fitted", "_images", "_scoring"},
    "_tables": {"_axes", "inspection"},
    "plotting": {"_axes", "_fitted", "_pictures", "_tables", "inspection"},
    "_atomic": set(),
    "_memory": set(),
    "_schema": {"_basis", "_dictionary", "_optimizer"},
    "_storage": {"_atomic"},
    # __init__ holds the version, and is whole by the time that a model is saved.
    "_model_file": {"__init__", "_augmenter", "_ensemble", "_schema", "_storage", "_training"},
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
    "_options": {"_output"},
    "_progress": {"_options"},
    "_compiling": set(),
    "_command": {
        "__init__",
        "_atomic",
        "_compiling",
        "_fitted",
        "_images",
        "_options",
        "_output",
        "_scoring",
        "_training",
        "datasets",
        "plotting",
        "report",
    },
    "__main__": {"__init__", "_command", "_options", "_progress"},
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


def test_import_is_immediate_and_public_names_come_when_asked_for():
    """The command's first line comes before anything that takes long."""
    code = """
import sys
import skl_sae.__main__
print({"numpy", "sklearn", "torch", "numba", "matplotlib", "PIL"} & set(sys.modules))
from skl_sae import *
print([name for name in skl_sae.__all__ if name not in globals() or name not in dir(skl_sae)])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split("\n")[:2] == ["set()", "[]"], result.stderr


def test_public_names_are_where_editors_are_told():
    """Once for the type checker, once for __getattr__."""
    tree = ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8"))
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert told == skl_sae._MODULES
    assert {*told, "__version__"} == set(skl_sae.__all__)
    with pytest.raises(AttributeError, match=r"skl_sae.*no_such_name"):
        skl_sae.no_such_name  # noqa: B018
