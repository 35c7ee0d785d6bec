"""
What does the report of a model show?
=====================================

:class:`~skl_sae.report.SAEReport` describes a fitted model and its
reconstruction of some images in one HTML page, to be viewed, shared and
archived. The page fetches nothing from elsewhere.
"""

import tempfile
from pathlib import Path

from sklearn.datasets import load_digits

from skl_sae import TopKSparseAutoencoder
from skl_sae.plotting import (
    AtomDisplay,
    ReconstructionDisplay,
    TrainingDisplay,
)
from skl_sae.report import SAEReport

digits = load_digits()
X_train, X_test, y_test = (
    digits.data[:1500],
    digits.data[1500:],
    digits.target[1500:],
)
sae = TopKSparseAutoencoder(n_components=128, k=8, random_state=0).fit(X_train)

# %%
# Page
# ----
# Sort the atoms. Click on an atom to see the images that activate it most, and
# on an image to see its reconstruction atom by atom. In a notebook, the report
# as the last line of a cell displays the page; in a script, ``write_html``
# writes it to a file and ``open`` opens it in the browser.

report = SAEReport(sae, X_test, y_test, image_shape=(8, 8))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "report.html")
    report.write_html(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")

report

# %%
# Figures
# -------
# The same content is available as figures, for a paper or a slide.

TrainingDisplay.from_estimator(sae)

# %%
ReconstructionDisplay.from_estimator(
    sae, X_test, image_shape=(8, 8), n_images=4
)

# %%
AtomDisplay.from_estimator(sae, image_shape=(8, 8), n_atoms=64)
