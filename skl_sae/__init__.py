"""Top-K sparse autoencoders for images, as an ordinary scikit-learn transformer."""

from ._autoencoder import TopKSparseAutoencoder
from ._scoring import pearson_correlation, reconstruction_correlation

__version__ = "0.1.0"

__all__ = [
    "TopKSparseAutoencoder",
    "__version__",
    "pearson_correlation",
    "reconstruction_correlation",
]
