"""
One page about a model
======================

:class:`~skl_sae.report.SAEReport` puts a fitted model and some images on one HTML page, to be
looked at, sent around, and kept. It loads nothing from anywhere. What is on it?
"""

import tempfile
from pathlib import Path

from sklearn.datasets import load_digits

from skl_sae import TopKSparseAutoencoder
from skl_sae.plotting import AtomDisplay, ReconstructionDisplay, TrainingDisplay
from skl_sae.report import SAEReport

digits = load_digits()
X_train, X_test, y_test = digits.data[:1500], digits.data[1500:], digits.target[1500:]
sae = TopKSparseAutoencoder(n_components=128, k=8, random_state=0).fit(X_train)

# %%
# The page
# --------
# Sort the atoms, click on one to see the images that excite it most, and on an image to see it
# built up atom by atom. In a notebook, the report as the last line of a cell shows the page; in a
# script, ``write_html`` makes a file of it and ``open`` a tab in the browser.

report = SAEReport(sae, X_test, y_test, image_shape=(8, 8))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "report.html")
    report.write_html(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")

report

# %%
# Its parts, one by one
# ---------------------
# The same pictures can be had as figures, for a paper or a slide.

TrainingDisplay.from_estimator(sae)

# %%
ReconstructionDisplay.from_estimator(sae, X_test, image_shape=(8, 8), n_images=4)

# %%
AtomDisplay.from_estimator(sae, image_shape=(8, 8), n_atoms=64)
