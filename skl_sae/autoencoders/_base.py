"""BaseSparseAutoencoder: validation, codes, scores, files and pickles."""

import contextlib
import hashlib
import math
import warnings
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_array, gen_batches
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from .._engine._device import resolve_device
from .._engine._model import LinearModel
from .._engine._parameters import ActiveAtoms, Parameters
from .._engine._pursuit import Pursuit, pursuit_batch_size
from .._engine._refit import Refit
from .._engine._threads import one_thread, product
from .._engine._tuning import CODES_AT_A_TIME, ROWS_OF_PRODUCTS
from .._model_file._codes import CodesWriter, load_codes
from .._model_file._format import CURVES, version
from .._model_file._model import FittedState, read_model, write_model
from .._training._lazy import LazySamples, lazily, parts_of, refuse_large, small_parts_of
from .._training._loop import Size, Trainer
from .._training._scaling import Scaling
from ..images._arrays import rows_of_images, without_channel
from ..images._shapes import check_sides
from ..images._typing import AnyPath, Codes, Samples, SparseOrDense
from ..metrics import mean_correlation, row_correlations
from ._members import mean_of_members
from ._sparse_output import codes_of_dask_array, is_dask_array, mean_codes, to_csr

# Attributes by which validation notes what the data are.
_SEEN = "n_features_in_", "feature_names_in_", "image_shape_"
# Parameters that decide on the codes of fitted atoms.
_OF_CODES = (
    "aggregate", "transform_algorithm", "transform_tol", "refit", "pooling", "pooling_function",
    "stride", "normalize",
)  # fmt: skip


