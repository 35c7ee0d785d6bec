"""Folders of dictionary_learning: config.json and ae.pt, a state dict."""

import os
from typing import Any

import numpy as np

from .._model_file._safetensors import opened, trouble_with
from ..autoencoders._topk import TopKSparseAutoencoder
from ..images._typing import AnyPath
from ._files import (
    check_shapes,
    k_of,
    new_folder,
    our_version,
    read_json,
    read_state,
    size_of,
    value_of,
    write_json,
    write_state,
)
from ._weights import Weights, estimator_of, weights_of

_CONFIG, _ARRAYS = "config.json", "ae.pt"
# Names of W, c, D and b by class. Those of linear layers hold D transposed, the others W.
_LINEAR = "encoder.weight", "encoder.bias", "decoder.weight"
_PLAIN = "W_enc", "b_enc", "W_dec", "b_dec"
_CLASSES = {
    "AutoEncoderTopK": (*_LINEAR, "b_dec"),
    "BatchTopKSAE": (*_LINEAR, "b_dec"),
    "MatryoshkaBatchTopKSAE": _PLAIN,
    "JumpReluAutoEncoder": _PLAIN,
    "AutoEncoder": (*_LINEAR, "bias"),
    "AutoEncoderNew": (*_LINEAR, "decoder.bias"),
}
_WITH_K = "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"
# Encoders that take x itself, and not x - b.
_TAKING_X = "JumpReluAutoEncoder", "AutoEncoderNew"


def to_dictionary_learning(estimator: Any, folder: AnyPath, member: int = 0) -> None:
    """Write a member as a folder that dictionary_learning loads, with the same codes.

    With sparsity="topk" it is an ``AutoEncoderTopK``, with "batch_topk" a ``BatchTopKSAE``, or
    where atoms have thresholds of their own a ``JumpReluAutoEncoder``.
    ``dictionary_learning.utils.load_dictionary`` reads it.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder
        Fitted.
    folder : str or path-like
        The folder, made if there is none. ``config.json`` and ``ae.pt`` are replaced.
    member : int, default=0
        The member, which reconstructs by itself there.

    Raises
    ------
    ModelFileError
        If the format cannot hold the model, with the reason.
    ValueError
        If there is no such member.

    See Also
    --------
    from_dictionary_learning : Reads such a folder.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import to_dictionary_learning
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_dictionary_learning(sae, folder)
    ...     sorted(os.listdir(folder))
    ['ae.pt', 'config.json']
    """
    w = weights_of(estimator, member, folder)
    dict_class, arrays = _as_stored(w)
    n_atoms, n_features = w.shape
    trainer = {
        "dict_class": dict_class, "activation_dim": n_features, "dict_size": n_atoms,
        "written_by": our_version(),
    }  # fmt: skip
    if dict_class in _WITH_K:
        trainer["k"] = w.k
    folder = new_folder(folder)
    write_state(os.path.join(folder, _ARRAYS), arrays)
    write_json(os.path.join(folder, _CONFIG), {"trainer": trainer})


def _as_stored(w):
    """The class that computes these codes, and its arrays."""
    if w.thresholds is not None and (w.thresholds != w.thresholds[0]).any():
        arrays = {"W_enc": w.encoder.T, "b_enc": w.of_x, "W_dec": w.decoder, "b_dec": w.center,
                  "threshold": w.thresholds}  # fmt: skip
        return "JumpReluAutoEncoder", arrays
    arrays = {
        "encoder.weight": w.encoder, "encoder.bias": w.bias, "decoder.weight": w.decoder.T,
        "b_dec": w.center, "k": np.int32(w.k),
        "threshold": np.float32(-1) if w.thresholds is None else w.thresholds[0],
    }  # fmt: skip
    return "AutoEncoderTopK" if w.thresholds is None else "BatchTopKSAE", arrays


