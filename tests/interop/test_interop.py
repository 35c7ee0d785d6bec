"""Models of other libraries: their formulas in plain NumPy, files made by hand, and refusals."""

import io
import json
import pickle
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from foreign_files import (
    N_ATOMS,
    N_FEATURES,
    K,
    Model,
    jump,
    top_k,
    write_dictionary,
    write_json,
    write_saelens,
    write_saelens_5,
    write_saev,
    write_safetensors,
    write_sparsify,
)
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skl_sae
from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ModelFileError,
    TopKSparseAutoencoder,
    interop,
)

LIBRARIES = {
    name: SimpleNamespace(write=getattr(interop, f"to_{name}"),
                          read=getattr(interop, f"from_{name}"))
    for name in ("saelens", "sparsify", "dictionary_learning", "saev")
}  # fmt: skip

WEIGHTS = {"saelens": "sae_weights.safetensors", "sparsify": "sae.safetensors",
           "dictionary_learning": "ae.pt", "saev": "sae.pt"}  # fmt: skip


@pytest.fixture
def X():
    return np.random.default_rng(1).normal(size=(300, N_FEATURES)).astype(np.float32)


@pytest.fixture
def model():
    return Model.random()


def dense(estimator, X):
    return estimator.transform(X).toarray()


def assert_close(got, expected):
    """To 1e-6 of the largest number, which float32 sums of few numbers keep."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * abs(expected).max())


def assert_same_codes(got, expected):
    np.testing.assert_array_equal(got != 0, expected != 0)
    assert_close(got, expected)


# --- From other libraries: name, how the file is written, and codes by the library's formula ---


def topk_codes(m, X):
    return top_k(m.preactivations(X))


def relu_codes(m, X):
    return jump(m.preactivations(X), 0)


def jump_codes(m, X):
    return jump(m.preactivations(X), m.t)


def one_jump_codes(m, X):
    return jump(m.preactivations(X), m.t[0])


IMPORTED = {
    "saelens topk": (
        "saelens", lambda f, m: write_saelens(f, m.unit()), topk_codes),
    "saelens topk, atoms of one norm": (
        "saelens", lambda f, m: write_saelens(f, m.unit(3)), topk_codes),
    "saelens topk, input not centred": (
        "saelens", lambda f, m: write_saelens(f, m.unit(), apply_b_dec_to_input=False),
        lambda m, X: top_k(m.preactivations(X, minus_b=False))),
    "saelens topk, rescaled": (
        "saelens", lambda f, m: write_saelens(f, m, rescale_acts_by_decoder_norm=True),
        lambda m, X: top_k(m.preactivations(X) * m.norms) / m.norms),
    "saelens topk, scaled input": (
        "saelens", lambda f, m: (
            write_saelens(f, m.unit(), normalize_activations="expected_average_only_in"),
            write_json(f / "activation_scaler.json", {"scaling_factor": 0.25})),
        lambda m, X: top_k(m.preactivations(0.25 * X)) / 0.25),
    "saelens topk, flattened heads": (
        "saelens", lambda f, m: write_saelens(f, m.unit(), reshape_activations="hook_z"),
        topk_codes),
    "saelens jumprelu": (
        "saelens", lambda f, m: write_saelens(f, m, "jumprelu"), jump_codes),
    "saelens jumprelu, one threshold": (
        "saelens", lambda f, m: write_saelens(
            f, m.unit(), "jumprelu", arrays={"threshold": np.full(N_ATOMS, m.t[0])}),
        one_jump_codes),
    "saelens jumprelu, negative thresholds": (
        "saelens", lambda f, m: write_saelens(
            f, m, "jumprelu", arrays={"threshold": np.where(m.t > 0.5, m.t, -m.t)}),
        lambda m, X: jump(m.preactivations(X), np.where(m.t > 0.5, m.t, -m.t))),
    "saelens standard": (
        "saelens", lambda f, m: write_saelens(f, m, "standard"), relu_codes),
    "saelens 5 standard": (
        "saelens", write_saelens_5, relu_codes),
    "saelens 5 topk": (
        "saelens", lambda f, m: write_saelens_5(
            f, m.unit(), activation_fn_str="topk", activation_fn_kwargs={"k": K},
            normalize_activations=False),
        topk_codes),
    "sparsify": (
        "sparsify", lambda f, m: write_sparsify(f, m.unit()), topk_codes),
    "dictionary_learning AutoEncoderTopK": (
        "dictionary_learning", lambda f, m: write_dictionary(f, m.unit(), "AutoEncoderTopK"),
        topk_codes),
    "dictionary_learning BatchTopKSAE": (
        "dictionary_learning", lambda f, m: write_dictionary(f, m.unit(), "BatchTopKSAE"),
        one_jump_codes),
    "dictionary_learning MatryoshkaBatchTopKSAE": (
        "dictionary_learning", lambda f, m: write_dictionary(f, m, "MatryoshkaBatchTopKSAE"),
        one_jump_codes),
    "dictionary_learning JumpReluAutoEncoder": (
        "dictionary_learning", lambda f, m: write_dictionary(f, m, "JumpReluAutoEncoder"),
        lambda m, X: jump(m.preactivations(X, minus_b=False), m.t)),
    "dictionary_learning AutoEncoder": (
        "dictionary_learning", lambda f, m: write_dictionary(f, m, "AutoEncoder"), relu_codes),
    "dictionary_learning AutoEncoderNew": (
        "dictionary_learning", lambda f, m: write_dictionary(f, m, "AutoEncoderNew"),
        lambda m, X: jump(m.preactivations(X, minus_b=False), 0)),
    "saev TopK": (  # which has no ReLU; here
        "saev", lambda f, m: write_saev(f, m.unit()),
        lambda m, X: top_k(m.preactivations(X, minus_b=False))),
    "saev BatchTopK": (
        "saev", lambda f, m: write_saev(f, m.unit(), "BatchTopK"),
        lambda m, X: jump(m.preactivations(X, minus_b=False), m.t[0])),
    "saev Relu": (
        "saev", lambda f, m: write_saev(f, m, "Relu"),
        lambda m, X: jump(m.preactivations(X, minus_b=False), 0)),
    "saev 1 TopK": (
        "saev", lambda f, m: write_saev(f, m.unit(), header={
            "schema": 1, "cls": "TopK",
            "cfg": {"d_vit": N_FEATURES, "d_sae": N_ATOMS, "top_k": K}}),
        topk_codes),
    "saev without schema": (
        "saev", lambda f, m: write_saev(
            f, m, "Relu", header={"d_vit": N_FEATURES, "d_sae": N_ATOMS, "l1_coeff": 1e-4}),
        relu_codes),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPORTED)
def test_imported_codes_are_those_of_the_formula(name, model, X, tmp_path):
    library, write, formula = IMPORTED[name]
    write(tmp_path, model)
    estimator = LIBRARIES[library].read(tmp_path)
    codes, scaled = formula(model, X), "scaled input" in name
    # Activations are those of atoms of norm 1: times the norms there.
    assert_same_codes(dense(estimator, X), codes * model.norms)
    reconstructed = codes @ model.D + model.b * (4 if scaled else 1)
    assert_close(estimator.inverse_transform(estimator.transform(X)), reconstructed)


@pytest.mark.parametrize("kind", ["F64", "F16", "BF16"])
@pytest.mark.parametrize("architecture", ["topk", "jumprelu"])
def test_numbers_of_other_widths(kind, architecture, model, X, tmp_path):
    """Atoms of norm 1 but for rounding stay as they are."""
    m = model.unit().rounded(kind)
    write_saelens(tmp_path, m, architecture, kind=kind)
    expected = (topk_codes if architecture == "topk" else jump_codes)(m, X)
    assert_same_codes(dense(interop.from_saelens(tmp_path), X), expected)


def test_rounded_atoms_are_weighed_where_that_decides(model, X, tmp_path):
    m = model.unit().rounded("BF16")
    write_saelens(tmp_path, m, kind="BF16", rescale_acts_by_decoder_norm=True)
    expected = top_k(m.preactivations(X) * m.norms)
    assert_same_codes(dense(interop.from_saelens(tmp_path), X), expected)


@pytest.mark.parametrize("library, write, sizes", [
    ("sparsify", lambda f, m: write_sparsify(f, m.unit(), num_latents=0, d_in=4,
                                             expansion_factor=3), (4, 12)),
    ("saev", lambda f, m: write_saev(f, m, "Relu", header={"d_vit": 4, "exp_factor": 3}), (4, 12)),
])  # fmt: skip
def test_number_of_atoms_by_a_factor(library, write, sizes, model, tmp_path):
    m = Model(model.W[:, :4], model.c, model.D[:, :4], model.b[:4], model.t)
    write(tmp_path, m)
    estimator = LIBRARIES[library].read(tmp_path)
    assert (estimator.n_features_in_, estimator.n_components_) == sizes


def test_sizes_that_only_the_arrays_say(model, X, tmp_path):
    write_dictionary(tmp_path, model, "BatchTopKSAE")
    before = dense(interop.from_dictionary_learning(tmp_path), X)
    write_json(tmp_path / "config.json", {"trainer": {"dict_class": "BatchTopKSAE"}})
    estimator = interop.from_dictionary_learning(tmp_path)
    assert estimator.k_ == K
    np.testing.assert_array_equal(dense(estimator, X), before)


def test_logarithms_of_thresholds(model, X, tmp_path):
    write_saelens(tmp_path, model.unit(), "jumprelu")
    plain = dense(interop.from_saelens(tmp_path), X)
    path = tmp_path / "sae_weights.safetensors"
    arrays = load_file(path)
    arrays["log_threshold"] = np.log(arrays.pop("threshold"))
    write_safetensors(path, arrays)
    assert_same_codes(dense(interop.from_saelens(tmp_path), X), plain)


def test_an_activation_that_equals_the_threshold_does_not_count(tmp_path):
    """Theirs exceed it, ours reach it."""
    m = Model.random().unit()
    m.W, m.c, m.b = np.zeros_like(m.W), np.full(N_ATOMS, 0.5, np.float32), np.zeros_like(m.b)
    for threshold, count in ((0.5, 0), (np.nextafter(np.float32(0.5), np.float32(0)), N_ATOMS)):
        write_saelens(tmp_path, m, "jumprelu", arrays={"threshold": np.full(N_ATOMS, threshold)})
        estimator = interop.from_saelens(tmp_path)
        assert estimator.transform(np.ones((1, N_FEATURES))).nnz == count
        interop.to_saelens(estimator, tmp_path)
        stored = load_file(tmp_path / "sae_weights.safetensors")["threshold"]
        np.testing.assert_array_equal(stored, np.float32(threshold))


# --- To other libraries ---


@pytest.fixture(scope="module")
def fitted():
    X = np.random.default_rng(2).normal(size=(60, N_FEATURES)).astype(np.float32)
    return {
        sparsity: TopKSparseAutoencoder(
            N_ATOMS,
            k=K,
            sparsity=sparsity,
            n_estimators=2,
            max_iter=2,
            init="random",
            random_state=0,
        ).fit(X)
        for sparsity in ("topk", "batch_topk")
    }


def stored_model(library, folder):
    """The arrays of a folder by other names, and what else codes depend on."""
    if library in ("saelens", "sparsify"):
        return load_file(folder / WEIGHTS[library]), json.loads((folder / "cfg.json").read_text())
    if library == "dictionary_learning":
        config, header = json.loads((folder / "config.json").read_text())["trainer"], b""
        data = (folder / WEIGHTS[library]).read_bytes()
    else:
        header, _, data = (folder / WEIGHTS[library]).read_bytes().partition(b"\n")
        config = json.loads(header)["cfg"]
    state = torch.load(io.BytesIO(data), weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}, config


def stored_codes(library, folder, X):
    """Codes and reconstructions by the formula of the library, of what is in the files."""
    a, config = stored_model(library, folder)
    X = X.astype(float)
    if library == "saelens":
        assert config["apply_b_dec_to_input"] and config["normalize_activations"] == "none"
        h = (X - a["b_dec"]) @ a["W_enc"] + a["b_enc"]
        is_topk = config["architecture"] == "topk"
        codes = top_k(h, config["k"]) if is_topk else jump(h, a["threshold"])
        return codes, codes @ a["W_dec"] + a["b_dec"]
    if library == "saev":
        h = X @ a["W_enc"] + a["b_enc"]
        activation = config["activation"]
        if activation["cls"] == "TopK":
            codes = top_k(h, activation["params"]["top_k"], relu=False)
        else:
            codes = jump(h, a["activation.threshold"])
        return codes, codes @ a["W_dec"] + a["b_dec"]
    h = (X - a["b_dec"]) @ a["encoder.weight"].T + a["encoder.bias"]
    if library == "sparsify":
        codes = top_k(h, config["k"])
        return codes, codes @ a["W_dec"] + a["b_dec"]
    is_topk = config["dict_class"] == "AutoEncoderTopK"
    assert a["k"] == config["k"] and a["k"].dtype == np.int32
    codes = top_k(h, config["k"]) if is_topk else jump(h, a["threshold"])
    return codes, codes @ a["decoder.weight"].T + a["b_dec"]


EXPORTED = [(library, sparsity) for library in LIBRARIES for sparsity in ("topk", "batch_topk")
            if (library, sparsity) != ("sparsify", "batch_topk")]  # fmt: skip


@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize(("library", "sparsity"), EXPORTED)
def test_exported_codes_are_those_of_the_member(library, sparsity, member, fitted, X, tmp_path):
    estimator, folder = fitted[sparsity], tmp_path / "new" / "folder"
    own = slice(member * N_ATOMS, (member + 1) * N_ATOMS)
    expected = dense(estimator, X)[:, own]
    # Where saev has no ReLU.
    rows = (expected > 0).sum(1) == K if (library, sparsity) == ("saev", "topk") else slice(None)
    LIBRARIES[library].write(estimator, folder, member)
    codes, reconstructed = stored_codes(library, folder, X)
    assert_same_codes(expected[rows], codes[rows])
    of_member = expected @ estimator.components_[own] + estimator.centers_[member]
    assert_close(of_member[rows], reconstructed[rows])
    loaded = LIBRARIES[library].read(folder)
    assert loaded.k_ == K
    assert loaded._tied == (sparsity == "topk") or library == "saev"
    if library == "saev":  # whose encoder takes x: c - W b is rounded
        assert_same_codes(dense(loaded, X), expected)
    else:
        np.testing.assert_array_equal(dense(loaded, X), expected)


@pytest.mark.parametrize("library", ["saelens", "dictionary_learning"])
def test_thresholds_of_atoms_go_out_again(library, model, X, tmp_path):
    write_saelens(tmp_path, model, "jumprelu")
    estimator = interop.from_saelens(tmp_path)
    assert estimator.activation_thresholds_.shape == (1, N_ATOMS)
    LIBRARIES[library].write(estimator, tmp_path / "again")
    assert_same_codes(dense(LIBRARIES[library].read(tmp_path / "again"), X), dense(estimator, X))


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_positive_activations_go_out_again(library, model, X, tmp_path):
    write_saelens(tmp_path, model, "standard")
    estimator = interop.from_saelens(tmp_path)
    assert estimator.k_ == N_ATOMS and estimator.activation_thresholds_ is None
    LIBRARIES[library].write(estimator, tmp_path / "again")
    assert_same_codes(dense(LIBRARIES[library].read(tmp_path / "again"), X), dense(estimator, X))


OTHERS = {
    "small atoms": ConvTopKSparseAutoencoder(),
    "several layers": DeepTopKSparseAutoencoder(),
    "a Bagging.* export each of estimators_": BaggingSparseAutoencoder(),
    "a Boosting.* export each of estimators_": BoostingSparseAutoencoder(),
    "got a str": "an estimator",
}
PARAMETERS = {
    "transform_algorithm='topk', got 'omp'": {"transform_algorithm": "omp"},
    "refit=False, got True": {"refit": True},
    "aggregate='concat', got 'mean'": {"aggregate": "mean"},
}


def test_estimators_that_no_file_holds_are_refused(fitted, tmp_path):
    refused = OTHERS | {
        reason: pickle.loads(pickle.dumps(fitted["topk"])).set_params(**parameters)
        for reason, parameters in PARAMETERS.items()
    }
    for reason, estimator in refused.items():
        for library in LIBRARIES.values():
            with pytest.raises(ModelFileError, match=reason):
                library.write(estimator, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_models_that_one_library_has_no_place_for(fitted, model, tmp_path):
    with pytest.raises(ModelFileError, match="sparsify takes the k largest"):
        interop.to_sparsify(fitted["batch_topk"], tmp_path / "none")
    write_saelens(tmp_path, model, "jumprelu")
    of_atoms = interop.from_saelens(tmp_path)
    with pytest.raises(ModelFileError, match="one for each atom"):
        interop.to_saev(of_atoms, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_no_member_or_not_fitted(library, fitted, tmp_path):
    write = LIBRARIES[library].write
    for member, match in ((2, "from 0 to 1, got 2"), (-1, "got -1"), (True, "whole"), (0.5, "0.5")):
        with pytest.raises(ValueError, match=match):
            write(fitted["topk"], tmp_path, member)
    with pytest.raises(NotFittedError):
        write(TopKSparseAutoencoder(), tmp_path)
    (tmp_path / WEIGHTS[library]).mkdir()
    with pytest.raises(ModelFileError, match="regular file"):
        write(fitted["topk"], tmp_path)


# --- What is not held, and what is damaged ---


def of_schema(schema, activation):
    return {"schema": schema, "cfg": {"d_model": N_FEATURES, "d_sae": N_ATOMS,
                                      "activation": activation}}  # fmt: skip


UNHELD = {
    "saelens": {
        "'layer_norm': each sample": lambda f, m: write_saelens(
            f, m, normalize_activations="layer_norm"),
        "'constant_norm_rescale': each": lambda f, m: write_saelens(
            f, m, normalize_activations="constant_norm_rescale"),
        "fold_activation_whitening": lambda f, m: write_saelens(
            f, m, normalize_activations="covariance_whitening"),
        "fold_activation_norm_scaling_factor": lambda f, m: write_saelens(
            f, m.unit(), normalize_activations="expected_average_only_in"),
        "got 'gated'": lambda f, m: write_saelens(f, m, "gated"),
        "got 'transcoder'": lambda f, m: write_saelens(f, m, "transcoder"),
        "equal norm": write_saelens,
        "k from 1 to 12, .* got 13": lambda f, m: write_saelens(f, m.unit(), k=13),
        "got True": lambda f, m: write_saelens(f, m.unit(), k=True),
        "'d_sae' as a whole": lambda f, m: write_saelens(f, m, d_sae=12.0),
        "'W_enc' as F32": lambda f, m: write_saelens(f, m, d_sae=11),
        "'apply_b_dec_to_input' as bool": lambda f, m: write_saelens(
            f, m, apply_b_dec_to_input="yes"),
        "'W_skip' is missing or unknown": lambda f, m: write_saelens(
            f, m.unit(), arrays={"W_skip": np.eye(N_FEATURES)}),
        "finite numbers, got others in 'b_enc'": lambda f, m: write_saelens(
            f, m.unit(), arrays={"b_enc": np.full(N_ATOMS, np.nan)}),
        "finetuned": lambda f, m: write_saelens(
            f, m.unit(), arrays={"scaling_factor": np.full(N_ATOMS, 2.0)}),
        "activation_fn 'relu' or 'topk'": lambda f, m: write_saelens_5(
            f, m, activation_fn_str="tanh-relu"),
    },
    "sparsify": {
        "transcode=false": lambda f, m: write_sparsify(f, m.unit(), transcode=True),
        "skip_connection=false": lambda f, m: write_sparsify(f, m.unit(), skip_connection=True),
        "got 'groupmax'": lambda f, m: write_sparsify(f, m.unit(), activation="groupmax"),
        "equal norm": write_sparsify,
        "'W_skip'": lambda f, m: write_sparsify(
            f, m.unit(), arrays={"W_skip": np.eye(N_FEATURES)}),
    },
    "dictionary_learning": {
        "got 'GatedAutoEncoder'": lambda f, m: (
            write_dictionary(f, m, "AutoEncoder"),
            write_json(f / "config.json", {"trainer": {"dict_class": "GatedAutoEncoder"}})),
        "'trainer' as dict": lambda f, m: (
            write_dictionary(f, m, "AutoEncoder"), write_json(f / "config.json", {})),
        "equal norm": lambda f, m: write_dictionary(f, m, "AutoEncoderTopK"),
        "k=4, as in": lambda f, m: write_dictionary(f, m.unit(), "AutoEncoderTopK", k=4),
        r"of shape \(5, 11\)": lambda f, m: write_dictionary(f, m, "AutoEncoder", dict_size=11),
        "no 'r_mag'": lambda f, m: write_dictionary(f, m, "AutoEncoder", {"r_mag": m.c}),
        "'bias', which is missing": lambda f, m: (
            write_dictionary(f, m, "AutoEncoderNew"),
            write_json(f / "config.json", {"trainer": {
                "dict_class": "AutoEncoder", "dict_size": N_ATOMS, "activation_dim": N_FEATURES}})),
        "finite numbers, got others in 'b_dec'": lambda f, m: write_dictionary(
            f, m.unit(), "BatchTopKSAE", {"b_dec": np.full(N_FEATURES, np.inf)}),
    },
    "saev": {
        "equal norm": write_saev,
        "'activation.threshold', which is missing": lambda f, m: write_saev(
            f, m.unit(), header=of_schema(2, {"cls": "BatchTopK", "params": {"top_k": K}})),
        "got 'Gelu'": lambda f, m: write_saev(f, m, header=of_schema(2, {"cls": "Gelu"})),
        "got 6": lambda f, m: write_saev(f, m.unit(), header={"schema": 6, "cfg": {}}),
        "'top_k' as a whole": lambda f, m: write_saev(
            f, m.unit(), header=of_schema(2, {"cls": "TopK", "params": {"top_k": "3"}})),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("library", "reason"), [(name, reason) for name in UNHELD for reason in UNHELD[name]]
)
def test_what_cannot_be_held_is_refused(library, reason, model, tmp_path):
    UNHELD[library][reason](tmp_path, model)
    with pytest.raises(ModelFileError, match=reason) as caught:
        LIBRARIES[library].read(tmp_path)
    assert str(tmp_path) in str(caught.value)  # the file is named


WRITE = {
    "saelens": lambda f, m: write_saelens(f, m.unit()),
    "sparsify": lambda f, m: write_sparsify(f, m.unit()),
    "dictionary_learning": lambda f, m: write_dictionary(f, m.unit(), "BatchTopKSAE"),
    "saev": lambda f, m: write_saev(f, m.unit()),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_damaged_files(library, model, tmp_path):
    WRITE[library](tmp_path, model)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for damaged in (b"", b"{}", b"[]", b"\n", whole[:-9], whole[: len(whole) // 2], b"\0" * 99):
            path.write_bytes(damaged)
            with pytest.raises(ModelFileError, match=path.name):
                LIBRARIES[library].read(tmp_path)
        path.unlink()
        path.mkdir()
        with pytest.raises((ModelFileError, IsADirectoryError, PermissionError)):
            LIBRARIES[library].read(tmp_path)
        path.rmdir()
        with pytest.raises(FileNotFoundError):
            LIBRARIES[library].read(tmp_path)
        path.write_bytes(whole)


ODD = [
    None,
    True,
    0,
    -1,
    1,
    2**40,
    2**63,
    1.5,
    1e308,
    "",
    "topk",
    [],
    [1],
    {},
    {"cls": []},
    {"k": []},
]


def places(config, path=()):
    """Keys that lead to each value of nested names."""
    for name, value in config.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from places(value, (*path, name))


def changed(config, place, value):
    name, *rest = place
    return config | {name: changed(config[name], rest, value) if rest else value}


@pytest.mark.parametrize("library", LIBRARIES)
def test_odd_configurations_are_refused_or_harmless(library, model, X, tmp_path):
    """Each value in turn is another."""
    WRITE[library](tmp_path, model)
    path = next(
        p for p in tmp_path.iterdir() if p.suffix == (".pt" if library == "saev" else ".json")
    )
    text, _, data = path.read_bytes().partition(b"\n" if library == "saev" else b"no end")
    config, n_refused = json.loads(text), 0
    for place in places(config):
        for value in ODD:
            text = json.dumps(changed(config, place, value)).encode()
            path.write_bytes(text + b"\n" + data)
            try:
                estimator = LIBRARIES[library].read(tmp_path)
            except ModelFileError as error:
                assert str(tmp_path) in str(error)
                n_refused += 1
            else:
                assert estimator.transform(X[:2]).shape == (2, N_ATOMS)
    assert n_refused > 20


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def archive_of(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def compressed(data):
    """The same archive, deflated."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    return file.getvalue()


