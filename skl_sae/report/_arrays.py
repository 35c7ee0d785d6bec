"""Arrays of the report, computed for all atoms or images at once."""

import numpy as np
from sklearn.utils import gen_batches

from ..inspection._usage import cumulative_share


def evenly_ranked(values, n):
    """Return the indices, ascending, of n values evenly spaced in rank, with both ends."""
    if len(values) <= n:
        return np.arange(len(values))
    # Even in rank, so that the worst, the best and the median are among them.
    ranks = np.linspace(0, len(values) - 1, n).round().astype(np.int64)
    return np.sort(np.argsort(values, kind="stable")[ranks])


def strongest_codes(codes, norms, n):
    """Return, for each sample, the n atoms that add most to its reconstruction, and their codes.

    An atom of norm |d| and code z adds a vector of length |z| |d|. None for n means all.
    """
    strongest = []
    for start, end in zip(codes.indptr[:-1], codes.indptr[1:], strict=True):
        atoms, values = codes.indices[start:end], codes.data[start:end]
        order = np.argsort(-np.abs(values) * norms[atoms], kind="stable")[:n]
        strongest.append((atoms[order], values[order]))
    return strongest


def nearest_atoms(gram, member, n_nearest):
    """Find the nearest atoms by cosine: one in each other member, or n_nearest of one member.

    Parameters
    ----------
    gram : ndarray of shape (n_atoms, n_atoms)
        Scalar products of the atoms.
    member : ndarray of shape (n_atoms,)
        Member of each atom.
    n_nearest : int
        Number of atoms to find if there is only one member.

    Returns
    -------
    nearest : ndarray of shape (n_atoms, n)
        Indices of atoms, nearest first; -1 if there are fewer.
    cosines : ndarray of shape (n_atoms, n)
        Their cosines.
    """
    lengths = np.sqrt(gram.diagonal())
    cosine = gram / np.outer(lengths, lengths).clip(np.finfo(np.float32).tiny)
    members = np.unique(member)
    # Several members: what each of the others has learned of the same.
    if len(members) > 1:
        cosine[member[:, None] == member] = -np.inf
        groups = [np.flatnonzero(member == e) for e in members]
        nearest = np.stack([atoms[cosine[:, atoms].argmax(axis=1)] for atoms in groups], axis=1)
        nearest, cosines = _in_order(nearest, np.take_along_axis(cosine, nearest, axis=1))
    else:
        np.fill_diagonal(cosine, -np.inf)
        nearest, cosines = largest(cosine, n_nearest)
    # An atom itself, and for several members all of its own member, have the cosine -inf.
    return np.where(np.isfinite(cosines), nearest, -1), np.nan_to_num(cosines, neginf=0)


def largest(values, n):
    """Return the columns of the n largest values of each row, largest first, and these values."""
    n = min(n, values.shape[1])
    # Only the largest are sorted; there may be thousands.
    columns = np.argpartition(-values, n - 1, axis=1)[:, :n]
    return _in_order(columns, np.take_along_axis(values, columns, axis=1))


def _in_order(columns, values):
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def cosines_to_nearest(atoms, member, gram=None):
    """Return each atom's largest cosine with another atom of its member; NaN if it is alone.

    ``gram`` are the atoms' products with one another, if they are at hand.
    """
    lengths = np.linalg.norm(atoms, axis=1).clip(np.finfo(np.float32).tiny)
    result = np.full(len(atoms), np.nan)
    for e in np.unique(member):
        own = np.flatnonzero(member == e)
        for part in gen_batches(len(own), 1024):
            rows = own[part]
            products = atoms[rows] @ atoms[own].T if gram is None else gram[np.ix_(rows, own)]
            cosine = products / lengths[own] / lengths[rows, None]
            cosine[np.arange(len(cosine)), np.arange(part.start, part.stop)] = -np.inf
            if len(own) > 1:
                result[own[part]] = cosine.max(axis=1)
    return result


def histograms(codes, atoms, n_bins):
    """Count each atom's codes in n_bins from its smallest, or 0, to its largest, or 0.

    Returns
    -------
    counts : ndarray of shape (n_atoms, n_bins)
        Counts of codes that are not 0.
    low, high : ndarray of shape (n_atoms,)
        Limits of the bins.
    """
    codes = codes[:, atoms]
    low = codes.min(axis=0).toarray().ravel().clip(max=0)
    high = codes.max(axis=0).toarray().ravel().clip(min=0)
    # Bins are as wide as the range of the atom; a dead one has none.
    width = np.where(high > low, high - low, 1)
    column = codes.indices
    bins = ((codes.data - low[column]) / width[column] * n_bins).astype(np.int64)
    # One count over all pairs of column and bin; the largest code belongs to the last bin.
    pairs = column * n_bins + bins.clip(0, n_bins - 1)
    counts = np.bincount(pairs, minlength=len(atoms) * n_bins)
    return counts.reshape(len(atoms), n_bins), low, high


