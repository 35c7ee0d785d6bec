"""Examples of where atoms fire, from the strongest to the weakest."""

from typing import NamedTuple

import numpy as np

from ..inspection._samples import by_strength
from ._page import packed


class Examples(NamedTuple):
    """Samples from the upper quarter, the middle half and the lower quarter of each atom's codes.

    The first axis is that of the atoms, the second that of the three bands.
    """

    samples: np.ndarray  # (n_atoms, 3, n_each); -1 if there are fewer
    values: np.ndarray  # their codes; 0 if there are fewer
    sizes: np.ndarray  # (n_atoms, 3): samples in each band
    limits: np.ndarray  # (n_atoms, 3, 2): codes of the strongest and the weakest of them

    def data(self):
        """Return the data of the page's script."""
        return {
            "example": packed(self.samples, "i2"),
            "example_code": packed(self.values, "f4"),
            "example_size": packed(self.sizes, "u2"),
            "example_limit": packed(self.limits, "f4"),
        }


def examples(codes, n_strongest, n_each):
    """Choose samples from quantiles of each atom's codes, as the strongest alone flatter it.

    Of the n samples on which an atom fires, by absolute code, the upper quarter are the first
    n // 4, the lower the last n // 4. In each band the chosen ranks are the middles of n_each
    equal parts, so nothing is drawn by chance. Equal codes are sorted by sample.

    Parameters
    ----------
    codes : sparse array of shape (n_samples, n_atoms)
        Codes without stored zeros.
    n_strongest : int
        Number of strongest samples that are shown anyway, and so are in no band.
    n_each : int
        Largest number of samples from each band.
    """
    entries = by_strength(codes)
    first, n = entries.first[:-1, None], np.diff(entries.first)[:, None]
    edges = np.hstack([0 * n, n // 4, n - n // 4, n])
    start, end = edges[:, :-1].clip(min=n_strongest), edges[:, 1:]
    sizes = (end - start).clip(min=0)
    part, n_parts = np.arange(n_each), sizes.clip(max=n_each)[..., None]
    ranks = start[..., None] + (2 * part + 1) * sizes[..., None] // (2 * n_parts.clip(min=1))
    found, limits = part < n_parts, np.zeros((*sizes.shape, 2))
    places = (first[..., None] + ranks)[found]
    samples, values = np.full(ranks.shape, -1), np.zeros(ranks.shape)
    samples[found], values[found] = entries.sample[places], entries.value[places]
    some = sizes > 0
    limits[some, 0] = entries.value[(first + start)[some]]
    limits[some, 1] = entries.value[(first + end - 1)[some]]
    return Examples(samples, values, sizes, limits)
