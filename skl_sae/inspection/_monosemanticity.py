"""monosemanticity: how alike the samples are on which an atom is active."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_array, gen_batches

from ..images._typing import RandomState, SparseOrDense
from ._activations import activations_of
from ._intervals import resampled

_FEATURES_AT_A_TIME = 64  # so that sums of some thousand atoms stay in a processor's cache


def monosemanticity(
    codes: SparseOrDense,
    embeddings: ArrayLike,
    *,
    baseline: SparseOrDense | None = None,
    random_state: RandomState = 0,
) -> Bunch:
    r"""Measure how alike the samples are that activate an atom (monosemanticity score).

    The score of atom :math:`j` is the mean cosine of the embeddings of all pairs of samples,
    weighted by both activations [1]_,

    .. math:: m_j = \frac{\sum_{i<l} a_{ij} a_{lj} \cos(e_i, e_l)}{\sum_{i<l} a_{ij} a_{lj}}.

    With embeddings of unit length and :math:`w_j = \sum_i a_{ij} e_i`, it equals [2]_

    .. math:: m_j = \frac{\lVert w_j \rVert^2 - \sum_i a_{ij}^2}
                    {(\sum_i a_{ij})^2 - \sum_i a_{ij}^2},

    so that the time is that of the non-zero codes times the features, and no pairs are formed.
    As in [1]_, :math:`a` are activations less their minimum, which is 0 unless an atom is active
    on all samples.

    Embeddings should be those of another model than the one that is coded. If they are the coded
    samples themselves, the score says little more than that samples with similar codes are
    similar. Embeddings with a common offset are all alike: subtract their mean, or compare with
    ``chance``.

    The score does not tell trained from untrained estimators in a useful way: on digits, MNIST and
    faces differences were small and of either sign, and random samples as atoms had the largest
    scores, while their codes were no better for a classifier than those of random directions.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_atoms)
        Codes, as transform returns them.
    embeddings : array-like of shape (n_samples, n_features)
        A vector for each sample; float32 is computed in float32. Vectors of length 0 have a
        cosine of 0 with all.
    baseline : {array-like, sparse matrix} or None, default=None
        Codes of the same samples by an untrained estimator, see :func:`untrained_twin`; the number
        of atoms may be another.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        atoms : ndarray of shape (n_atoms,)
            Score of each atom, between -1 and 1; NaN if it is active on fewer than 2 samples.
        value : float
            Mean over atoms that have a score.
        interval : ndarray of shape (2,)
            95 % interval of this mean, by a bootstrap over atoms.
        baseline : float or None
            Mean of the baseline's atoms.
        difference, difference_interval : float and ndarray of shape (2,), or None
            Mean beyond that of the baseline, and its interval.
        chance : float
            Mean cosine of two samples: the score of an atom that is as active everywhere.

    Raises
    ------
    ValueError
        If there is not one embedding for each sample.

    References
    ----------
    .. [1] M. Pach et al., "Sparse autoencoders learn monosemantic features in vision-language
       models", NeurIPS 2025.
    .. [2] A. Nasiri-Sarvi et al., "MonoLoss: a training objective for interpretable monosemantic
       representations", arXiv:2602.12403, 2026.

    Examples
    --------
    >>> from skl_sae.inspection import monosemanticity
    >>> codes = [[1, 2], [1, 0], [0, 1]]
    >>> scores = monosemanticity(codes, [[1, 0], [1, 0], [0, 1]])
    >>> scores.atoms, round(scores.chance, 2)
    (array([1., 0.]), 0.33)
    """
    embeddings = check_array(embeddings, dtype=[np.float64, np.float32], input_name="embeddings")
    lengths = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))
    atoms = _scores(codes, embeddings, lengths)
    of_baseline = None if baseline is None else _defined(_scores(baseline, embeddings, lengths))
    everywhere = sp.csr_array(np.ones((len(lengths), 1)))
    return Bunch(
        atoms=atoms,
        **resampled(_defined(atoms), of_baseline, paired=False, random_state=random_state),
        chance=_mean_cosines(everywhere, embeddings, lengths).item(),
    )


def _scores(codes, embeddings, lengths):
    """Return the score of each atom; NaN where it has none."""
    activations = activations_of(codes)
    n_samples = activations.shape[0]
    if n_samples != len(embeddings):
        raise ValueError(
            f"Expected {n_samples} embeddings as codes has rows, got {len(embeddings)}."
        )
    lowest = activations.min(axis=0).toarray().ravel()
    activations.data -= lowest[activations.indices]
    # In units of the largest, so that squares are within the range of float32.
    largest = activations.max(axis=0).toarray().ravel()
    activations.data /= np.where(largest > 0, largest, 1)[activations.indices]
    return _mean_cosines(activations, embeddings, lengths)


def _mean_cosines(weights, embeddings, lengths):
    """Return the mean cosine of all pairs of samples, weighted by both of a column's weights."""
    square = weights.power(2)
    pairs = weights.sum(axis=0) ** 2 - square.sum(axis=0)
    alike = _squared_sums(weights, embeddings, lengths) - square.T @ (lengths > 0)
    defined = weights.count_nonzero(axis=0) > 1
    return np.divide(alike, pairs, np.full(len(pairs), np.nan), where=defined).clip(-1, 1)


def _squared_sums(weights, embeddings, lengths):
    """Return the squared lengths of the columns' weighted sums of unit embeddings."""
    # Weights are divided by lengths, since embeddings are the larger array to copy.
    scale = np.divide(1, lengths, np.zeros(len(lengths)), where=lengths > 0)
    weights = (sp.diags_array(scale) @ weights).tocsr().T.astype(embeddings.dtype)
    total = np.zeros(weights.shape[0])
    for part in gen_batches(embeddings.shape[1], _FEATURES_AT_A_TIME):
        sums = weights @ np.ascontiguousarray(embeddings[:, part])
        total += np.square(sums, dtype=np.float64).sum(axis=1)
    return total


def _defined(atoms):
    """Return scores that are numbers, as a row."""
    return atoms[None, ~np.isnan(atoms)]
