"""Reading: a fitted estimator beside the images of a report, with figures computed once."""

from functools import cached_property

import numpy as np
from sklearn.utils import gen_batches

from ..inspection import match_members
from ..inspection._estimators import fitted_step, shape_of
from ..inspection._matching import matching_of
from ..inspection._placed import has_places
from ..inspection._reconstruction import NAMES, addends, figures_of_means
from ..metrics import row_correlations
from ._subject import ImagesOfPlaces, WholeImages

_ROWS_AT_A_TIME = 256
_MOST_PRODUCTS = 4096  # atoms of whose products a matrix is kept
# Pairs of members times n_components**3. Matching takes about a second for a tenth of this.
_MOST_TO_MATCH = 1e11


class Reading:
    """A fitted estimator and its codes of the images.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted autoencoder, or a Pipeline that ends with one.
    X : array-like
        Images, as the estimator takes them.
    image_shape : tuple or None
        Shape of an image.

    Attributes
    ----------
    estimator : estimator
        Last step of the Pipeline.
    subject : WholeImages or ImagesOfPlaces
        The images with their codes.
    is_frame : bool
        Whether the last step takes a data frame.
    """

    def __init__(self, estimator, X, image_shape):
        given, (estimator, X) = estimator, shown_step(estimator, X)
        self.estimator, self.is_frame = estimator, hasattr(X, "iloc")
        if has_places(estimator):
            self.subject = ImagesOfPlaces(estimator, X, image_shape)
        else:
            self.subject = WholeImages(estimator, X, shape_of(given, image_shape))

    @cached_property
    def usage(self):
        """Figures of the atoms' use, as atom_usage returns them."""
        return self.subject.usage()

    @cached_property
    def reconstruction(self):
        """Each image's correlation (NaN if constant), and `reconstruction_figures`, by name."""
        return judged(self.subject, self.subject.reconstructions, self.subject.codes)

    @cached_property
    def members(self):
        """Member of each atom."""
        members = self.subject.members
        return np.repeat(np.arange(len(members)), [member.n_atoms for member in members])

    @cached_property
    def gram(self):
        """Products of the atoms with one another, or None if there are too many for the memory."""
        atoms = self.subject.atoms
        return atoms @ atoms.T if len(atoms) <= _MOST_PRODUCTS else None

    @cached_property
    def matching(self):
        """The members' matched atoms; None for one member, or if matching would take long."""
        sizes = [member.n_atoms for member in self.subject.members]
        n_members = len(sizes) if len(sizes) > 1 else len(self.estimator.centers_)
        n_pairs = n_members * (n_members - 1) // 2
        if not 0 < n_pairs * max(sizes) ** 3 <= _MOST_TO_MATCH:
            return None
        if len(sizes) > 1:
            return matching_of(np.split(self.subject.atoms, np.cumsum(sizes)[:-1]))
        return match_members(self.estimator)  # members whose codes are averaged


def judged(subject, reconstruct, codes):
    """Return each sample's correlation (NaN if constant), and figures of all, by name.

    ``reconstruct`` takes a slice of the samples; all reconstructions may be too many for the
    memory.
    """
    rows, n_active = subject.rows, np.diff(codes.indptr)
    correlations, sums = np.empty(len(rows)), 0.0
    for part in gen_batches(len(rows), _ROWS_AT_A_TIME):
        reconstruction = reconstruct(part)
        correlations[part] = row_correlations(rows[part], reconstruction)
        sums = sums + addends(rows[part], reconstruction, n_active[part], subject.mean).sum(axis=1)
    figures = figures_of_means(sums / len(rows))
    return correlations, dict(zip(NAMES, figures.tolist(), strict=True))


def shown_step(estimator, X=None):
    """Unwrap a Pipeline; a ValueError unless a page can show its last step."""
    estimator, X = fitted_step(estimator, X, needs="centers_")
    _check_linear(estimator)
    return estimator, X


def _check_linear(estimator):
    """The page adds atoms up as the reader picks them."""
    for member in getattr(estimator, "estimators_", ()):
        _check_linear(member)
    if len(getattr(estimator, "decoder_coefs_", ())):
        raise ValueError(
            "SAEReport adds up atoms, and so needs a linear decoder, got one with hidden layers. "
            "ReconstructionDisplay shows its reconstructions."
        )
