"""spatial_coherence and picture_coherence: whether neighbouring places are alike."""

import math
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_array, gen_batches
from sklearn.utils._param_validation import Interval

from ..images._typing import RandomState, Shape, SparseOrDense, validate_params
from ._activations import activations_of
from ._intervals import resampled

_CODES_AT_A_TIME = 2**22  # places times atoms; their neighbours' sums have up to nine times as many


@validate_params(
    {
        "min_active": [Interval(Integral, 1, None, closed="left")],
        "max_share": [Interval(Real, 0, 1, closed="right")],
    },
    prefer_skip_nested_validation=True,
)
def spatial_coherence(
    codes: SparseOrDense,
    shape: tuple[int, ...],
    *,
    min_active: int = 5,
    max_share: float = 0.9,
    baseline: SparseOrDense | None = None,
    random_state: RandomState = 0,
) -> Bunch:
    r"""Measure whether atoms are active at neighbouring places of images (Moran's I).

    For the activations :math:`a_p` of an atom at the :math:`n` places of an image, with mean
    :math:`\bar a`, and weights :math:`w_{pq} = 1` of places that touch at an edge or corner, 0 of
    others (queen contiguity), it is [1]_

    .. math:: I = \frac{n}{\sum_{pq} w_{pq}}
        \frac{\sum_{pq} w_{pq} (a_p - \bar a)(a_q - \bar a)}{\sum_p (a_p - \bar a)^2}.

    It is near 1 for a smooth map, -1 / (n - 1) in expectation for one in random order, and
    negative for a chequerboard. An atom's figure is the mean over the images in which it is
    active at enough places, and not nearly everywhere.

    Images are smooth and places overlap, so that maps of random atoms are smooth as well: compare
    with an untrained estimator before a large figure is taken for a sign of meaning. On digits and
    faces it did not tell the two apart, but for one of four sizes tried, atoms of 5x5 at every
    pixel of faces (0.48 against 0.24, by five atoms); on MNIST untrained maps were the more
    coherent ones.

    Parameters
    ----------
    codes : {array-like, sparse matrix}
        Codes of places: of shape (n_images * n_places, n_atoms), with one row for each place, or
        (n_images, n_places * n_atoms), as those of
        :class:`~skl_sae.ConvTopKSparseAutoencoder`. Places are in C order, atoms the fastest.
    shape : tuple (rows, columns) or (rows, columns, n_atoms)
        Places of an image, for codes with a row for each; with the number of atoms, such as
        ``maps_shape_``, for codes with a row for each image.
    min_active : int, default=5
        Fewest places at which an atom must be active in an image that counts.
    max_share : float, default=0.9
        Largest share of the places at which it may be active there.
    baseline : {array-like, sparse matrix} or None, default=None
        Codes of the same images, in the same layout, by an untrained estimator, see
        :func:`untrained_twin`.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    coherence : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        atoms : ndarray of shape (n_atoms,)
            Figure of each atom, at most about 1; NaN if no image counts.
        n_images : ndarray of shape (n_atoms,), dtype int64
            Number of images that count.
        value : float
            Mean over atoms that have a figure; NaN if none has.
        interval : ndarray of shape (2,)
            95 % interval of this mean, by a bootstrap over atoms.
        baseline : float or None
            Mean of the baseline's atoms.
        difference, difference_interval : float and ndarray of shape (2,), or None
            Mean beyond that of the baseline, and its interval.

    Raises
    ------
    ValueError
        If shape does not fit the codes.

    References
    ----------
    .. [1] P. A. P. Moran, "Notes on continuous stochastic phenomena", Biometrika 37, 1950.

    Examples
    --------
    >>> import numpy as np
    >>> from skl_sae.inspection import spatial_coherence
    >>> left, chequered = np.zeros((6, 6)), np.indices((6, 6)).sum(axis=0) % 2
    >>> left[:, :3] = 1
    >>> codes = np.stack([left.ravel(), chequered.ravel()], axis=1)
    >>> spatial_coherence(codes, (6, 6)).atoms.round(2)
    array([ 0.71, -0.09])
    """
    places = _Places(shape)

    def of_atoms(codes):
        return places.means(activations_of(codes), min_active, max_share)

    atoms, n_images = of_atoms(codes)
    of_baseline = None if baseline is None else _defined(of_atoms(baseline)[0])
    results = resampled(_defined(atoms), of_baseline, paired=False, random_state=random_state)
    return Bunch(atoms=atoms, n_images=n_images, **results)


def picture_coherence(
    components: ArrayLike,
    image_shape: Shape,
    *,
    baseline: ArrayLike | None = None,
    random_state: RandomState = 0,
) -> Bunch:
    r"""Measure whether atoms are smooth as pictures (Moran's I).

    It is :func:`spatial_coherence` of an atom's pixels instead of its activations: near 1 for an
    atom of large even areas, about 0 for noise, which random atoms are. It tells learned atoms from
    noise and no more: principal components and plain samples are smoother than the atoms of a
    sparse autoencoder. Sums of several channels are added up, each less its own mean.

    Parameters
    ----------
    components : array-like of shape (n_atoms, n_features)
        Atoms, such as ``components_``.
    image_shape : tuple (H, W) or (H, W, C)
        Shape of an atom: that of the images, or ``atom_shape_``.
    baseline : array-like of shape (n_atoms_of_baseline, n_features) or None, default=None
        Atoms of an untrained estimator, see :func:`untrained_twin`.
    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap.

    Returns
    -------
    coherence : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes ``atoms``, ``value``, ``interval``,
        ``baseline``, ``difference`` and ``difference_interval`` of :func:`spatial_coherence`.
        Constant atoms have NaN.

    Raises
    ------
    ValueError
        If image_shape does not fit the atoms.

    Examples
    --------
    >>> import numpy as np
    >>> from skl_sae.inspection import picture_coherence
    >>> ramp = np.tile(np.arange(8), (8, 1))
    >>> noise = np.random.default_rng(0).normal(size=(8, 8))
    >>> picture_coherence([ramp.ravel(), noise.ravel()], (8, 8)).atoms.round(1)
    array([0.8, 0. ])
    """
    atoms = coherence_of_pictures(components, image_shape)
    of_baseline = None
    if baseline is not None:
        of_baseline = _defined(coherence_of_pictures(baseline, image_shape))
    results = resampled(_defined(atoms), of_baseline, paired=False, random_state=random_state)
    return Bunch(atoms=atoms, **results)


