"""Files of saev: a line of JSON, then a state dict."""

import json
import os
from typing import Any

import numpy as np

from .._model_file._safetensors import opened, trouble_with
from ..autoencoders._topk import TopKSparseAutoencoder
from ..images._typing import AnyPath
from ._files import (
    check_shapes,
    named,
    new_folder,
    our_version,
    read_state,
    size_of,
    value_of,
    write_state,
)
from ._weights import Weights, estimator_of, weights_of

_FILE = "sae.pt"
_MOST_HEADER = 2**20  # bytes
_SCHEMA = 5
# Encoders of files with no schema, or the first, were trained on x - b, all later ones on x.
_LAST_CENTERED = 1
_READABLE = (None, 1, 2, 3, 4, 5)
_WITHOUT_SPARSITY = {"cls": "NoSparsity", "params": {"key": "no-sparsity"}}
_AUXK = {"cls": "AuxK", "params": {"key": "auxk", "k_aux": 512, "alpha": 1 / 32}}
_OF_CLASS = {
    "Relu": {"key": "relu", "sparsity": _WITHOUT_SPARSITY,
             "aux": {"cls": "NoAux", "params": {"key": "no-aux"}}},
    "TopK": {"key": "top-k", "sparsity": _WITHOUT_SPARSITY, "aux": _AUXK},
    "BatchTopK": {"key": "batch-top-k", "sparsity": _WITHOUT_SPARSITY, "momentum": 0.1,
                  "aux": _AUXK},
}  # fmt: skip


def to_saev(estimator: Any, folder: AnyPath, member: int = 0) -> None:
    """Write a member as a file that saev loads.

    Codes and reconstructions are the same, but for this: top-k of saev keeps negative activations
    of a sample that has fewer than k positive ones, which are 0 here. The encoder there takes x and
    not x - b, so the bias is c - W b; where that is much larger than c, codes differ by its
    rounding.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder
        Fitted.
    folder : str or path-like
        The folder, made if there is none. Its file ``sae.pt``, of schema 5, is replaced.
    member : int, default=0
        The member, which reconstructs by itself there.

    Raises
    ------
    ModelFileError
        If the format cannot hold the model, with the reason: thresholds of single atoms among
        others.
    ValueError
        If there is no such member.

    See Also
    --------
    from_saev : Reads such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import to_saev
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saev(sae, folder)
    ...     os.listdir(folder)
    ['sae.pt']
    """
    w = weights_of(estimator, member, folder)
    with trouble_with(folder):
        if w.thresholds is not None and (w.thresholds != w.thresholds[0]).any():
            raise ValueError("Expected one threshold, which saev has, got one for each atom.")
        arrays = {"W_enc": w.encoder.T, "b_enc": w.of_x, "W_dec": w.decoder, "b_dec": w.center}
    activation = "Relu" if w.is_relu else "TopK" if w.thresholds is None else "BatchTopK"
    params = dict(_OF_CLASS[activation])
    if activation != "Relu":
        params["top_k"] = w.k
    if activation == "BatchTopK":
        arrays["activation.threshold"] = w.thresholds[0]
    n_atoms, n_features = w.shape
    header = {
        "schema": _SCHEMA,
        "cfg": {
            "d_model": n_features, "d_sae": n_atoms,
            "activation": {"cls": activation, "params": params}, "reinit_blend": 0.8,
            "reinit_enc_dec_tranpose": True, "remove_parallel_grads": True,
            "normalize_w_dec": True,
        },
        "commit": "unknown", "lib": our_version(),
    }  # fmt: skip
    path = os.path.join(new_folder(folder), _FILE)
    write_state(path, arrays, json.dumps(header).encode() + b"\n")


def from_saev(folder: AnyPath) -> TopKSparseAutoencoder:
    """Read a file that saev wrote, as a fitted autoencoder.

    Codes are the same, but that negative activations are 0, which top-k of saev keeps on a sample
    that has fewer than k positive ones. Where the atoms there have another norm than 1, activations
    are multiplied by it. The state dict is read by ``torch.load(weights_only=True)``, which runs
    nothing in it.

    Parameters
    ----------
    folder : str or path-like
        The folder with ``sae.pt``, or such a file itself, of any schema up to 5. Encoders of files
        with none or the first take x - b, as saev did when it wrote them.

    Returns
    -------
    estimator : TopKSparseAutoencoder
        Fitted; see :ref:`interop_fitted` for what is not known of it. With sparsity="batch_topk"
        for "BatchTopK"; all positive activations count for "Relu": k is the number of atoms.

    Raises
    ------
    ModelFileError
        If the file is damaged, or if the model cannot be held exactly: batch top-k of earlier
        schemas, which has no threshold, and top-k over atoms of different norms.

    See Also
    --------
    to_saev : Writes such a file.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import from_saev, to_saev
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saev(sae, folder)
    ...     loaded = from_saev(folder)
    >>> bool(abs(loaded.transform(X) - sae.transform(X)).max() < 1e-4)
    True
    """
    path = os.fspath(folder)
    if os.path.isdir(path):
        path = os.path.join(path, _FILE)
    with opened(path) as (file, _):
        data = file.readall()
        end = data.find(b"\n", 0, _MOST_HEADER) + 1
        if not end:
            raise ValueError("Expected a line of JSON first, as saev writes it.")
        header = named(data[:end])
        activation, shape, k = _read_header(header)
        arrays = read_state(data[end:])
        _check_arrays(arrays, activation, shape)
        w = _weights(arrays, activation, k)
        is_centered = (header.get("schema") or 0) <= _LAST_CENTERED
        return estimator_of(w if is_centered else w.taking_x())


def _read_header(header):
    """Class of activation, sizes, and k if there is one."""
    schema = value_of(header, "schema", _READABLE, None)
    config = header if schema is None else value_of(header, "cfg", dict, None)
    n_features = size_of(config, "d_model" if "d_model" in config else "d_vit")
    if "d_sae" in config:
        n_atoms = size_of(config, "d_sae")
    else:
        n_atoms = n_features * size_of(config, "exp_factor")
    activation, params = _activation(header, config)
    k = None if activation == "Relu" else min(size_of(params, "top_k", default=32), n_atoms)
    return activation, (n_atoms, n_features), k


def _activation(header, config):
    """Class of activation, and its parameters, as any of the schemas has them."""
    if "schema" not in header:
        return "Relu", {}
    if header["schema"] == 1 and header.get("cls") in tuple(_OF_CLASS):
        return header["cls"], config
    if "activation" not in config:
        return "Relu", {}
    given = value_of(config, "activation", dict, None)
    return value_of(given, "cls", tuple(_OF_CLASS), None), value_of(given, "params", dict, {})


def _check_arrays(arrays, activation, shape):
    shapes = {"W_enc": shape[::-1], "b_enc": shape[:1], "W_dec": shape, "b_dec": shape[1:]}
    if activation == "BatchTopK":
        shapes["activation.threshold"] = ()
    check_shapes(arrays, shapes)


def _weights(arrays, activation, k):
    bias, thresholds = arrays["b_enc"], None
    if activation != "TopK":
        given = arrays.get("activation.threshold", np.float32(0))
        thresholds = np.broadcast_to(np.float32(given), bias.shape)
    encoder = np.ascontiguousarray(arrays["W_enc"].T)
    return Weights(encoder, bias, arrays["W_dec"], arrays["b_dec"], k, thresholds)
