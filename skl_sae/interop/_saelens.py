"""Folders of SAELens: cfg.json and sae_weights.safetensors."""

import os
import re
from dataclasses import replace
from typing import Any

import numpy as np

from .._model_file._safetensors import (
    ModelFileError,
    finite_floats,
    read_foreign_arrays,
    trouble_with,
    write_arrays,
)
from .._model_file._schema import number, whole
from ..autoencoders._topk import TopKSparseAutoencoder
from ..images._typing import AnyPath
from ._files import (
    k_of,
    new_folder,
    our_version,
    read_json,
    size_of,
    value_of,
    write_json,
)
from ._weights import Weights, estimator_of, weights_of

_CONFIG, _ARRAYS, _SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
# Of the layout that is written. What says an earlier one, or none, is taken for older by SAELens.
_VERSION = "6.0.0"
_ARCHITECTURES = "topk", "jumprelu", "standard"
_NOT_AFFINE = {
    "layer_norm": "each sample is divided by its own spread",
    "constant_norm_rescale": "each sample is divided by its own norm",
    "covariance_whitening": "SAELens folds it into the weights by fold_activation_whitening",
}


def to_saelens(estimator: Any, folder: AnyPath, member: int = 0) -> None:
    """Write a member as a folder that SAELens 6 loads: its codes and reconstructions are the same.

    With sparsity="topk" it is an SAE of the architecture "topk"; with "batch_topk" of the
    architecture "jumprelu", as which SAELens, too, saves what it trained by batch top-k.
    ``SAE.load_from_disk`` reads it.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder
        Fitted.
    folder : str or path-like
        The folder, made if there is none. ``cfg.json`` and ``sae_weights.safetensors`` are
        replaced.
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
    from_saelens : Reads such a folder.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import to_saelens
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saelens(sae, folder)
    ...     sorted(os.listdir(folder))
    ['cfg.json', 'sae_weights.safetensors']
    """
    w = weights_of(estimator, member, folder)
    n_atoms, n_features = w.shape
    arrays = {"W_enc": w.encoder.T, "b_enc": w.bias, "W_dec": w.decoder, "b_dec": w.center}
    config = {
        "d_in": n_features, "d_sae": n_atoms, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none",
        "reshape_activations": "none",
        # A jumprelu SAE has no k, which is kept for from_saelens.
        "metadata": {"sae_lens_version": _VERSION, "sae_lens_training_version": None,
                     "written_by": our_version(), "k": w.k},
    }  # fmt: skip
    if w.thresholds is None:
        config |= {"architecture": "topk", "k": w.k, "rescale_acts_by_decoder_norm": False}
    else:
        config["architecture"] = "jumprelu"
        arrays["threshold"] = w.thresholds
    folder = new_folder(folder)
    write_arrays(os.path.join(folder, _ARRAYS), arrays, {"format": "pt"})
    write_json(os.path.join(folder, _CONFIG), config)


def from_saelens(folder: AnyPath) -> TopKSparseAutoencoder:
    """Read a folder that SAELens wrote, as a fitted autoencoder with the same codes.

    Architectures are "topk", "jumprelu" (as which SAELens saves batch top-k and Matryoshka SAEs)
    and "standard", of this version or an earlier one. Where the atoms there have another norm than
    1, activations are multiplied by it, as by ``fold_W_dec_norm`` of SAELens.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Returns
    -------
    estimator : TopKSparseAutoencoder
        Fitted; see :ref:`interop_fitted` for what is not known of it. With sparsity="batch_topk"
        for "jumprelu", whose ``activation_thresholds_`` are then those of single atoms, unless all
        are equal. All positive activations count for "standard": k is the number of atoms.

    Raises
    ------
    ModelFileError
        If a file is damaged, or if the model cannot be held exactly: other architectures, such as
        gated SAEs and transcoders; normalisation of each sample; scaling of activations whose
        factor is not in the folder; and top-k over atoms of different norms, unless it weighs
        activations by them (``rescale_acts_by_decoder_norm``).

    See Also
    --------
    to_saelens : Writes such a folder.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.interop import from_saelens, to_saelens
    >>> X = load_digits().data[:200]
    >>> sae = TopKSparseAutoencoder(64, k=4, max_iter=1, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_saelens(sae, folder)
    ...     loaded = from_saelens(folder)
    >>> bool((loaded.transform(X) != sae.transform(X)).nnz == 0)
    True
    """
    config_path, path = (os.path.join(folder, name) for name in (_CONFIG, _ARRAYS))
    with trouble_with(config_path):
        config = _as_of_6(read_json(config_path))
        architecture = _checked_architecture(config)
        n_atoms, n_features = size_of(config, "d_sae"), size_of(config, "d_in")
        k = _k(config, architecture, n_atoms)
        takes_centered = value_of(config, "apply_b_dec_to_input", bool, True)
        scaled = value_of(config, "rescale_acts_by_decoder_norm", bool, False)
    factor = _input_factor(folder, config)
    with trouble_with(path):
        arrays = read_foreign_arrays(
            path, lambda names: _shapes(names, architecture, n_atoms, n_features)
        )
        w = _weights(arrays, architecture, k)
        if not takes_centered:
            w = w.taking_x()
        return estimator_of(_of_scaled(w, factor), scaled=scaled and architecture == "topk")


