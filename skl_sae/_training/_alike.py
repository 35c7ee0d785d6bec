"""Facts by which processes see that they were given the same fit."""

import zlib

import numpy as np

# Rows that are looked at, evenly spaced; those of a batch are compared in training.
_MOST_ROWS = 1024
# Parameters that may differ: files and what is printed are one rank's; devices have numbers; the
# state of rank 0 counts for all.
_FREE = {"checkpoint", "checkpoint_interval", "device", "random_state", "verbose"}


def facts_of(parameters, rows):
    """Facts about a fit.

    Parameters
    ----------
    parameters : dict
        Those of the estimator. Of objects only the type counts.
    rows : RowSource
        All rows.
    """
    facts = {name: _fact(value) for name, value in parameters.items() if name not in _FREE}
    few, weight = rows.sample(np.random.RandomState(0)), rows.weight
    facts["shape of X"] = rows.n_rows, rows.n_features
    facts["rows (checksum)"] = _checksum(few.X)
    facts["sample_weight (checksum)"] = None if weight is None else _checksum(weight)
    facts["groups (checksum)"] = None if rows.groups is None else _checksum(rows.groups)
    return facts


def _fact(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
        return _checksum(np.asarray(value))
    return type(value).__name__


def _checksum(array):
    step = max(1, len(array) // _MOST_ROWS)
    return zlib.crc32(np.ascontiguousarray(array[::step]).tobytes())
