"""
Small atoms for photographs of any size
=======================================

Atoms as large as the images have to learn every edge at every place anew. What
do small atoms learn that are looked for everywhere, and what is left of a
photograph of another size when few of them are active?
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from skl_sae import (
    ConvTopKSparseAutoencoder,
    TopKSparseAutoencoder,
    reconstruction_correlation,
)
from skl_sae.datasets import load_photographs
from skl_sae.plotting import AtomDisplay

# %%
# Learning
# --------
# 400 crops of two photographs, from their upper parts. The codes of all models
# have 64 numbers an image. Atoms of 8x8 pixels at a stride of 8 do not
# overlap, which suits codes by one pass of the encoder; where they overlap, at
# a stride of 4, matching pursuit codes the whole image.

size, k = (32, 32), 64
train = load_photographs(400, size).data.reshape(-1, *size, 3)
test = load_photographs(100, size, subset="test").data.reshape(-1, *size, 3)
small = {"k": k, "kernel_size": 8, "max_iter": 10, "random_state": 0}
models = {
    "small atoms side by side": ConvTopKSparseAutoencoder(
        192, stride=8, **small
    ),
    "small atoms, pursuit": ConvTopKSparseAutoencoder(
        192, stride=4, transform_algorithm="omp", **small
    ),
    "large atoms": TopKSparseAutoencoder(
        512, k=k, max_iter=10, random_state=0
    ),
    "PCA": PCA(k, random_state=0),
}
for name, model in models.items():
    is_small = "small" in name
    X, X_test = (
        images if is_small else images.reshape(len(images), -1)
        for images in (train, test)
    )
    model.fit(X)
    score = (
        model.score(X_test)
        if is_small
        else reconstruction_correlation(model, X_test)
    )
    n_numbers = model.components_.size
    print(f"{name:25} held-out correlation {score:.4f},", end=" ")
    print(f"{n_numbers:7} numbers in the atoms")

# %%
# Atoms
# -----
# The most used ones are soft blobs of brightness and colour, then edges of all
# orientations.

sae = models["small atoms side by side"]
AtomDisplay.from_estimator(
    sae,
    image_shape=sae.atom_shape_,
    n_atoms=48,
    n_columns=12,
)

# %%
# A picture of another size
# -------------------------
# A model that was fitted to 32x32 pixels codes images of any size. An int
# ``k`` is the number of active atoms of an image, whatever its size; a
# fraction of positions times atoms, as here, grows with the image.

large = load_photographs(
    4, (96, 144), subset="test", random_state=3
).data.reshape(-1, 96, 144, 3)
shares = 0.005, 0.02, 0.06
fig, axes = plt.subplots(
    2, 1 + len(shares), figsize=(9, 3.4), layout="constrained"
)
for line, image in zip(axes, large[[0, 3]]):
    line[0].imshow(image)
    for ax, share in zip(line[1:], shares):
        sae.set_params(k=share, image_shape=image.shape)
        codes = sae.transform(image[None])
        picture = sae.inverse_transform(codes).reshape(image.shape)
        ax.imshow(np.clip(picture, 0, 1))
        ax.set_title(f"{codes.nnz} active numbers", fontsize="medium")
    for ax in line:
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_title(f"{image.size} numbers", fontsize="medium")
