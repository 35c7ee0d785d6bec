"""EnsembleSparseAutoencoder: estimators that are made of fitted sparse autoencoders."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from .._model_file._ensemble import read_ensemble, write_ensemble
from .._training._collective import together
from .._training._groups import numbers_of_groups
from .._training._lazy import LazySamples, parts_of
from ..images._typing import AnyPath, Codes, Samples, SparseOrDense, _fit_context
from ..metrics import check_weights
from ._base import BaseSparseAutoencoder, whole_or_unchanged
from ._members import mean_of_members
from ._topk import TopKSparseAutoencoder


class EnsembleSparseAutoencoder(BaseSparseAutoencoder, _BaseComposition):
    """Base of the autoencoders whose members are autoencoders, each fitted by itself.

    A subclass has the parameters estimator, n_estimators, random_state and sparse_output. Its
    `_fit_members` returns fitted members, `_coder_of_parts` a function that codes arrays,
    `_decoded` the rows of codes, and `_reconstructor` a function that reconstructs arrays where
    codes do not suffice for that.
    """

    @together
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Samples,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit clones of the estimators to the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images, as :meth:`TopKSparseAutoencoder.fit` takes them.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples, as :meth:`TopKSparseAutoencoder.fit` takes them.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of groups of samples, which members hold out as
            :meth:`TopKSparseAutoencoder.fit` does; what bagging draws are groups, too.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with whole_or_unchanged(self):
            X = self._validate_rows(X, reset=True)
            if sample_weight is not None:
                sample_weight = check_weights(sample_weight, X)
            metadata = {"sample_weight": sample_weight}
            if groups is not None:  # an estimator of the user's own may not take any
                metadata["groups"] = numbers_of_groups(groups, X)
            members = self._named_members()
            context = self._init_callback_context(max_subtasks=len(members))
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)
            fitted = self._fit_members(members, X, metadata, context)
            context.call_on_fit_task_end(estimator=self, X=X, y=y)
        vars(self).update(fitted)
        self.image_shape_ = shape_of_members(self.estimators_)
        return self

    @abstractmethod
    def _fit_members(self, members, X, metadata, context):
        """Fitted attributes, of which ``estimators_``, from names and unfitted clones.

        Metadata are sample_weight, or None, and groups, if there are any; both are checked.
        """

    def transform(self, X: Samples) -> Codes:
        """Sparse codes of the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images as in :meth:`fit`.

        Returns
        -------
        codes : csr_matrix or ndarray, float32, of shape (n_samples, n_features_out)
            The codes by all of ``estimators_``, side by side.
        """
        return super().transform(X)

    def inverse_transform(self, X: SparseOrDense) -> np.ndarray:
        """Reconstruct rows from codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_out)
            Codes, as transform returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), float32
            The reconstructions.
        """
        return self._decoded(sp.csr_matrix(self._validate_codes(X)))

    def get_feature_names_out(
        self, input_features: Sequence[str] | ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not needed; checked against the names seen in fit.

        Returns
        -------
        names : ndarray of shape (n_features_out,), dtype object
            The class's name in lower case and a number; for a list of estimators, the estimator's
            name and that of its own column, such as "flat__topksparseautoencoder3".
        """
        names = super().get_feature_names_out(input_features)
        if not isinstance(self.estimator, list):
            return names
        return np.array([
            f"{name}__{column}"
            for name, member in self.named_estimators_.items()
            for column in member.get_feature_names_out()
        ], dtype=object)  # fmt: skip

    def save(self, path: AnyPath, *, optimizer: bool = False) -> None:
        """Write the fitted ensemble to one file, from which :meth:`load` reads it.

        The file holds what the members' own files would, and is as these are; see
        :meth:`TopKSparseAutoencoder.save`.

        Parameters
        ----------
        path : str or path-like
            The file.
        optimizer : bool, default=False
            Whether to keep the members' moments.

        Raises
        ------
        ModelFileError
            As for one model; also if a member is of a class of your own, or if ``estimator`` has
            been changed since fit. ``pickle`` and joblib keep any.
        """
        check_is_fitted(self)
        write_ensemble(path, self, _members_of_files(), optimizer=optimizer)

    @classmethod
    def _read(cls, file):
        return read_ensemble(file, cls, _members_of_files())

    @abstractmethod
    def _set_members(self, members, weights, n_features, feature_names):
        """Take what a file has; a ValueError if it is not of this class."""
        self.estimators_, self.n_features_in_ = members, n_features
        self.image_shape_ = shape_of_members(members)
        if feature_names is not None:
            self.feature_names_in_ = feature_names

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, and with deep=True those of the estimators.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of the estimators too: as ``estimator__k``, or for a
            list by their names, as ``flat__k``.

        Returns
        -------
        params : dict
            Names and values.
        """
        return self._get_params("estimator", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, or of those that it is made of.

        Parameters
        ----------
        **params : dict
            Names and values, as :meth:`get_params` returns them.

        Returns
        -------
        self : object
            This estimator.
        """
        return self._set_params("estimator", **params)

    # --- What tools read, of flat members ---

    @property
    def components_(self) -> np.ndarray:
        """Atoms (n_features_out, n_features) of all members, where all are as large as a row."""
        return np.concatenate([_atoms(member) for member in self._flat("components_")])

    @property
    def centers_(self) -> np.ndarray:
        """Centres of all members, where all have atoms as large as a row."""
        return np.concatenate([member.centers_ for member in self._flat("centers_")])

    @property
    def atom_frequency_(self) -> np.ndarray:
        """Use of the atoms in training, where all are as large as a row."""
        return np.concatenate([_frequencies(member) for member in self._flat("atom_frequency_")])

    def _flat(self, name):
        """Members; an AttributeError, as of what is not there, if one has smaller atoms."""
        members = vars(self).get("estimators_", ())
        if members and all(is_flat(member) for member in members):
            return members
        raise AttributeError(f"This {type(self).__name__} has no attribute {name!r}.")

    # --- Members ---

    def _named_members(self):
        """Names and unfitted clones."""
        if not isinstance(self.estimator, list):
            one = TopKSparseAutoencoder() if self.estimator is None else self.estimator
            return [(str(i), clone(one)) for i in range(self.n_estimators)]
        try:
            names, members = zip(*self.estimator, strict=True)
        except (TypeError, ValueError):
            names = members = ()
        if not members or not all(isinstance(m, BaseSparseAutoencoder) for m in members):
            raise ValueError(
                "Expected estimator to be an autoencoder of this package or a list of (name, "
                f"autoencoder), got {self.estimator!r}."
            )
        self._validate_names(names)
        return [(name, clone(member)) for name, member in self.estimator]

    @property
    def _n_features_out(self):
        return sum(member._n_features_out for member in self.estimators_)

    # --- Codes ---

    def _identity(self, X):
        """Text that tells codes of these samples by this ensemble from others."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for member in self.estimators_:
            sample = X if isinstance(X, LazySamples) else member._validate_rows(X, reset=False)
            digest.update(member._identity(sample).encode())
        digest.update(repr(self._of_codes()).encode())
        return digest.hexdigest()

    @property
    def _codes_suffice(self):
        return all(member._codes_suffice for member in self.estimators_)

    def _reconstructed_parts(self, parts, n_rows):
        if self._codes_suffice:
            return super()._reconstructed_parts(parts, n_rows)
        reconstruct = self._reconstructor(n_rows)
        return ((part, reconstruct(part)) for part in parts)

    def _of_codes(self):
        """Settings besides the members that decide on codes."""
        return ()

    def __sklearn_is_fitted__(self):
        return "estimators_" in vars(self)


def shape_of_members(members):
    """Shape of the images that members learned, all from the same rows; None if none knows it."""
    return next((m.image_shape_ for m in members if m.image_shape_ is not None), None)


def fit_member(member, X, metadata, context, ensemble):
    """Fit a member in its part of the ensemble's callbacks, to images where these are known."""
    shape = ensemble.image_shape_
    if shape is not None:
        is_lazy = isinstance(X, LazySamples)
        X = X.as_images(shape) if is_lazy else X.reshape(len(X), *shape)
    with context.propagate_callback_context(member):
        context.call_on_fit_task_begin(estimator=ensemble, X=X)
        member.fit(X, **metadata)
        context.call_on_fit_task_end(estimator=ensemble, X=X)
    return member


