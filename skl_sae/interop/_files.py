"""Files of other libraries: JSON and torch's state dicts, read without trust, written whole."""

import json
import os
import zipfile
from io import BytesIO

import numpy as np
import torch

from .._model_file._format import version
from .._model_file._safetensors import finite_floats, opened, replaced, strict_json
from .._model_file._schema import LARGEST, whole

_MOST_JSON = 2**20  # bytes


def new_folder(folder):
    """Path of a folder, which is made if there is none."""
    folder = os.fspath(folder)
    os.makedirs(folder, exist_ok=True)
    return folder


# --- JSON ---


def write_json(path, config):
    with replaced(path) as file:
        file.write(json.dumps(config, indent=2, allow_nan=False).encode())


def read_json(path):
    """Names and values in a file of at most 1 MB."""
    with opened(path) as (file, size):
        if size > _MOST_JSON:
            raise ValueError(f"Expected at most {_MOST_JSON} bytes of JSON, got {size}.")
        return named(file.readall())


def named(text):
    """Names and values of a JSON text."""
    config = strict_json(text)
    if not isinstance(config, dict):
        raise ValueError("Expected a configuration with names.")
    return config


def value_of(config, name, kinds, default):
    """A value of a configuration, which must be one of these, or of a type that is given."""
    value = config.get(name, default)
    is_fine = isinstance(value, kinds) if isinstance(kinds, type) else value in kinds
    if not is_fine:
        wanted = kinds.__name__ if isinstance(kinds, type) else " or ".join(map(repr, kinds))
        raise ValueError(f"Expected {name!r} as {wanted}, got {value!r:.60}.")
    return value


def size_of(config, name, least=1, default=None):
    """A whole number of a configuration."""
    value = config.get(name, default)
    if not whole(value, least):
        raise ValueError(
            f"Expected {name!r} as a whole number from {least} to {LARGEST - 1}, got {value!r:.60}."
        )
    return value


def k_of(k, n_atoms):
    """Number of active atoms, if it is one."""
    if not whole(k, 1, n_atoms):
        raise ValueError(f"Expected k from 1 to {n_atoms}, the number of atoms, got {k!r:.60}.")
    return k


def our_version():
    """Text for files that name what wrote them."""
    return f"skl_sae {version()}"


# --- State dicts of torch ---


def write_state(path, arrays, header=b""):
    """Write arrays as torch.save writes a state dict, behind a header."""
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    with replaced(path) as file:
        file.write(header)
        torch.save(state, file)


def read_state(data):
    """Arrays by name from the bytes of a state dict: float32, or int64 if whole.

    Nothing in it is run: torch reads tensors alone, from an archive that is not compressed.
    """
    _check_archive(data)
    try:
        state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file it raises whatever its parts do
        raise ValueError(
            "Expected a state dict that torch.load(weights_only=True) reads, got a "
            f"{type(error).__name__}."
        ) from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError("Expected a state dict: tensors by name.")
    return {name: _array(name, tensor) for name, tensor in state.items()}


def _check_archive(data):
    """Refuse all but what torch.save writes now, which takes no more memory than it is long."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        raise ValueError("Expected an archive as torch.save writes it since 1.6.") from None
    stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not stored or sum(part.file_size for part in parts) > len(data):
        raise ValueError("Expected an archive that is not compressed.")


def _array(name, tensor):
    is_plain = (
        isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
        and tensor.device.type == "cpu" and not tensor.is_quantized
    )  # fmt: skip
    # A stride of 0 would make much of little.
    if not is_plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"Expected {name!r} as a dense tensor.")
    tensor = tensor.detach().resolve_neg()  # a flag that NumPy does not know
    if tensor.dtype in (torch.int16, torch.int32, torch.int64, torch.uint8):
        return tensor.numpy().astype(np.int64)
    if not tensor.is_floating_point():
        raise ValueError(f"Expected {name!r} of numbers, got {tensor.dtype}.")
    return finite_floats(name, tensor.float().numpy())


def check_shapes(arrays, expected):
    """A ValueError that names the array which is missing, unknown or of another shape."""
    for name in sorted(set(arrays) | set(expected)):
        if name not in expected:
            raise ValueError(f"Expected no {name[:80]!r}, which means another model.")
        if name not in arrays:
            raise ValueError(f"Expected {name!r}, which is missing.")
        if arrays[name].shape != expected[name]:
            raise ValueError(
                f"Expected {name!r} of shape {expected[name]}, got {arrays[name].shape}."
            )
