"""BaggingSparseAutoencoder: autoencoders of different draws of the rows, averaged."""

import contextlib
from numbers import Integral
from typing import Literal

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed
from scipy.optimize import nnls
from sklearn.ensemble._base import _set_random_states
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from .._engine.init._start import MIN_JUDGES
from .._training._groups import choose_groups
from .._training._lazy import small_parts_of
from .._training._sources import shared_generator
from ..images._typing import RandomState
from ._base import BaseSparseAutoencoder
from ._ensemble import (
    EnsembleSparseAutoencoder,
    coder_of,
    columns_of,
    constant_of,
    fit_member,
    reconstructor_of,
)

# Least part of the largest direction that the members' errors may have, as they are estimated from
# pairs that share different rows.
_LEAST_PART = 1e-6


class BaggingSparseAutoencoder(EnsembleSparseAutoencoder):
    r"""Mean of autoencoders that each learn their own random draw of the rows.

    Member :math:`e` of :math:`E` learns a bootstrap: as many rows as there are, drawn with
    replacement [1]_, which it is told as weights of the rows. With weights :math:`w_e \ge 0` that
    sum to 1, the reconstruction is

    .. math::

        \hat x = \sum_e w_e \hat x_e,

    and the code is that of all members side by side, member :math:`e`'s multiplied by
    :math:`w_e`. So for members with atoms :math:`D_e` as large as the rows and centres
    :math:`b_e`, :math:`\hat x = \sum_e (D_e^\top z_e + w_e b_e)`.

    Parameters
    ----------
    estimator : estimator or None, default=None
        An autoencoder of this package, of which each member is a clone. None is
        ``TopKSparseAutoencoder()``.
    n_estimators : int, default=3
        Number of members.
    weights : {"uniform", "least_squares"}, default="uniform"
        Weights of the members in the mean. "uniform": equal. "least_squares": those that
        reconstruct best the rows that members did not draw, as in stacked regressions [2]_:
        :math:`w` minimises :math:`\sum_{e,f} w_e w_f A_{ef}`, where :math:`A_{ef}` is the mean
        product of the errors of members :math:`e` and :math:`f` over the rows that neither has
        drawn. Where two members share no such row, weights are equal.
    bootstrap : bool, default=True
        Whether rows are drawn with replacement.
    max_samples : int or float, default=1.0
        Number of rows that each member draws, or their share of all. Where fit is told groups,
        members draw these instead of rows.
    n_jobs : int or None, default=None
        Number of members that are fitted at the same time, by joblib; the result is the same.
    sparse_output : bool, default=True
        Whether transform returns a CSR matrix or a dense array.
    random_state : int, RandomState instance or None, default=None
        Determines each member's random_state and its draw.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members.
    estimator_weights_ : ndarray of shape (n_estimators,), float64
        Weights of the members, which sum to 1.
    components_ : ndarray of shape (n_estimators * n_components, n_features), float32
        Atoms of all members, one below another. It is there if all are as large as the rows, as
        are ``centers_`` and ``atom_frequency_``.
    n_features_in_ : int
        Number of features seen in fit, H * W * C of images.
    image_shape_ : tuple (H, W) or (H, W, C), or None
        Shape of the images seen in fit, or that its augmenter was given; None where these were
        rows and nothing tells it. Displays and reports take it from here.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    BoostingSparseAutoencoder : Members that add up, with a lower error for as many numbers.
    TopKSparseAutoencoder : Has ``n_estimators`` of its own, trained side by side on the same rows.

    Notes
    -----
    Weights of samples multiply those of the draw, for which only samples with a weight above 0
    count. With ``groups`` a draw is one of whole groups; a member that draws only one of them, or
    few samples beside it, holds out some of its samples at random.

    References
    ----------
    .. [1] L. Breiman, "Bagging predictors", Machine Learning 24, 1996.
    .. [2] L. Breiman, "Stacked regressions", Machine Learning 24, 1996.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import BaggingSparseAutoencoder, TopKSparseAutoencoder
    >>> X = load_digits().data[:500]
    >>> bagging = BaggingSparseAutoencoder(
    ...     TopKSparseAutoencoder(64, k=6, max_iter=5), weights="least_squares", random_state=0
    ... ).fit(X)
    >>> bagging.transform(X).shape, bagging.estimator_weights_.shape
    ((500, 192), (3,))
    >>> bagging.score(X) > bagging.estimators_[0].score(X)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [BaseSparseAutoencoder, None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "weights": [StrOptions({"uniform", "least_squares"})],
        "bootstrap": ["boolean"],
        "max_samples": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "n_jobs": [Integral, None],
        "sparse_output": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: BaseSparseAutoencoder | None = None,
        n_estimators: int = 3,
        *,
        weights: Literal["uniform", "least_squares"] = "uniform",
        bootstrap: bool = True,
        max_samples: int | float = 1.0,
        n_jobs: int | None = None,
        sparse_output: bool = True,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.weights = weights
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.sparse_output = sparse_output
        self.random_state = random_state

    # --- Fit ---

    def _fit_members(self, members, X, metadata, context):
        rng = shared_generator(self.random_state)
        weight, groups = metadata["sample_weight"], metadata.get("groups")
        weight = np.ones(len(X)) if weight is None else weight
        counts = self._draws([member for _, member in members], weight, groups, rng)
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_member)(
                member, X, drawn_of(count * weight, groups),
                context.subcontext(task_name=f"member {name}"), self,
            )
            for (name, member), count in zip(members, counts, strict=True)
        )  # fmt: skip
        members_weights = np.full(len(fitted), 1 / len(fitted))
        if self.weights == "least_squares":
            products = error_products(fitted, X, (counts == 0) * weight)
            if np.isfinite(products).all():
                members_weights = best_weights(products)
        return {"estimators_": fitted, "estimator_weights_": members_weights}

    def _draws(self, members, weight, groups, rng):
        """Counts (E, n_samples) of each member's draws of each row; of groups, if there are any.

        Each member gets its random state before its draw.
        """
        group_of_row = np.arange(len(weight)) if groups is None else groups
        units = np.unique(group_of_row[weight > 0])
        if groups is not None and len(units) == 1:
            raise ValueError("Expected samples of at least 2 groups to draw, got 1.")
        n_drawn = self._n_drawn(len(units), "samples" if groups is None else "groups")
        counts = np.empty((len(members), len(weight)))
        for member, count in zip(members, counts, strict=True):
            _set_random_states(member, rng)
            drawn = rng.choice(units, n_drawn, replace=self.bootstrap)
            count[:] = np.bincount(drawn, minlength=len(weight))[group_of_row]
        return counts

    def _n_drawn(self, n_units, units):
        """Number of units that a member draws of so many."""
        if self.weights == "least_squares" and not self.bootstrap and self.max_samples == 1.0:
            raise ValueError(
                "Expected bootstrap=True or max_samples below 1 with weights='least_squares', "
                "which needs rows that members did not draw."
            )
        if not isinstance(self.max_samples, Integral):
            return max(1, int(self.max_samples * n_units))
        if self.max_samples > n_units and not self.bootstrap:
            raise ValueError(
                f"Expected max_samples of at most the {n_units} {units}, got {self.max_samples}."
            )
        return self.max_samples

    def _set_members(self, members, weights, n_features, feature_names):
        if weights is None or isinstance(self.estimator, list):
            raise ValueError("Expected weights of the members of one estimator.")
        super()._set_members(members, weights, n_features, feature_names)
        self.estimator_weights_ = weights

    # --- Codes ---

    def _coder_of_parts(self, n_rows):
        coders = [coder_of(member, n_rows) for member in self.estimators_]
        weights = self.estimator_weights_.astype(np.float32)

        def code(X):
            parts = zip(coders, weights, strict=True)
            codes = sp.hstack([code(X) * weight for code, weight in parts], format="csr")
            codes.eliminate_zeros()  # of members that have no weight
            return codes

        return code

    def _decoded(self, codes):
        # A member adds its centre as a whole, but counts only by its weight.
        return sum(
            member.inverse_transform(codes[:, columns])
            - np.float32(1 - weight) * constant_of(member)
            for member, weight, columns in zip(
                self.estimators_, self.estimator_weights_, columns_of(self.estimators_), strict=True
            )
        )

    def _reconstructor(self, n_rows):
        members = [reconstructor_of(member, n_rows) for member in self.estimators_]
        weights = self.estimator_weights_.astype(np.float32)
        return lambda X: sum(w * member(X) for member, w in zip(members, weights, strict=True))

    def _of_codes(self):
        return tuple(self.estimator_weights_)

    @property
    def _offset(self):
        """The mean of the training rows, up to the draws."""
        return np.mean([member._offset for member in self.estimators_], axis=0)


def drawn_of(weight, groups):
    """Metadata of the rows that a member draws; groups only where some of these can be held out."""
    metadata = {"sample_weight": weight}
    if groups is not None:
        with contextlib.suppress(ValueError):
            choose_groups(groups, weight, MIN_JUDGES, np.random.RandomState(0))
            metadata["groups"] = groups
    return metadata


def error_products(members, X, weights):
    """Mean products (E, E) of the members' errors, over rows that neither of two has seen.

    Parameters
    ----------
    members : list of fitted estimators
        The E members.
    X : ndarray or LazySamples
        Validated rows.
    weights : ndarray of shape (E, n_samples)
        Weights of the rows, 0 where a member has seen one.

    Returns
    -------
    products : ndarray of shape (E, E), float64
        NaN where there are no such rows.
    """
    products, sums = np.zeros((2, len(members), len(members)))
    reconstruct, first = [reconstructor_of(member, len(X)) for member in members], 0
    for part in small_parts_of(X, 0):
        # A weight is in both factors of a product of two members.
        roots = np.sqrt(weights[:, first : first + len(part)])
        errors = np.stack([
            root[:, None] * (part - member(part))
            for member, root in zip(reconstruct, roots, strict=True)
        ]).reshape(len(members), -1)  # fmt: skip
        # No product by BLAS, whose last bit may depend on the number of threads.
        products += np.einsum("ei,fi->ef", errors, errors)
        sums += np.einsum("ei,fi->ef", roots, roots)
        first += len(part)
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / sums


def best_weights(products):
    """Weights w >= 0 of sum 1 that minimise w' A w.

    They are v / sum(v) of the v >= 0 that minimises v' A v - 2 sum(v), which is non-negative least
    squares: |L v - L^-T 1|^2 with A = L' L.
    """
    values, vectors = np.linalg.eigh(products)
    largest = values[-1]
    if largest <= 0:  # no member has any error
        return np.full(len(products), 1 / len(products))
    roots = np.sqrt(np.maximum(values, _LEAST_PART * largest))
    found, _ = nnls(roots[:, None] * vectors.T, vectors.T.sum(axis=1) / roots)
    return found / found.sum()