def test_tensors_that_are_views_of_others(model, X, tmp_path):
    """Transposed, and with the flag that turns signs."""
    WRITE["saev"](tmp_path, model)
    expected = dense(interop.from_saev(tmp_path), X)
    header, _, data = (tmp_path / "sae.pt").read_bytes().partition(b"\n")
    state = torch.load(io.BytesIO(data), weights_only=True)
    state["W_enc"] = state["W_enc"].T.contiguous().T
    state["b_enc"] = torch._neg_view(-state["b_enc"])
    (tmp_path / "sae.pt").write_bytes(header + b"\n" + archive_of(state))
    np.testing.assert_array_equal(dense(interop.from_saev(tmp_path), X), expected)


@pytest.mark.parametrize("library", ["dictionary_learning", "saev"])
def test_state_dicts_are_not_trusted(library, model, tmp_path):
    WRITE[library](tmp_path, model)
    path = tmp_path / WEIGHTS[library]
    whole = path.read_bytes()
    header = whole.partition(b"\n")[0] + b"\n" if library == "saev" else b""
    state = torch.load(io.BytesIO(whole[len(header) :]), weights_only=True)
    name = "b_dec"
    bombs = tmp_path / "bomb"
    hostile = {
        "weights_only": archive_of(state | {name: Bomb(bombs)}),
        "archive as torch.save": pickle.dumps(Bomb(bombs)),
        "not compressed": compressed(whole[len(header) :]),
        "dense tensor": archive_of(state | {name: torch.zeros(1).expand(2**40)}),
        f"'{name}' as a dense": archive_of(state | {name: "text"}),
        "of numbers": archive_of(state | {name: torch.zeros(N_FEATURES, dtype=torch.complex64)}),
        "tensors by name": archive_of([state]),
        "by name": archive_of({1: state[name]}),
        "of shape": archive_of(state | {name: torch.zeros(N_FEATURES + 1)}),
    }
    for reason, data in hostile.items():
        path.write_bytes(header + data)
        with pytest.raises(ModelFileError, match=reason):
            LIBRARIES[library].read(tmp_path)
    assert not bombs.exists()


