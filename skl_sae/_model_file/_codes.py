"""Files of codes: written a block at a time, and read without loading them.

A finished file is what ``scipy.sparse.save_npz`` writes: a zip archive of the arrays of a CSR
matrix, not compressed. Since the arrays of such a file follow one another, each grows in a file of
its own until all blocks are there, in a folder beside it.
"""

import json
import os
import shutil
import zipfile

import numpy as np
import scipy.sparse as sp

from ..images._typing import AnyPath
from ._atomic import replacing
from ._safetensors import ModelFileError

_NAMES = "data", "indices", "indptr"
# On disk, while they grow; ends of rows may exceed 32 bits.
_DTYPES = {"data": np.dtype(np.float32), "indices": np.dtype(np.int32), "indptr": np.dtype("i8")}
_COPIED = 2**20  # numbers at a time
_MOST_INT32 = np.iinfo(np.int32).max


class CodesWriter:
    """CSR rows that are appended to a file, which another process may go on with.

    Parameters
    ----------
    path : str or path-like
        The file that there will be in the end. What is written until then is in the folder
        ``path + ".part"``.
    identity : str
        Tells rows and model from others. A folder of others is not gone on with.
    n_columns : int
        Of the codes.
    """

    def __init__(self, path, identity, n_columns):
        self.path, self.identity, self.n_columns = os.fspath(path), identity, n_columns
        if os.path.lexists(self.path) and not os.path.isfile(self.path):
            raise ModelFileError(self.path, "Expected a regular file or none.")
        self.folder = self.path + ".part"
        self.n_rows = self.n_stored = 0
        os.makedirs(self.folder, exist_ok=True)
        if os.path.exists(self._file("progress.json")):
            self._go_on()
        for name in _NAMES:  # numbers of a block that was not finished
            with open(self._file(name), "ab") as file:
                file.truncate(self._n_numbers(name) * _DTYPES[name].itemsize)

    def _file(self, name):
        return os.path.join(self.folder, name)

    def _n_numbers(self, name):
        return self.n_rows if name == "indptr" else self.n_stored

    def _go_on(self):
        with open(self._file("progress.json"), encoding="utf-8") as file:
            progress = json.load(file)
        if progress["identity"] != self.identity:
            raise ModelFileError(
                self.folder, "Expected the codes of these rows by this model. Remove the folder to "
                "begin anew.",
            )  # fmt: skip
        self.n_rows, self.n_stored = progress["n_rows"], progress["n_stored"]
        for name in _NAMES:
            size = os.path.getsize(self._file(name))
            if size < self._n_numbers(name) * _DTYPES[name].itemsize:
                raise ModelFileError(self._file(name), "Expected more numbers. Remove the folder.")

    def append(self, codes):
        """Add rows of a CSR matrix; they are kept whatever happens afterwards."""
        arrays = {
            "data": codes.data, "indices": codes.indices,
            "indptr": self.n_stored + codes.indptr[1:].astype(np.int64),
        }  # fmt: skip
        for name, array in arrays.items():
            with open(self._file(name), "ab") as file:
                file.write(np.ascontiguousarray(array, _DTYPES[name]))
                file.flush()
                os.fsync(file.fileno())
        self.n_rows += codes.shape[0]
        self.n_stored += codes.nnz
        with replacing(self._file("progress.json"), "w", encoding="utf-8") as file:
            json.dump({"identity": self.identity, "n_rows": self.n_rows,
                       "n_stored": self.n_stored}, file)  # fmt: skip

    def finish(self):
        """Put the arrays together in the file, and remove the folder."""
        index = np.int32 if self.n_stored <= _MOST_INT32 else np.int64
        small = {"format": np.array(b"csr"), "shape": np.array([self.n_rows, self.n_columns])}
        with replacing(self.path) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
            for name in _NAMES:
                self._add(archive, name, np.float32 if name == "data" else index)
            for name, array in small.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
        shutil.rmtree(self.folder)

    def _add(self, archive, name, dtype):
        """Copy an array into the archive."""
        starts_at_0 = name == "indptr"
        n = self._n_numbers(name) + starts_at_0
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "shape": (n,),
                  "fortran_order": False}  # fmt: skip
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            if starts_at_0:
                member.write(np.zeros(1, dtype).tobytes())
            with open(self._file(name), "rb") as file:
                while numbers := file.read(_COPIED * _DTYPES[name].itemsize):
                    member.write(np.frombuffer(numbers, _DTYPES[name]).astype(dtype).tobytes())


def load_codes(path: AnyPath) -> "sp.csr_matrix":
    """Open codes of a file as a matrix whose numbers stay there until they are asked for.

    Slices of its rows are ordinary matrices. So a classifier may learn by ``partial_fit`` from
    codes that do not fit into memory.

    Parameters
    ----------
    path : str or path-like
        A file that ``transform_to`` wrote, or ``scipy.sparse.save_npz`` of a CSR matrix with
        ``compressed=False``. Only open files that you trust to be undamaged: that indices are
        within the matrix is not checked, which would read all of it.

    Returns
    -------
    codes : csr_matrix of shape (n_samples, n_features_out)
        Not writable.

    Raises
    ------
    ModelFileError
        If it is no such file.

    See Also
    --------
    TopKSparseAutoencoder.transform_to : Writes codes to a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import scipy.sparse as sp
    >>> from skl_sae import load_codes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "codes.npz")
    ...     sp.save_npz(path, sp.csr_matrix([[0, 1, 0], [2, 0, 3]]), compressed=False)
    ...     load_codes(path)[1:].toarray()
    array([[2, 0, 3]])
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [_mapped(path, archive, name) for name in _NAMES]
            kind, shape = (
                np.lib.format.read_array(archive.open(f"{name}.npy"))
                for name in ("format", "shape")
            )
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelFileError(path, f"Expected a file of codes, not compressed ({error}).") from None
    if kind.item() not in (b"csr", "csr"):
        raise ModelFileError(path, f"Expected a CSR matrix, got {kind.item()!r:.40}.")
    return sp.csr_matrix(tuple(arrays), shape=tuple(shape.tolist()), copy=False)


def _mapped(path, archive, name):
    """An array of an archive, as a memory map."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0}[version]  # fmt: skip
        shape, _, dtype = read(member)
        header_size = member.tell()
    with open(path, "rb") as file:  # the member begins behind a header of its own
        file.seek(info.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
    offset = info.header_offset + 30 + int(lengths.sum()) + header_size
    if not shape[0]:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", offset, shape)
