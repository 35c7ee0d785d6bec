"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
import stat


class IrregularFileError(ValueError):
    """Something that is no regular file stands where one is to be written."""


@contextlib.contextmanager
def replacing(path, mode="wb", **options):
    """Open a new file that takes the place of path when the block ends without an error.

    The bytes go to a hidden temporary file beside it, which replaces it once they are on the
    disk; after an error, path is what it was. A symbolic link goes on pointing at the file. The
    permissions of an existing file are kept, and the temporary file never has more than these; a
    new file has those that the umask leaves.

    Parameters
    ----------
    path : str or path-like
        The file to write, in a folder that exists.
    mode : {"wb", "w"}, default="wb"
        As in `open`, which the further options go to.

    Raises
    ------
    IrregularFileError
        If path is a folder, a device or the like.
    """
    target = os.path.realpath(path)
    permissions = _permissions(target)
    temporary = os.path.join(os.path.dirname(target), f".skl_sae-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # Until it is whole, a file that replaces another is its owner's alone.
    handle = os.open(temporary, flags, 0o666 if permissions is None else 0o600)
    try:
        with open(handle, mode, **options) as file:
            yield file
            file.flush()
            if permissions is not None:
                os.chmod(temporary, permissions)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(target))


def _permissions(target):
    """Permissions of the file that is to be replaced; None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise IrregularFileError(
            f"Expected a regular file or none, got something else: {os.fsdecode(target)!r}."
        )
    return stat.S_IMODE(mode)


def _sync_folder(folder):
    """Make a rename last, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