def test_sizes_are_checked_before_memory_is_taken(model, tmp_path):
    write_saelens(tmp_path, model.unit(), d_sae=2**39, d_in=2**39)
    with pytest.raises(ModelFileError, match="as F32"):
        interop.from_saelens(tmp_path)


# --- What an imported model is ---


@pytest.fixture(params=["topk", "jumprelu", "standard"])
def imported(request, tmp_path):
    write_saelens(tmp_path, Model.random().unit(), request.param)
    return interop.from_saelens(tmp_path)


def test_imported_models_are_fitted(imported, X, tmp_path):
    codes = imported.transform(X)
    assert (imported.n_features_in_, imported.n_iter_, imported.loss_curve_) == (N_FEATURES, 0, [])
    assert np.isnan(imported.atom_frequency_).all()
    assert np.isfinite(imported.score(X)) and clone(imported).get_params() == imported.get_params()
    path = tmp_path / "own.safetensors"
    imported.save(path, optimizer=True)
    loaded = TopKSparseAutoencoder.load(path)
    for other in (loaded, pickle.loads(pickle.dumps(imported))):
        assert (other.transform(X) != codes).nnz == 0
        assert other.n_iter_ == 0 and np.isnan(other.atom_frequency_).all()
    with pytest.raises(ValueError, match="features"):
        imported.transform(X[:, 1:])


