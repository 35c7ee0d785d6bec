"""The libraries themselves read what is written here, and what they write is read here.

A library that cannot be imported is skipped: none of them is needed otherwise.
"""

import importlib
import json
import warnings

import numpy as np
import pytest
import torch

from skl_sae import TopKSparseAutoencoder, interop

pytestmark = [
    pytest.mark.slow,
    # What they import does as it likes.
    pytest.mark.touches_globals(
        "warning filters", "NumPy's generator", "torch's generator", "Python's generator",
        "threads", "gradients", "rcParams",
    ),
]  # fmt: skip
N_FEATURES, N_ATOMS, K = 24, 64, 6


def library(name):
    """Import a module, with whatever warnings; skip the test where it is not there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} cannot be imported: {error}")


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    rows = rng.random((400, 8)) @ rng.normal(size=(8, N_FEATURES)) + 0.1 * rng.normal(
        size=(400, N_FEATURES)
    )
    return rows.astype(np.float32)


@pytest.fixture(params=["topk", "batch_topk"])
def fitted(request, X):
    return TopKSparseAutoencoder(
        N_ATOMS, k=K, sparsity=request.param, max_iter=5, n_estimators=2, random_state=0
    ).fit(X)


def agree(name, got, expected):
    """To 1e-6 of the largest number, with the same active atoms; and say so."""
    got, expected = (np.asarray(a, np.float64) for a in (got, expected))
    difference = abs(got - expected).max() / abs(expected).max()
    print(f"{name}: largest difference {difference:.1e} of the largest activation")
    np.testing.assert_array_equal(got != 0, expected != 0)
    assert difference < 1e-6


def member(estimator, X):
    """Codes of the second member."""
    return estimator.transform(X).toarray()[:, N_ATOMS:]


def dense(estimator, X):
    return estimator.transform(X).toarray()


def randomised(module):
    """A module with biases and thresholds other than 0, and encoders that are not its atoms."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.state_dict().items():
            if "threshold" in name:
                parameter.copy_(torch.rand(parameter.shape, generator=draw))
            elif "dec" not in name.replace("b_dec", "") and parameter.is_floating_point():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return module.eval()


@torch.no_grad()
def test_saelens_reads(fitted, X, tmp_path):
    SAE = library("sae_lens").SAE
    interop.to_saelens(fitted, tmp_path, member=1)
    sae = SAE.load_from_disk(tmp_path)
    agree(f"SAELens, {fitted.sparsity}", sae.encode(torch.tensor(X)), member(fitted, X))
    sae.save_model(tmp_path / "again")
    agree("and back", dense(interop.from_saelens(tmp_path / "again"), X), member(fitted, X))


@torch.no_grad()
@pytest.mark.parametrize(("name", "config"), [
    ("TopK", {"k": K, "rescale_acts_by_decoder_norm": True}), ("JumpReLU", {}), ("Standard", {}),
    ("JumpReLU", {"apply_b_dec_to_input": False}),
])  # fmt: skip
def test_saelens_is_read(name, config, X, tmp_path):
    sae_lens = library("sae_lens")
    made = getattr(sae_lens, f"{name}SAEConfig")(d_in=N_FEATURES, d_sae=N_ATOMS, **config)
    sae = randomised(getattr(sae_lens, f"{name}SAE")(made))
    sae.save_model(tmp_path)
    codes = sae.encode(torch.tensor(X))
    if name != "TopK":
        codes = codes * sae.W_dec.norm(dim=1)
    agree(f"{name} of SAELens", dense(interop.from_saelens(tmp_path), X), codes)


