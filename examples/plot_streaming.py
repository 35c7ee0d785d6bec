"""
More rows than fit into memory
==============================

Rows lie in a file that is never read as a whole. ``partial_fit`` learns from one chunk after
another. Is the model as good as one that ``fit`` learned from all rows at once?
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skl_sae import TopKSparseAutoencoder
from skl_sae.datasets import load_photographs

# %%
# A file of rows
# --------------
# 6,000 crops of 16x16 pixels, written bit by bit and then mapped into memory: only what is looked
# at is read.

n_rows, chunk = 6000, 500
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "rows.npy")
rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_rows, 256))
for start in range(0, n_rows, chunk):
    crops = load_photographs(chunk, (16, 16), "L", random_state=start)
    rows[start : start + chunk] = crops.data
rows.flush()
rows = np.load(path, mmap_mode="r")
X_test = load_photographs(500, (16, 16), "L", subset="test").data
print(
    f"{path.stat().st_size / 2**20:.0f} MiB in the file, {rows[:chunk].nbytes / 2**20:.1f} at once"
)

# %%
# Chunk by chunk
# --------------
# The first call takes the scale and the initial atoms from its chunk. Since nobody knows how many
# chunks are to come, the learning rate stays as it is; so it is lowered for the last round.

parameters = {"n_components": 256, "k": 16, "random_state": 0}
streamed = TopKSparseAutoencoder(**parameters)
n_rounds, seen, curve = 4, [], []
for n in range(n_rounds):
    if n == n_rounds - 1:
        streamed.set_params(learning_rate=5e-4)
    for start in range(0, n_rows, chunk):
        streamed.partial_fit(rows[start : start + chunk])
        seen.append((n * n_rows + start + chunk) / n_rows)
        curve.append(streamed.score(X_test))

# %%
# All at once
# -----------

whole = TopKSparseAutoencoder(**parameters, max_iter=n_rounds).fit(rows)
print(f"Held out, all at once:    {whole.score(X_test):.4f}")
print(f"Held out, chunk by chunk: {curve[-1]:.4f}")

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(seen, curve, marker=".", label="chunk by chunk")
ax.axhline(whole.score(X_test), color="C1", linestyle="--", label="all at once, four epochs")
ax.set(xlabel="Passes over the file", ylabel="Correlation, held out")
ax.grid(alpha=0.3)
ax.legend()
folder.cleanup()

# %%
# Close, but not the same: ``fit`` shuffles all rows, takes its initial atoms from all of them, and
# lets the learning rate rise and fall. What is gained in the last round here is due to the smaller
# rate. Where the rows fit into memory, ``fit`` is the better choice.
