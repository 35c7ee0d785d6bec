"""
How small does a photograph get?
================================

A photograph is cut into patches of 8x8 pixels, and each patch is stored as a
few atoms and their activations. The atoms are learned from other photographs.
How many bytes does that take, and how does it compare with PCA and JPEG?
"""

# sphinx_gallery_thumbnail_number = 1

import io
import zlib

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from skimage import data
from sklearn.decomposition import PCA

from skl_sae import TopKSparseAutoencoder, pearson_correlation

SIDE = 8

# %%
# Patches
# -------
# Four photographs for training, and one that is held out. They come with
# scikit-image.


def to_patches(picture):
    """Cut a picture into whole patches, one per row."""
    height, width = (length // SIDE for length in picture.shape[:2])
    blocks = picture[: height * SIDE, : width * SIDE].reshape(
        height, SIDE, width, SIDE, 3
    )
    return blocks.swapaxes(1, 2).reshape(height * width, -1) / np.float32(255)


def to_picture(patches, width):
    """Join patches to a picture, ``width`` of them side by side."""
    blocks = patches.reshape(-1, width, SIDE, SIDE, 3).swapaxes(1, 2)
    pixels = blocks.reshape(-1, width * SIDE, 3)
    return (255 * pixels.clip(0, 1)).round().astype(np.uint8)


pictures = (
    data.astronaut(),
    data.coffee(),
    data.rocket(),
    data.stereo_motorcycle()[0],
)
X_train = np.concatenate([to_patches(picture) for picture in pictures])
cat = data.chelsea()[:296, :448]
X_cat, n_across = to_patches(cat), 448 // SIDE
X_train = np.random.default_rng(0).permutation(X_train)[:2000]
print(f"{len(X_train)} training patches, {len(X_cat)} held out,", end=" ")
print(f"{X_cat.shape[1]} numbers each")

# %%
# Training
# --------
# With 256 atoms, the index of an atom is one byte. Codes come from the encoder
# or from orthogonal matching pursuit on the fitted atoms, which reconstructs
# best with a given number of atoms.

models = {
    (algorithm, k): TopKSparseAutoencoder(
        n_components=256,
        k=k,
        transform_algorithm=algorithm,
        max_iter=6,
        random_state=0,
    ).fit(X_train)
    for algorithm in ("topk", "omp")
    for k in (2, 4, 8)
}

# %%
# The held-out photograph, its reconstruction from four atoms per patch, and
# the atoms, most used first.

sae = models["omp", 4]
codes = sae.transform(X_cat)
most_used = np.argsort(-codes.getnnz(axis=0))[:150]
atoms = sae.components_[most_used]
atoms = 0.5 + 0.5 * atoms / np.abs(atoms).max(axis=1, keepdims=True)
atoms = to_picture(atoms, 15).reshape(10, SIDE, 15, SIDE, 3)
atoms = np.pad(
    atoms, ((0, 0), (0, 1), (0, 0), (0, 1), (0, 0)), constant_values=255
)
panels = {
    "held-out photograph": cat,
    "four atoms per patch": to_picture(sae.inverse_transform(codes), n_across),
    "atoms": atoms.reshape(10 * (SIDE + 1), 15 * (SIDE + 1), 3),
}
fig, axes = plt.subplots(1, 3, figsize=(9, 2.4), layout="constrained")
for ax, (title, picture) in zip(axes, panels.items()):
    ax.imshow(picture)
    ax.set_title(title)
    ax.axis("off")

# %%
# Bytes
# -----
# Activations are rounded to multiples of 0.2 (a patch's pixels are in [0, 1]).
# zlib compresses the rounded activations and, for codes, the indices of the
# atoms and their number in each patch. Of JPEG the whole file counts. The
# atoms, like JPEG's cosines, are known to the sender and the receiver.

STEP = 0.2


def n_bytes(*arrays):
    """Total size of the arrays, each compressed."""
    return sum(
        len(zlib.compress(np.ascontiguousarray(array), level=9))
        for array in arrays
    )


results = {}
for (algorithm, k), sae in models.items():
    codes = sae.transform(X_cat)
    rounded = np.round(codes.data / STEP).astype(np.int8)
    codes.data = STEP * rounded.astype(np.float32)
    length = n_bytes(
        rounded,
        codes.indices.astype(np.uint8),
        np.diff(codes.indptr).astype(np.uint8),
    )
    score = pearson_correlation(X_cat, sae.inverse_transform(codes))
    results.setdefault(f"skl_sae, {algorithm}", []).append((k, length, score))
for n in (2, 4, 8, 16, 32):
    pca = PCA(n, random_state=0).fit(X_train)
    rounded = np.round(pca.transform(X_cat) / STEP).astype(np.int8)
    score = pearson_correlation(X_cat, pca.inverse_transform(STEP * rounded))
    results.setdefault("PCA", []).append((n, n_bytes(rounded.T), score))
for quality in (5, 10, 20, 35):
    file = io.BytesIO()
    Image.fromarray(cat).save(file, "JPEG", quality=quality, optimize=True)
    score = pearson_correlation(
        X_cat, to_patches(np.asarray(Image.open(file)))
    )
    results.setdefault("JPEG", []).append(
        (np.nan, len(file.getvalue()), score)
    )

fig, axes = plt.subplots(
    1, 2, figsize=(9, 3.4), layout="constrained", sharey=True
)
for name, result in results.items():
    n, length, score = np.transpose(result)
    axes[0].plot(n, score, marker="o", label=name)
    axes[1].plot(length / 1024, score, marker="o", label=name)
    for numbers, size, correlation in result:
        numbers = "" if np.isnan(numbers) else f"{numbers} numbers per patch"
        print(f"{name:13}  {numbers:20}  {size:6} bytes  {correlation:.4f}")
axes[0].set(
    xlabel="Numbers per patch", ylabel="Held-out correlation", xscale="log"
)
axes[0].set_xticks([2, 4, 8, 16, 32], [2, 4, 8, 16, 32])
axes[1].set(xlabel="Size of the photograph in KiB")
axes[1].legend()
for ax in axes:
    ax.minorticks_off()
    ax.grid(alpha=0.3)

# %%
# For the same number of coefficients, codes are better: four atoms are worth
# more than eight principal components. For the same number of bytes they are
# worse but at the smallest size, because the indices of the atoms have to be
# stored as well, while the order of principal components is fixed. Both are
# far from JPEG, which spends its bits on what is visible. Sparse codes are for
# inspection and computation; to store photographs, use JPEG.
