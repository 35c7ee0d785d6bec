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
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skl_sae import TopKSparseAutoencoder

X, y = load_digits(return_X_y=True)
X, X_query, y, y_query = train_test_split(
    X, y, test_size=300, stratify=y, random_state=0
)

# %%
# Search
# ------
# The cosine of two codes is large if they share atoms with large activations;
# it does not depend on how dark a digit is.

sae = TopKSparseAutoencoder(
    n_components=256, k=8, max_iter=10, random_state=0
).fit(X)
codes, query_codes = sae.transform(X), sae.transform(X_query)
search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(codes)
distances, neighbours = search.kneighbors(query_codes)

queries = np.flatnonzero((y[neighbours] == y_query[:, None]).sum(axis=1) < 10)[
    :2
]
queries = np.concatenate([[0, 1, 2], queries])
fig, axes = plt.subplots(5, 11, figsize=(8, 4), layout="constrained")
for line, query in zip(axes, queries):
    line[0].imshow(X_query[query].reshape(8, 8), cmap="gray_r")
    for ax, row, distance in zip(
        line[1:], neighbours[query], distances[query]
    ):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
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

pca = PCA(8).fit(X)
members = TopKSparseAutoencoder(
    256, k=8, n_estimators=3, max_iter=10, random_state=0
).fit(X)
spaces = {
    "sparse codes, 8 numbers": (codes, query_codes),
    "3 members, 24 numbers": (
        members.transform(X),
        members.transform(X_query),
    ),
    "PCA, 8 numbers": (pca.transform(X), pca.transform(X_query)),
    "pixels, 64 numbers": (X, X_query),
}
for name, (Z, Z_query) in spaces.items():
    search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(Z)
    found = (
        y[search.kneighbors(Z_query, return_distance=False)]
        == y_query[:, None]
    )
    print(
        f"{name:23}  nearest {found[:, 0].mean():.3f}, ten nearest {found.mean():.3f}"
    )

# %%
# With the same number of coefficients, codes find the right class more often
# than principal components. The pixels, eight times as many numbers, find it
# slightly more often still.
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
    limits = (
        {"cmap": "gray_r"}
        if title.isalpha()
        else {"cmap": "RdBu_r", "vmin": -0.5, "vmax": 0.5}
    )
    ax.imshow(picture.reshape(8, 8), **limits)
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])
