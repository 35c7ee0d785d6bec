"""Which module may import which, read from the syntax trees; and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skl_sae

FOLDER = Path(skl_sae.__file__).parent

# What each folder, or module beside them, may import of the others: one way, without a circle.
ALLOWED = {
    "_engine": set(),
    "metrics": {"images"},
    "images": {"_engine"},
    "datasets": {"images"},
    "_training": {"_engine", "metrics"},
    # The version stands at the top, and is there by the time that a model is saved.
    "_model_file": {"_training", "_engine", "images", "__version__"},
    "autoencoders": {"_model_file", "_training", "_engine", "images", "metrics"},
    "inspection": {"autoencoders", "images", "metrics"},
    "plotting": {"inspection", "images", "metrics"},
    "report": {"inspection", "images", "metrics", "_model_file"},
    "interop": {"autoencoders", "_model_file", "_training", "_engine", "images"},
    "_command": {
        "report", "plotting", "inspection", "interop", "autoencoders", "_model_file", "_training",
        "_engine", "images", "datasets", "metrics",
    },
    "__main__": {"_command", "__version__"},
    "__init__": {
        "autoencoders", "images", "metrics", "_model_file",
        "datasets", "inspection", "interop", "plotting", "report",  # for type checkers
    },
}  # fmt: skip
# What no module of a folder imports at any depth, and why.
FORBIDDEN = [
    ("_engine", {"sklearn"}),  # numbers in, numbers out
    ("_engine/kernels", {"torch"}),  # compiled loops work on arrays
    ("inspection", {"torch", "matplotlib"}),  # arrays in, arrays out
    ("plotting", {"torch"}),  # views of fitted arrays
    ("report", {"torch"}),
]
MOST_ENTRIES, MOST_PARAMETERS = 14 + len(["py.typed"]), 8
MODULES = sorted(FOLDER.rglob("*.py"))


def name_of(path):
    """The folder or module at the top of the package that a file belongs to."""
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def imports(path):
    """Dotted names of all that a module imports, at any depth; ours without the package's name."""
    package = path.relative_to(FOLDER).parts[:-1]
    ours, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            others |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level]
            for alias in node.names:
                parts = (*base, *filter(None, (node.module or "").split(".")), alias.name)
                ours.add(".".join(parts))
    return ours, others


def has_name(imported, name):
    return imported == name or imported.startswith(f"{name}.")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_imports_run_one_way(path):
    here = name_of(path)
    ours, others = imports(path)
    folders = {name.split(".")[0] for name in ours} - {here}
    if here == "_command":  # whose main part uses what every user does
        folders -= set(skl_sae.__all__)
    assert folders <= ALLOWED[here]
    assert not any(has_name(name, "skl_sae") for name in others)


def test_the_rules_have_no_circle():
    left = dict(ALLOWED)
    while left:
        free = [name for name in left if not left[name] & set(left)]
        assert free, left
        for name in free:
            del left[name]


@pytest.mark.parametrize(("folder", "names"), FORBIDDEN, ids=lambda value: str(value))
def test_what_a_folder_does_not_know(folder, names):
    found = {
        (path.name, name)
        for path in (FOLDER / folder).rglob("*.py")
        for name in names
        if any(has_name(imported, name) for imported in imports(path)[1])
    }
    assert not found


def test_kernels_know_nothing_of_the_engine_but_how_work_is_shared():
    for path in (FOLDER / "_engine" / "kernels").glob("*.py"):
        outside = {name for name in imports(path)[0] if not has_name(name, "_engine.kernels")}
        assert {name.split(".")[1] for name in outside} <= {"_parameters", "_shares", "_tuning"}


def test_the_top_shows_the_idea():
    entries = [path.name for path in FOLDER.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, entries


def n_parameters(function):
    """Number of parameters but self and cls."""
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return len(given) - (bool(given) and given[0].arg in ("self", "cls"))


def test_no_function_has_many_parameters():
    """But public constructors; what travels together has a name."""
    many = {
        f"{path.relative_to(FOLDER)}: {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and n_parameters(node) > MOST_PARAMETERS
    }
    assert many == {
        "autoencoders/_conv.py: __init__", "autoencoders/_deep.py: __init__",
        "autoencoders/_topk.py: __init__", "images/_augmenter.py: __init__",
    }  # fmt: skip


def test_docstrings_begin_with_what_they_are_about():
    root, questions = FOLDER.parent, ("What ", "Whose ", "Who ", "Of ")
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    begun = [
        f"{path.relative_to(root)}: {docstring.splitlines()[0]}"
        for folder in ("skl_sae", "benchmarks", "tests")
        for path in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds)
        and (docstring := ast.get_docstring(node) or "").startswith(questions)
    ]
    assert begun == []


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
        if isinstance(node, ast.ImportFrom) and node.level and node.module
        for alias in node.names
    }
    assert told == skl_sae._MODULES
    modules = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level and not node.module
        for alias in node.names
    }
    assert modules == skl_sae._WITH_NAMES
    assert {*told, "__version__"} == set(skl_sae.__all__)
    with pytest.raises(AttributeError, match=r"skl_sae.*no_such_name"):
        skl_sae.no_such_name  # noqa: B018
