"""Folders of sparsify, one for each hookpoint: cfg.json and sae.safetensors."""

import os
from typing import Any

from .._model_file._safetensors import read_foreign_arrays, trouble_with, write_arrays
from ..autoencoders._topk import TopKSparseAutoencoder
from ..images._typing import AnyPath
from ._files import k_of, new_folder, read_json, size_of, value_of, write_json
from ._weights import Weights, estimator_of, weights_of

_CONFIG, _ARRAYS = "cfg.json", "sae.safetensors"


def to_sparsify(estimator: Any, folder: AnyPath, member: int = 0) -> None:
    """Write a member as a folder that sparsify loads: its codes and reconstructions are the same.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder
        Fitted, with sparsity="topk".
    folder : str or path-like
        The folder, made if there is none. ``cfg.json`` and ``sae.safetensors`` are replaced.
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
    from_sparsify : Reads such a folder.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import to_sparsify
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_sparsify(sae, folder)
    ...     sorted(os.listdir(folder))
    ['cfg.json', 'sae.safetensors']
    """
    w = weights_of(estimator, member, folder)
    with trouble_with(folder):
        if w.thresholds is not None:
            raise ValueError(
                "Expected sparsity='topk', got thresholds: sparsify takes the k largest of a row."
            )
    n_atoms, n_features = w.shape
    folder = new_folder(folder)
    arrays = {
        "encoder.weight": w.encoder, "encoder.bias": w.bias, "W_dec": w.decoder, "b_dec": w.center,
    }  # fmt: skip
    write_arrays(os.path.join(folder, _ARRAYS), arrays, {"format": "pt"})
    write_json(os.path.join(folder, _CONFIG), {
        "activation": "topk", "expansion_factor": max(1, n_atoms // n_features),
        "normalize_decoder": True, "num_latents": n_atoms, "k": w.k, "multi_topk": False,
        "skip_connection": False, "transcode": False, "d_in": n_features,
    })  # fmt: skip


def from_sparsify(folder: AnyPath) -> TopKSparseAutoencoder:
    """Read a folder that sparsify wrote, as a fitted autoencoder with the same codes.

    Where the atoms there have another common norm than 1, activations are multiplied by it.

    Parameters
    ----------
    folder : str or path-like
        The folder of one hookpoint.

    Returns
    -------
    estimator : TopKSparseAutoencoder
        Fitted; see :ref:`interop_fitted` for what is not known of it.

    Raises
    ------
    ModelFileError
        If a file is damaged, or if the model cannot be held exactly: transcoders, skip
        connections, groupmax and top-k over atoms of different norms.

    See Also
    --------
    to_sparsify : Writes such a folder.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import from_sparsify, to_sparsify
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_sparsify(sae, folder)
    ...     loaded = from_sparsify(folder)
    >>> bool((loaded.transform(X) != sae.transform(X)).nnz == 0)
    True
    """
    config_path, path = (os.path.join(folder, name) for name in (_CONFIG, _ARRAYS))
    with trouble_with(config_path):
        config = read_json(config_path)
        n_atoms, n_features, k = _sizes(config)
    shapes = {
        "encoder.weight": (n_atoms, n_features), "encoder.bias": (n_atoms,),
        "W_dec": (n_atoms, n_features), "b_dec": (n_features,),
    }  # fmt: skip
    with trouble_with(path):
        arrays = read_foreign_arrays(path, lambda names: shapes)
        return estimator_of(Weights(*(arrays[name] for name in shapes), k))


def _sizes(config):
    """Atoms, features and active atoms of a model that can be held."""
    for name, reason in (
        ("transcode", "a transcoder predicts other activations than those it sees"),
        ("skip_connection", "a linear map of the input is added to the reconstruction"),
    ):
        if value_of(config, name, bool, False):
            raise ValueError(f"Expected {name}=false, got true: {reason}.")
    value_of(config, "activation", ("topk",), "topk")
    n_features = size_of(config, "d_in")
    n_atoms = size_of(config, "num_latents", least=0, default=0)
    n_atoms = n_atoms or n_features * size_of(config, "expansion_factor", default=32)
    return n_atoms, n_features, k_of(config.get("k", 32), n_atoms)
