"""Public functions have types, all of their parameters and what they return.

That the types are right for a user is what `python -m mypy` finds of user.py.
"""

import importlib
import inspect

import pytest

import skl_sae

MODULES = ["skl_sae", *(f"skl_sae.{name}" for name in sorted(skl_sae._WITH_NAMES))]
SPECIAL = "__init__", "__len__", "__getitem__"


def public_functions():
    """Functions of all public names, by dotted name, also those that classes inherit from ours."""
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing):
                yield from methods(thing)
            elif callable(thing):
                yield f"{module.__name__}.{name}", inspect.unwrap(thing)


def methods(cls):
    for base in cls.__mro__:
        if base.__module__.split(".")[0] != "skl_sae":
            continue
        for name, value in vars(base).items():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            is_public = name in SPECIAL or not name.startswith("_")
            if is_public and inspect.isfunction(function):
                yield f"{base.__module__}.{base.__name__}.{name}", inspect.unwrap(function)


@pytest.mark.parametrize(("name", "function"), sorted(dict(public_functions()).items()))
def test_it_has_types(name, function):
    signature = inspect.signature(function)
    without = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
    ]
    assert not without
    assert signature.return_annotation is not signature.empty


def test_all_are_found():
    names = dict(public_functions())
    assert len(names) > 100
    assert "skl_sae.autoencoders._base.BaseSparseAutoencoder.transform" in names
    assert "skl_sae.images._finder.find_images" in names or "skl_sae.find_images" in names
