"""Devices and their memory."""

import math
import os

import torch


def resolve_device(device):
    """Return the torch device that a parameter names; a ValueError names it if there is none."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(
            f"Expected device 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}."
        )
    n_devices = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[resolved.type]
    if (resolved.index or 0) >= n_devices:
        raise ValueError(
            f"The device {str(device)!r} is not available on this machine. "
            'Use device="cpu" or device="auto".'
        )
    return resolved


def check_fits(n_bytes, what):
    """Raise a MemoryError that names what is too much for the whole memory of this machine.

    A system may promise memory that it does not have, and end the process that uses it.
    """
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system; NumPy will say
        return
    if n_bytes > available:
        raise MemoryError(f"{what} needs {n_bytes} bytes; this machine has {available}.")


class Workspace:
    """Memory kept from step to step; fresh pages cost more than the arithmetic."""

    def __init__(self, device):
        self.device = device
        self._kept = {}

    def get(self, name, shape):
        """A float32 tensor of this shape, in which anything may stand."""
        kept, shaped = self._kept.get(name, (None, None))
        if shaped is None or shaped.shape != shape:
            size = math.prod(shape)
            # The last batch of an epoch is smaller, and gets a part.
            if kept is None or kept.numel() < size:
                kept = torch.empty(size, device=self.device)
            shaped = kept[:size].view(shape)
            self._kept[name] = kept, shaped
        return shaped
