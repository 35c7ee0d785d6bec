"""Orthonormal directions of which few reconstruct a row: principal ones, local where that helps.

Neighbouring pixels vary together, distant ones hardly. From few images of many pixels that is
all that can be learned of fine detail: the principal directions of all pixels span no more than
the images they were learned from, while those of a group of pixels that vary together hold
for others too. So features are put in groups by how they vary, without being told that they
are pixels, and rows that take no part decide in how many.
"""

from typing import NamedTuple

import numpy as np
import torch

from .._threads import add_gram, product
from ._clusters import k_means

# Numbers of groups that are tried, of at least so many features each.
GROUPS = 1, 8, 16, 32
MIN_FEATURES = 8
# Groups must leave so much less of other rows than all features together: luck may leave less.
LEAST_GAIN = 0.05
# So many leading directions of every group are made one block, which joins what the groups have
# in common, as scaling functions do in the treelets of Lee, Nadler and Wasserman (2008).
N_SHARED = 2
# More of them make a better small model of the first atoms, and a little worse one of all: FVU of
# 64 and of 768 atoms of 800 photographs 0.051 and 0.033 with 2, 0.050 and 0.033 with 4, 0.049 and
# 0.034 with 6; alone 0.048 and 0.033.
N_SHARED_NESTED = 4
# Shared directions are smoothed if there are so many rows for each, and if none is so nearly a
# combination of the others.
MIN_ROWS = 4
MAX_COSINE = 0.99
# Rounds of turning after which numbers of groups are compared.
FIRST_ROUNDS = 5
# Most rounds of turning; where blocks are large, as many as take the time of these of ROTATED.
MAX_ROUNDS = 30
ROTATED = 512
# Directions that no row uses would turn by rounding alone, were it not for this much of a pull to
# where they are.
TURNED_LEAST = 1e-6
# Rows that decide and that turn the directions, if they have few features.
ROTATED_ROWS = 2**12


class Layout(NamedTuple):
    """In how many groups of features to look for directions, and how often to turn them."""

    n_groups: int
    n_rounds: int


