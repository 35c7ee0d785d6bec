"""untrained_twin: an estimator like a fitted one, but for what it learned."""

from typing import Any

from sklearn.base import clone
from sklearn.utils import check_random_state

from ..images._typing import RandomState

# Parameters of a fit that learns nothing but the mean and the scale: Adam's steps are then below
# the last bit of float32.
_NOTHING_LEARNED = {
    "init": "random", "learning_rate": 1e-30, "max_iter": 1, "early_stopping": False,
    "checkpoint": None, "augmenter": None, "warm_start": False, "verbose": 0,
}  # fmt: skip


def untrained_twin(estimator: Any, X: Any, *, random_state: RandomState = 0) -> Any:
    """Make an estimator like another one, with random atoms in place of learned ones.

    It is what measures take as ``baseline``. The twin has the same parameters and number of
    atoms and codes by the same rules, but its atoms are random directions of unit norm. What it
    knows of the data is their mean, their scale and, with ``sparsity="batch_topk"``, a threshold
    that suits its own activations. Measures that are as good for the twin say nothing about
    training [1]_.

    Parameters
    ----------
    estimator : autoencoder of this package
        Fitted estimator, also an ensemble; it is not changed.
    X : array-like of shape (n_samples, n_features)
        Samples that it was fitted to.
    random_state : int, RandomState instance or None, default=0
        Seed of the random atoms.

    Returns
    -------
    twin : autoencoder
        Fitted estimator of the same class.

    Raises
    ------
    ValueError
        If the estimator is not an autoencoder of this package.

    References
    ----------
    .. [1] T. Heap, T. Lawson, L. Farnik and L. Aitchison, "Sparse autoencoders can interpret
       randomly initialized transformers", arXiv:2501.17727, 2025, whose question is the same of
       the coded network.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.inspection import untrained_twin
    >>> X = load_digits().data[:300]
    >>> sae = TopKSparseAutoencoder(32, k=4, max_iter=5, random_state=0).fit(X)
    >>> twin = untrained_twin(sae, X)
    >>> twin.components_.shape, twin.score(X) < sae.score(X)
    ((32, 64), True)
    """
    twin = clone(estimator)
    names = twin.get_params()
    if "estimator" in names and names["estimator"] is None:
        twin.set_params(estimator=clone(estimator.estimators_[0]))
        names = twin.get_params()
    elif not any(name.rpartition("__")[2] == "init" for name in names):
        raise ValueError(f"Expected an autoencoder of this package, got {estimator!r}.")
    twin.set_params(**_settings(names, estimator, check_random_state(random_state)))
    return _coding_like(estimator, twin.fit(X))


def _settings(names, estimator, rng):
    """Return values of those parameters, by name, that a twin has to itself."""
    settings = {}
    for name in names:
        inner = name.rpartition("__")[2]
        if inner in _NOTHING_LEARNED:
            settings[name] = _NOTHING_LEARNED[inner]
        elif inner == "transform_algorithm" and names[name] == "omp" and _is_trained(names, name):
            settings[name] = "topk"  # since atoms would be adapted to pursuit
        elif inner == "random_state":
            settings[name] = int(rng.randint(2**31))
    if names.get("n_components", 0) is None:
        settings["n_components"] = estimator.n_components_
    return settings


def _is_trained(names, name):
    """Return whether a parameter belongs to an estimator with atoms of its own."""
    return f"{name.rpartition('__')[0]}__init".removeprefix("__") in names


def _coding_like(estimator, twin):
    """Give the twin, and its members, the algorithm of codes that the fitted ones have."""
    if hasattr(twin, "transform_algorithm"):
        twin.set_params(transform_algorithm=estimator.transform_algorithm)
    pairs = zip(
        getattr(estimator, "estimators_", ()), getattr(twin, "estimators_", ()), strict=True
    )
    for theirs, ours in pairs:
        _coding_like(theirs, ours)
    return twin
