"""Top-K sparse autoencoders for images, as an ordinary scikit-learn transformer."""

import typing as _typing
from importlib import import_module as _import_module

if _typing.TYPE_CHECKING:  # for editors; at run time the names come from __getattr__ below
    from . import datasets as datasets
    from . import inspection as inspection
    from . import interop as interop
    from . import plotting as plotting
    from . import report as report
    from ._model_file._codes import load_codes
    from ._model_file._safetensors import ModelFileError
    from .autoencoders._bagging import BaggingSparseAutoencoder
    from .autoencoders._boosting import BoostingSparseAutoencoder
    from .autoencoders._conv import ConvTopKSparseAutoencoder
    from .autoencoders._deep import DeepTopKSparseAutoencoder
    from .autoencoders._files import load, save
    from .autoencoders._pooling import CodePooling
    from .autoencoders._topk import TopKSparseAutoencoder
    from .images._augmenter import ImageAugmenter
    from .images._embedder import ImageEmbedder
    from .images._finder import find_images
    from .images._loader import ImageLoader, ImageLoadError
    from .images._rows import LazyRows
    from .metrics import pearson_correlation, reconstruction_correlation

__version__ = "0.2.0"

__all__ = [
    "BaggingSparseAutoencoder",
    "BoostingSparseAutoencoder",
    "CodePooling",
    "ConvTopKSparseAutoencoder",
    "DeepTopKSparseAutoencoder",
    "ImageAugmenter",
    "ImageEmbedder",
    "ImageLoadError",
    "ImageLoader",
    "LazyRows",
    "ModelFileError",
    "TopKSparseAutoencoder",
    "__version__",
    "find_images",
    "load",
    "load_codes",
    "pearson_correlation",
    "reconstruction_correlation",
    "save",
]

# torch and scikit-learn take seconds to import, and the command has to say so beforehand. So each
# public name is imported when it is first asked for.
_MODULES = {
    "BaggingSparseAutoencoder": "autoencoders._bagging",
    "BoostingSparseAutoencoder": "autoencoders._boosting",
    "CodePooling": "autoencoders._pooling",
    "ConvTopKSparseAutoencoder": "autoencoders._conv",
    "DeepTopKSparseAutoencoder": "autoencoders._deep",
    "ImageAugmenter": "images._augmenter",
    "ImageEmbedder": "images._embedder",
    "ImageLoadError": "images._loader",
    "ImageLoader": "images._loader",
    "LazyRows": "images._rows",
    "ModelFileError": "_model_file._safetensors",
    "TopKSparseAutoencoder": "autoencoders._topk",
    "find_images": "images._finder",
    "load": "autoencoders._files",
    "load_codes": "_model_file._codes",
    "pearson_correlation": "metrics",
    "reconstruction_correlation": "metrics",
    "save": "autoencoders._files",
}
# Modules with public names of their own.
_WITH_NAMES = {"datasets", "inspection", "interop", "plotting", "report"}


if not _typing.TYPE_CHECKING:  # by which any name would be there

    def __getattr__(name):
        if name in _WITH_NAMES:
            return _import_module(f".{name}", __name__)
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(_import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value  # so that this is not asked again
        return value


def __dir__():
    return sorted({*globals(), *__all__, *_WITH_NAMES})
