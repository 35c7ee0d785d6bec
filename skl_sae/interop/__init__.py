"""Model files of other libraries: written from a fitted autoencoder, and read into one.

What a file cannot hold exactly is refused, with the reason.
"""

from ._dictionary_learning import from_dictionary_learning, to_dictionary_learning
from ._saelens import from_saelens, to_saelens
from ._saev import from_saev, to_saev
from ._sparsify import from_sparsify, to_sparsify

__all__ = [
    "from_dictionary_learning",
    "from_saelens",
    "from_saev",
    "from_sparsify",
    "to_dictionary_learning",
    "to_saelens",
    "to_saev",
    "to_sparsify",
]