@torch.no_grad()
def test_sparsify(X, tmp_path):
    sparsify = library("sparsify")
    fitted = TopKSparseAutoencoder(N_ATOMS, k=K, max_iter=5, random_state=0).fit(X)
    interop.to_sparsify(fitted, tmp_path)
    coder = sparsify.SparseCoder.load_from_disk(tmp_path)
    agree("sparsify", sparsify_codes(coder, X), dense(fitted, X))
    config = sparsify.SparseCoderConfig(num_latents=N_ATOMS, k=K)
    theirs = randomised(sparsify.SparseCoder(N_FEATURES, config))
    theirs.save_to_disk(tmp_path / "theirs")
    loaded = interop.from_sparsify(tmp_path / "theirs")
    agree("and read", dense(loaded, X), sparsify_codes(theirs, X))


def sparsify_codes(coder, X):
    out = coder.encode(torch.tensor(X))
    return torch.zeros(len(X), N_ATOMS).scatter_(1, out.top_indices, out.top_acts)


@torch.no_grad()
def test_dictionary_learning_reads(fitted, X, tmp_path):
    utils = library("dictionary_learning.utils")
    interop.to_dictionary_learning(fitted, tmp_path, member=1)
    theirs, _ = utils.load_dictionary(str(tmp_path), "cpu")
    agree(type(theirs).__name__, theirs.encode(torch.tensor(X)), member(fitted, X))


@torch.no_grad()
@pytest.mark.parametrize(("module", "name", "sizes"), [
    ("trainers.top_k", "AutoEncoderTopK", [K]),
    ("trainers.batch_top_k", "BatchTopKSAE", [K]),
    ("trainers.matryoshka_batch_top_k", "MatryoshkaBatchTopKSAE", [K, [16, 48]]),
    ("dictionary", "JumpReluAutoEncoder", []),
    ("dictionary", "AutoEncoder", []),
    ("dictionary", "AutoEncoderNew", []),
])  # fmt: skip
def test_dictionary_learning_is_read(module, name, sizes, X, tmp_path):
    utils = library("dictionary_learning.utils")
    cls = getattr(library(f"dictionary_learning.{module}"), name)
    torch.save(randomised(cls(N_FEATURES, N_ATOMS, *sizes)).state_dict(), tmp_path / "ae.pt")
    trainer = {"dict_class": name, "activation_dim": N_FEATURES, "dict_size": N_ATOMS, "k": K}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))
    theirs, _ = utils.load_dictionary(str(tmp_path), "cpu")
    atoms = theirs.W_dec if hasattr(theirs, "W_dec") else theirs.decoder.weight.T
    codes = theirs.encode(torch.tensor(X)) * atoms.norm(dim=1)
    agree(name, dense(interop.from_dictionary_learning(tmp_path), X), codes)


@torch.no_grad()
def test_saev_of_schema_5(fitted, X, tmp_path):
    modeling = library("saev.nn.modeling")
    interop.to_saev(fitted, tmp_path, member=1)
    sae, codes = modeling.load(tmp_path / "sae.pt").eval(), member(fitted, X)
    theirs = sae.encode(torch.tensor(X)).f_x
    rows = (codes > 0).sum(1) == K if fitted.sparsity == "topk" else slice(None)
    agree(f"saev, {fitted.sparsity}", theirs[rows], codes[rows])
    modeling.dump(tmp_path / "again.pt", randomised(sae))
    theirs = sae.encode(torch.tensor(X)).f_x
    agree("and read", dense(interop.from_saev(tmp_path / "again.pt"), X), theirs.clamp(min=0))


@torch.no_grad()
def test_saev_without_schema(X, tmp_path):
    """Version 0.1.0, whose encoder takes x - b."""
    nn, config = library("saev.nn"), library("saev.config")
    if not hasattr(config, "SparseAutoencoder"):
        pytest.skip("a later saev writes files with a schema")
    made = config.SparseAutoencoder(d_vit=N_FEATURES, exp_factor=2)
    sae = randomised(nn.SparseAutoencoder(made))
    nn.dump(str(tmp_path / "sae.pt"), sae)
    codes = sae(torch.tensor(X))[1] * sae.W_dec.norm(dim=1)
    agree("saev 0.1.0", dense(interop.from_saev(tmp_path), X), codes)