class Basis:
    """Orthonormal directions in blocks, each block free to turn within its span.

    Parameters
    ----------
    rows : tensor of shape (n, D)
        Whose principal directions to start from; centred here.
    n_directions : int
        How many directions at most, those of the most variance.
    n_groups : int
        In how many groups of features.
    seed : int
        Of the grouping.
    n_shared : int
        How many leading directions of each of several groups turn together.
    """

    def __init__(self, rows, n_directions, n_groups, seed, n_shared=N_SHARED):
        rows = rows - rows.mean(0)
        self.n_features, self.n_shared = rows.shape[1], n_shared
        self.parts = self._principal_parts(rows, n_directions, n_groups, seed)
        self.blocks = self._make_blocks()
        self.columns = [_columns(block) for block in self.blocks]
        self.rotations = [torch.eye(len(block), dtype=torch.float64) for block in self.blocks]
        # The leading directions of all groups together are rotated to their principal axes first.
        if len(self.parts) > 1 and len(self):
            shared = self.stacked(rows)[:, self.blocks[0]]
            self.rotations[0] = torch.linalg.eigh(shared.T @ shared)[1].T.flip(0)

    def _principal_parts(self, rows, n_directions, n_groups, seed):
        """Features of each group and their principal directions, strongest first."""
        groups = [torch.arange(self.n_features)]
        if n_groups > 1:
            groups = feature_groups(rows, n_groups, seed)
        found = [(group, *principal_directions(rows[:, group], n_directions)) for group in groups]
        variances = torch.cat([variances for _, variances, _ in found])
        # Below this a direction is rounding: the rows do not span it.
        least = torch.clamp(variances.max(), min=1e-12) * 1e-6 if len(variances) else 0
        # Groups compete: the n_directions of the most variance are kept, whichever group has them.
        if len(variances) > n_directions:
            least = torch.maximum(least, variances.sort(descending=True)[0][n_directions - 1])
        return [(group, directions[variances >= least]) for group, variances, directions in found]

    def _make_blocks(self):
        """Numbers of the directions that turn together: the shared, then the rest by group."""
        blocks, shared, first = [], [], 0
        for _, directions in self.parts:
            numbers = torch.arange(first, first + len(directions))
            n_shared = self.n_shared if len(self.parts) > 1 else 0
            shared.append(numbers[:n_shared])
            blocks.append(numbers[n_shared:])
            first += len(directions)
        return [block for block in (torch.cat(shared), *blocks) if len(block)]

    def __len__(self):
        return sum(len(directions) for _, directions in self.parts)

    def stacked(self, rows):
        """Products of centred rows with the directions before any turn, in float64."""
        products = [_products(rows[:, group], directions) for group, directions in self.parts]
        return torch.cat(products, dim=1)

    def turned(self, stacked):
        """Products with the directions as they are now, of those before any turn."""
        coordinates = torch.empty_like(stacked)
        for columns, rotation in zip(self.columns, self.rotations, strict=True):
            coordinates[:, columns] = product(stacked[:, columns], rotation.T)
        return coordinates

    def turn(self, stacked, k):
        """Fit the directions to the k largest coordinates of each row.

        They turn within their blocks as fits these best, an orthogonal Procrustes problem, as
        Lesage et al. do in "Learning unions of orthonormal bases with thresholded singular
        value decomposition", ICASSP 2005.
        """
        # min over rotations R of |targets - stacked R'|^2: with U S V' the SVD of targets' stacked,
        # the solution is R = U V' (Schoenemann 1966).
        targets = largest(self.turned(stacked), k)
        for i, columns in enumerate(self.columns):
            fit = product(targets[:, columns].T, stacked[:, columns])
            fit += TURNED_LEAST * fit.norm() * self.rotations[i]
            left, _, right = torch.linalg.svd(fit)
            self.rotations[i] = left @ right

    def directions(self):
        """The directions as they are now: a tensor of shape (n, D), dtype float32."""
        stacked = torch.zeros(len(self), self.n_features)
        first = 0
        for group, directions in self.parts:
            stacked[first : first + len(directions), group] = directions
            first += len(directions)
        for block, rotation in zip(self.blocks, self.rotations, strict=True):
            stacked[block] = product(rotation.float(), stacked[block])
        return stacked

    def n_rounds_allowed(self):
        """Number of rounds of turning the size of the blocks allows."""
        # An SVD of n x n takes about n^3.
        work = sum(len(block) ** 3 for block in self.blocks)
        return int(MAX_ROUNDS * min(1, ROTATED**3 / max(1, work)))


