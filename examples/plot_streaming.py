"""
Is learning in chunks as good as learning from all samples at once?
===================================================================

The samples are in a file that does not have to fit into memory.
``partial_fit`` learns from one chunk after another, as of a stream whose end
is unknown. Is the model as good as that of ``fit``, which takes such a file as
it is and reads it in random order?
"""

# sphinx_gallery_thumbnail_number = 1

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skl_sae import TopKSparseAutoencoder
from skl_sae.datasets import load_photographs

# %%
# Memory-mapped samples
# ---------------------
# 6,000 crops of 16x16 pixels are written in chunks and then mapped into
# memory: only the parts that are accessed are read.

n_rows, chunk = 6000, 500
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "rows.npy")
rows = np.lib.format.open_memmap(
    path, mode="w+", dtype=np.float32, shape=(n_rows, 256)
)
for start in range(0, n_rows, chunk):
    crops = load_photographs(chunk, (16, 16), "L", random_state=start)
    rows[start : start + chunk] = crops.data
rows.flush()
rows = np.load(path, mmap_mode="r")
X_test = load_photographs(500, (16, 16), "L", subset="test").data
print(f"{path.stat().st_size / 2**20:.0f} MiB in the file,", end=" ")
print(f"{rows[:chunk].nbytes / 2**20:.1f} at once")

# %%
# Chunk by chunk
# --------------
# The first call determines the scale and the initial atoms from its chunk. The
# number of chunks to come is unknown, so the learning rate is constant; it is
# lowered here for the last round.

parameters = {"n_components": 256, "k": 16, "random_state": 0}
streamed = TopKSparseAutoencoder(**parameters)
n_rounds, seen, curve, atoms = 4, [], [], []
for n in range(n_rounds):
    if n == n_rounds - 1:
        streamed.set_params(learning_rate=5e-4)
    for start in range(0, n_rows, chunk):
        streamed.partial_fit(rows[start : start + chunk])
        seen.append((n * n_rows + start + chunk) / n_rows)
        curve.append(streamed.score(X_test))
        atoms.append(streamed.components_.copy())

# %%
# Sixteen of the atoms after the first chunk, the first pass over the file, and
# the last, the most used on the left. They start from principal directions of
# the first chunk. Those that are used most lose its grain; others change
# little.

most_used = np.argsort(-streamed.atom_frequency_)
fig, axes = plt.subplots(3, 16, figsize=(9, 2), layout="constrained")
n_chunks = n_rows // chunk
for line, n in zip(axes, (1, n_chunks, n_rounds * n_chunks)):
    line[0].set_ylabel(f"{n} chunks", rotation=0, ha="right", va="center")
    for ax, atom in zip(line, most_used[::8]):
        ax.imshow(atoms[n - 1][atom].reshape(16, 16), cmap="gray")
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("1 chunk", rotation=0, ha="right", va="center")

# %%
# All at once
# -----------

whole = TopKSparseAutoencoder(**parameters, max_iter=n_rounds).fit(rows)
print(f"Held out, all at once:    {whole.score(X_test):.4f}")
print(f"Held out, chunk by chunk: {curve[-1]:.4f}")

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(seen, curve, marker=".", label="chunk by chunk")
ax.axhline(
    whole.score(X_test),
    color="C1",
    linestyle="--",
    label="all at once, four epochs",
)
ax.set(xlabel="Passes over the file", ylabel="Held-out correlation")
ax.grid(alpha=0.3)
ax.legend()
folder.cleanup()

# %%
# The results are close, but not the same: ``fit`` shuffles all samples, takes
# its initial atoms from all of them, and lets the learning rate rise and fall.
# The gain in the last round here is due to the smaller rate. If the samples
# fit into memory, ``fit`` is the better choice.