def from_dictionary_learning(folder: AnyPath) -> TopKSparseAutoencoder:
    """Read a folder that dictionary_learning wrote, as a fitted autoencoder with the same codes.

    Classes are ``AutoEncoderTopK``, ``BatchTopKSAE``, ``MatryoshkaBatchTopKSAE`` with all its
    groups, ``JumpReluAutoEncoder``, ``AutoEncoder`` and ``AutoEncoderNew``. Where the atoms there
    have another norm than 1, activations are multiplied by it. The ``ae.pt`` is read by
    ``torch.load(weights_only=True)``, which runs nothing in it.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Returns
    -------
    estimator : TopKSparseAutoencoder
        Fitted; see :ref:`interop_fitted` for what is not known of it. With sparsity="batch_topk"
        for classes with thresholds; of those without top-k and thresholds, k is the number of
        atoms.

    Raises
    ------
    ModelFileError
        If a file is damaged, or if the model cannot be held exactly: other classes, such as gated
        ones, and top-k over atoms of different norms.

    See Also
    --------
    to_dictionary_learning : Writes such a folder.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import from_dictionary_learning, to_dictionary_learning
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_dictionary_learning(sae, folder)
    ...     loaded = from_dictionary_learning(folder)
    >>> bool((loaded.transform(X) != sae.transform(X)).nnz == 0)
    True
    """
    config_path, path = (os.path.join(folder, name) for name in (_CONFIG, _ARRAYS))
    with trouble_with(config_path):
        trainer = value_of(read_json(config_path), "trainer", dict, None)
        dict_class = value_of(trainer, "dict_class", tuple(_CLASSES), None)
    with opened(path) as (file, _):
        arrays = read_state(file.readall())
        shape = _checked_shape(arrays, dict_class, trainer)
        k = _k(arrays, trainer, shape[0]) if dict_class in _WITH_K else None
        w = _weights(arrays, dict_class, k)
        return estimator_of(w.taking_x() if dict_class in _TAKING_X else w)


def _k(arrays, trainer, n_atoms):
    """Number of active atoms, which must be one where two places say it."""
    stored = int(arrays["k"]) if "k" in arrays else None
    k = k_of(trainer.get("k", stored), n_atoms)
    if stored not in (None, k):
        raise ValueError(f"Expected k={k}, as in {_CONFIG}, got {stored}.")
    return k


def _checked_shape(arrays, dict_class, trainer):
    """Numbers of atoms and features, as the configuration has them if it does."""
    bias, center = (arrays.get(_CLASSES[dict_class][i], np.zeros(1)) for i in (1, 3))
    n_atoms = size_of(trainer, "dict_size", default=bias.size)
    n_features = size_of(trainer, "activation_dim", default=center.size)
    _check_arrays(arrays, dict_class, (n_atoms, n_features))
    return n_atoms, n_features


def _check_arrays(arrays, dict_class, shape):
    n_atoms, n_features = shape
    encoder, bias, decoder, center = _CLASSES[dict_class]
    is_plain = encoder == "W_enc"
    shapes = {
        encoder: shape[::-1] if is_plain else shape, bias: (n_atoms,),
        decoder: shape if is_plain else shape[::-1], center: (n_features,),
    }  # fmt: skip
    if dict_class == "JumpReluAutoEncoder":
        shapes["threshold"] = (n_atoms,)
    elif dict_class in _WITH_K:
        # Codes of a class may not need all; files of earlier versions lack these.
        needed = set() if dict_class == "AutoEncoderTopK" else {"threshold"}
        shapes |= dict.fromkeys(needed | {"k", "threshold"} & set(arrays), ())
    if dict_class == "MatryoshkaBatchTopKSAE" and "group_sizes" in arrays:
        shapes["group_sizes"] = arrays["group_sizes"].shape  # all groups code
    check_shapes(arrays, shapes)


def _weights(arrays, dict_class, k):
    encoder, bias, decoder, center = (arrays[name] for name in _CLASSES[dict_class])
    if _CLASSES[dict_class] is _PLAIN:
        encoder = np.ascontiguousarray(encoder.T)
    else:
        decoder = np.ascontiguousarray(decoder.T)
    thresholds = None
    if dict_class != "AutoEncoderTopK":
        given = arrays.get("threshold", np.float32(0))
        thresholds = np.broadcast_to(np.float32(given), bias.shape)
    return Weights(encoder, bias, decoder, center, k, thresholds)
