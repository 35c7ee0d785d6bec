"""
How many atoms, and how many of them active?
============================================

``k`` is the sparsity budget of a code, ``n_components`` the number of atoms to
choose from. A grid search over both shows what each is worth on handwritten
digits. The score is the held-out Pearson correlation, so
:class:`~sklearn.model_selection.GridSearchCV` needs no ``scoring``.
"""

# sphinx_gallery_thumbnail_number = 2

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skl_sae import TopKSparseAutoencoder, reconstruction_correlation

digits = load_digits()
X, X_other = digits.data[:900], digits.data[900:]

# %%
# The search
# ----------

sizes, actives = [16, 64, 256], [2, 4, 8, 16]
search = GridSearchCV(
    TopKSparseAutoencoder(max_iter=10, random_state=0),
    {"n_components": sizes, "k": actives},
    cv=3,
)
with warnings.catch_warnings():
    # With 2 of 256 atoms active, most are dead, and each fit would warn.
    warnings.simplefilter("ignore", ConvergenceWarning)
    search.fit(X)
# Parameters are in alphabetical order, and the last one varies fastest.
shape = len(actives), len(sizes)
mean = search.cv_results_["mean_test_score"].reshape(shape)
std = search.cv_results_["std_test_score"].reshape(shape)

# %%
# PCA is searched, too. It has no ``score`` of this kind, but
# :func:`~skl_sae.reconstruction_correlation` scores any estimator with
# ``inverse_transform``.

pca = GridSearchCV(
    PCA(), {"n_components": actives}, scoring=reconstruction_correlation, cv=3
)
pca.fit(X)
curves = {f"{n} atoms": (mean[:, i], std[:, i]) for i, n in enumerate(sizes)}
curves["PCA"] = (
    pca.cv_results_["mean_test_score"],
    pca.cv_results_["std_test_score"],
)

# %%
# Results
# -------

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, (scores, spread) in curves.items():
    style = {"color": "0.5", "linestyle": "--"} if name == "PCA" else {}
    ax.errorbar(
        actives, scores, spread, marker="o", capsize=3, label=name, **style
    )
    print(
        f"{name:9}",
        *(f"  k={k}: {score:.3f}" for k, score in zip(actives, scores)),
    )
ax.set(xlabel="k, the active atoms (for PCA, the components)", xscale="log")
ax.set(ylabel="Held-out correlation")
ax.set_xticks(actives, actives)
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend()

# %%
# Error bars are standard deviations over three folds. With 16 atoms, all of
# which may be active, the autoencoder is no better than PCA, whose
# coefficients may be negative. 64 atoms are enough for these digits. The
# search always prefers the largest k, so the useful question is another: which
# k reaches a given correlation?

enough = 0.95
for i, n in enumerate(sizes):
    reached = np.flatnonzero(mean[:, i] >= enough)
    k = actives[reached[0]] if len(reached) else f"more than {actives[-1]}"
    print(f"{n:3} atoms reach {enough} with k = {k}")

# %%
# The same digit, which none of the models has learned, by each of them.

digit = X_other[[np.flatnonzero(digits.target[900:] == 5)[0]]]
fig, axes = plt.subplots(3, 5, figsize=(7, 4.6), layout="constrained")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
for line, n in zip(axes, sizes):
    line[0].set_ylabel(f"{n} atoms")
    for ax, k in zip(line, actives):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            sae = clone(search.estimator).set_params(n_components=n, k=k)
            sae.fit(X)
        restored = sae.inverse_transform(sae.transform(digit))
        ax.imshow(restored.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
for ax, k in zip(axes[0], actives):
    ax.set_title(f"k = {k}")
axes[0, 4].set_title("the digit")
axes[0, 4].imshow(digit.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
for ax in axes[1:, 4]:
    ax.axis("off")
