"""One file of arrays in the safetensors format: written atomically, read without trust.

The layout is eight bytes with the length of a JSON header, the header, and the arrays' bytes
one after another. It is read and written here, not by the library of that name, because that
one takes twice the memory, replaces links by files, and has no checksum; the tests hold our
files against it. The metadata and arrays that a reader gets are those that were written, or
it gets a `ModelFileError`.
"""

import contextlib
import hashlib
import json
import math
import os
import stat
import struct

import numpy as np

from ..images._typing import AnyPath
from ._atomic import IrregularFileError, replacing

_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U32": "<u4", "U8": "|u1"}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
# Of other libraries' files. NumPy has no bfloat16, which is the upper half of a float32.
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_MAX_HEADER = 2**20  # bytes; JSON may take some forty times the memory of its text
_MAX_REASON = 500  # characters
_CHUNK = 2**24  # bytes hashed and written while they are in cache


class ModelFileError(ValueError):
    """A model file that cannot be trusted, or a model that cannot be written to one.

    Parameters
    ----------
    path : str or path-like
        The file.
    reason : str
        What about it was not as expected. The message has both.

    See Also
    --------
    TopKSparseAutoencoder.load : Reads a model from a file.
    """

    def __init__(self, path: AnyPath, reason: str) -> None:
        reason = printable(reason, _MAX_REASON)
        super().__init__(f"{os.fsdecode(path)}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)


def printable(text, limit):
    """Text of a file as a terminal may show it: short, and without what would steer it."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


@contextlib.contextmanager
def trouble_with(path):
    """Make a `ModelFileError` that names the file of what is found wrong in the block."""
    if isinstance(path, OpenFile):
        path = path.path
    try:
        yield
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:
        # Not chained: the text of what caused it may be as long as the file and hold anything.
        raise ModelFileError(path, str(error)) from None


# --- Writing ---


def write_arrays(path, arrays, metadata):
    """Write arrays, by name, and metadata, from str to str, so that path never holds a part.

    `replacing` says what becomes of links and permissions.
    """
    with replaced(path, buffering=0) as file:
        _write(file, arrays, metadata)


@contextlib.contextmanager
def replaced(path, **options):
    """Open a new file as `replacing` does; a `ModelFileError` where path is no regular file."""
    try:
        with replacing(path, **options) as file:
            yield file
    except IrregularFileError as error:
        raise ModelFileError(
            path, "Expected a regular file or none, got something else."
        ) from error


def _write(file, arrays, metadata):
    names = sorted(arrays)
    arrays = {name: _as_stored(arrays[name]) for name in names}
    entries, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        entries[name] = {
            "dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end],
        }  # fmt: skip
    # The checksum takes its place when all has been seen; its length is known.
    header = _header({**metadata, "sha256": "0" * 64}, entries)
    _write_all(file, header)
    digest = _digest(metadata, entries)
    for array in arrays.values():
        for chunk in _chunks(array):
            digest.update(chunk)
            _write_all(file, chunk)
    file.seek(0)
    _write_all(file, _header({**metadata, "sha256": digest.hexdigest()}, entries))


def _as_stored(array):
    return np.asarray(array, dtype=np.dtype(array.dtype).newbyteorder("<"), order="C")


def _header(metadata, entries):
    text = json.dumps({"__metadata__": metadata, **entries}, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    return struct.pack("<Q", len(text)) + text


def _digest(metadata, entries):
    """A hash to go on with over the arrays' bytes by name, of all that a reader gets besides."""
    kept = {name: value for name, value in metadata.items() if name != "sha256"}
    kinds = {name: [entry["dtype"], entry["shape"]] for name, entry in entries.items()}
    return hashlib.sha256(json.dumps([kept, kinds], sort_keys=True).encode())


def _chunks(array):
    view = memoryview(array.reshape(-1).view(np.uint8))
    for start in range(0, len(view), _CHUNK):
        yield view[start : start + _CHUNK]


def _write_all(file, data):
    """An unbuffered file may take less than it is given, when the disk is nearly full."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


# --- Reading ---


def read_arrays(path, describe):
    """Arrays of a file that `write_arrays` wrote, after every check that can be made.

    Parameters
    ----------
    path : str, path-like or OpenFile
        The file.
    describe : callable
        Given the metadata, returns the expected (dtype, shape) of each array by name, and
        raises ValueError where the metadata themselves are not usable. Nothing is allocated
        before the file's own statements agree with it and with the file's size.

    Returns
    -------
    metadata : dict
        From str to str.
    arrays : dict
        From str to ndarray; every number is finite.
    """
    if isinstance(path, OpenFile):
        return _read(path, describe)
    with open_file(path) as file:
        return _read(file, describe)


def read_metadata_alone(path):
    """Metadata of a file that `write_arrays` wrote, from str to str; nothing else is looked at."""
    with open_file(path) as file:
        return file.metadata


class OpenFile:
    """An open file whose header has been read, so that its kind is known before its arrays are."""

    def __init__(self, path, file, size):
        self.path, self.file = path, file
        self.entries, self.begin = _read_header(file, size)
        self.n_bytes = size - self.begin
        self.metadata = _checked_metadata(self.entries.pop("__metadata__", None))


@contextlib.contextmanager
def open_file(path):
    """Open a file for `read_arrays`; trouble is told as by `opened`."""
    with opened(path) as (file, size):
        yield OpenFile(path, file, size)


@contextlib.contextmanager
def opened(path):
    """Open a regular file; gives it, unbuffered, and its size.

    What is found wrong in the block becomes a `ModelFileError`, as by `trouble_with`.
    """
    # Opening a pipe would wait for someone to write to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(path, "Expected a regular file.")
        with trouble_with(path), open(handle, "rb", buffering=0, closefd=False) as file:
            yield file, status.st_size
    finally:
        os.close(handle)


def read_foreign_arrays(path, describe):
    """Arrays of floats in a safetensors file of another library, which has no checksum.

    Parameters
    ----------
    path : str or path-like
        The file.
    describe : callable
        Given the names of the arrays, returns the expected shape of each by name. Nothing is
        allocated before the file's own statements agree with it and with the file's size.

    Returns
    -------
    arrays : dict
        From str to ndarray, float32; every number is finite.
    """
    with opened(path) as (file, size):
        entries, begin = _read_header(file, size)
        entries.pop("__metadata__", None)
        expected = {name: (_kind_of_floats(name, entries.get(name)), shape)
                    for name, shape in describe(set(entries)).items()}  # fmt: skip
        _check_entries(entries, expected, size - begin)
        return {name: _read_floats(file, begin, name, entry) for name, entry in entries.items()}


def _kind_of_floats(name, entry):
    """The kind of number in a file's entry; any where there is none, which is found later."""
    kind = entry.get("dtype") if isinstance(entry, dict) else "F32"
    if not isinstance(kind, str) or kind not in _FLOATS:
        raise ValueError(f"Expected {name!r} as one of {sorted(_FLOATS)}, got {kind!r:.40}.")
    return kind


def _read_floats(file, begin, name, entry):
    array = np.empty(entry["shape"], _FLOATS[entry["dtype"]])
    file.seek(begin + entry["data_offsets"][0])
    for chunk in _chunks(array):
        _read_all(file, chunk)
    if entry["dtype"] == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return finite_floats(name, array)


def finite_floats(name, array):
    """An array as float32; a ValueError that names it where not all numbers are finite."""
    with np.errstate(over="ignore"):  # a number too large for float32 becomes inf
        array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers, got others in {name!r}.")
    return array


def _read(opened_file, describe):
    file, begin = opened_file.file, opened_file.begin
    entries, metadata = opened_file.entries, opened_file.metadata
    # Sizes are known to agree before any memory is taken.
    expected = {name: (_NAMES[np.dtype(dtype).newbyteorder("<")], shape)
                for name, (dtype, shape) in describe(metadata).items()}  # fmt: skip
    _check_entries(entries, expected, opened_file.n_bytes)
    digest, arrays, infinite = _digest(metadata, entries), {}, []
    for name in sorted(entries):
        file.seek(begin + entries[name]["data_offsets"][0])
        array = arrays[name] = np.empty(entries[name]["shape"], _DTYPES[entries[name]["dtype"]])
        # Read in chunks, each hashed and checked while it is in cache.
        finite = True
        for chunk in _chunks(array):
            _read_all(file, chunk)
            digest.update(chunk)
            finite &= bool(np.isfinite(np.frombuffer(chunk, array.dtype)).all())
        if not finite:
            infinite.append(name)
    if digest.hexdigest() != metadata["sha256"]:
        raise ValueError("The checksum does not match: the file is damaged.")
    if infinite:
        raise ValueError(f"Expected finite numbers, got others in {infinite[0]!r}.")
    native = {name: array.astype(array.dtype.newbyteorder("="), copy=False)
              for name, array in arrays.items()}  # fmt: skip
    return metadata, native


def _read_all(file, view):
    while view:
        n_bytes = file.readinto(view)
        if not n_bytes:
            raise ValueError("The file ends too early.")
        view = view[n_bytes:]


def _read_header(file, size):
    """Entries by name, metadata among them, and where the arrays begin."""
    if size < 8:
        raise ValueError(f"Expected a model file, got {size} bytes.")
    length = bytearray(8)
    _read_all(file, memoryview(length))
    (length,) = struct.unpack("<Q", length)
    if not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise ValueError("Expected a model file: its first bytes are not those of one.")
    text = bytearray(length)
    _read_all(file, memoryview(text))
    entries = strict_json(text)
    if not isinstance(entries, dict):
        raise ValueError("Expected a header with names.")
    return entries, 8 + length


def _checked_metadata(metadata):
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("Expected metadata of text in the header.")
    if "sha256" not in metadata:
        raise ValueError("Expected a checksum in the header.")
    return metadata


def _check_entries(entries, expected, n_bytes):
    """Each array has the expected kind and shape, and they fill the file without gap or overlap."""
    if set(entries) != set(expected):
        odd = min(set(entries) ^ set(expected))[:80]
        raise ValueError(f"Expected {len(expected)} arrays; {odd!r} is missing or unknown.")
    end, spans = 0, []
    for name, (kind, shape) in expected.items():
        entry = entries[name]
        wanted = {"dtype": kind, "shape": list(shape)}
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"Expected dtype, shape and data_offsets of {name!r}.")
        if any(repr(entry[item]) != repr(wanted[item]) for item in wanted):  # True is not 1
            got = f"{entry['dtype']!r} {entry['shape']!r}"[:100]
            raise ValueError(
                f"Expected {name!r} as {wanted['dtype']} {wanted['shape']}, got {got}."
            )
        span = entry["data_offsets"]
        length = math.prod(shape) * np.dtype((_FLOATS | _DTYPES)[kind]).itemsize
        if not isinstance(span, list) or [type(i) for i in span] != [int, int]:
            raise ValueError(f"Expected two whole numbers as data_offsets of {name!r}.")
        if span[1] - span[0] != length:
            raise ValueError(f"Expected {length} bytes of {name!r}, got others.")
        spans.append(span)
    for span in sorted(spans):
        if span[0] != end:
            raise ValueError("Expected arrays one after another.")
        end = span[1]
    if end != n_bytes:
        raise ValueError(f"Expected {end} bytes of arrays, got {n_bytes}.")


def strict_json(text):
    """JSON with each key once, finite numbers and whole ones of 64 bits; a ValueError otherwise."""

    def refuse(constant):
        raise ValueError(f"Expected finite numbers, got {constant[:20]}.")

    def finite(number):
        value = float(number)
        if not math.isfinite(value):
            refuse(number)
        return value

    def of_64_bits(number):
        value = int(number) if len(number) <= 20 else 2**63
        return value if -(2**63) <= value < 2**63 else math.inf  # for `unique`, who knows its name

    def unique(pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("Expected each key once.")
        for name, value in pairs:
            if value == math.inf or (isinstance(value, list) and math.inf in value):
                raise ValueError(f"Expected whole numbers of at most 64 bits in {name[:40]!r}.")
        return found

    try:
        return json.loads(
            text, parse_constant=refuse, parse_float=finite, parse_int=of_64_bits,
            object_pairs_hook=unique,
        )  # fmt: skip
    except RecursionError as error:
        raise ValueError("Expected JSON of less depth.") from error
