"""What the report shows of atoms and images, for all of them at once."""

import numpy as np


def evenly_ranked(values, n):
    """Numbers of n values, evenly spaced in rank, both ends among them, in their order."""
    if len(values) <= n:
        return np.arange(len(values))
    ranks = np.linspace(0, len(values) - 1, n).round().astype(np.int64)
    return np.sort(np.argsort(values, kind="stable")[ranks])


def top_images(codes, n):
    """The n strongest codes of each column: rows, -1 where there are fewer, and the codes.

    What inspection.top_samples finds for one atom, for all in one sort.
    """
    entries = codes.tocoo()
    order = np.lexsort((entries.row, -np.abs(entries.data), entries.col))
    column = entries.col[order]
    first = np.searchsorted(column, np.arange(codes.shape[1]))
    rank = np.arange(len(order)) - first[column]
    kept = rank < n
    rows = np.full((codes.shape[1], n), -1)
    values = np.zeros(rows.shape)
    rows[column[kept], rank[kept]] = entries.row[order][kept]
    values[column[kept], rank[kept]] = entries.data[order][kept]
    return rows, values


def nearest_atoms(gram, member, n_nearest):
    """The nearest atoms by cosine: one in each other member, or n_nearest where there is none.

    Returns atoms, -1 where there are fewer, and cosines, the nearest first.
    """
    lengths = np.sqrt(gram.diagonal())
    cosine = gram / np.outer(lengths, lengths).clip(np.finfo(np.float32).tiny)
    members = np.unique(member)
    if len(members) > 1:
        cosine[member[:, None] == member] = -np.inf
        groups = [np.flatnonzero(member == e) for e in members]
        nearest = np.stack([atoms[cosine[:, atoms].argmax(axis=1)] for atoms in groups], axis=1)
    else:
        np.fill_diagonal(cosine, -np.inf)
        n = min(n_nearest, len(cosine))
        nearest = np.argpartition(-cosine, n - 1, axis=1)[:, :n]
    cosines = np.take_along_axis(cosine, nearest, axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    cosines = np.take_along_axis(cosines, order, axis=1)
    return np.where(np.isfinite(cosines), nearest, -1), np.nan_to_num(cosines, neginf=0)


def histograms(codes, atoms, n_bins):
    """Counts of each atom's codes between its smallest, or 0, and its largest, or 0."""
    codes = codes[:, atoms]
    low = codes.min(axis=0).toarray().ravel().clip(max=0)
    high = codes.max(axis=0).toarray().ravel().clip(min=0)
    width = np.where(high > low, high - low, 1)
    column = codes.indices
    place = ((codes.data - low[column]) / width[column] * n_bins).astype(np.int64)
    place = column * n_bins + place.clip(0, n_bins - 1)
    counts = np.bincount(place, minlength=len(atoms) * n_bins)
    return counts.reshape(len(atoms), n_bins), low, high


def cumulative(share, n=200):
    """The sum of the largest shares, at n + 1 evenly spaced numbers of them from 0 to all."""
    curve = np.concatenate([[0], np.cumsum(np.sort(share)[::-1])])
    return np.interp(np.linspace(0, len(curve) - 1, n + 1), np.arange(len(curve)), curve)


class CorrelationCurves:
    """Correlations of images with their reconstructions, as the atoms are added up one by one.

    They need products of atoms, images and centre only, so no reconstruction is formed.

    Parameters
    ----------
    rows : ndarray of shape (n_images, n_features)
        The images.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms.
    gram : ndarray of shape (n_atoms, n_atoms)
        Their scalar products.
    centre : ndarray of shape (n_features,)
        What is there before any atom.
    """

    def __init__(self, rows, atoms, gram, centre):
        rows = rows - rows.mean(axis=1, keepdims=True)
        centre = centre - centre.mean()
        means = atoms.mean(axis=1)
        self._gram = gram - atoms.shape[1] * np.outer(means, means)
        self._of_atoms, self._of_centre = rows @ atoms.T, rows @ centre
        self._centre_atoms, self._centre_square = atoms @ centre, float(centre @ centre)
        self._lengths = np.linalg.norm(rows, axis=1)

    def curve(self, i, active, codes):
        """Correlation of image i with the centre, with one atom, two and so on; 0 if undefined."""
        z = codes.astype(np.float64)
        products = z[:, None] * self._gram[np.ix_(active, active)] * z
        # Adding an atom adds its products with all atoms before it, twice, and with itself.
        added = 2 * np.tril(products, -1).sum(axis=1) + products.diagonal()
        added += 2 * z * self._centre_atoms[active]
        square = self._centre_square + np.concatenate([[0], np.cumsum(added)])
        product = self._of_centre[i] + np.cumsum(np.append(0, z * self._of_atoms[i, active]))
        length = np.sqrt(square.clip(0)) * self._lengths[i]
        return np.divide(product, length, np.zeros_like(length), where=length > 0).clip(-1, 1)
