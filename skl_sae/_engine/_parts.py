"""Parts of a model, of which each of several processes keeps one."""

import numpy as np


class Parts:
    """Members, or atoms of all members, that each rank keeps.

    Parameters
    ----------
    shape : tuple (E, H, D)
        Members, atoms and features of the whole model.
    n_ranks : int
        Number of parts.
    rank : int
        Number of the part that is kept here.
    by_members : bool or None, default=None
        Whether members are kept whole. None keeps them whole where there are enough for all.
    """

    def __init__(self, shape, n_ranks, rank, by_members=None):
        self.shape = tuple(shape)
        self.by_members = shape[0] >= n_ranks if by_members is None else by_members
        self.axis = 0 if self.by_members else 1
        bounds = [r * shape[self.axis] // n_ranks for r in range(n_ranks + 1)]
        self.sizes = np.diff(bounds).tolist()
        self.rank, self.start, self.stop = rank, bounds[rank], bounds[rank + 1]

    @property
    def here(self):
        """The part that is kept here: a slice of members or of atoms."""
        return slice(self.start, self.stop)

    def _axis_of(self, name):
        """The axis along which an array of this name is cut; None for one that all ranks have."""
        of, _, what = name.partition(".")
        if of in ("rates", "frequency") or what == "n_steps":
            return None
        if of in ("centers", "thresholds"):
            return 0 if self.by_members else None
        return self.axis

    def cut(self, name, array):
        """A copy of the part of a named array of `LinearModel` that is kept here."""
        axis = self._axis_of(name)
        if axis is None:
            return array.copy()
        part = self._unflattened(name, array)[(slice(None),) * axis + (self.here,)]
        return self._flattened(name, array.ndim, part).copy()

    def join(self, name, part, collect):
        """The whole of a named array of which all ranks have their parts.

        Parameters
        ----------
        name : str
            As `LinearModel` calls it.
        part : ndarray
            The part that is kept here.
        collect : callable
            Is given this part and the shapes of all, and returns all.
        """
        axis, ndim = self._axis_of(name), part.ndim
        if axis is None:  # alike everywhere, or meant to be
            return collect(part, [part.shape, *[(0,)] * (len(self.sizes) - 1)])[0]
        part = np.ascontiguousarray(self._unflattened(name, part))
        shapes = [(*part.shape[:axis], size, *part.shape[axis + 1 :]) for size in self.sizes]
        whole = np.concatenate(collect(part, shapes), axis=axis)
        return self._flattened(name, ndim, whole)

    def _unflattened(self, name, array):
        """Arrays of atoms (E H, ...) as (E, H, ...)."""
        if not _is_flat(name, array.ndim):
            return array
        n_members = self.sizes[self.rank] if self.by_members else self.shape[0]
        # A whole array has all members, a part of one may have fewer.
        n_atoms = self.shape[1] if self.by_members else len(array) // n_members
        return array.reshape(len(array) // n_atoms, n_atoms, *array.shape[1:])

    def _flattened(self, name, ndim, array):
        """The inverse, for an array that had so many axes."""
        if not _is_flat(name, ndim):
            return array
        return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])


def _is_flat(name, ndim):
    """Whether an array lists the atoms of all members, as compiled loops take them."""
    return name.partition(".")[0] in ("decoder", "encoder") and ndim < 3