def test_own_files_hold_thresholds_of_atoms_only_where_nothing_was_learned(model, tmp_path):
    write_saelens(tmp_path, model, "jumprelu")
    imported = interop.from_saelens(tmp_path)
    imported.n_iter_, imported.loss_curve_, imported.correlation_curve_ = 1, [0.5], [0.5]
    with pytest.raises(ModelFileError, match="'thresholds', got 'atoms'"):
        imported.save(tmp_path / "own.safetensors")


def test_imported_models_code_by_pursuit(imported, X):
    imported.set_params(transform_algorithm="omp")
    assert imported.transform(X[:5]).shape == (5, N_ATOMS)


def test_imported_models_learn_on(imported, X):
    """In units of the rows, and from the imported atoms; with one threshold."""
    scale = 1000
    shifted = scale * X + scale
    imported.centers_ *= scale
    imported.encoder_bias_ *= scale
    if imported.activation_thresholds_ is not None:
        imported.activation_thresholds_ *= scale
    # What is learned goes on from the codes that the model has with a budget of its own.
    imported.set_params(k=K, batch_size=20, random_state=0)
    before = imported.components_.copy()
    again = pickle.loads(pickle.dumps(imported)).set_params(warm_start=True, max_iter=12)
    for _ in range(12):
        imported.partial_fit(shifted)
    again.fit(shifted)
    for learned in (imported, again):
        assert learned.n_iter_ == 12 and learned.loss_curve_[-1] < learned.loss_curve_[0]
        thresholds = learned.activation_thresholds_
        assert thresholds is None or thresholds.shape == (1,)
        assert not np.isnan(learned.atom_frequency_).any()
        assert 0 < abs(learned.components_ - before).max() < 2
        rest = shifted - learned.inverse_transform(learned.transform(shifted))
        assert (rest**2).mean() < 0.6 * shifted.var()


