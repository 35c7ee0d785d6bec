"""Compiled loops. numba takes a second to import, so each is imported when first asked for."""

from importlib import import_module

_MODULES = {
    "compile_training": "_ahead",
    "Explained": "_parcels",
    "Picks": "_parcels",
    "add_at_places": "_places",
    "multiply_picked": "_places",
    "sum_picks": "_places",
    "adam_step": "_lazy_adam",
    "catch_up_atoms": "_lazy_adam",
    "update_atoms": "_lazy_adam",
    "add_weighted_rows": "_rows",
    "center_rows": "_rows",
    "correlate_rows": "_rows",
    "decode_rows": "_rows",
    "explain_rows": "_rows",
    "multiply_rows": "_rows",
    "count_firing": "_gather",
    "gather_picks": "_gather",
    "sort_picks": "_gather",
    "correct_rows": "_layers",
    "merge_rows": "_merge",
    "own_rows": "_merge",
    "select_rows": "_top_k",
    "n_ranges": "_ranges",
    "run": "_ranges",
    "pursue_images": "_conv_pursuit",
    "pursue_rows": "_pursuit",
    "refit_atoms": "_pursuit",
    "refit_images": "_refit",
    "refit_rows": "_refit",
}


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # so that this is not asked again
    return value