def _as_of_6(config):
    """A configuration in the terms of version 6."""
    metadata = value_of(config, "metadata", dict, {})
    written_by = config.get("sae_lens_version") or metadata.get("sae_lens_version") or ""
    if not isinstance(written_by, str):
        raise ValueError(f"Expected 'sae_lens_version' as text, got {written_by!r:.40}.")
    if re.match(r"([6-9]|\d{2,})\.", written_by):
        return config
    config = dict(config)
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if activation == "topk":
        config["architecture"] = "topk"
        config["k"] = value_of(config, "activation_fn_kwargs", dict, {}).get("k")
    elif activation != "relu":
        raise ValueError(f"Expected activation_fn 'relu' or 'topk', got {activation!r:.40}.")
    normalize = config.get("normalize_activations")
    if normalize is None or isinstance(normalize, bool):
        config["normalize_activations"] = "expected_average_only_in" if normalize else "none"
    config.setdefault("architecture", "standard")
    return config


def _checked_architecture(config):
    """The architecture of a model that can be held."""
    normalize = config.get("normalize_activations", "none")
    if isinstance(normalize, str) and normalize in _NOT_AFFINE:
        raise ValueError(
            f"Expected normalize_activations='none', got {normalize!r}: {_NOT_AFFINE[normalize]}."
        )
    value_of(config, "normalize_activations", ("none", "expected_average_only_in"), "none")
    value_of(config, "reshape_activations", ("none", "hook_z"), "none")  # rows are flat
    return value_of(config, "architecture", _ARCHITECTURES, None)


def _k(config, architecture, n_atoms):
    if architecture == "topk":
        return k_of(config.get("k"), n_atoms)
    k = config.get("metadata", {}).get("k")
    return k if architecture == "jumprelu" and whole(k, 1, n_atoms) else None


def _input_factor(folder, config):
    """The factor that samples are multiplied by."""
    if config.get("normalize_activations", "none") == "none":
        return 1.0
    path = os.path.join(folder, _SCALER)
    if not os.path.exists(path):
        raise ModelFileError(
            os.path.join(folder, _CONFIG), f"Expected {_SCALER} beside it, since activations were "
            "scaled; or 'none', after fold_activation_norm_scaling_factor of SAELens.",
        )  # fmt: skip
    with trouble_with(path):
        factor = read_json(path).get("scaling_factor")
        if not number(factor, 1e-30, 1e30):
            raise ValueError(f"Expected 'scaling_factor' as a positive number, got {factor!r:.40}.")
    return float(factor)


def _of_scaled(w, factor):
    """Weights that take x, of those that take s x: h = W (s x - b) + c and x' = (D' f + b) / s."""
    if factor == 1:
        return w
    factor = np.float64(factor)
    return replace(
        w,
        encoder=finite_floats("W_enc", w.encoder * factor),
        decoder=finite_floats("W_dec", w.decoder / factor),
        center=finite_floats("b_dec", w.center / factor),
    )


def _shapes(names, architecture, n_atoms, n_features):
    shapes = {
        "W_enc": (n_features, n_atoms), "b_enc": (n_atoms,),
        "W_dec": (n_atoms, n_features), "b_dec": (n_features,),
    }  # fmt: skip
    if architecture == "jumprelu":  # a model that is still trained has the logarithm
        shapes["log_threshold" if "log_threshold" in names else "threshold"] = (n_atoms,)
    if "scaling_factor" in names:
        shapes["scaling_factor"] = (n_atoms,)
    return shapes


def _weights(arrays, architecture, k):
    scaling = arrays.get("scaling_factor")
    if scaling is not None and not np.allclose(scaling, 1):
        raise ValueError("Expected 'scaling_factor' of ones: finetuned activations are not held.")
    thresholds = None
    if architecture == "jumprelu":
        thresholds = arrays.get("threshold")
        if thresholds is None:
            with np.errstate(over="ignore"):
                thresholds = finite_floats("log_threshold", np.exp(arrays["log_threshold"]))
    elif architecture == "standard":
        thresholds = np.zeros_like(arrays["b_enc"])
    encoder = np.ascontiguousarray(arrays["W_enc"].T)
    return Weights(encoder, arrays["b_enc"], arrays["W_dec"], arrays["b_dec"], k, thresholds)
