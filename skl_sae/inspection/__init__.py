"""Properties of atoms: how much they are used, for which classes, and how members agree.

Functions read codes (CSR or dense) or fitted arrays and return arrays. An atom fires on a
sample if its code is not 0; its activation is the absolute value of the code, which matters only
for ``transform_algorithm="omp"``, whose codes may be negative.

Codes of small atoms have a column for each atom at each place; :func:`atom_activations` pools them
into one column an atom, which the other functions then read like any codes.

Finding images with similar codes needs no function of its own:

>>> from sklearn.datasets import load_digits
>>> from sklearn.neighbors import NearestNeighbors
>>> from skl_sae import TopKSparseAutoencoder
>>> X = load_digits().data[:200]
>>> codes = TopKSparseAutoencoder(32, k=4, max_iter=2, random_state=0).fit_transform(X)
>>> neighbours = NearestNeighbors(n_neighbors=3, metric="cosine").fit(codes)
>>> distances, indices = neighbours.kneighbors(codes[:5])
>>> indices[:, 0]
array([0, 1, 2, 3, 4])
"""

from ._matching import match_members
from ._placed import atom_activations
from ._samples import top_samples
from ._selectivity import class_selectivity, discriminative_atoms
from ._sparsity import sparsity_by_class
from ._usage import atom_usage

__all__ = [
    "atom_activations",
    "atom_usage",
    "class_selectivity",
    "discriminative_atoms",
    "match_members",
    "sparsity_by_class",
    "top_samples",
]
