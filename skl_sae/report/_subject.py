"""Subjects of reports: images with their codes, whose atoms are as large as they, or small."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array

from ..images._arrays import rows_of_images
from ..images._shapes import checked_image_shape
from ..inspection import atom_activations, atom_usage
from ..inspection._estimators import atoms_of_codes, is_of_another_library, training_mean
from ..inspection._members import Member, is_ensemble, members_of, scaled_atoms, scales_of
from ..inspection._placed import PlacedImages, by_place
from ..inspection._samples import strongest_samples
from ._arrays import CorrelationCurves, placed_curve, strongest_codes
from ._page import packed
from ._thumbnails import shrink

# Of an image, codes that are added one by one; the others are added together.
_MOST_CODES = 256
# Places that are marked where an atom fires in an image, the strongest.
_MOST_MARKED = 4


class Shown(NamedTuple):
    """Images and atoms that a page shows."""

    images: np.ndarray  # indices of images
    atoms: np.ndarray  # indices of atoms
    rows: np.ndarray  # those atoms (n_atoms, n_features_of_an_atom)
    gram: np.ndarray  # their products with one another


class WholeImages:
    """Images that are coded by atoms as large as they.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder, DeepTopKSparseAutoencoder or an ensemble of such
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Images as rows.
    image_shape : tuple
        Their shape.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Images.
    image_shape, atom_shape : tuple
        Shapes of an image and of an atom.
    codes : csr_array of shape (n_samples, n_active_at_most)
        Codes, of which reconstructions are made.
    activations : csr_array of shape (n_samples, n_atoms)
        Codes with one column an atom.
    atoms : ndarray of shape (n_atoms, n_features_of_an_atom)
        An atom for each column of the activations.
    members : list of Member
        Members that have columns of their own.
    scales : ndarray of shape (n_atoms,)
        Numbers by which a reconstruction multiplies the atoms, besides their codes.
    centre : ndarray of shape (n_features,)
        Reconstruction without any atom.
    mean : ndarray of shape (n_features,)
        What variance is about.
    mean_words : str
        The same in words.
    maps_shape : tuple or None
        Rows and columns of places, and number of atoms; None for atoms as large as images.
    is_as_fitted : bool
        Whether the estimator as it is codes these images and inverts their codes.
    """

    is_as_fitted, maps_shape = True, None
    mean_words = "the mean of the training images"

    def __init__(self, estimator, X, image_shape):
        self.rows = check_array(rows_of_images(X)[0], dtype=np.float32, input_name="X")
        self.image_shape = checked_image_shape(image_shape, self.rows.shape[1])
        self.atom_shape = self.image_shape
        codes = estimator.transform(X)  # not self.rows: the names of a DataFrame are checked
        self.codes = sp.csr_array(codes if sp.issparse(codes) else np.asarray(codes))
        self.activations = self.codes
        nothing = sp.csr_matrix((1, self.codes.shape[1]), dtype=np.float32)
        self.centre = estimator.inverse_transform(nothing)[0]
        self.mean = training_mean(estimator)
        if is_of_another_library(estimator):
            self.mean_words = "the decoder's bias"
        self.atoms = atoms_of_codes(estimator)
        self.members = members_of(estimator)
        self.scales = scales_of(self.members)
        self._estimator = estimator

    def usage(self):
        """Figures of the atoms' use, as atom_usage returns them."""
        # Mean atoms have no unit norm, and members of an ensemble may be scaled each in its way:
        # by these lengths usage has to be weighted.
        is_mean = len(self.atoms) < len(self._estimator.components_)
        if is_mean or is_ensemble(self._estimator):
            return atom_usage(self.codes, scaled_atoms(self._estimator))
        return atom_usage(self.codes)

    def reconstructions(self, part):
        """Return the reconstructions of some of the images, as rows."""
        return self._estimator.inverse_transform(self.codes[part])

    def general_data(self):
        """Data of the page's script about all atoms and images."""
        return {"centre": packed(shrink(self.centre[None], self.image_shape), "f4")}

    def atom_data(self, shown, **samples):
        """Data of the page's script about each atom."""
        return {}

    def image_data(self, shown):
        """Return each image's strongest codes, and its correlation as they add up."""
        codes, scales = self.codes[shown.images][:, shown.atoms], self.scales[shown.atoms]
        strongest = strongest_codes(codes, np.sqrt(shown.gram.diagonal()) * scales, _MOST_CODES)
        curves = CorrelationCurves(self.rows[shown.images], shown.rows, shown.gram, self.centre)
        sums = [
            curves.curve(i, active, values * scales[active])
            for i, (active, values) in enumerate(strongest)
        ]
        return _strongest_data(strongest) | _curve_data(sums)


