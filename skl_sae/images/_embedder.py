"""ImageEmbedder: images to the activations of a network."""

import copy
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from .._engine._device import resolve_device
from ._arrays import rows_of_images
from ._network import output_of, rows_of, running
from ._rows import LazyRows
from ._shapes import check_sides
from ._typing import Samples, Shape, _fit_context

_SIDES = "height", "width", "channels"


class ImageEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Activations of a pretrained network, as rows for an autoencoder or a classifier.

    The network is a torch module of yours; nothing is downloaded. Images run through it in
    batches, in evaluation mode and without gradients. Nothing is learned, so transform needs no
    fit; a Pipeline's ``memory`` keeps what was computed, if a function makes the module.

    Parameters
    ----------
    model : torch.nn.Module, or callable that returns one
        The network: it takes a tensor (n, C, H, W). A function without arguments is called when
        the module is first needed, and clones and pickles then hold the function alone, not the
        weights; that suits searches and processes. Of a module, clones are copies, which a
        Pipeline's ``memory`` does not know again.
    image_shape : tuple (H, W) or (H, W, C), or None, default=None
        Shape of the images that rows hold, in C order, as :class:`ImageLoader` gives them. Arrays
        of shape (n, H, W) or (n, H, W, C) need none.
    layer : str or None, default=None
        Name of the layer whose output is taken, as ``model.named_modules()`` has it; if it runs
        several times in a pass, the last output. None is the output of the module.
    pooling : {"mean", "max", "cls"} or None, default="mean"
        What is kept of places, which are those of a map (n, d, rows, columns), or the tokens
        (n, tokens, d) behind the class token and registers: their mean, their maximum, or the
        class token in their stead. None gives one row a place, in C order. An output (n, d)
        has no places, and "mean" and "max" leave it as it is.
    mean : float, array-like of shape (C,) or None, default=None
        What is subtracted from a channel, in the units of the images; None is 0.
    std : float, array-like of shape (C,) or None, default=None
        What a channel is then divided by; None is 1.
    batch_size : int, default=32
        Number of images that run through the network at once.
    device : str or torch.device, default="auto"
        Where to compute: "auto" is CUDA, then MPS, then the CPU. A module that you give is moved
        there and back.

    Attributes
    ----------
    places_shape_ : tuple (rows, columns) or None
        Places of an image, of those that were seen last; None if the output has none.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where all are strings.

    See Also
    --------
    ImageLoader : Image files as rows.
    CodePooling : Codes of places as codes of images.

    Notes
    -----
    Numbers are handed to the network as they are: :class:`ImageLoader` gives them in [0, 1]. For
    images in 0 to 255, multiply mean and std by 255.

    An output may be a tensor; a tuple, of which the first is taken; or a dictionary of one entry
    or with ``last_hidden_state``, as of transformers. Maps have their channels first. A grid of
    tokens has the proportions of the image, and up to five other tokens come before it. Give a
    module of your own around a network that does otherwise.

    The last bits of an activation depend on the images that are in the same batch.

    Examples
    --------
    A network that was trained takes the place of these two layers:

    >>> import torch
    >>> from skl_sae import ImageEmbedder
    >>> from skl_sae.datasets import load_photographs
    >>> def make_network():
    ...     torch.manual_seed(0)
    ...     return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.ReLU())
    >>> X = load_photographs(10, (16, 16)).data
    >>> ImageEmbedder(make_network, image_shape=(16, 16, 3)).transform(X).shape
    (10, 8)
    >>> embedder = ImageEmbedder(make_network, image_shape=(16, 16, 3), pooling=None)
    >>> embedder.transform(X).shape, embedder.places_shape_
    ((160, 8), (4, 4))
    """

    _parameter_constraints: dict = {
        "model": [callable],
        "image_shape": [tuple, list, None],
        "layer": [str, None],
        "pooling": [StrOptions({"mean", "max", "cls"}), None],
        "mean": [Real, "array-like", None],
        "std": [Real, "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        image_shape: Shape | None = None,
        layer: str | None = None,
        pooling: Literal["mean", "max", "cls"] | None = "mean",
        mean: float | ArrayLike | None = None,
        std: float | ArrayLike | None = None,
        batch_size: int = 32,
        device: str | torch.device = "auto",
    ) -> None:
        self.model = model
        self.image_shape = image_shape
        self.layer = layer
        self.pooling = pooling
        self.mean = mean
        self.std = std
        self.batch_size = batch_size
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Samples, y: object = None) -> Self:
        """Check the parameters, by one image through the network; there is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_samples, H * W * C), (n_samples, H, W) or (n_samples, H, W, C)
            Images, as in :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        self : ImageEmbedder
            The embedder.
        """
        self._rows(self._images(X, reset=True), range(1))
        return self

    def transform(self, X: Samples) -> Any:
        """Run images through the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, H * W * C), (n_samples, H, W) or (n_samples, H, W, C)
            Images; also a list of Pillow's, which become floats in [0, 1]; also :class:`LazyRows`,
            as :meth:`ImageLoader.lazy` gives them.

        Returns
        -------
        rows : ndarray or LazyRows of shape (n_samples, n_features_out), dtype float32
            Activations; without pooling there are ``n_samples * rows * columns`` of them, image
            by image. :class:`LazyRows` become such, computed when they are asked for.

        Raises
        ------
        ValueError
            If the network does not take images of this shape, or has no such layer, or if its
            output does not fit ``pooling``.
        """
        self._validate_params()
        images = self._images(X, reset=False)
        if isinstance(X, LazyRows):
            return self._lazy(images)
        return self._rows(images, range(len(images.source)))

    def lazy(self, X: Samples) -> LazyRows:
        """Make rows of activations that are computed when they are asked for, by fit and transform.

        An autoencoder learns from more places than memory holds. Each of its epochs runs all
        images through the network anew: for many epochs write the rows to a file once.

        Parameters
        ----------
        X : object with ``shape``, ``dtype`` and ``X[start:stop]``
            Images as in :meth:`transform`: :meth:`ImageLoader.lazy`, a memory map, an array.

        Returns
        -------
        rows : LazyRows
            The rows that transform gives.

        Examples
        --------
        >>> import torch
        >>> from skl_sae import ImageEmbedder, TopKSparseAutoencoder
        >>> from skl_sae.datasets import load_photographs
        >>> _ = torch.manual_seed(0)
        >>> embedder = ImageEmbedder(torch.nn.Conv2d(1, 8, 4, stride=4), pooling=None)
        >>> images = load_photographs(50, (16, 16), "L").data.reshape(-1, 16, 16)
        >>> X = embedder.lazy(images)
        >>> X
        LazyRows(shape=(800, 8), dtype=float32)
        >>> sae = TopKSparseAutoencoder(16, k=2, max_iter=2, random_state=0).fit(X)
        """
        self._validate_params()
        X = X if hasattr(X, "shape") else np.asarray(X)
        return self._lazy(self._seen(X, X.shape))

    # --- Images ---

    def _images(self, X, reset):
        """Checked images, of which fit remembers the number and the names of features."""
        if isinstance(X, LazyRows):
            if reset:
                self.n_features_in_ = math.prod(X.shape[1:])
            return self._seen(X, X.shape)
        X, given = rows_of_images(X)
        X = X if hasattr(X, "shape") else np.asarray(X)
        options = {"dtype": np.float32, "order": "C"}
        shape = X.shape if given is None else (len(X), *given)
        # Arrays of images may have another size than those of fit.
        if reset or (given is None and hasattr(self, "n_features_in_")):
            X = validate_data(self, X, reset=reset, **options)
        else:
            X = check_array(X, input_name="X", **options)
        return self._seen(X, shape)

    def _seen(self, X, shape):
        """Images of X, which has or had this shape: that of rows or of an array of images."""
        given, n_features = tuple(shape[1:]), math.prod(shape[1:])
        if len(shape) == 2:
            if self.image_shape is None:
                raise ValueError(
                    f"Expected image_shape=(height, width[, channels]) of rows of {n_features} "
                    "numbers, or an array (images, height, width[, channels])."
                )
            given = check_sides("image_shape", self.image_shape, _SIDES)
        if len(given) not in (2, 3) or math.prod(given) != n_features:
            raise ValueError(
                f"Expected rows of {math.prod(given)} numbers, as image_shape={given} says, got "
                f"{n_features}."
            )
        return _Images(X, (*map(int, given), 1)[:3])

    def _normalized(self, images):
        """A batch (n, C, H, W) of images (n, H, W, C)."""
        for name, operate in (("mean", np.subtract), ("std", np.divide)):
            value = getattr(self, name)
            if value is not None:
                images = operate(images, _of_channels(name, value, images.shape[3]))
        return torch.tensor(np.moveaxis(images, 3, 1).astype(np.float32))

    # --- The network ---

    def _module(self):
        """The module, which is kept if it was made."""
        if isinstance(self.model, torch.nn.Module):
            return self.model
        maker, module = getattr(self, "_made", (None, None))
        if maker is not self.model:
            module = self.model()
            if not isinstance(module, torch.nn.Module):
                raise ValueError(
                    "Expected model to be a torch.nn.Module or a function that returns one, got "
                    f"a {type(module).__name__} from it."
                )
            self._made = self.model, module
        return module

    def _rows(self, images, indices):
        """Activations (rows, d) of some images, a batch at a time."""
        module, rows = self._module(), None
        with running(module, resolve_device(self.device)):
            for batch in gen_batches(len(indices), self.batch_size):
                given = self._normalized(images.at(indices[batch]))
                output = output_of(module, self.layer, given)
                part, places = rows_of(output, images.shape[:2], self.pooling)
                if rows is None:  # one array is all that is held
                    per_image = len(part) // len(given)
                    rows = np.empty((len(indices) * per_image, part.shape[1]), np.float32)
                begin = batch.start * per_image
                rows[begin : begin + len(part)] = part.float().cpu().numpy()
        self.places_shape_, self._n_features_out = places, rows.shape[1]
        return rows

    def _lazy(self, images):
        per_image, n_features = self._rows(images, range(1)).shape
        kept = copy.copy(self)  # later changes of parameters do not matter
        vars(kept).update(vars(self))  # the module that was made, too
        return _LazyPlaces(kept, images, per_image, n_features)

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_made"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.requires_fit = False
        return tags


class _Images(NamedTuple):
    """Images that are read by slices, and their shape (H, W, C)."""

    source: object
    shape: tuple

    def at(self, indices):
        """Images (n, H, W, C), of ascending indices."""
        if hasattr(self.source, "rows_at"):
            rows = self.source.rows_at(indices)
        else:
            starts = np.flatnonzero(np.diff(indices, prepend=-2) != 1)
            runs = np.split(np.asarray(indices), starts[1:])
            rows = np.concatenate([self.source[int(run[0]) : int(run[-1]) + 1] for run in runs])
        return np.asarray(rows, np.float32).reshape(len(indices), *self.shape)


class _LazyPlaces(LazyRows):
    """Activations of images, computed when they are asked for."""

    def __init__(self, embedder, images, per_image, n_features):
        n_rows = len(images.source) * per_image
        # An image runs through the network as a whole.
        n_at_once = per_image if per_image > 1 else None
        super().__init__(self._read, (n_rows, n_features), n_at_once=n_at_once)
        self.embedder, self.images, self.per_image = embedder, images, per_image

    def __repr__(self):
        return f"LazyRows(shape={self.shape}, dtype={self.dtype})"

    def _read(self, start, stop):
        return self.rows_at(range(start, stop))

    def rows_at(self, indices):
        """Rows in the order of their indices, by one pass of the images that they are of."""
        numbers, places = np.divmod(indices, self.per_image)
        numbers, positions = np.unique(numbers, return_inverse=True)
        rows = self.embedder._rows(self.images, numbers)
        return rows[positions * self.per_image + places]


def _of_channels(name, value, n_channels):
    """One float32 number, or one a channel."""
    value = np.asarray(value, dtype=np.float32)
    if value.shape not in ((), (1,), (n_channels,)):
        raise ValueError(
            f"Expected {name} of one number or {n_channels}, one a channel, got shape "
            f"{value.shape}."
        )
    if not np.isfinite(value).all() or (name == "std" and not (value > 0).all()):
        kind = "positive and finite" if name == "std" else "finite"
        raise ValueError(f"Expected {name} to be {kind}, got {value.tolist()}.")
    return value