def sparse_directions(rows, n_directions, k, layout, seed, n_shared=N_SHARED):
    """At most n_directions orthonormal directions, of which k leave little of each row.

    They come about by falling variance of the rows along them, as a tensor of shape (n, D).
    """
    basis = Basis(rows, n_directions, layout.n_groups, seed, n_shared)
    rows = rows[:ROTATED_ROWS] - rows[:ROTATED_ROWS].mean(0)
    stacked = basis.stacked(rows)
    for _ in range(layout.n_rounds):
        basis.turn(stacked, k)
    # Rotated directions are no eigenvectors: their variances are measured.
    strengths = basis.turned(stacked).square_().sum(0)
    directions = basis.directions()
    if len(basis.parts) > 1 and len(basis):
        shared = basis.blocks[0][strengths[basis.blocks[0]].argsort(descending=True)]
        directions = smoothed(directions, shared[: len(rows) // MIN_ROWS], rows)
    return directions[strengths.argsort(descending=True)]


def smoothed(directions, chosen, rows):
    """Orthonormal directions, the chosen ones without the edges where groups meet.

    Each of these becomes what all features vary by along it: a step of the power method on the
    covariance of centred rows. The others give way as little as they can.
    """
    is_rest = torch.ones(len(directions), dtype=torch.bool)
    is_rest[chosen] = False
    # One step of the power method: C v = X' (X v), for all chosen directions at once.
    scores = _products(rows, directions[chosen])
    patterns = torch.cat([part.T.double() @ scores for part in rows.split(1024, dim=1)])
    patterns = torch.linalg.qr(patterns)[0].T
    result = torch.empty_like(directions)
    parts = _orthonormal_together(patterns, directions[is_rest])
    for columns, pattern_part, rest_part in parts:
        result[chosen, columns], result[is_rest, columns] = pattern_part, rest_part
    return result if parts else directions


def _orthonormal_together(first, second):
    """Two orthonormal sets made orthonormal to one another, moved as little as can be.

    That is symmetric orthogonalisation (Loewdin 1950): each pair of their principal vectors
    turns away from one another by the same angle. Returns (columns, first, second) for some
    columns at a time; nothing if a set is nearly a part of the other's span.
    """
    # Principal vectors of both spans: first = to_first cos(t) second, pair by pair. In the plane of
    # a pair the symmetric solution rotates each of the two by the same angle.
    to_first, cosines, to_second = torch.linalg.svd(_products(second, first).T, full_matrices=False)
    if len(cosines) < len(first) or cosines.max() > MAX_COSINE:
        return []
    sums, differences = (1 + cosines).rsqrt(), (1 - cosines).rsqrt()
    same, cross = (sums + differences)[:, None] / 2, (sums - differences)[:, None] / 2
    parts = []
    for start in range(0, first.shape[1], 1024):
        columns = slice(start, start + 1024)
        second_part = second[:, columns].double()
        first_vectors, second_vectors = to_first.T @ first[:, columns], to_second @ second_part
        first_part = to_first @ (same * first_vectors + cross * second_vectors)
        second_part += to_second.T @ ((same - 1) * second_vectors + cross * first_vectors)
        parts.append((columns, first_part.float(), second_part.float()))
    return parts


def useful_layout(rows, n_directions, k, seed, n_shared=N_SHARED):
    """The layout that serves best a fifth of the rows, in random order, that takes no part.

    Few rows of many features are soon known by heart; so the directions are turned only as
    far as helps other rows.
    """
    if len(rows) < 5 or n_directions < 2:
        return Layout(1, 0)
    rows = rows[:ROTATED_ROWS]
    # The rows are in random order already.
    test, train = rows.tensor_split([len(rows) // 5])
    test, train = test - train.mean(0), train - train.mean(0)
    # A trial takes memory for all its rows, so only the simplest and the best so far are kept.
    simplest = best = None
    for n_groups in GROUPS:
        if n_groups == 1 or rows.shape[1] >= n_groups * MIN_FEATURES:
            trial = Trial(
                n_groups, Basis(train, n_directions, n_groups, seed, n_shared), (train, test), k
            )
            trial.run(FIRST_ROUNDS)
            simplest = simplest or trial
            best = trial if best is None or min(trial.left) < min(best.left) else best
            del trial
    # All features together are the simpler model, which wins unless others are clearly better.
    if min(best.left) > (1 - LEAST_GAIN) * min(simplest.left):
        best = simplest
    del simplest
    left = best.run(MAX_ROUNDS)
    return Layout(best.n_groups, left.index(min(left)))


class Trial:
    """Error of k directions on the test rows: ``left``, after each round on the others."""

    def __init__(self, n_groups, basis, rows, k):
        train, test = rows
        self.n_groups, self.basis, self.k = n_groups, basis, k
        self.total = float(test.double().square().sum())
        self.train, self.test = basis.stacked(train), basis.stacked(test)
        self.left = []

    def run(self, n_rounds):
        """Go on to so many rounds, or until three have not helped."""
        n_rounds = min(n_rounds, self.basis.n_rounds_allowed()) if self.k < len(self.basis) else 0
        while len(self.left) <= n_rounds and not self.has_stalled():
            if self.left:
                self.basis.turn(self.train, self.k)
            kept = largest(self.basis.turned(self.test), self.k)
            # Of orthonormal coordinates those kept explain the sum of their squares.
            self.left.append(self.total - float(kept.square().sum()))
        return self.left

    def has_stalled(self):
        return len(self.left) > 3 and min(self.left[-3:]) >= min(self.left[:-3])


def feature_groups(rows, n_groups, seed):
    """Numbers of the features that vary together, in at most so many groups.

    k-means on each feature's part in the leading principal directions, all of equal weight and
    each feature's at unit length: spectral clustering, after Ng, Jordan and Weiss (2001).
    """
    _, directions = principal_directions(rows, 2 * n_groups)
    if not len(directions):
        return [torch.arange(rows.shape[1])]
    points = torch.nn.functional.normalize(directions.T.double(), dim=1).numpy().round(6)
    # Features that are copies of one another are counted as one point: to fewer decimals, since
    # rounding takes some copies to different sides of the last one.
    n_groups = min(n_groups, len(np.unique(points.round(4), axis=0)))
    # Each point is a feature, and near others that vary with it.
    labels = k_means(points, n_groups, n_init=4, seed=seed)
    groups = [torch.from_numpy(np.flatnonzero(labels == i)) for i in range(n_groups)]
    return [group for group in groups if len(group)]


def principal_directions(rows, n_directions):
    """Variances, up to a factor, and at most n_directions orthonormal directions (n, D)."""
    n_rows, n_features = rows.shape
    rows = rows - rows.mean(0)
    # X' X and X X' have the same eigenvalues; the smaller one is decomposed. An eigenvector u of
    # X X' gives the direction X' u.
    wide = n_features > n_rows
    variances, vectors = torch.linalg.eigh(_gram(rows if wide else rows.T))
    variances, vectors = variances.flip(0)[:n_directions], vectors.T.flip(0)[:n_directions]
    spanned = variances > 1e-6 * variances[0].clamp(min=1e-12)
    directions = vectors[spanned].float()
    directions = product(directions, rows) if wide else directions
    directions = torch.nn.functional.normalize(directions, dim=1)
    return variances[spanned], directions


def largest(coordinates, k):
    """Each row with all but its k largest numbers, by magnitude, set to 0."""
    n = coordinates.shape[1]
    if k >= n:
        return coordinates.clone()
    kept, zero = torch.empty_like(coordinates), coordinates.new_zeros(())
    for part, out in zip(coordinates.split(1024), kept.split(1024), strict=True):
        # NumPy finds the k-th largest sooner than torch the k largest, but not which of equals.
        sizes = part.abs()
        least = torch.from_numpy(np.partition(sizes.numpy(), n - k)[:, n - k, None])
        torch.where(sizes >= least, part, zero, out=out)
        if out.count_nonzero() > k * len(out):
            places = sizes.topk(k, dim=1, sorted=False).indices
            out.zero_().scatter_(1, places, part.gather(1, places))
    return kept


def _columns(block):
    """Columns of some directions, to select them; a slice, hence a view, if consecutive."""
    first = int(block[0])
    is_range = int(block[-1]) - first == len(block) - 1  # they ascend
    return slice(first, first + len(block)) if is_range else block


def _products(rows, directions):
    """Products of rows with directions, in float64 as in `_gram`."""
    directions = directions.double().T
    return torch.cat([product(part.double(), directions) for part in rows.split(1024)])


def _gram(rows):
    """Products of all rows with one another, in float64, a part of the features at a time.

    What float32 rounds differently from run to run, with the place of the rows in memory,
    would be blown up by each round of turning. Only the lower triangle is filled in.
    """
    gram = rows.new_zeros((len(rows), len(rows)), dtype=torch.float64)
    for part in rows.split(1024, dim=1):
        add_gram(part.double(), gram)
    return gram
