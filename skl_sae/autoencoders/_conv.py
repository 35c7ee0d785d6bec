"""ConvTopKSparseAutoencoder: sparse codes of images by small atoms at all places."""

import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._engine._conv import ConvModel
from .._engine._device import check_fits
from .._engine._places import Places
from .._engine._pursuit import ConvPursuit
from .._engine._refit import ConvRefit
from .._engine._threads import one_thread
from .._engine._tuning import CODES_AT_A_TIME
from .._training._architecture import (
    ConvArchitecture,
    PatchArchitecture,
    mean_spread,
    normalized,
    restored,
)
from .._training._lazy import LazySamples, lazily, parts_of
from .._training._loop import Size, check_memory
from ..images._arrays import rows_of_images, without_channel
from ..images._shapes import check_sides
from ..images._typing import AnyPath, RandomState, Shape, SparseOrDense
from ._sparse_output import pooled, to_csr
from ._trained import TrainedSparseAutoencoder

# The default k is this share of positions times atoms, but at most so many pixels' share.
_SHARE_ACTIVE, _PIXELS_OF_ACTIVE = 0.05, 8
# Memory of a column's name, which is a str.
_NAME_BYTES = 100


class ConvTopKSparseAutoencoder(TrainedSparseAutoencoder):
    r"""Sparse codes of images by small atoms that are looked for at every place.

    Atoms :math:`d_h` are patches of unit norm. At each place :math:`p` of a grid with the given
    stride, the patch :math:`x_p` of an image is compared with all of them, and the :math:`k`
    largest answers of the *image* are its code:

    .. math::

        z = \mathrm{TopK}_{p, h}(\mathrm{ReLU}(w_h \cdot (x_p - b) + c_h),\ k), \qquad
        \hat x = b + \sum_{p, h} z_{p, h}\, d_h \text{ at place } p,

    so that complex images and busy places share one budget, and atoms that overlap add up [1]_
    [2]_. The centre :math:`b` is the mean of each channel. An image that is shifted by the stride
    has the same code, one place on. As :class:`TopKSparseAutoencoder`, it is trained by Adam on
    the mean squared error, with AuxK for atoms that have not been active for an epoch.

    Where places overlap, they begin outside the image, so that its edge lies in as many patches as
    the rest; there, and where the last places reach over the end, the image is continued by the
    pixels of its edge. What atoms have in this margin is cut off, so every pixel is reconstructed.
    With ``normalize``, places begin at the corner.

    Parameters
    ----------
    n_components : int, default=128
        Number of atoms.
    image_shape : tuple (H, W) or (H, W, C), or None, default=None
        Shape of the images that rows hold, in C order. Arrays of shape (n, H, W) or (n, H, W, C)
        need none. None takes rows for images of the shape that the augmenter has, or else for
        images of one line, (1, n_features).
    kernel_size : int or tuple of 2 ints, default=8
        Height and width of an atom; at most those of the images.
    stride : int, tuple of 2 ints or None, default=None
        Distance of places in pixels, at most the size of an atom. None is half of that, at least
        1. With ``stride=kernel_size`` patches do not overlap, which codes with the lowest error in
        one pass.
    k : int, float or None, default=None
        Number of active atoms in an image, at all places together. A float in (0, 1) is a fraction
        of positions times atoms, and with it an image of another size has a budget for its size.
        None is 0.05, but at most an eighth of the pixels.
    pooling : int, tuple of 2 ints or None, default=None
        Number of parts, vertically and horizontally, in which the codes of all places are pooled;
        this suits classifiers. None keeps the places.
    pooling_function : {"mean", "max"}, default="mean"
        What is kept of each atom's activations in a part.
    normalize : bool, default=False
        Whether each patch is centred and divided by its spread before it is coded (local contrast
        normalisation, as in [2]_), so that faint structure counts like strong. Training then
        reconstructs some random patches of each image by themselves. Codes hold neither mean nor
        spread, so inverse_transform is refused; scores compare images with reconstructions that
        have both put back.
    tied : bool or "auto", default="auto"
        Whether the encoder is the transposed decoder. "auto" ties them where patches do not
        overlap, or are normalized.
    init : {"pca", "orthogonal", "random"} or array-like, default="pca"
        Initial atoms, as in :class:`TopKSparseAutoencoder`, of random patches; an array has shape
        (n_components, n_features_of_an_atom).
    transform_algorithm : {"topk", "omp"}, default="topk"
        Algorithm that computes codes. "topk": the encoder, in one pass. "omp": orthogonal matching
        pursuit [3]_ over the whole image, with the atoms of all places, which is slower and has a
        lower error; its codes have either sign.
    transform_tol : float or None, default=None
        Part of an image's variance at which "omp" stops, as in :class:`TopKSparseAutoencoder`: of
        the squared distance of all its pixels from ``centers_``; and of the pixels of its margin,
        where the places inside do not cover it. With ``normalize`` it is part of
        the variance of the normalized patches together.
    refit : bool, default=False
        Whether codes get new values by least squares over the atoms that the encoder chose, as in
        :class:`TopKSparseAutoencoder`, of the whole image at once. Where places overlap this takes
        several times as long as one pass; atoms side by side gain little.
    learning_rate : float or "auto", default="auto"
        Largest learning rate of Adam, as in :class:`TopKSparseAutoencoder`, where the features
        are those of an atom.
    batch_size : int, default=32
        Number of images per mini-batch.
    max_iter : int, default=30
        Number of epochs.
    aux_coef : float, default=0.25
        Weight of AuxK, the loss of the dead atoms.
    augmenter : transformer or None, default=None
        As in :class:`TopKSparseAutoencoder`.
    early_stopping : bool, default=False
        Whether to hold out images and to stop when their correlation no longer improves.
    validation_fraction : float, default=0.1
        Fraction of the images that early stopping holds out; to the nearest group, if fit is told
        groups.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which early stopping stops.
    tol : float, default=1e-4
        Smallest gain in correlation that counts as an improvement.
    checkpoint : str, path-like or None, default=None
        File to which fit writes its whole state, as in :class:`TopKSparseAutoencoder`.
    checkpoint_interval : int or float, default=1
        Number of epochs from one checkpoint to the next; below 1 a share of an epoch.
    sparse_output : bool, default=True
        Whether transform returns a CSR matrix or a dense array.
    device : str or torch.device, default="auto"
        Where to compute, as in :class:`TopKSparseAutoencoder`.
    warm_start : bool, default=False
        Whether fit starts from the fitted weights, and resumes the fit of a checkpoint.
    random_state : int, RandomState instance or None, default=None
        Determines initial atoms, the order of images, those held out and random patches.
    verbose : bool or int, default=0
        Whether to print progress once per epoch, and per call of partial_fit.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, h * w * C), float32
        The atoms, of unit norm; ``components_.reshape(-1, *atom_shape_)`` are pictures.
    encoder_ : ndarray of shape (n_components, h * w * C), float32
        The encoder's weights. The same array as ``components_`` if tied.
    encoder_bias_ : ndarray of shape (n_components,), float32
        The encoder's biases, in the units of the data.
    centers_ : ndarray of shape (1, C), float32
        The mean of each channel; 0 with ``normalize``.
    image_shape_ : tuple
        Shape of the images seen in fit.
    atom_shape_ : tuple (h, w) or (h, w, C)
        Shape of an atom.
    maps_shape_ : tuple (rows, columns, n_components)
        Places and atoms that the columns of unpooled codes stand for, in C order.
    k_ : int
        Resolved number of active atoms in an image of ``image_shape_``.
    n_components_ : int
        Number of atoms.
    atom_frequency_ : ndarray of shape (n_components,), float32
        Fraction of the places of the last epoch's images at which an atom fired. 0 is a dead atom.
    loss_curve_, correlation_curve_, validation_scores_, best_validation_score_, n_iter_
        As in :class:`TopKSparseAutoencoder`; the loss is the fraction of variance about the
        channels' means, or with ``normalize`` of that in the patches.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    TopKSparseAutoencoder : Atoms as large as the images, which suit aligned pictures.

    Notes
    -----
    Images of any size that holds an atom can be coded: as arrays of images, or as rows after
    ``set_params(image_shape=...)``. Codes, names of features and inverse_transform follow that
    size; an int ``k`` stays as it is, a fraction grows with the image.

    References
    ----------
    .. [1] M. Zeiler, D. Krishnan, G. Taylor and R. Fergus, "Deconvolutional networks", CVPR 2010.
    .. [2] A. Coates and A. Ng, "The importance of encoding versus training with sparse coding and
       vector quantization", ICML 2011.
    .. [3] R. Rubinstein, M. Zibulevsky and M. Elad, "Efficient implementation of the K-SVD
       algorithm using batch orthogonal matching pursuit", Technion CS-2008-08, 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import ConvTopKSparseAutoencoder
    >>> images = load_digits().images
    >>> sae = ConvTopKSparseAutoencoder(32, kernel_size=4, k=16, max_iter=5, random_state=0)
    >>> codes = sae.fit_transform(images)
    >>> codes.shape, sae.maps_shape_
    ((1797, 800), (5, 5, 32))
    >>> sae.score(images) > 0.85
    True
    """

    _parameter_constraints: dict = {
        **TrainedSparseAutoencoder._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "image_shape": [tuple, list, None],
        "kernel_size": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "stride": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "pooling": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "pooling_function": [StrOptions({"mean", "max"})],
        "normalize": ["boolean"],
        "tied": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        n_components: int = 128,
        *,
        image_shape: Shape | None = None,
        kernel_size: int | tuple[int, int] = 8,
        stride: int | tuple[int, int] | None = None,
        k: int | float | None = None,
        pooling: int | tuple[int, int] | None = None,
        pooling_function: Literal["mean", "max"] = "mean",
        normalize: bool = False,
        tied: bool | Literal["auto"] = "auto",
        init: Literal["pca", "orthogonal", "random"] | ArrayLike = "pca",
        transform_algorithm: Literal["topk", "omp"] = "topk",
        transform_tol: float | None = None,
        refit: bool = False,
        learning_rate: float | Literal["auto"] = "auto",
        batch_size: int = 32,
        max_iter: int = 30,
        aux_coef: float = 0.25,
        augmenter: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        tol: float = 1e-4,
        checkpoint: AnyPath | None = None,
        checkpoint_interval: int | float = 1,
        sparse_output: bool = True,
        device: str | torch.device = "auto",
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: bool | int = 0,
    ) -> None:
        self.n_components = n_components
        self.image_shape = image_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.k = k
        self.pooling = pooling
        self.pooling_function = pooling_function
        self.normalize = normalize
        self.tied = tied
        self.init = init
        self.transform_algorithm = transform_algorithm
        self.transform_tol = transform_tol
        self.refit = refit
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.aux_coef = aux_coef
        self.augmenter = augmenter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.sparse_output = sparse_output
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # --- Public methods ---

    def inverse_transform(self, X: SparseOrDense) -> np.ndarray:
        """Reconstruct images from codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, rows * columns * n_components)
            Codes, as transform returns them without pooling; of images of another size than those
            of fit after ``set_params(image_shape=...)``.

        Returns
        -------
        X_original : ndarray of shape (n_samples, H * W * C), float32
            The images, as rows.

        Raises
        ------
        ValueError
            If codes are pooled, or of normalized patches: neither can be inverted.
        """
        check_is_fitted(self)
        self._refuse_inversion()
        X = check_array(X, accept_sparse="csr", dtype=np.float32, input_name="X")
        places, codes = self._places_of_codes(X.shape[1]), sp.csr_matrix(X)
        parts = [
            self._decoded(codes[part], places)
            for part in gen_batches(X.shape[0], _n_at_a_time(places, self.n_components_))
        ]
        return np.concatenate(parts)

    def get_feature_names_out(
        self, input_features: Sequence[str] | ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the columns: atom, and row and column of the place or part.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not needed; checked against the names seen in fit.

        Returns
        -------
        names : ndarray of shape (n_features_out,), dtype object
            Such as "convtopksparseautoencoder_atom3_row0_column1".

        Raises
        ------
        MemoryError
            If images are so large that the names would not fit into memory.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        rows, columns = self._parts(self._places_now()) or self._places_now().counts
        n_columns = rows * columns * self.n_components_
        check_fits(_NAME_BYTES * n_columns, f"The names of {n_columns} columns")
        prefix = type(self).__name__.lower()
        return np.array([
            f"{prefix}_atom{atom}_row{row}_column{column}"
            for row in range(rows) for column in range(columns)
            for atom in range(self.n_components_)
        ], dtype=object)  # fmt: skip

    # --- Validation ---

    def _validate_rows(self, X, *, reset):
        """Images (n, H, W, C), float32 or lazy, of rows or of an array of images."""
        X, shape = rows_of_images(lazily(X))
        shape = self.image_shape if shape is None else shape
        if shape is not None:
            shape = _with_channels(check_sides("image_shape", shape, _SIDES))
        if reset or shape in (None, self._fitted_shape):
            X = self._validate_plain_rows(X, reset=reset)
        elif not isinstance(X, LazySamples):  # of another size, which is no fault
            X = check_array(X, dtype=np.float32, order="C", input_name="X")
        n_features = math.prod(X.shape[1:])
        if shape is None:
            shape = self._fitted_shape
            if reset:
                shape = _with_channels(self._shape_of_augmenter(n_features) or (1, n_features))
        if math.prod(shape) != n_features:
            raise ValueError(
                f"Expected rows of {math.prod(shape)} numbers, as image_shape={shape} says, got "
                f"{n_features}."
            )
        if not reset and shape[2] != self._fitted_shape[2]:
            raise ValueError(
                f"Expected images of {self._fitted_shape[2]} channel(s), got {shape[2]}."
            )
        return X.as_images(shape) if isinstance(X, LazySamples) else X.reshape(len(X), *shape)

    @property
    def _fitted_shape(self):
        """(H, W, C) of the images of fit; None before."""
        shape = getattr(self, "image_shape_", None)
        return None if shape is None else _with_channels(shape)

    def _check_size(self, X, n_samples, start):
        """Check constraints between parameters; return the model's size, and whether it is tied."""
        self._check_numbers()
        if start is not None and X.shape[1:] != self._fitted_shape:
            raise ValueError(
                f"Expected images of shape {self._fitted_shape} to go on with, got {X.shape[1:]}."
            )
        places = self._new_places(X.shape[1:])
        shape = 1, int(self.n_components), places.atom_size
        if start is not None and start.shape != shape:
            raise ValueError(
                "Expected the fitted shape (1, n_components, numbers of an atom) = "
                f"{start.shape} to go on from, got {shape}."
            )
        tied = self.tied
        pursued = self.transform_algorithm == "omp"
        if tied == "auto":
            tied = self.normalize or pursued or places.stride == places.atom_shape[:2]
        if start is not None and tied != start.tied:
            raise ValueError(f"Expected tied={not tied} as fitted, got tied={tied}.")
        self._parts(places)
        check_memory(shape, tied)
        k, tied = self._resolve_k(places), bool(tied)
        if self.normalize:
            k = PatchArchitecture(places, 1.0).trained_k(k)
        return Size(shape, k), tied

    def _resolve_k(self, places):
        """Number of active atoms in an image with these places."""
        n_positions = len(places) * self.n_components
        if self.k is None:
            height, width, _ = places.image_shape
            most = height * width // _PIXELS_OF_ACTIVE
            return max(1, min(int(_SHARE_ACTIVE * n_positions), most))
        if isinstance(self.k, Integral):
            if self.k > n_positions:
                raise ValueError(
                    f"Expected k <= places * n_components = {len(places)} * {self.n_components}, "
                    f"got k={self.k}."
                )
            return int(self.k)
        return max(1, int(self.k * n_positions))

    # --- Places ---

    def _new_places(self, shape):
        """Places that the parameters mean for images of this shape (H, W, C)."""
        kernel = _pair("kernel_size", self.kernel_size)
        atom = *(min(side, size) for side, size in zip(kernel, shape, strict=False)), shape[2]
        if self.stride is None:
            stride = tuple(max(1, side // 2) for side in atom[:2])
        else:
            asked = _pair("stride", self.stride)
            if any(step > side for step, side in zip(asked, kernel, strict=True)):
                raise ValueError(
                    f"Expected a stride of at most the kernel_size {kernel}, got {asked}."
                )
            stride = tuple(min(step, side) for step, side in zip(asked, atom, strict=False))
        return Places(tuple(shape), atom, stride, inside=self.normalize)

    def _places(self, shape):
        """Places of the fitted atoms in images of this shape (H, W, C)."""
        atom = _with_channels(self.atom_shape_)
        if any(side < size for side, size in zip(shape, atom, strict=False)):
            raise ValueError(
                f"Expected images that hold an atom of {atom[0]} x {atom[1]} pixels, got "
                f"{shape[0]} x {shape[1]}."
            )
        return Places(tuple(shape), atom, self._stride, inside=self._spread is not None)

    def _places_now(self):
        """Places of images of ``image_shape``, if it is given, or of those of fit."""
        if self.image_shape is None:
            return self._places(self._fitted_shape)
        return self._places(_with_channels(check_sides("image_shape", self.image_shape, _SIDES)))

    def _places_of_codes(self, n_columns):
        for places in (self._places_now(), self._places(self._fitted_shape)):
            expected = len(places) * self.n_components_
            if expected == n_columns:
                return places
        raise ValueError(
            f"Expected codes with {expected} columns, got {n_columns}. Say by "
            "set_params(image_shape=...) that they are of images of another size."
        )

    def _parts(self, places):
        """Number of parts that codes are pooled in, vertically and horizontally; or None."""
        if self.pooling is None:
            return None
        parts = _pair("pooling", self.pooling)
        if any(part > count for part, count in zip(parts, places.counts, strict=True)):
            raise ValueError(
                f"Expected pooling in at most {places.counts} parts, which is the number of "
                f"places, got {parts}."
            )
        return parts

    @property
    def _n_features_out(self):
        places = self._places_now()
        return math.prod(self._parts(places) or places.counts) * self.n_components_

    # --- Codes ---

    @property
    def _codes_suffice(self):
        return self.pooling is None and self._spread is None

    def _refuse_inversion(self):
        if self.pooling is not None:
            raise ValueError(
                "Pooled codes cannot be inverted: they no longer say where an atom was active. "
                "set_params(pooling=None) gives codes that can."
            )
        if self._spread is not None:
            raise ValueError(
                "Codes of normalized patches cannot be inverted: they hold neither the mean nor "
                "the spread of a patch. Fit with normalize=False for codes that can."
            )

    @one_thread()
    def _codes(self, X):
        """CSR codes of validated images."""
        parts = []
        for places, _, active, _ in self._coded(X):
            pooling = self._parts(places)
            if pooling is None:
                parts.append(to_csr(active, len(places) * self.n_components_))
            else:
                shape = *places.counts, self.n_components_
                parts.append(pooled(active, shape, pooling, self.pooling_function))
        return sp.vstack(parts, format="csr")

    @one_thread()
    def _reconstruct(self, X):
        """Reconstructions of validated images, as rows."""
        parts = []
        for places, rows, active, model in self._coded(X):
            decoded = model.decode(active)
            if self._spread is not None:
                decoded = restored(places, rows, decoded, self._spread)
            parts.append(decoded.cpu().numpy())
        return np.concatenate(parts)

    def _coder_of_parts(self, n_rows):
        return self._codes

    def _reconstructed_parts(self, parts, n_rows):
        return ((part, self._reconstruct(part)) for part in parts)

    def _coded(self, X):
        """Places, images as rows, active atoms and the model, a few images at a time."""
        places, device = self._places(X.shape[1:]), self._transform_device()
        # joblib's workers share arrays that cannot be written, which torch warns of.
        parameters = self._parameters().map(lambda a: a if a.flags.writeable else a.copy())
        seen = places if self._spread is None else places.side_by_side(len(places))
        is_fitted_size = X.shape[1:] == self._fitted_shape
        k = self.k_ if is_fitted_size else self._resolve_k(places)
        model = ConvModel(parameters, places=seen, k=k, device=device)
        encode, tolerance = model.encode, self._tolerance()
        if self.transform_algorithm == "omp":
            encode = ConvPursuit(model, tolerance).encode
        elif self.refit:
            encode = ConvRefit(model).encode
        for images in self._few_at_a_time(X, places):
            rows = given = torch.tensor(images.reshape(len(images), -1), device=device)
            if self._spread is not None:
                patches = normalized(places.patches(places.frame(rows)), self._spread)
                given = patches.view(len(rows), -1)
            yield places, rows, encode(given), model

    def _few_at_a_time(self, X, places):
        n = _n_at_a_time(places, self.n_components_)
        for part in parts_of(X):
            for batch in gen_batches(len(part), n):
                yield part[batch]

    def _decoded(self, codes, places):
        """Images of CSR codes, as rows."""
        by_place = codes.reshape(-1, self.n_components_).tocsr()
        patches = torch.from_numpy(by_place @ self.components_)
        framed = torch.zeros(codes.shape[0], places.n_framed)
        places.add_patches(patches, framed)
        rows = places.unframe(framed).numpy().reshape(codes.shape[0], -1, len(self.centers_[0]))
        return (rows + self.centers_).reshape(codes.shape[0], -1)

    # --- Training ---

    def _architecture(self, X=None, rows=None, rng=None, start=None):
        if X is None:
            places, spread = self._places(self._fitted_shape), self._spread
        else:
            places, spread = self._new_places(X.shape[1:]), None
            if self.normalize:
                is_new = start is None
                spread = mean_spread(places, rows.sample(rng).X, rng) if is_new else self._spread
        if spread is None:
            return ConvArchitecture(places, self.transform_algorithm == "omp")
        return PatchArchitecture(places, spread)

    def _attributes(self, trainer, copied=False):
        architecture = trainer.architecture
        return {
            **super()._attributes(trainer, copied),
            **_image_attributes(architecture.images, trainer.size.shape[1]),
            "k_": self._resolve_k(architecture.images),
            "_spread": architecture.spread,
        }

    # --- State ---

    def _get_state(self):
        return replace(super()._get_state(), image=self._architecture().as_json())

    def _set_state(self, state):
        image = state.image
        self._spread = image["spread"]
        sizes = (tuple(image[name]) for name in ("image_shape", "atom_shape", "stride"))
        places = Places(*sizes, inside=self._spread is not None)
        vars(self).update(_image_attributes(places, state.parameters.shape[1]))
        super()._set_state(replace(state, image_shape=self.image_shape_))
        self.n_features_in_ = places.n_features


_SIDES = "height", "width", "channels"


def _image_attributes(places, n_components):
    """Fitted attributes that say where atoms are looked for."""
    return {
        "image_shape_": without_channel(places.image_shape),
        "atom_shape_": without_channel(places.atom_shape),
        "maps_shape_": (*places.counts, n_components),
        "_stride": places.stride,
    }


def _with_channels(shape):
    return tuple(shape) if len(shape) == 3 else (*shape, 1)


def _pair(name, value):
    """Two positive ints of a parameter, which may be one."""
    if isinstance(value, Integral):
        value = value, value
    return check_sides(name, value)


def _n_at_a_time(places, n_components):
    """Number of images whose answers, or patches, are held at a time."""
    return max(1, CODES_AT_A_TIME // (len(places) * max(n_components, places.atom_size)))
