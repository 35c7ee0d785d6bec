"""Labels that readers give to atoms."""

import hashlib
import json
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

import numpy as np


def checked_labels(labels, n_atoms):
    """Return labels as {column: text}, in order.

    Parameters
    ----------
    labels : Mapping, str, PathLike or None
        Texts by column, or the path of a JSON file of them, as the page exports it. None are none.
    n_atoms : int
        Number of columns.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        labels = _read(labels)
    checked = {_column(key, n_atoms): _text(key, text) for key, text in labels.items()}
    return {column: text for column, text in sorted(checked.items()) if text}


def _read(path):
    content = Path(path).read_text(encoding="utf-8")
    try:
        labels = json.loads(content)
    except ValueError as error:
        raise ValueError(f"Expected labels as JSON in {str(path)!r}: {error}.") from error
    if not isinstance(labels, dict):
        raise ValueError(
            f'Expected labels such as {{"17": "text"}} in {str(path)!r}, got a '
            f"{type(labels).__name__}."
        )
    return labels


def _column(key, n_atoms):
    """Return a key as the number of a column; those of JSON are text."""
    is_number = isinstance(key, Integral) and not isinstance(key, bool)
    if not is_number and not (isinstance(key, str) and key.isascii() and key.isdigit()):
        raise ValueError(f"Expected numbers of atoms as keys of labels, got {key!r}.")
    # A long row of digits is no column, and int refuses longer ones.
    if len(str(key)) > 10 or not 0 <= int(key) < n_atoms:
        raise ValueError(f"Expected labels of atoms from 0 to {n_atoms - 1}, got {key!s:.20}.")
    return int(key)


def _text(key, text):
    if not isinstance(text, str):
        raise ValueError(f"Expected text as the label of atom {key}, got {text!r}.")
    return text.strip()


def label_key(atoms, labels):
    """Return the key under which a browser keeps labels: that of these atoms and given labels.

    A report of the same model finds what was typed into an earlier one, unless it was given other
    labels, which then stand.
    """
    digest = hashlib.sha256(np.ascontiguousarray(atoms, dtype="<f4"))
    digest.update(json.dumps(labels).encode("ascii"))
    return digest.hexdigest()[:32]