@pytest.mark.touches_globals("warning filters")  # what matplotlib imports
def test_displays_and_reports_of_imported_models(tmp_path):

    from skl_sae.plotting import AtomDisplay, ReconstructionDisplay, TrainingDisplay, UsageDisplay
    from skl_sae.report import SAEReport

    m = Model.random().unit()
    m.W, m.D, m.b = (np.hstack([a, a[..., :4]]) for a in (m.W, m.D, m.b))
    write_saelens(tmp_path, m.unit(), d_in=9)
    imported = interop.from_saelens(tmp_path)
    X = np.random.default_rng(0).random((20, 9)).astype(np.float32)
    for display in (AtomDisplay, ReconstructionDisplay):
        of = (imported,) if display is AtomDisplay else (imported, X)
        display.from_estimator(*of, image_shape=(3, 3))
    UsageDisplay.from_estimator(imported, X)
    TrainingDisplay.from_estimator(imported)
    page = SAEReport(imported, X, image_shape=(3, 3)).html()
    assert "the decoder's bias" in page.replace("&#39;", "'").replace("&#x27;", "'")
    assert "in the last epoch of" not in page


def test_interop_is_found_at_the_top():
    assert skl_sae.__getattr__("interop") is interop
    assert "interop" in dir(skl_sae)
    assert set(interop.__all__) == {f"{way}_{name}" for way in ("to", "from") for name in LIBRARIES}
