"""
Do the members of an ensemble learn the same atoms?
===================================================

An atom that three autoencoders with different starts all find says something
about the data. How many atoms are found by all members, does ``consistency``
increase their number, and at what price?
"""

# sphinx_gallery_thumbnail_number = 1

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skl_sae import TopKSparseAutoencoder
from skl_sae.inspection import match_members

X_train, X_test = train_test_split(
    load_digits().data, train_size=1000, test_size=300, random_state=0
)


def ensemble(seed=0, **parameters):
    """Fit three members of 64 atoms to the digits."""
    sae = TopKSparseAutoencoder(
        64, k=8, n_estimators=3, max_iter=10, random_state=seed, **parameters
    )
    return sae.fit(X_train)


# %%
# Matching atoms
# --------------
# :func:`~skl_sae.inspection.match_members` pairs the atoms of two members one
# to one so that their cosines are large. The mean cosine is the stability: 1
# if the members learned the same atoms. With ``init="orthogonal"`` members
# start from unrelated random directions, so whatever they have in common comes
# from the data.

sae = ensemble(init="orthogonal")
matching = match_members(sae)
similar = np.mean(matching.cosines[0, 1] > 0.9)
print(f"Stability {matching.stability:.2f}; {similar:.0%} above 0.9")

# %%
# Atoms of member 0, from the best match on the left to the worst on the right,
# and their matches in members 1 and 2 with the cosines.

order = np.argsort(-matching.cosines[0, 1:].mean(axis=0))
chosen = order[np.linspace(0, 63, 14).astype(int)]
atoms = sae.components_.reshape(3, 64, 8, 8)
fig, axes = plt.subplots(3, 14, figsize=(9, 2.8), layout="constrained")
for member, line in enumerate(axes):
    line[0].set_ylabel(f"{member}", rotation=0, labelpad=10, va="center")
    for ax, atom in zip(line, chosen):
        cosine = matching.cosines[0, member, atom]
        pixels = atoms[member, matching.matches[0, member, atom]]
        limit = np.abs(pixels).max()
        ax.imshow(pixels, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
        ax.set_title("" if member == 0 else f"{cosine:.2f}", fontsize=8)

# %%
# The effect of consistency
# -------------------------
# ``consistency`` draws the members' codes together. The figures are the
# stability of the atoms, the held-out correlation, and the held-out
# correlation if the three codes are replaced by their mean. Bars reach from
# the least to the greatest of three seeds.


def figures(seed, **parameters):
    """Stability, and correlation by codes side by side and by their mean."""
    sae = ensemble(seed, **parameters)
    side_by_side = sae.score(X_test)
    mean = sae.set_params(aggregate="mean").score(X_test)
    return match_members(sae).stability, side_by_side, mean


weights = [0, 0.1, 0.3, 1]
titles = "Stability", "Codes side by side", "Their mean"
fig, axes = plt.subplots(
    1, 3, figsize=(9, 3), layout="constrained", sharey=True
)
for init in ("pca", "orthogonal"):
    of_seeds = np.array(
        [
            [figures(s, init=init, consistency=w) for w in weights]
            for s in range(3)
        ]
    )
    means = of_seeds.mean(axis=0)
    below, above = means - of_seeds.min(axis=0), of_seeds.max(axis=0) - means
    for i, ax in enumerate(axes):
        ax.errorbar(
            range(len(weights)),
            means[:, i],
            (below[:, i], above[:, i]),
            marker="o",
            capsize=3,
            label=f'init="{init}"',
        )
    for weight, mean in zip(weights, means):
        print(f"{init:10}  consistency {weight:4}:", end="  ")
        print(f"stability {mean[0]:.2f}, codes side by side", end=" ")
        print(f"{mean[1]:.3f}, their mean {mean[2]:.3f}")
for ax, title in zip(axes, titles):
    ax.set(title=title, xlabel="consistency", ylim=(0, 1))
    ax.set_xticks(range(len(weights)), weights)
    ax.grid(alpha=0.3)
axes[0].legend()
axes[1].set_ylabel("Held-out correlation")

# %%
# Without consistency, members with random starts end with different atoms:
# matched atoms have a cosine of about a half, so the dictionary of digits is
# not unique. Members that start from principal directions have more in common.
# Consistency raises the stability up to a point. At 1 the codes agree, and
# their mean reconstructs as well as the codes side by side, but this no longer
# requires similar atoms. The price is the gain of an ensemble: the more
# similar the codes, the worse they reconstruct side by side.