class BaseSparseAutoencoder(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Base of all sparse autoencoders: a base class of this package's estimators, and of no others.

    A subclass has the parameters aggregate, checkpoint, device, sparse_output, transform_algorithm
    and transform_tol. Its fit sets the attributes of `_parameter_attributes`, ``k_``, ``n_iter_``,
    ``atom_frequency_``, ``best_validation_score_``, the curves, ``_offset`` and
    ``_scale``, and keeps its `Trainer` as ``_trainer``. Files read and set all of them by
    `_get_state` and `_set_state`.
    """

    if TYPE_CHECKING:  # fitted attributes of all, which are set by their names
        components_: np.ndarray
        centers_: np.ndarray
        atom_frequency_: np.ndarray
        image_shape_: tuple[int, ...] | None
        n_features_in_: int
        feature_names_in_: np.ndarray

    # --- Public methods ---

    def transform(self, X: Samples) -> Codes:
        """Sparse codes of the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images as in :meth:`fit`.

        Returns
        -------
        codes : csr_matrix or ndarray, float32, of shape (n_samples, n_features_out)
            At most ``k_`` activations a row and member (about ``k_`` on average with
            sparsity="batch_topk"), in the units of the data, and positive unless
            transform_algorithm="omp"; n_features_out is n_estimators * n_components,
            or n_components when aggregate="mean".
        """
        check_is_fitted(self)
        self._refuse_sparse_frames()
        if is_dask_array(X):
            return codes_of_dask_array(self, X)
        X = self._validate_rows(X, reset=False)
        codes = self._codes(X)
        return codes if self.sparse_output else codes.toarray()

    def transform_to(self, X: Samples, path: AnyPath) -> "sp.csr_matrix":
        """Write the codes of the rows of X to a file, a block at a time.

        Memory holds one block, whatever the number of rows. If it is cut off, the same call goes
        on behind the last block that was finished; until all are, they are in the folder
        ``path + ".part"``, and the disk needs room for both for a while.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows or images, as :meth:`transform` takes them.
        path : str or path-like
            The file, by custom with the suffix ``.npz``, which is replaced if it is there.
            ``scipy.sparse.load_npz`` reads it into memory, :func:`skl_sae.load_codes` leaves
            the numbers in it.

        Returns
        -------
        codes : csr_matrix, float32, of shape (n_samples, n_features_out)
            As :meth:`transform` returns them with sparse_output=True, but in the file.

        Raises
        ------
        ModelFileError
            If path is no regular file, or if the folder has codes of other rows or of another
            model.

        Examples
        --------
        >>> import os, tempfile
        >>> from sklearn.datasets import load_digits
        >>> from skl_sae import TopKSparseAutoencoder
        >>> X = load_digits().data
        >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     codes = sae.transform_to(X, os.path.join(folder, "codes.npz"))
        ...     codes.shape, bool((codes != sae.transform(X)).nnz == 0)
        ((1797, 64), True)
        """
        check_is_fitted(self)
        X = self._validate_rows(X, reset=False)
        writer = CodesWriter(path, self._identity(X), self._n_features_out)
        for _, codes in self._coded_parts(small_parts_of(X, writer.n_rows), len(X)):
            writer.append(codes)
        writer.finish()
        return load_codes(path)

    def _identity(self, X):
        """Text that tells codes of these samples by this model from others."""
        digest = hashlib.sha256(repr((type(self).__name__, X.shape, self.k_)).encode())
        settings = {name: value for name, value in self.get_params(deep=False).items()
                    if name in _OF_CODES}  # fmt: skip
        digest.update(repr(sorted(settings.items())).encode())
        first = X.read(0, 1) if isinstance(X, LazySamples) else X[:1]
        for array in (*self._parameters().named().values(), first.astype(np.float32)):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def fit_transform(
        self,
        X: Samples,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Codes:
        """Fit to X, then return its codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images as in :meth:`fit`.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in :meth:`fit`.
        groups : array-like of shape (n_samples,) or None, default=None
            Labels of groups of samples for :meth:`fit`.

        Returns
        -------
        codes : csr_matrix or ndarray, float32, of shape (n_samples, n_features_out)
            See :meth:`transform`.
        """
        self._refuse_sparse_frames()
        # An estimator of the user's own may not take groups.
        metadata = {} if groups is None else {"groups": groups}
        return self.fit(X, y, sample_weight, **metadata).transform(X)

    def inverse_transform(self, X: SparseOrDense) -> np.ndarray:
        """Reconstruct rows from codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_out)
            Codes, as transform returns them.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features), float32
            The mean of the members' reconstructions, as rows also after a fit on images:
            ``X_original.reshape(-1, *sae.image_shape_)`` are images.
        """
        X = self._validate_codes(X)
        atoms = self.components_
        if self.aggregate == "mean":
            atoms = mean_of_members(atoms, len(self.centers_))
        # x = D' z / E + mean of b: the mean of the members' reconstructions, of codes side by side.
        rows = X @ atoms if sp.issparse(X) else _product(X, atoms)
        if self.aggregate == "concat":
            rows /= len(self.centers_)
        rows += self.centers_.mean(axis=0)
        return rows

    def score_samples(self, X: Samples) -> np.ndarray:
        """Pearson correlation of each row with its reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images as in :meth:`fit`.

        Returns
        -------
        correlations : ndarray of shape (n_samples,), float64
            Between -1 and 1; 0 for a constant row, whose correlation is undefined.
        """
        check_is_fitted(self)
        X = self._validate_rows(X, reset=False)
        return np.nan_to_num(self._correlations(X), nan=0.0)

    def score(self, X: Samples, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean Pearson correlation of rows with their reconstructions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, H, W) or (n_samples, H, W, C)
            The rows, or images as in :meth:`fit`.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights of the samples in the mean; None for equal weights.

        Returns
        -------
        correlation : float
            See :func:`skl_sae.pearson_correlation`.
        """
        check_is_fitted(self)
        X = self._validate_rows(X, reset=False)
        return mean_correlation(self._correlations(X), sample_weight)

    def _correlations(self, X):
        """Correlation of each validated sample with its reconstruction; NaN for a constant one."""
        reconstructed = self._reconstructed_parts(parts_of(X), len(X))
        return np.concatenate(
            [row_correlations(part.reshape(len(part), -1), rows) for part, rows in reconstructed]
        )

    def save(self, path: AnyPath, *, optimizer: bool = False) -> None:
        """Write the fitted model to one file, from which :meth:`load` reads it.

        The file is replaced as a whole or not at all, also when the machine stops half-way.
        It is in the safetensors format, and runs no code when it is loaded. Callbacks are not
        kept, nor is ``checkpoint``: a loaded file must not determine what is overwritten.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the suffix ``.safetensors``.
        optimizer : bool, default=False
            Whether to keep the optimizer's moments too, so that partial_fit goes on as if
            the model had not been saved; the file is then three times as large. Without
            them the moments begin anew.

        Raises
        ------
        ModelFileError
            If path is there and is no regular file; if a parameter cannot be kept: random_state
            must be an int or None, and augmenter None or an :class:`~skl_sae.ImageAugmenter`;
            or if load would refuse the file, as where n_components is no longer that of the
            fitted atoms, or where these have been changed to other than unit norm.
        OSError
            If the file cannot be written. What was there before is then left as it was.

        Warns
        -----
        UserWarning
            If ``checkpoint`` is set, which the file does not keep.

        Examples
        --------
        >>> import os, tempfile
        >>> from sklearn.datasets import load_digits
        >>> from skl_sae import TopKSparseAutoencoder
        >>> X = load_digits().data[:200]
        >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "digits.safetensors")
        ...     sae.save(path)
        ...     loaded = TopKSparseAutoencoder.load(path)
        >>> bool((loaded.transform(X) != sae.transform(X)).nnz == 0)
        True
        """
        check_is_fitted(self)
        write_model(path, self, optimizer=optimizer)

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """Read a model that :meth:`save` wrote; safe also with files from strangers.

        Of the file of a Pipeline, such as the command writes, it is the autoencoder alone.

        Nothing in the file is run. Its size, format, version, parameters and the names, shapes
        and types of its arrays are checked before memory is taken for them, then a checksum,
        and that all numbers are finite and in their range. The checksum tells damage, not
        malice: whoever can write a file can give it any atoms. No path comes out of it:
        ``checkpoint`` is None.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        estimator : estimator of this class
            The fitted estimator.

        Raises
        ------
        ModelFileError
            If the file is not a model that this version can read, whole and usable.
        FileNotFoundError
            If there is none.

        Warns
        -----
        UserWarning
            If another version of skl_sae wrote the file.
        """
        from ._files import read_as

        estimator, written_by = read_as(path, cls)
        _warn_of_version(written_by)
        return estimator

    @classmethod
    def _read(cls, file):
        """Read a model of this class, and the version that wrote it if it is another."""
        return read_model(file, cls)

    # --- Validation ---

    def _validate_rows(self, X, *, reset):
        """Rows, float32 or lazy, of rows or of images, whose shape fit notes."""
        X, shape = rows_of_images(lazily(X))
        if not reset and shape is not None and self.image_shape_ not in (None, shape):
            raise ValueError(
                f"Expected images of shape {self.image_shape_}, as in fit, got {shape}."
            )
        X = self._validate_plain_rows(X, reset=reset)
        if reset:
            self.image_shape_ = self._shape_of_augmenter(X.shape[1]) if shape is None else shape
        return X

    def _shape_of_augmenter(self, n_features):
        """Shape of the images that an augmenter takes rows of n_features for; None if unknown."""
        shape = getattr(getattr(self, "augmenter", None), "image_shape", None)
        try:
            shape = check_sides("image_shape", shape, ("height", "width", "channels"))
        except (TypeError, ValueError):  # something else, or its own to refuse
            return None
        return without_channel(shape) if math.prod(shape) == n_features else None

    def _validate_plain_rows(self, X, *, reset):
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                "Expected rows (n_samples, n_features) or images (n_samples, H, W) or "
                f"(n_samples, H, W, C), got an array of shape {tuple(X.shape)}."
            )
        if isinstance(X, LazySamples):
            return self._validate_lazy(X, reset=reset)
        # A float64 number too large for float32 becomes inf, which is refused just after.
        with np.errstate(over="ignore", invalid="ignore"):
            X = validate_data(self, X, dtype=np.float32, order="C", reset=reset)
        refuse_large(X)
        return X

    def _validate_lazy(self, X, *, reset):
        """Check the number of features of LazySamples, which check their numbers themselves."""
        validate_data(self, np.empty((1, X.n_features)), skip_check_array=True, reset=reset)
        return X

    def _validate_codes(self, X):
        """Codes as transform returns them, dense or CSR."""
        check_is_fitted(self)
        X = check_array(X, accept_sparse="csr", dtype=np.float32, input_name="X")
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"Expected codes with {self._n_features_out} columns, got {X.shape[1]}."
            )
        return X

    def _refuse_sparse_frames(self):
        container = _get_output_config("transform", self)["dense"]
        if self.sparse_output and container != "default":
            raise ValueError(
                f"{container.capitalize()} output does not support sparse data. "
                f"{type(self).__name__}.set_params(sparse_output=False) outputs dataframes; "
                "set_output(transform='default') of this estimator outputs CSR codes, also where "
                "that of its Pipeline, or sklearn.set_config(transform_output=...), is another."
            )

    # --- Codes ---

    def _codes(self, X):
        """CSR codes of validated rows."""
        codes = [codes for _, codes in self._coded_parts(parts_of(X), len(X))]
        return sp.vstack(codes, format="csr")

    def _coded_parts(self, parts, n_rows):
        """Arrays of validated rows, n_rows in all, each with its CSR codes."""
        code = self._coder_of_parts(n_rows)
        return ((part, code(part)) for part in parts)

    def _coder_of_parts(self, n_rows):
        """Function that codes arrays of validated rows, n_rows in all, as CSR."""
        encoder = None  # of all parts: its products of atoms may take longer than to code one

        @one_thread()
        def code(part):
            nonlocal encoder
            encoder = encoder or self._encoder(n_rows)
            return self._code(part, *encoder)

        return code

    def _encoder(self, n_rows):
        """The model that codes so many rows, its function, and how many it is given at a time."""
        # joblib's workers share arrays that cannot be written, which torch warns of.
        parameters = self._parameters().map(lambda a: a if a.flags.writeable else a.copy())
        model = self._coder(parameters, n_rows)
        n_members, n_components, _ = parameters.shape
        encode, batch_size = model.encode, max(1, CODES_AT_A_TIME // (n_members * n_components))
        tolerance = self._tolerance()
        if self.transform_algorithm == "omp":
            encode = Pursuit(model, tolerance).encode
            batch_size = pursuit_batch_size(n_components, self.k_)
        elif self.refit:
            encode = Refit(model, n_rows).encode
        return model, encode, batch_size

    def _tolerance(self):
        """Part of a row's squared norm at which pursuit ends; None where it has k picks."""
        if self.transform_tol is not None and self.transform_algorithm != "omp":
            raise ValueError(
                "Expected transform_tol=None unless transform_algorithm='omp', whose picks it "
                f"ends, got transform_tol={self.transform_tol!r} with "
                f"transform_algorithm={self.transform_algorithm!r}."
            )
        return self.transform_tol

    def _code(self, X, model, encode, batch_size):
        """CSR codes of an array by what `_encoder` gives."""
        n_members, n_components, _ = model.parameters.shape
        codes = sp.vstack([
            to_csr(_coded_evenly(encode, X[rows], model.device), n_components)
            for rows in gen_batches(len(X), batch_size)
        ], format="csr")  # fmt: skip
        if self.aggregate == "mean" and n_members > 1:
            codes = mean_codes(codes, n_members)
        return codes

    def _coder(self, parameters, n_rows):
        """The model that codes so many rows by fitted parameters."""
        return LinearModel(parameters, k=self.k_, device=self._transform_device())

    @property
    def _codes_suffice(self):
        """Whether codes tell all that reconstructions need."""
        return True

    def _reconstructed_parts(self, parts, n_rows):
        """Arrays of validated rows, n_rows in all, each with its reconstruction."""
        for part, codes in self._coded_parts(parts, n_rows):
            yield part, self.inverse_transform(codes)

    def _transform_device(self):
        """The device asked for, or the CPU on a machine that lacks it."""
        try:
            return resolve_device(self.device)
        except ValueError as error:
            if not getattr(self, "_device_warned", False):
                warnings.warn(f"{error} Using the CPU.", UserWarning, stacklevel=4)
                self._device_warned = True
            return torch.device("cpu")

    @property
    def _n_features_out(self):
        n_codes = len(self.components_)
        return n_codes if self.aggregate == "concat" else n_codes // len(self.centers_)

    # --- State ---

    def _prefixes_of(self, n_components):
        """Numbers of first atoms, fewer than all, that are models of their own."""
        return ()

    def _parameters(self):
        """Fitted parameters, in the units of the data; views of the public arrays."""
        shape = len(self.centers_), -1, self.components_.shape[1]
        return Parameters(
            self.components_.reshape(shape),
            None if self._tied else self.encoder_.reshape(shape),
            self.encoder_bias_.reshape(shape[:2]),
            self.centers_,
            self.activation_thresholds_,
        )

    def _parameter_attributes(self, parameters):
        """Fitted attributes that hold parameters in the units of the data."""
        p = parameters
        n_features = p.shape[2]
        components = p.decoder.reshape(-1, n_features)
        return {
            "components_": components,
            "encoder_": components if p.tied else p.encoder.reshape(-1, n_features),
            "encoder_bias_": p.bias.ravel(),
            "centers_": p.centers,
            "activation_thresholds_": p.thresholds,
            "n_components_": p.shape[1],
            "_tied": p.tied,
        }

    def _get_state(self):
        """Everything that is fitted, as model files take it."""
        trainer = getattr(self, "_trainer", None)
        return FittedState(
            self._parameters(),
            Scaling(self._offset, self._scale),
            self.k_,
            self.n_iter_,
            {name: getattr(self, name) for name in CURVES.values()},
            self.best_validation_score_,
            self.atom_frequency_,
            getattr(self, "feature_names_in_", None),
            None if trainer is None else trainer.model,
            image_shape=self.image_shape_,
        )

    def _set_state(self, state):
        """Restore the fitted state that a model file holds."""
        vars(self).update(self._parameter_attributes(state.parameters))
        vars(self).update(state.curves)
        self._offset, self._scale = state.scaling.offset, state.scaling.scale
        self.k_, self.n_iter_ = state.k, state.n_iter
        self.best_validation_score_ = state.best_validation_score
        self.atom_frequency_ = state.frequency
        self.n_features_in_, self.image_shape_ = state.parameters.shape[2], state.image_shape
        if state.feature_names is not None:
            self.feature_names_in_ = state.feature_names
        if state.model is not None:
            architecture = self._architecture()
            shape = state.parameters.shape
            size = Size(shape, architecture.trained_k(state.k), self._prefixes_of(shape[1]))
            self._trainer = Trainer(
                self._settings(), size, self._tied, None, state.scaling, architecture
            )
            self._trainer.model = state.model

    def __getstate__(self):
        # Nothing of torch is kept: the state must load where there is neither the device
        # nor this version. The optimizer's moments go with it.
        state = super().__getstate__().copy()
        state.pop("_trainer", None)
        state.pop("_device_warned", None)
        return {**state, "_skl_sae_version": version()}

    def __setstate__(self, state):
        state = dict(state)
        written_by = state.pop("_skl_sae_version", "an unknown version")
        if written_by != version():
            _warn_of_version(written_by)
        super().__setstate__(state)
        if getattr(self, "_tied", False):
            self.encoder_ = self.components_  # one array, which joblib stores twice
        if self.__sklearn_is_fitted__():  # pickles of earlier versions
            vars(self).setdefault("image_shape_", None)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "components_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags


@contextlib.contextmanager
def whole_or_unchanged(estimator):
    """A fit, of which nothing is left if it fails: what was fitted before, if anything, stays.

    validate_data notes the features of X before anything can fail.
    """
    seen = {name: getattr(estimator, name) for name in _SEEN if hasattr(estimator, name)}
    try:
        yield
    except BaseException:
        for name in _SEEN:
            vars(estimator).pop(name, None)
        vars(estimator).update(seen)
        raise


@one_thread()
def _product(X, atoms):
    """NumPy's own product may add up differently with another number of threads."""
    arrays = (a if a.flags.writeable else a.copy() for a in (X, atoms))
    return product(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)).numpy()


def _coded_evenly(encode, rows, device):
    """Active atoms of rows, each coded alike wherever it stands.

    Products handle what is left over of a whole number of blocks of rows in loops of their own,
    which round differently; so empty rows are put behind.
    """
    n, tensor = len(rows), torch.tensor(rows, device=device)
    n_more = -n % ROWS_OF_PRODUCTS
    if n == 1 or not n_more:
        return encode(tensor)
    active = encode(torch.nn.functional.pad(tensor, (0, 0, 0, n_more)))
    return ActiveAtoms(*(part[:, :n] for part in active))


def _warn_of_version(written_by):
    """Warn that another version wrote a model; None is this one."""
    if written_by is None:
        return
    warnings.warn(
        f"The model was written by skl_sae {written_by} and is read by {version()}.",
        UserWarning, stacklevel=3,
    )  # fmt: skip
