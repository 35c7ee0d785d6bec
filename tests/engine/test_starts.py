"""Starts that are judged are told of, and come out the same."""

import numpy as np

from skl_sae import TopKSparseAutoencoder
from skl_sae._engine.init._announce import starts_announced


def test_starts_are_announced():
    X = np.random.default_rng(0).random((80, 12), dtype=np.float32)
    sae = TopKSparseAutoencoder(30, k=3, n_estimators=2, max_iter=1, random_state=0, device="cpu")
    alone, told = sae.fit(X).components_, []
    with starts_announced(lambda done, total: told.append((done, total))):
        np.testing.assert_array_equal(sae.fit(X).components_, alone)
    done, totals = np.transpose(told)
    assert len(set(totals)) == 1 and done[-1] == totals[0]
    assert (np.diff(done) >= 0).all() and len(set(done)) > 4
    sae.fit(X)
    assert len(told) == len(done)  # nobody is told any more
