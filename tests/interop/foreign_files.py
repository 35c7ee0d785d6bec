"""Other libraries' files made by hand, and what these libraries compute of them, in float64."""

import io
import json
import struct
from dataclasses import dataclass

import numpy as np
import torch

N_FEATURES, N_ATOMS, K = 5, 12, 3


@dataclass
class Model:
    """W (H, D), c (H,), atoms (H, D) of several norms, b (D,) and t (H,), all of float32."""

    W: np.ndarray
    c: np.ndarray
    D: np.ndarray
    b: np.ndarray
    t: np.ndarray

    @classmethod
    def random(cls, seed=0):
        draw = np.random.default_rng(seed).normal
        arrays = (
            draw(size=(N_ATOMS, N_FEATURES)), draw(size=N_ATOMS), draw(size=(N_ATOMS, N_FEATURES)),
            draw(size=N_FEATURES), abs(draw(size=N_ATOMS)),
        )  # fmt: skip
        return cls(*(array.astype(np.float32) for array in arrays))

    @property
    def norms(self):
        return np.linalg.norm(self.D.astype(float), axis=1)

    def unit(self, norm=1):
        """Give all atoms this norm."""
        self.D = (norm * self.D / self.norms[:, None]).astype(np.float32)
        return self

    def rounded(self, kind):
        """Numbers as a file of few bits gives them back."""
        return Model(**{name: from_bits(bits(array, kind), kind)
                        for name, array in vars(self).items()})  # fmt: skip

    def preactivations(self, X, minus_b=True):
        return (X - self.b * minus_b) @ self.W.T.astype(float) + self.c


def top_k(h, k=K, relu=True):
    kept = h >= np.sort(h, axis=1)[:, -k][:, None]
    return np.where(kept, np.maximum(h, 0) if relu else h, 0)


def jump(h, t):
    return np.where(h > t, np.maximum(h, 0), 0)


def bits(array, kind):
    """An array as a file of this kind of number has it."""
    if kind == "BF16":
        return (array.astype("<f4").view("<u4") >> 16).astype("<u2")
    return array.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[kind])


def from_bits(array, kind):
    if kind == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array.astype(np.float32)


def write_safetensors(path, arrays, kind="F32"):
    """Write as the format says: the length of a header, the header, the bytes."""
    entries, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        part = bits(np.asarray(array), kind).tobytes()
        entries[name] = {"dtype": kind, "shape": list(np.shape(array)),
                         "data_offsets": [len(data), len(data) + len(part)]}  # fmt: skip
        data += part
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_json(path, config):
    path.write_text(json.dumps(config))


def write_state(path, arrays, header=b""):
    state = {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()}
    file = io.BytesIO()
    torch.save(state, file)
    path.write_bytes(header + file.getvalue())


# --- A folder of each library ---


def write_saelens(folder, m, architecture="topk", kind="F32", arrays=None, **config):
    found = {"W_enc": m.W.T, "b_enc": m.c, "W_dec": m.D, "b_dec": m.b}
    if architecture == "topk":
        config.setdefault("k", K)
    elif architecture == "jumprelu":
        found["threshold"] = m.t
    write_safetensors(folder / "sae_weights.safetensors", found | (arrays or {}), kind)
    write_json(folder / "cfg.json", {
        "architecture": architecture, "d_in": N_FEATURES, "d_sae": N_ATOMS, "dtype": "float32",
        "device": "cpu", "apply_b_dec_to_input": True, "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12", "model_name": "a model", "hook_name": None},
    } | config)  # fmt: skip


def write_saelens_5(folder, m, **config):
    """A folder of a version before 6, which says less."""
    arrays = {"W_enc": m.W.T, "b_enc": m.c, "W_dec": m.D, "b_dec": m.b,
              "scaling_factor": np.ones(N_ATOMS)}  # fmt: skip
    write_safetensors(folder / "sae_weights.safetensors", arrays)
    write_json(folder / "cfg.json", {
        "d_in": N_FEATURES, "d_sae": N_ATOMS, "dtype": "torch.float32", "hook_point": "blocks.0",
    } | config)  # fmt: skip


def write_sparsify(folder, m, kind="F32", arrays=None, **config):
    found = {"W_dec": m.D, "b_dec": m.b, "encoder.bias": m.c, "encoder.weight": m.W}
    write_safetensors(folder / "sae.safetensors", found | (arrays or {}), kind)
    write_json(folder / "cfg.json", {
        "activation": "topk", "expansion_factor": 32, "normalize_decoder": True,
        "num_latents": N_ATOMS, "k": K, "multi_topk": False, "skip_connection": False,
        "transcode": False, "d_in": N_FEATURES,
    } | config)  # fmt: skip


def write_dictionary(folder, m, dict_class, arrays=None, **trainer):
    linear = {"encoder.weight": m.W, "encoder.bias": m.c, "decoder.weight": m.D.T}
    plain = {"W_enc": m.W.T, "b_enc": m.c, "W_dec": m.D, "b_dec": m.b}
    by_k = {"k": np.int32(K), "threshold": m.t[0]}
    found = {
        "AutoEncoderTopK": linear | by_k | {"b_dec": m.b, "threshold": np.float32(-1)},
        "BatchTopKSAE": linear | by_k | {"b_dec": m.b},
        "MatryoshkaBatchTopKSAE": plain | by_k | {"group_sizes": np.array([4, 8])},
        "JumpReluAutoEncoder": plain | {"threshold": m.t},
        "AutoEncoder": linear | {"bias": m.b},
        "AutoEncoderNew": linear | {"decoder.bias": m.b},
    }[dict_class]
    write_state(folder / "ae.pt", found | (arrays or {}))
    trainer = {"dict_class": dict_class, "activation_dim": N_FEATURES, "dict_size": N_ATOMS,
               "k": K, "steps": 10} | trainer  # fmt: skip
    write_json(folder / "config.json", {"trainer": trainer, "buffer": {"d_submodule": 5}})


def write_saev(folder, m, activation="TopK", header=None, arrays=None, **config):
    params = {} if activation == "Relu" else {"top_k": K}
    found = {"W_enc": m.W.T, "b_enc": m.c, "W_dec": m.D, "b_dec": m.b}
    if activation == "BatchTopK":
        found["activation.threshold"] = m.t[0]
    if header is None:
        header = {"schema": 5, "commit": "a1b2c3", "lib": "0.1.0", "cfg": {
            "d_model": N_FEATURES, "d_sae": N_ATOMS,
            "activation": {"cls": activation, "params": {"key": "any"} | params},
        } | config}  # fmt: skip
    text = json.dumps(header).encode() + b"\n"
    write_state(folder / "sae.pt", found | (arrays or {}), text)
