"""k-means whose result does not depend on the number of threads.

scikit-learn's adds up the sums of its threads in the order in which they end, and one rounding
can move a point to another group. This one draws the same random numbers and finds the same
groups, but for such points.
"""

import numpy as np
import torch
from torch.nn.functional import one_hot

from ._threads import one_thread, product

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
    points = torch.from_numpy(points - points.mean(axis=0))
    best, least = None, np.inf
    for _ in range(n_init):
        labels, left = _lloyd(points, _seeds(points, n_groups, rng))
        if left < least:
            best, least = labels, left
    return best.numpy()


def _squared_distances(points, centers):
    """Shape (n_centers, n_points)."""
    squares = points.square().sum(1) + centers.square().sum(1)[:, None]
    return (squares - 2 * product(centers, points.T)).clamp_(min=0)


def _seeds(points, n_groups, rng):
    """Points far from one another: of a few drawn, each time the one that leaves the least."""
    n_trials = 2 + int(np.log(n_groups))
    chosen = [rng.choice(len(points), p=np.full(len(points), 1 / len(points)))]
    nearest = _squared_distances(points, points[chosen])[0].numpy()
    while len(chosen) < n_groups:
        drawn = rng.uniform(size=n_trials) * nearest.sum()
        trials = np.searchsorted(np.cumsum(nearest), drawn).clip(max=len(points) - 1)
        left = np.minimum(nearest, _squared_distances(points, points[trials]).numpy())
        best = left.sum(axis=1).argmin()
        chosen.append(trials[best])
        nearest = left[best]
    return points[chosen]


def _lloyd(points, centers):
    """Labels, and the sum of the squared distances to the groups' means."""
    settled = _SETTLED * float(points.var(0, correction=0).mean())
    labels = None
    for _ in range(_MAX_ROUNDS):
        before, labels = labels, _squared_distances(points, centers).argmin(0)
        if before is not None and bool((before == labels).all()):
            break
        members = one_hot(labels, len(centers)).to(points).T.contiguous()
        counts = members.sum(1)[:, None]
        moved = torch.where(counts > 0, product(members, points) / counts.clamp(min=1), centers)
        shift, centers = float((moved - centers).square().sum()), moved
        if shift <= settled:
            break
    distances = _squared_distances(points, centers)
    labels = distances.argmin(0)
    return labels, float(distances.gather(0, labels[None]).sum())