def reconstructor_of(member, n_rows):
    """Function that reconstructs arrays, n_rows in all, also where codes do not suffice."""
    if member._codes_suffice:
        code = coder_of(member, n_rows)
        return lambda X: member.inverse_transform(code(X))

    def reconstruct(X):
        parts = parts_of(member._validate_rows(X, reset=False))
        return np.concatenate([rows for _, rows in member._reconstructed_parts(parts, n_rows)])

    return reconstruct


def coder_of(member, n_rows):
    """Function that codes arrays, n_rows in all, by a fitted member, as CSR whatever its output."""
    code_part = member._coder_of_parts(n_rows)

    def code(X):
        # A part of a mapped file is one too, and is read in parts.
        parts = parts_of(member._validate_rows(X, reset=False))
        return sp.vstack([code_part(part) for part in parts], format="csr")

    return code


def columns_of(members):
    """The slice of columns that each member's codes have."""
    ends = np.cumsum([member._n_features_out for member in members])
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def constant_of(member):
    """Row (1, n_features) that a member reconstructs of an empty code."""
    return member.inverse_transform(sp.csr_matrix((1, member._n_features_out), dtype=np.float32))


def is_flat(member):
    """Whether a fitted member's atoms are rows, as large as those that it codes."""
    atoms = getattr(member, "components_", None)
    return atoms is not None and not hasattr(member, "atom_shape_")


def _atoms(member):
    """One atom for each column of a flat member's codes."""
    if getattr(member, "aggregate", None) == "mean":
        return mean_of_members(member.components_, len(member.centers_))
    return member.components_


def _frequencies(member):
    """One frequency for each column; of the mean of several codes, the largest of theirs."""
    if getattr(member, "aggregate", None) == "mean":
        return member.atom_frequency_.reshape(len(member.centers_), -1).max(axis=0)
    return member.atom_frequency_


def _members_of_files():
    """Classes whose models a file of an ensemble holds, by name."""
    from ._files import AUTOENCODERS

    return AUTOENCODERS