def coherence_of_pictures(components, image_shape):
    """Return Moran's I of each atom as a picture; NaN if it is constant."""
    pictures = check_array(components, input_name="components")
    if pictures.shape[1] != math.prod(image_shape):
        raise ValueError(
            f"Expected atoms of {math.prod(image_shape)} numbers as image_shape has, got "
            f"{pictures.shape[1]}."
        )
    places, n_channels = _Places(image_shape[:2]), math.prod(image_shape[2:])
    atoms = np.empty(len(pictures))
    for part in gen_batches(len(pictures), max(1, _CODES_AT_A_TIME // pictures.shape[1])):
        pixels = pictures[part].reshape(-1, places.count, n_channels).swapaxes(0, 1)
        sums = places.sums(pixels.reshape(places.count, -1).astype(np.float64))
        products, squares = (each.reshape(-1, n_channels).sum(axis=1) for each in sums)
        undefined = np.full(len(squares), np.nan)
        atoms[part] = np.divide(products, squares, undefined, where=squares > 0)
    return atoms


def _defined(atoms):
    """Return figures that are numbers, as a row."""
    return atoms[None, ~np.isnan(atoms)]


class _Places:
    """Places of an image and their neighbours.

    Parameters
    ----------
    shape : tuple (rows, columns) or (rows, columns, n_atoms)
        Places, and the number of atoms where codes have a row for each image.
    """

    def __init__(self, shape):
        if len(shape) not in (2, 3) or math.prod(shape[:2]) < 2:
            raise ValueError(
                f"Expected a shape of at least 2 places, as (rows, columns), got {tuple(shape)}."
            )
        self._n_atoms = shape[2] if len(shape) == 3 else None
        # Queen contiguity: within one step in both directions, but for the place itself.
        steps = [
            sp.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) for n in shape[:2]
        ]
        self._weights = sp.csr_array(sp.kron(*steps) - sp.eye_array(math.prod(shape[:2])))
        self.count = self._weights.shape[0]

    def means(self, activations, min_active, max_share):
        """Return each atom's mean over images that count, and their number."""
        by_place = self._by_place(activations)
        n_images, n_atoms = by_place.shape[0] // self.count, by_place.shape[1]
        total, n_counted = np.zeros(n_atoms), np.zeros(n_atoms, dtype=np.int64)
        at_a_time = max(1, _CODES_AT_A_TIME // (self.count * n_atoms))
        for images in gen_batches(n_images, at_a_time):
            part = by_place[images.start * self.count : images.stop * self.count]
            products, squares = self.sums(part)
            n_active = self._over_places(part.astype(bool).astype(np.int64))
            counts = (n_active >= min_active) & (n_active <= max_share * self.count)
            counts &= squares > 0
            total += np.divide(products, squares, np.zeros(counts.shape), where=counts).sum(axis=0)
            n_counted += counts.sum(axis=0)
        return np.divide(total, n_counted, np.full(n_atoms, np.nan), where=n_counted > 0), n_counted

    def _by_place(self, activations):
        """Return activations with a row for each place of each image."""
        n_rows, n_columns = activations.shape
        if self._n_atoms is None and not n_rows % self.count:
            return activations
        if self._n_atoms is not None and n_columns == self.count * self._n_atoms:
            return activations.reshape(-1, self._n_atoms).tocsr()
        raise ValueError(
            f"Expected codes with a multiple of {self.count} rows, one for each place, or with "
            f"shape=(rows, columns, n_atoms) a column for each atom at each place, got codes of "
            f"shape {activations.shape}."
        )

    def sums(self, maps):
        """Return numerators and denominators of Moran's I for each image and column.

        With d the number of a place's neighbours, m the mean and W the sum of all weights,

            sum_pq w_pq (a_p - m)(a_q - m) = sum_pq w_pq a_p a_q - 2 m sum_p d_p a_p + m^2 W,

        so that places without activations need not be visited.

        Parameters
        ----------
        maps : ndarray or csr_array of shape (n_images * n_places, n_columns)
            Values at places.

        Returns
        -------
        products, squares : ndarray of shape (n_images, n_columns)
            Their ratio is Moran's I.
        """
        n, neighbours = self.count, self._weights.sum(axis=1)
        around = sp.kron(sp.eye_array(maps.shape[0] // n), self._weights, format="csr") @ maps
        mean = self._over_places(maps) / n
        products = self._over_places(maps * around)
        products += mean**2 * neighbours.sum() - 2 * mean * self._over_places(maps, neighbours)
        square = self._over_places(maps * maps)
        squares = square - n * mean**2
        squares[squares < 1e-12 * square] = 0  # what rounding leaves of a constant map
        return products * (n / neighbours.sum()), squares

    def _over_places(self, maps, weights=None):
        """Return sums over the places of each image, as a dense array."""
        weights = np.ones(self.count) if weights is None else weights
        n_images = maps.shape[0] // self.count
        sums = sp.kron(sp.eye_array(n_images), weights[None], format="csr") @ maps
        return sums.toarray() if sp.issparse(sums) else sums
