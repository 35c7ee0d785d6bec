"""A user's program, which mypy holds against the types of the public face; it is never run.

An error that is expected has its code behind it, and mypy reports those that no longer are.
"""

from typing import Any, assert_type

import numpy as np
from PIL import Image
from sklearn.pipeline import make_pipeline

import skl_sae
from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    CodePooling,
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ImageAugmenter,
    ImageEmbedder,
    ImageLoader,
    LazyRows,
    TopKSparseAutoencoder,
    find_images,
    load,
    load_codes,
    pearson_correlation,
    reconstruction_correlation,
    save,
)
from skl_sae.datasets import load_photographs, make_cells, make_sparse_rows
from skl_sae.inspection import (
    atom_activations,
    atom_usage,
    class_selectivity,
    discriminative_atoms,
    match_members,
    reconstruction_figures,
    sparse_probing,
    spatial_coherence,
    top_samples,
    untrained_twin,
)
from skl_sae.interop import from_saelens, to_saelens
from skl_sae.plotting import (
    ActivationDisplay,
    AtomDisplay,
    ReconstructionDisplay,
    SelectivityDisplay,
    TrainingDisplay,
    UsageDisplay,
)
from skl_sae.report import SAEReport


def estimators(X: np.ndarray, y: np.ndarray) -> None:
    sae = TopKSparseAutoencoder(64, k=0.1, tied="auto", sparsity="batch_topk", random_state=0)
    assert_type(sae.fit(X), TopKSparseAutoencoder)
    assert_type(sae.fit(X, y, sample_weight=np.ones(len(X))).partial_fit(X), TopKSparseAutoencoder)
    assert_type(sae.fit(X, groups=["a"] * len(X)), TopKSparseAutoencoder)
    assert_type(sae.score(X), float)
    assert_type(sae.score_samples(X), np.ndarray)
    assert_type(sae.inverse_transform(sae.transform(X)), np.ndarray)
    assert_type(sae.components_, np.ndarray)
    assert_type(sae.image_shape_, tuple[int, ...] | None)
    assert_type(sae.k_, int)
    assert_type(sae.loss_curve_, list[float])
    assert_type(sae.prefix(16), TopKSparseAutoencoder)
    assert_type(TopKSparseAutoencoder.load("model.safetensors"), TopKSparseAutoencoder)
    sae.save("model.safetensors", optimizer=True)
    save(make_pipeline(ImageLoader(), sae), "pipeline.safetensors")
    load("pipeline.safetensors").transform(["image.png"])
    save(sae)  # type: ignore[call-arg]
    codes = sae.fit_transform(X)
    codes.toarray()
    sae.transform_to(X, "codes.npz")
    load_codes("codes.npz")
    skl_sae.save(sae, "pipeline.safetensors", optimizer=False)
    skl_sae.load("pipeline.safetensors").transform(X)
    TopKSparseAutoencoder(sparsity="gated")  # type: ignore[arg-type]
    TopKSparseAutoencoder(k="8")  # type: ignore[arg-type]
    TopKSparseAutoencoder(atoms=64)  # type: ignore[call-arg]
    TopKSparseAutoencoder(64, 8)  # type: ignore[call-arg]
    sae.fit(X, sample_weights=None)  # type: ignore[call-arg]
    sae.fit()  # type: ignore[call-arg]


def other_estimators(images: np.ndarray) -> None:
    conv = ConvTopKSparseAutoencoder(32, image_shape=(8, 8, 3), kernel_size=(4, 4), pooling=2)
    assert_type(conv.fit(images), ConvTopKSparseAutoencoder)
    assert_type(conv.get_feature_names_out(), np.ndarray)
    assert_type(conv.inverse_transform(conv.transform(images)), np.ndarray)
    deep = DeepTopKSparseAutoencoder(n_encoder_layers=2, decoder_hidden_layer_sizes=(4,))
    assert_type(deep.fit(images).partial_fit(images), DeepTopKSparseAutoencoder)
    bagging = BaggingSparseAutoencoder(deep, weights="least_squares").fit(images)
    assert_type(bagging, BaggingSparseAutoencoder)
    boosting = BoostingSparseAutoencoder([("flat", deep), ("small", conv)]).fit(images)
    assert_type(boosting, BoostingSparseAutoencoder)
    assert_type(bagging.components_, np.ndarray)
    ConvTopKSparseAutoencoder(pooling_function="median")  # type: ignore[arg-type]
    BaggingSparseAutoencoder("flat")  # type: ignore[arg-type]


