"""Top-K sparse autoencoders for images, as an ordinary scikit-learn transformer."""

from ._augmenter import ImageAugmenter
from ._autoencoder import TopKSparseAutoencoder
from ._images import ImageLoader, ImageLoadError, find_images
from ._scoring import pearson_correlation, reconstruction_correlation
from ._storage import ModelFileError

__version__ = "0.1.0"

__all__ = [
    "ImageAugmenter",
    "ImageLoadError",
    "ImageLoader",
    "ModelFileError",
    "TopKSparseAutoencoder",
    "__version__",
    "find_images",
    "pearson_correlation",
    "reconstruction_correlation",
]
