"""BoostingSparseAutoencoder: autoencoders of which each learns what those before left over."""

from numbers import Integral, Real
from typing import Literal

import numpy as np
import scipy.sparse as sp
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions

from .._training._lazy import LazySamples
from .._training._sources import shared_generator
from ..images._typing import RandomState
from ._base import BaseSparseAutoencoder
from ._ensemble import (
    EnsembleSparseAutoencoder,
    coder_of,
    columns_of,
    constant_of,
    fit_member,
    is_flat,
    reconstructor_of,
)
from ._joint import JointPursuit, JointRefit, atoms_of


class BoostingSparseAutoencoder(EnsembleSparseAutoencoder):
    r"""Sum of autoencoders that each learn what those before left over.

    Stage :math:`i` codes the residual of a row :math:`x` as :math:`z_i` and reconstructs it as
    :math:`g_i(z_i)`, which is taken away for the stages that follow:

    .. math::

        z_i = f_i\Bigl(x - \sum_{j<i} g_j(z_j)\Bigr), \qquad \hat x = \sum_i g_i(z_i),

    and it is fitted to these residuals of the training rows, as in boosting for squared errors
    [1]_. The code is that of all stages side by side. For stages with atoms :math:`D_i` as large
    as the rows and centres :math:`b_i`, :math:`\hat x = \sum_i (D_i^\top z_i + b_i)`.

    A list of different autoencoders makes a hierarchy, such as atoms as large as the images first
    and small atoms for the details that they leave.

    Parameters
    ----------
    estimator : estimator, list of (str, estimator) or None, default=None
        An autoencoder of this package, of which each stage is a clone, or a list of the stages
        and their names. None is ``TopKSparseAutoencoder()``. Codes of all stages but the last
        must be such as inverse_transform takes.
    n_estimators : int or None, default=3
        Number of stages; not used for a list.
    refit : bool, default=False
        Whether, after each stage, the values of all atoms chosen so far are fitted together by
        least squares to the row, none negative unless a stage codes by pursuit, which is how
        orthogonal matching pursuit goes on after a pick [2]_. The stages that follow learn and
        code what that leaves. Small atoms then are held at all their places: n_features_out *
        n_features numbers.
    transform_algorithm : {"stages", "omp"}, default="stages"
        Algorithm that computes the codes of fitted stages. "stages": one after another, as in
        training. "omp": orthogonal matching pursuit among the atoms of all stages together, which
        picks as many as the stages have active atoms; codes are of either sign. All atoms must be
        as large as the rows, and suit it best if the stages have transform_algorithm="omp" too.
    transform_tol : float or None, default=None
        Part of a sample's variance, its squared distance from the sum of the stages' centres, that
        is small enough to be left over. "omp" stops there. By "stages" a sample whose squared
        residual is at most this part, all centres taken away, has no active atoms in the stages
        that follow. None is all stages, or as many picks as these have active atoms. Stages learn
        all samples; set it before or after fit.
    sparse_output : bool, default=True
        Whether transform returns a CSR matrix or a dense array.
    random_state : int, RandomState instance or None, default=None
        Determines each stage's random_state. None leaves those that the estimators have.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted stages.
    named_estimators_ : :class:`~sklearn.utils.Bunch`
        The same by name; without a list, names are "0", "1" and so on.
    components_ : ndarray of shape (n_estimators * n_components, n_features), float32
        Atoms of all stages, one below another. It is there if all are as large as the rows, as
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
    BaggingSparseAutoencoder : Mean of autoencoders of different rows.
    TopKSparseAutoencoder : One model, to which a sum of several should be compared.

    Notes
    -----
    Rows that are read from a file are coded anew whenever a later stage reads them, so that memory
    does not grow with their number.

    References
    ----------
    .. [1] J. Friedman, "Greedy function approximation: a gradient boosting machine", Annals of
       Statistics 29, 2001.
    .. [2] Y. Pati, R. Rezaiifar and P. Krishnaprasad, "Orthogonal matching pursuit: recursive
       function approximation with applications to wavelet decomposition", Asilomar 1993.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import (
    ...     BoostingSparseAutoencoder, ConvTopKSparseAutoencoder, TopKSparseAutoencoder
    ... )
    >>> X = load_digits().data[:500]
    >>> flat = TopKSparseAutoencoder(64, k=4, max_iter=5)
    >>> boosting = BoostingSparseAutoencoder(flat, refit=True, random_state=0).fit(X)
    >>> codes = boosting.transform(X)
    >>> codes.shape, codes.nnz <= 3 * 4 * len(X)
    ((500, 192), True)
    >>> boosting.score(X) > boosting.estimators_[0].score(X)
    True

    A hierarchy:

    >>> small = ConvTopKSparseAutoencoder(
    ...     16, image_shape=(8, 8), kernel_size=4, k=8, max_iter=5
    ... )
    >>> hierarchy = BoostingSparseAutoencoder([("flat", flat), ("small", small)], random_state=0)
    >>> hierarchy.set_params(small__k=12).fit(X).named_estimators_.small.k_
    12
    """

    _parameter_constraints: dict = {
        "estimator": [BaseSparseAutoencoder, list, None],
        "n_estimators": [Interval(Integral, 1, None, closed="left"), None],
        "refit": ["boolean"],
        "transform_algorithm": [StrOptions({"stages", "omp"})],
        "transform_tol": [Interval(Real, 0, 1, closed="left"), None],
        "sparse_output": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: BaseSparseAutoencoder | list[tuple[str, BaseSparseAutoencoder]] | None = None,
        n_estimators: int | None = 3,
        *,
        refit: bool = False,
        transform_algorithm: Literal["stages", "omp"] = "stages",
        transform_tol: float | None = None,
        sparse_output: bool = True,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.refit = refit
        self.transform_algorithm = transform_algorithm
        self.transform_tol = transform_tol
        self.sparse_output = sparse_output
        self.random_state = random_state

    # --- Fit ---

    def _fit_members(self, members, X, metadata, context):
        rng = None if self.random_state is None else shared_generator(self.random_state)
        stages, left, codes = Stages(self.refit, len(X)), X, None
        for name, member in members:
            if rng is not None:
                _set_random_states(member, rng)
            part = context.subcontext(task_name=f"stage {name}")
            stages.add(fit_member(member, left, metadata, part, self))
            self._check_atoms(stages.members)
            if len(stages.members) == len(members):
                break
            if isinstance(X, LazySamples):
                left = LazySamples(Left(X, Stages(self.refit, len(X), stages.members)), X.shape)
            else:
                last = len(stages.members) - 1
                codes = stages.extended(X, left, codes, last)
                left = X - stages.decoded(codes, last)
        named = zip([name for name, _ in members], stages.members, strict=True)
        return {"estimators_": stages.members, "named_estimators_": Bunch(**dict(named))}

    def _set_members(self, members, weights, n_features, feature_names):
        if weights is not None:
            raise ValueError("Expected no weights of stages.")
        super()._set_members(members, weights, n_features, feature_names)
        self._check_atoms(members)
        names = map(str, range(len(members)))
        if isinstance(self.estimator, list):
            names = [name for name, _ in self.estimator]
        self.named_estimators_ = Bunch(**dict(zip(names, members, strict=True)))

    def _check_atoms(self, members):
        if self.transform_algorithm == "omp" and not all(map(is_flat, members)):
            raise ValueError(
                "Expected stages with atoms as large as the rows for transform_algorithm='omp', "
                "got some with smaller atoms. transform_algorithm='stages' codes by any."
            )

    # --- Codes ---

    def _coder_of_parts(self, n_rows):
        if self.transform_algorithm == "stages":
            stages = Stages(self.refit, n_rows, self.estimators_)
            return lambda X: stages.codes(X, self.transform_tol)
        self._check_atoms(self.estimators_)
        constant = sum(constant_of(member) for member in self.estimators_)
        atoms = np.concatenate([atoms_of(member) for member in self.estimators_])
        k = sum(map(n_active, self.estimators_))
        pursuit = JointPursuit(atoms, k, self.transform_tol)
        return lambda X: pursuit.codes(X - constant)

    def _decoded(self, codes):
        return decoded(self.estimators_, codes)

    def _reconstructor(self, n_rows):
        # Only the last stage may have such codes, as those before are known by what they leave.
        *before, last = self.estimators_
        stages, reconstruct = Stages(self.refit, n_rows, before), reconstructor_of(last, n_rows)

        def reconstruct_all(X):
            explained = decoded(before, stages.codes(X)) if before else np.zeros_like(X)
            return explained + reconstruct(X - explained)

        return reconstruct_all

    def _of_codes(self):
        return self.refit, self.transform_algorithm, self.transform_tol

    @property
    def _offset(self):
        """The mean of the training rows, which the first stage learned."""
        return self.estimators_[0]._offset


class Stages:
    """Fitted autoencoders that code one after another, each what those before left over.

    Parameters
    ----------
    refit : bool
        Whether the values of all are fitted together after each of them.
    n_rows : int
        Number of rows to come in all parts: products of atoms are formed once for all of them.
    members : sequence of fitted estimators
        The first of them.
    """

    def __init__(self, refit, n_rows, members=()):
        self.refit, self.n_rows = refit, n_rows
        self.members, self.coders, self.refits = [], [], []
        for member in members:
            self.add(member)

    def add(self, member):
        """Append a stage."""
        self.members.append(member)
        self.coders.append(coder_of(member, self.n_rows))
        if self.refit:
            before = self.refits[-1] if self.refits else None
            self.refits.append(self._refit_with(member, before))

    def _refit_with(self, member, before):
        """Refit by a stage's atoms and those before it."""
        # Values of either sign may become such again.
        signed, k = has_signed_codes(member), n_active(member)
        atoms, constant = atoms_of(member), constant_of(member)
        if before is not None:
            atoms, constant = np.concatenate([before.atoms, atoms]), before.constant + constant
            signed, k = signed or before.either_sign, before.k + k
        return JointRefit(atoms, constant, k, self.n_rows, either_sign=signed)

    def codes(self, X, tolerance=None):
        """CSR codes of rows by all stages, side by side.

        A row of which at most the tolerance, a part of its squared norm about the centres, is left
        over is coded by no further stage.
        """
        rows = OpenRows(X, self.members, tolerance)
        left, codes = X, None
        for stage in range(len(self.members)):
            left, codes = rows.still_open(left, codes)
            if not len(left):
                break
            codes = self.extended(rows.X, left, codes, stage)
            if stage + 1 < len(self.members):
                left = rows.X - self.decoded(codes, stage)
        return rows.all_codes(codes)

    def extended(self, X, left, codes, stage):
        """CSR codes of rows X by the stages up to one, from those before and what they left."""
        new = self.coders[stage](left)
        codes = new if codes is None else sp.hstack([codes, new], format="csr")
        return self.refits[stage].codes(X, codes) if self.refit else codes

    def decoded(self, codes, stage):
        """Rows of codes by the stages up to one."""
        return decoded(self.members[: stage + 1], codes)


class OpenRows:
    """Rows that further stages code, and the codes of those of which enough is explained.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        All rows.
    members : list of fitted estimators
        All stages.
    tolerance : float or None
        Part of a row's squared norm about the stages' centres that is little enough to be left.
    """

    def __init__(self, X, members, tolerance):
        self.X, self.tolerance = X, tolerance
        self.numbers, self.ended = np.arange(len(X)), []
        self.n_columns = columns_of(members)[-1].stop
        # What the stages that follow reconstruct of empty codes, too; at last of none.
        constants = [] if tolerance is None else [constant_of(member) for member in members]
        self.rests = [sum(constants[n:]) for n in range(len(constants) + 1)]
        if tolerance is not None:
            self.enough = tolerance * _squares(X - self.rests[0])

    def still_open(self, left, codes):
        """Those rows of which too much is left over, and their codes; called before each stage."""
        if self.tolerance is None:
            return left, codes
        goes_on = _squares(left - self.rests.pop(0)) > self.enough
        if codes is None:
            codes = sp.csr_matrix((len(left), 0), dtype=np.float32)
        self.ended.append((self.numbers[~goes_on], codes[~goes_on]))
        self.numbers, self.X = self.numbers[goes_on], self.X[goes_on]
        self.enough = self.enough[goes_on]
        return left[goes_on], codes[goes_on]

    def all_codes(self, codes):
        """CSR codes of all rows in their order."""
        if self.tolerance is None:
            return codes
        numbers, parts = zip(*self.ended, (self.numbers, codes), strict=True)
        for part in parts:
            part.resize((part.shape[0], self.n_columns))
        return sp.vstack(parts, format="csr")[np.argsort(np.concatenate(numbers))]


def _squares(rows):
    return np.square(rows).sum(axis=1, dtype=np.float64)


class Left:
    """Rows that stages leave over of others, read and coded when they are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, X, stages):
        self.X, self.stages, self.shape = X, stages, X.shape

    def __getitem__(self, part):
        rows = np.asarray(self.X.read(part.start, part.stop), np.float32)
        return rows - decoded(self.stages.members, self.stages.codes(rows))


def decoded(members, codes):
    """The sum of the members' rows of codes side by side."""
    parts = zip(members, columns_of(members), strict=True)
    return sum(member.inverse_transform(codes[:, part]) for member, part in parts)


def has_signed_codes(member):
    """Whether a member's codes are of either sign."""
    if getattr(member, "transform_algorithm", None) == "omp":
        return True
    return any(has_signed_codes(one) for one in getattr(member, "estimators_", ()))


def n_active(member):
    """Number of active atoms that a member has in a row."""
    members = getattr(member, "estimators_", None)
    if members is not None:
        return sum(map(n_active, members))
    return member.k_ * len(member.centers_)