def any_samples(images: np.ndarray, pictures: list[Image.Image]) -> None:
    sae = TopKSparseAutoencoder()
    rows = LazyRows(lambda start, stop: images[start:stop], images.shape)
    sae.fit(images).fit(list(images)).fit(pictures).fit(rows).fit([[0.0, 1.0]])
    sae.fit(5 * [None])  # type: ignore[arg-type]


def images(folder: str) -> None:
    found = find_images(folder, on_error="warn", return_X_y=False)
    loader = ImageLoader((16, 16), mode="L", n_jobs=2)
    assert_type(loader.fit(found.filenames), ImageLoader)
    assert_type(loader.transform(["a.png", "b.png"]), np.ndarray)
    assert_type(loader.lazy(["a.png"], as_images=True), LazyRows)
    assert_type(loader.inverse_transform(np.ones((1, 256))), np.ndarray)
    augmenter = ImageAugmenter((16, 16), n_copies=2, random_state=0)
    TopKSparseAutoencoder(augmenter=augmenter)
    ImageEmbedder(lambda: None, pooling="cls", mean=[0.5, 0.5, 0.5]).fit(np.ones((1, 8, 8, 3)))
    CodePooling((4, 4), "mean", parts=2).fit_transform(np.ones((16, 3)))
    ImageLoader(mode="CMYK")  # type: ignore[arg-type]
    make_cells(folder, 4, size=32)
    load_photographs(10, (8, 8), "L", subset="test").data.mean()
    make_sparse_rows(n_samples=10)


def measures(sae: TopKSparseAutoencoder, X: np.ndarray, y: np.ndarray) -> None:
    assert_type(pearson_correlation(X, X), float)
    assert_type(reconstruction_correlation(sae, X), float)
    codes = sae.transform(X)
    assert_type(top_samples(codes, atom=0, n=3), np.ndarray)
    assert_type(discriminative_atoms(class_selectivity(codes, y)), np.ndarray)
    atom_usage(codes, sae.components_).dead.mean()
    match_members(sae, sae)
    reconstruction_figures(sae, X, baseline=untrained_twin(sae, X))
    sparse_probing(codes, y, k=(1, 2))
    spatial_coherence(codes, (4, 4))
    atom_activations(sae, codes, "mean")
    to_saelens(sae, "folder")
    assert_type(from_saelens("folder"), TopKSparseAutoencoder)
    top_samples(codes, "0")  # type: ignore[arg-type]


def figures(sae: TopKSparseAutoencoder, X: np.ndarray, y: np.ndarray) -> None:
    assert_type(AtomDisplay.from_estimator(sae, image_shape=(8, 8), order="use"), AtomDisplay)
    AtomDisplay(sae.components_, image_shape=(8, 8)).plot(scale="picture", cmap="gray")
    display = ReconstructionDisplay.from_estimator(sae, X, image_shape=sae.image_shape_, n_atoms=2)
    assert_type(display.plot(n_atoms=3), ReconstructionDisplay)
    assert_type(SelectivityDisplay.from_estimator(sae, X, y), SelectivityDisplay)
    assert_type(TrainingDisplay.from_estimator(sae), TrainingDisplay)
    UsageDisplay.from_codes(sae.transform(X))
    ActivationDisplay.from_estimator(sae, X, atom=1)
    assert_type(SAEReport(sae, X, y).html(), str)
    AtomDisplay.from_estimator(sae, shape=(8, 8), n_atoms="all")  # type: ignore[arg-type]


def names() -> Any:
    assert_type(skl_sae.__version__, str)
    assert_type(skl_sae.TopKSparseAutoencoder(8), TopKSparseAutoencoder)
    assert_type(skl_sae.inspection.top_samples([[1.0]], 0), np.ndarray)
    return skl_sae.Autoencoder  # type: ignore[attr-defined]
