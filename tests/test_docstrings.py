"""Every public name has an example that runs, and a place in the API reference."""

import importlib
from pathlib import Path

import pytest

import skl_sae

API = Path(__file__).parent.parent / "docs" / "api.rst"
# Their names are public at the top of the package.
INNER = {"autoencoders", "images", "metrics"}
MODULES = ["skl_sae"] + [
    f"skl_sae.{path.stem}"
    for path in sorted(Path(skl_sae.__file__).parent.iterdir())
    if not path.name.startswith("_") and path.stem not in INNER and path.suffix in ("", ".py")
]
NAMES = [
    (module, name)
    for module in MODULES
    for name in getattr(importlib.import_module(module), "__all__", ())
    if not name.startswith("__")
]


def test_every_public_module_says_what_is_public():
    assert {module for module, _ in NAMES} == set(MODULES)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=".".join)
def test_has_an_example_and_a_place(module, name):
    thing = getattr(importlib.import_module(module), name)
    is_error = isinstance(thing, type) and issubclass(thing, Exception)
    assert is_error or ">>> " in thing.__doc__  # pytest runs them
    section = API.read_text(encoding="utf-8").split(f".. currentmodule:: {module}\n")
    assert any(f"\n   {name}\n" in part for part in section[1:])
