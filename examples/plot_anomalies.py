"""
Does it notice what it has never seen?
======================================

A model that has learned nine digits meets the tenth. It reconstructs rows by atoms that were made
for others, so its ``score_samples`` should be low. How well does that tell the new from the
familiar, beside PCA's error and an isolation forest? And does it work for faces, too?
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage.data import lfw_subset
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import RocCurveDisplay, roc_auc_score

from skl_sae import TopKSparseAutoencoder

# %%
# Three ways to say how strange a row is
# --------------------------------------
# Few active atoms make the autoencoder particular. PCA has eight components, which on the digits
# was the best of 4, 8, 12, 16 and 24.


def strangeness(X_train, X_test, n_components):
    """How strange each method finds the rows of X_test."""
    sae = TopKSparseAutoencoder(n_components, k=4, max_iter=10, random_state=0).fit(X_train)
    pca = PCA(8, random_state=0).fit(X_train)
    restored = pca.inverse_transform(pca.transform(X_test))
    forest = IsolationForest(random_state=0).fit(X_train)
    return {
        "sparse codes": -sae.score_samples(X_test),
        "PCA's error": np.square(X_test - restored).sum(axis=1),
        "PCA's correlation": [
            -np.corrcoef(row, guess)[0, 1] for row, guess in zip(X_test, restored)
        ],
        "isolation forest": -forest.score_samples(X_test),
    }


# %%
# Digits
# ------
# Each digit in turn is the one not learned.

X, y = load_digits(return_X_y=True)
areas = {}
for digit in range(10):
    familiar, new = X[y != digit], X[y == digit]
    X_test = np.concatenate([familiar[800:], new])
    is_new = np.arange(len(X_test)) >= len(familiar) - 800
    for name, values in strangeness(familiar[:800], X_test, 128).items():
        areas.setdefault(name, []).append(roc_auc_score(is_new, values))

print("area under the ROC curve, by the digit not learned, and the mean")
for name, area in areas.items():
    print(f"{name:17}", *(f"{a:.2f}" for a in area), f"  {np.mean(area):.3f}")

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, area in areas.items():
    ax.plot(range(10), area, "o-", label=f"{name}, mean {np.mean(area):.2f}")
ax.axhline(0.5, color="0.6", linestyle="--")
ax.set(xlabel="The digit not learned", ylabel="Area under the ROC curve", xticks=range(10))
ax.legend(fontsize="small")

# %%
# The strangest of the last round, where 9 was new, and the most familiar.

order = np.argsort(-strangeness(familiar[:800], X_test, 128)["sparse codes"])
fig, axes = plt.subplots(2, 12, figsize=(9, 1.8), layout="constrained")
for line, rows, name in zip(axes, (order[:12], order[-12:]), ("strangest", "familiar")):
    line[0].set_ylabel(name)
    for ax, row in zip(line, rows):
        ax.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[])

# %%
# Faces
# -----
# A hundred faces and a hundred scraps of background. The models learn seventy of the faces.

images = lfw_subset()
X = images.reshape(len(images), -1)
X_train, X_test = X[:70], X[70:]
is_background = np.arange(len(X_test)) >= 30

fig, ax = plt.subplots(figsize=(4, 3.6), layout="constrained")
for name, values in strangeness(X_train, X_test, 64).items():
    RocCurveDisplay.from_predictions(is_background, values, name=name, ax=ax)
    print(f"Faces, {name:17} {roc_auc_score(is_background, values):.3f}")
ax.legend(fontsize="small")

# %%
# Of digits the sparse codes notice most: the forest looks at pixels one at a time, and no single
# pixel gives a new digit away. Of faces the forest is best: backgrounds differ from faces in single
# pixels, too. PCA's squared error is no better than chance there, because many backgrounds have
# little contrast and so little error; a correlation is not taken in by that, whichever model it is
# of.
