"""Groups of points against scikit-learn's k-means."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from skl_sae._engine.init._clusters import k_means


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("n_points", "n_groups", "spread"), [(200, 5, 0.5), (700, 32, 1.5)])
def test_groups_are_scikit_learns(n_points, n_groups, spread, seed):
    points, _ = make_blobs(n_points, 10, centers=n_groups, cluster_std=spread, random_state=seed)
    labels = k_means(points, n_groups, n_init=4, seed=seed)
    expected = KMeans(n_groups, n_init=4, random_state=seed).fit_predict(points)
    assert adjusted_rand_score(labels, expected) == 1


def test_points_that_are_one_are_in_one_group():
    points = np.repeat(np.arange(6.0).reshape(3, 2), 4, axis=0)
    labels = k_means(points, 3, n_init=4, seed=0).reshape(3, 4)
    assert (labels == labels[:, :1]).all()
    assert len(np.unique(labels)) == 3
    assert len(k_means(points[:1], 1, n_init=1, seed=0)) == 1
