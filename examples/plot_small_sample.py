"""
How far do 39 pictures go?
==========================

A biologist has 39 grey pictures of cells, in two classes, as PNG files. Is that enough for
sparse codes, and do the codes tell the classes? Here the pictures are synthetic; five tied
autoencoders learn them, each picture with five random variants.

Run with ``--full`` for pictures of 64x64 pixels, five members of 1,024 atoms and 20 epochs; it
takes about two minutes. Without, all is smaller, and done in less than 20 seconds.
"""

import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from skl_sae import (
    ImageAugmenter,
    ImageLoader,
    TopKSparseAutoencoder,
    find_images,
    pearson_correlation,
)
from skl_sae.datasets import load_photographs, make_cells

FULL = "--full" in sys.argv
size = (64, 64) if FULL else (32, 32)
folder = tempfile.TemporaryDirectory()
make_cells(folder.name, size=600 if FULL else 200)
images = find_images(folder.name)
train, test, y_train, y_test = train_test_split(
    images.filenames, images.target, test_size=8, stratify=images.target, random_state=0
)
print(f"{len(train)} pictures to learn, {len(test)} held out: {images.target_names}")

# %%
# From files to codes
# -------------------
# One Pipeline loads the files, adds five variants of each picture, and learns. When it
# transforms, nothing is added: the augmenter only acts while fitting.

sae = TopKSparseAutoencoder(
    n_components=1024 if FULL else 256,
    k=50 if FULL else 25,
    n_estimators=5 if FULL else 3,
    tied=True,
    init="orthogonal",
    consistency=0.1,
    learning_rate=1e-3,
    batch_size=16,
    max_iter=20 if FULL else 15,
    random_state=0,
)
loader = ImageLoader(size, "L")
augmenter = ImageAugmenter(size, random_state=0)
pipeline = make_pipeline(loader, augmenter, sae).fit(train)
X_train, X_test = loader.transform(train), loader.transform(test)
curve = pipeline[-1].correlation_curve_
for epoch in (1, 5, len(curve)):
    print(f"Epoch {epoch:2}: correlation of the training rows {curve[epoch - 1]:.3f}")

# %%
# The same rows in every epoch are soon known by heart. As ``augmenter`` of the autoencoder,
# the augmenter draws fresh variants for every epoch, and early stopping or labels that come
# later are in step with the rows.

fresh = clone(sae).set_params(augmenter=ImageAugmenter(size)).fit(X_train)
pca = PCA(25, random_state=0).fit(X_train)  # 31 pictures have no more than 30 directions
X_pca = pca.inverse_transform(pca.transform(X_test))

fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for name, model in {"the same variants": sae, "fresh variants": fresh}.items():
    axes[0].plot(range(1, len(curve) + 1), model.correlation_curve_, marker=".", label=name)
axes[0].set(xlabel="Epoch", ylabel="Correlation", title="Training rows")
axes[0].legend()
for i, (name, model) in enumerate({"the same variants": sae, "fresh variants": fresh}.items()):
    scores = [model.score_samples(X_test[y_test == label]) for label in (0, 1)]
    print(f"Held out, {name}: {model.score(X_test):.3f};", end=" ")
    print(", ".join(f"{c} {s.mean():.3f}" for c, s in zip(images.target_names, scores)))
    for label, score in enumerate(scores):
        places = np.full(len(score), label + 0.2 * i - 0.1)
        axes[1].plot(places, score, "o", color=f"C{i}", alpha=0.7)
axes[1].set(xticks=[0, 1], xticklabels=images.target_names, xlim=(-0.5, 1.5))
axes[1].set(ylabel="Correlation", title="Pictures held out, by class")

# %%
# What the reconstructions look like
# ----------------------------------

rows = {
    "original": X_test[:4],
    "sparse codes": fresh.inverse_transform(fresh.transform(X_test[:4])),
    "PCA, 25": X_pca[:4],
}
fig, axes = plt.subplots(3, 4, figsize=(6, 4.8), layout="constrained")
for line, (name, pictures) in zip(axes, rows.items()):
    for ax, picture in zip(line, pictures):
        ax.imshow(picture.reshape(size), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)

# %%
# By the defaults
# ---------------
# These settings are those of a first experiment. By default atoms start from principal directions,
# here of patches: 31 pictures have 30 directions, but each of their patches has others. The
# learning rate is smaller, too.

by_default = TopKSparseAutoencoder(
    sae.n_components,
    k=sae.k,
    n_estimators=sae.n_estimators,
    augmenter=ImageAugmenter(size),
    random_state=0,
).fit(X_train)
print(f"Held out, by the defaults: {by_default.score(X_test):.3f}")
print(f"Held out, PCA:             {pearson_correlation(X_test, X_pca):.3f}")

# %%
# How many atoms, how many of them active?
# ----------------------------------------
# GridSearchCV needs no scoring: the score is the correlation of the pictures left out. The
# variants are drawn in each fold from the pictures to learn, so none leaks into the test.

grid = {"k": [5, 25, 50], "n_components": [64, 256, 1024]}
if not FULL:
    grid = {"k": [5, 25], "n_components": [64, 256]}
search = GridSearchCV(clone(fresh).set_params(n_estimators=1, max_iter=5), grid, cv=3)
search.fit(X_train)
for parameters, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"]):
    print(f"{parameters}: {score:.3f}")

# %%
# Do the codes tell the classes?
# ------------------------------
# In this Pipeline with labels, too, everything is learned anew in each fold, from files to
# classifier. Rows and labels stay in step because the autoencoder does the augmenting.

classifier = LogisticRegression(max_iter=1000)
models = {
    "sparse codes": make_pipeline(loader, clone(fresh).set_params(max_iter=10), classifier),
    "PCA, 25": make_pipeline(loader, clone(pca), classifier),
    "raw pixels": make_pipeline(loader, classifier),
}
for name, model in models.items():
    accuracy = cross_val_score(model, images.filenames, images.target, cv=3)
    print(f"{name:12}  accuracy {accuracy.mean():.3f} +- {accuracy.std():.3f}")

# %%
# A general model, fine-tuned
# ---------------------------
# Photographs are not cells. A model that has only learned photographs is of little use here;
# what is it worth as a start? ``warm_start`` lets ``fit`` go on from the fitted weights.

photographs = load_photographs(500 if FULL else 150, size, "L").data
general = clone(sae).set_params(max_iter=10 if FULL else 5).fit(photographs)
few = {"max_iter": 5, "augmenter": ImageAugmenter(size)}
tuned = clone(sae).set_params(max_iter=10 if FULL else 5).fit(photographs)
tuned.set_params(warm_start=True, **few).fit(X_train)
dedicated = clone(sae).set_params(**few).fit(X_train)
results = {
    "general, photographs only": general.score(X_test),
    "dedicated, 5 epochs": dedicated.score(X_test),
    "general, fine-tuned for 5 epochs": tuned.score(X_test),
    f"dedicated, {fresh.n_iter_} epochs": fresh.score(X_test),
}
for name, score in results.items():
    print(f"{name:33} {score:.3f}")

fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.barh(list(results), list(results.values()), color="C0")
ax.bar_label(ax.containers[0], fmt="%.3f", padding=3)
ax.set(xlabel="Correlation of the cells held out", xlim=(0, 1.1))
ax.invert_yaxis()
folder.cleanup()