class ImagesOfPlaces:
    """Images that are coded by small atoms at all places; attributes are those of WholeImages."""

    def __init__(self, estimator, X, image_shape):
        placed = PlacedImages(estimator, X, image_shape)
        self.rows = placed.rows
        shape = placed.image_shape
        self.image_shape = checked_image_shape(shape, self.rows.shape[1])
        self.atom_shape = placed.atoms.atom_shape
        self.codes = sp.csr_array(placed.codes)
        self.activations = atom_activations(estimator, placed.codes)
        self.atoms = estimator.components_
        self.maps_shape = (*map(int, placed.atoms.counts), len(self.atoms))
        self.members = [Member("", len(self.atoms), 1.0)]
        self.scales = scales_of(self.members)
        self.can_be_added = placed.can_be_added
        self.centre = np.tile(estimator.centers_[0], self.rows.shape[1] // shape[2])
        if self.can_be_added:
            self.mean_words = "the training images' mean of each channel"
            self.mean = training_mean(estimator, self.rows.shape[1])
        else:  # training has seen patches without their means
            self.mean_words = "their mean of each channel"
            means = self.rows.reshape(-1, shape[2]).mean(axis=0, dtype=np.float64)
            self.mean = np.tile(means, self.rows.shape[1] // shape[2])
        self.is_as_fitted = (
            estimator.pooling is None and estimator._places_now().image_shape == shape
        )
        self._placed, self._estimator = placed, estimator

    def usage(self):
        """Figures of the atoms' use: frequencies in images, all others at all places."""
        usage = atom_usage(by_place(self._estimator, self.codes))
        usage.place_frequency = usage.frequency
        usage.frequency = self.activations.count_nonzero(axis=0) / len(self.rows)
        return usage

    def reconstructions(self, part):
        """Return the reconstructions of some of the images, as rows."""
        return self._placed.reconstructions(part)

    def general_data(self):
        """Data of the page's script about all atoms and images."""
        atoms = self._placed.atoms
        return {
            "centre": packed(self.centre[: self.image_shape[2]], "f4"),
            "places": {
                "columns": int(atoms.counts[1]),
                "first": list(map(int, atoms.first)),
                "stride": list(map(int, atoms.stride)),
                "atoms": len(self.atoms),
                "atom": list(map(int, self.atom_shape[:2])),
                "image": list(map(int, self.image_shape[:2])),
                "added": self.can_be_added,
            },
        }

    def atom_data(self, shown, **samples):
        """Return the strongest places of each atom in images that were chosen for it.

        Parameters
        ----------
        shown : Shown
            Images and atoms.
        **samples : ndarray of shape (n_atoms, ...)
            Positions in ``shown.images``, or -1.
        """
        n_atoms = len(self.atoms)
        codes = self.codes[shown.images]
        # A column for each atom in each image, a row for each place.
        by_image = by_place(self._estimator, codes).tocoo()
        n_places = codes.shape[1] // n_atoms
        columns = by_image.row // n_places * n_atoms + by_image.col
        entries = by_image.data, (by_image.row % n_places, columns)
        shape = n_places, len(shown.images) * n_atoms
        by_image = sp.csc_array(sp.coo_array(entries, shape=shape))
        dtype = "i2" if n_places < 2**15 else "i4"
        return {
            f"{name}_place": packed(
                _strongest_places(by_image, n_atoms, shown.atoms, chosen), dtype
            )
            for name, chosen in samples.items()
        }

    def image_data(self, shown):
        """Return each image's strongest codes with their places, and how they add up."""
        n_atoms = len(self.atoms)
        position = np.full(n_atoms, -1)
        position[shown.atoms] = np.arange(len(shown.atoms))
        unit, strongest, places, sums = np.ones(self.codes.shape[1]), [], [], []
        found = strongest_codes(self.codes[shown.images], unit, None)
        for row, (columns, values) in zip(self.rows[shown.images], found, strict=True):
            place, atom = np.divmod(columns, n_atoms)
            kept = np.flatnonzero(position[atom] >= 0)[:_MOST_CODES]
            strongest.append((position[atom[kept]], values[kept]))
            places.append(place[kept])
            if self.can_be_added:
                sums.append(self._curve(row, columns[kept], values[kept]))
        data = _strongest_data(strongest) | {"place": packed(np.concatenate(places), "u4")}
        return data | _curve_data(sums) if sums else data

    def _curve(self, row, columns, values):
        shape, atoms = self._placed.image_shape, self._placed.atoms
        corners = np.transpose(atoms.corners(columns // len(self.atoms)))
        pieces = self.atoms[columns % len(self.atoms)].reshape(-1, *self.atom_shape)
        pieces = pieces * values.reshape(-1, 1, 1, 1).astype(np.float64)
        return placed_curve(row.reshape(shape), self.centre.reshape(shape), pieces, corners)


def _strongest_places(by_image, n_atoms, atoms, chosen):
    """Return the strongest places of each atom in the images chosen for it; -1 for no image."""
    chosen = chosen.reshape(len(atoms), -1)
    wanted = (chosen * n_atoms + atoms[:, None]).ravel()
    places = np.full((len(wanted), _MOST_MARKED), -1)
    found = chosen.ravel() >= 0
    if found.any():
        places[found] = strongest_samples(by_image[:, wanted[found]], _MOST_MARKED)[0]
    return places


def _strongest_data(strongest):
    return {
        "indptr": packed(np.cumsum([0, *(len(atoms) for atoms, _ in strongest)]), "u4"),
        "atom": packed(np.concatenate([atoms for atoms, _ in strongest]), "u2"),
        "code": packed(np.concatenate([values for _, values in strongest]), "f4"),
    }


def _curve_data(sums):
    return {"curve": packed(np.rint(np.concatenate(sums) * 32767), "i2")}