def cumulative(share, n=200):
    """Return the sum of the largest shares, at n + 1 evenly spaced numbers of atoms."""
    curve = cumulative_share(share)
    return np.interp(np.linspace(0, len(curve) - 1, n + 1), np.arange(len(curve)), curve)


class CorrelationCurves:
    """Correlations of images with their reconstructions, as atoms are added one by one.

    With the image x, the centre b and atoms d_j, all less their own means over the features, the
    correlation of x with s = b + sum_j z_j d_j is <x, s> / (|x| |s|), where

        <x, s> = <x, b> + sum_j z_j <x, d_j>
        |s|^2  = |b|^2 + 2 sum_j z_j <b, d_j> + sum_ij z_i z_j <d_i, d_j>

    so scalar products are enough, and no reconstruction is formed.

    Parameters
    ----------
    rows : ndarray of shape (n_images, n_features)
        Images.
    atoms : ndarray of shape (n_atoms, n_features)
        Atoms.
    gram : ndarray of shape (n_atoms, n_atoms)
        Scalar products of the atoms.
    centre : ndarray of shape (n_features,)
        Reconstruction without any atom.
    """

    def __init__(self, rows, atoms, gram, centre):
        rows = rows - rows.mean(axis=1, keepdims=True)
        centre = centre - centre.mean()
        means = atoms.mean(axis=1)
        self._gram = gram - atoms.shape[1] * np.outer(means, means)
        # Images and centre have mean 0, so that the atoms' means make no difference here.
        self._image_atoms, self._image_centre = rows @ atoms.T, rows @ centre
        self._centre_atoms, self._centre_square = atoms @ centre, float(centre @ centre)
        self._lengths = np.linalg.norm(rows, axis=1)

    def curve(self, i, active, codes):
        """Correlate image i with the centre, with one atom added, with two and so on.

        0 stands for an undefined correlation.
        """
        z = codes.astype(np.float64)
        products = z[:, None] * self._gram[np.ix_(active, active)] * z
        # An added atom adds its products with all atoms before it, twice, and with itself.
        added = 2 * np.tril(products, -1).sum(axis=1) + products.diagonal()
        added += 2 * z * self._centre_atoms[active]
        square = self._centre_square + np.concatenate([[0], np.cumsum(added)])
        image_atoms = self._image_atoms[i, active]
        product = self._image_centre[i] + np.cumsum(np.append(0, z * image_atoms))
        length = np.sqrt(square.clip(0)) * self._lengths[i]
        return np.divide(product, length, np.zeros_like(length), where=length > 0).clip(-1, 1)


def placed_curve(image, centre, pieces, corners):
    """Correlate an image with the centre, with one piece added, with two and so on.

    With sums s over the pixels that a piece covers, adding p to the reconstruction r adds
    s(p) to its sum, s(x p) to its product with the image x, and s((2 r + p) p) to its square.

    Parameters
    ----------
    image, centre : ndarray of shape (H, W, C)
        The image, and its reconstruction without any atom.
    pieces : ndarray of shape (n, h, w, C)
        Atoms times their codes.
    corners : array of shape (n, 2)
        Row and column of the pixel at which each begins; what is outside of the image is cut off.

    Returns
    -------
    correlations : ndarray of shape (n + 1,)
        0 stands for an undefined one.
    """
    x, r = image - image.mean(dtype=np.float64), centre.astype(np.float64)
    sums = np.empty((3, len(pieces) + 1))
    sums[:, 0] = r.sum(), (x * r).sum(), np.square(r).sum()
    for i, (piece, (top, left)) in enumerate(zip(pieces, corners, strict=True), 1):
        inside = np.s_[max(top, 0) : top + piece.shape[0], max(left, 0) : left + piece.shape[1]]
        window = r[inside]
        piece = piece[max(-top, 0) :, max(-left, 0) :][: window.shape[0], : window.shape[1]]
        sums[:, i] = piece.sum(), (x[inside] * piece).sum(), ((2 * window + piece) * piece).sum()
        window += piece
    total, product, square = sums.cumsum(axis=1)
    # What rounding leaves of a constant reconstruction is not a spread.
    spread = square - total**2 / x.size
    spread[spread < 1e-12 * square] = 0
    length = np.sqrt(spread) * np.linalg.norm(x)
    return np.divide(product, length, np.zeros_like(length), where=length > 0).clip(-1, 1)
