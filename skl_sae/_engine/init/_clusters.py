"""k-means whose result does not depend on the number of threads.

scikit-learn's adds up the sums of its threads in the order in which they end, and one rounding
can move a point to another group. This one draws the same random numbers and finds the same
groups, but for such points.
"""

import numpy as np
import scipy.sparse as sp
import torch

from .._threads import one_thread

_MAX_ROUNDS = 300
# Groups that move by less, as a part of the points' variance, have settled.
_SETTLED = 1e-4


@one_thread()
def k_means(points, n_groups, *, n_init, seed):
    """Number of the group of each point, of the best of several starts.

    Lloyd's algorithm from the greedy k-means++ of Arthur and Vassilvitskii, "k-means++: the
    advantages of careful seeding", SODA 2007.

    Parameters
    ----------
    points : ndarray of shape (n, d), dtype float64
        What to group.
    n_groups : int
        How many groups, at most n.
    n_init : int
        Number of starts.
    seed : int
        Where random numbers come from.

    Returns
    -------
    labels : ndarray of shape (n,), dtype int64
        In [0, n_groups). A group may be left empty.
    """
    rng = np.random.RandomState(seed)
    # Products with rows that lie in memory one after another take a tenth of the time.
    points = torch.from_numpy(np.ascontiguousarray(points - points.mean(axis=0)))
    best, least = None, np.inf
    for _ in range(n_init):
        labels, left = _lloyd(points, _seeds(points, n_groups, rng))
        if left < least:
            best, least = labels, left
    return best


def _half_squared_distances(points, centers):
    """Less half of each point's own square: shape (n_points, n_centers)."""
    squares = centers.square().sum(1) / 2
    return torch.addmm(squares, points, centers.T, alpha=-1)


def _squared_distances(points, squares, centers):
    """Shape (n_centers, n_points)."""
    halves = torch.addmm(squares / 2, centers, points.T, alpha=-1)
    return (2 * halves + centers.square().sum(1)[:, None]).clamp_(min=0).numpy()


def _seeds(points, n_groups, rng):
    """Points far from one another: of a few drawn, each time the one that leaves the least."""
    n_trials = 2 + int(np.log(n_groups))
    squares = points.square().sum(1)
    chosen = [rng.choice(len(points), p=np.full(len(points), 1 / len(points)))]
    nearest = _squared_distances(points, squares, points[chosen])[0]
    while len(chosen) < n_groups:
        # A point is drawn with a probability proportional to its squared distance to the nearest.
        drawn = rng.uniform(size=n_trials) * nearest.sum()
        trials = np.searchsorted(np.cumsum(nearest), drawn).clip(max=len(points) - 1)
        left = np.minimum(nearest, _squared_distances(points, squares, points[trials]))
        best = left.sum(axis=1).argmin()
        chosen.append(trials[best])
        nearest = left[best]
    return points[chosen]


def _lloyd(points, centers):
    """Labels, and the sum of the squared distances to the groups' means."""
    settled = _SETTLED * float(points.var(0, correction=0).mean())
    labels, means_of = None, _GroupMeans(points, len(centers))
    for _ in range(_MAX_ROUNDS):
        # argmin |x - c|^2 = argmin |c|^2 / 2 - x . c
        before, labels = labels, _half_squared_distances(points, centers).numpy().argmin(axis=1)
        if before is not None and np.array_equal(before, labels):
            break
        moved = means_of(labels, centers)
        shift, centers = float((moved - centers).square().sum()), moved
        if shift <= settled:
            break
    halves = _half_squared_distances(points, centers).numpy()
    labels = halves.argmin(axis=1)
    return labels, 2 * halves[np.arange(len(labels)), labels].sum()


class _GroupMeans:
    """Mean of the points of each group, for any labels; an empty one stays where it was."""

    def __init__(self, points, n_groups):
        n_points = len(points)
        self.points = points.numpy()
        # One number a column: only its row, the group, changes from round to round.
        columns = np.ones(n_points), np.zeros(n_points, np.int32), np.arange(n_points + 1)
        self.members = sp.csc_matrix(columns, shape=(n_groups, n_points))

    def __call__(self, labels, centers):
        self.members.indices[:] = labels
        sums = torch.from_numpy(self.members @ self.points)
        counts = torch.from_numpy(np.bincount(labels, minlength=len(centers)))[:, None]
        return torch.where(counts > 0, sums / counts.clamp(min=1), centers)
