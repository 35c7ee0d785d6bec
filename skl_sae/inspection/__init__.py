"""Properties of atoms: how much they are used, for which classes, and how members agree.

Functions read codes (CSR or dense) or fitted arrays and return arrays. An atom fires on a
sample if its code is not 0; its activation is the absolute value of the code, which matters only
for ``transform_algorithm="omp"``, whose codes may be negative.

Codes of small atoms have a column for each atom at each place; :func:`atom_activations` pools them
into one column an atom, which the other functions then read like any codes.

Measures of a whole estimator take as ``baseline`` what they take first, but of an untrained one,
such as :func:`untrained_twin` makes, and return a Bunch that says ``value``, its 95 % ``interval``,
``baseline``, ``difference`` (value minus baseline) and ``difference_interval``; the last three are
None without a baseline. If the last interval holds 0, the measure does not tell the two apart.

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

from ._coherence import picture_coherence, spatial_coherence
from ._matching import match_members
from ._monosemanticity import monosemanticity
from ._placed import atom_activations
from ._preservation import preservation
from ._probing import sparse_probing
from ._reconstruction import reconstruction_figures
from ._samples import top_samples
from ._selectivity import class_selectivity, discriminative_atoms
from ._shared import dictionary_recovery, shared_atoms
from ._sparsity import sparsity_by_class
from ._untrained import untrained_twin
from ._usage import atom_usage

__all__ = [
    "atom_activations",
    "atom_usage",
    "class_selectivity",
    "dictionary_recovery",
    "discriminative_atoms",
    "match_members",
    "monosemanticity",
    "picture_coherence",
    "preservation",
    "reconstruction_figures",
    "shared_atoms",
    "sparse_probing",
    "sparsity_by_class",
    "spatial_coherence",
    "top_samples",
    "untrained_twin",
]
