"""Data without a download: crops of two photographs, synthetic cells, and sparse rows."""

from numbers import Integral, Real
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from .images._shapes import check_sides
from .images._typing import AnyPath, RandomState, validate_params

__all__ = ["load_photographs", "make_cells", "make_sparse_rows"]

# Test crops come from the bottom of each photograph and training crops from the rest, with a gap
# of this many rows of pixels between them. Both parts of both photographs show structure, whereas
# a strip at the side would be leaves and sky only.
_TEST_FRACTION = 0.3
_GAP = 4
_SCALES = (64, 160)  # smallest and largest side of a crop, in pixels of the photograph


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "size": [tuple, list],
        "mode": [StrOptions({"RGB", "L"})],
        "subset": [StrOptions({"train", "test"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_photographs(
    n_samples: int = 1000,
    size: tuple[int, int] = (64, 64),
    mode: Literal["RGB", "L"] = "RGB",
    *,
    subset: Literal["train", "test"] = "train",
    random_state: RandomState = 0,
) -> Bunch:
    """Load random crops, at several scales, of scikit-learn's two sample photographs.

    The crops of ``subset="test"`` come from a strip of each photograph that no crop of
    ``subset="train"`` overlaps, so they are held-out data. Nothing is downloaded.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of crops.
    size : tuple of (int, int), default=(64, 64)
        Height and width of each crop in pixels, after resampling.
    mode : {"RGB", "L"}, default="RGB"
        Colour (three numbers a pixel) or grey (one number a pixel).
    subset : {"train", "test"}, default="train"
        Part of the photographs to crop.
    random_state : int, RandomState instance or None, default=0
        Seed or generator of the positions and scales of the crops.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_samples, height * width * channels), dtype float32
            Images as rows, values in [0, 1], in C order of (height, width, channels).
        target : ndarray of shape (n_samples,), dtype int64
            Index of each crop's photograph.
        target_names : list of str
            Names of the photographs.
        image_shape : tuple
            Shape of an image: (height, width, 3), or (height, width) if grey.

    Examples
    --------
    >>> from skl_sae.datasets import load_photographs
    >>> photographs = load_photographs(10, size=(16, 16))
    >>> photographs.data.shape, photographs.image_shape
    ((10, 768), (16, 16, 3))
    """
    height, width = check_sides("size", size)
    rng = check_random_state(random_state)
    strips = [_strip(image, subset) for image in load_sample_images().images]
    strips = [Image.fromarray(strip).convert(mode) for strip in strips]
    target = rng.randint(len(strips), size=n_samples)
    image_shape = (height, width, 3) if mode == "RGB" else (height, width)
    data = np.empty((n_samples, int(np.prod(image_shape))), dtype=np.float32)
    for row, label in zip(data, target, strict=True):
        row[:] = np.asarray(_random_crop(strips[label], (width, height), rng)).ravel()
    data /= 255
    return Bunch(
        data=data,
        target=target.astype(np.int64),
        target_names=["china", "flower"],
        image_shape=image_shape,
    )


def _strip(image, subset):
    """Return the part of a photograph that belongs to a subset."""
    border = int(image.shape[0] * (1 - _TEST_FRACTION))
    return image[: border - _GAP // 2] if subset == "train" else image[border + _GAP // 2 :]


def _random_crop(image, size, rng):
    """Crop and resample to ``size`` (width, height), at a log-uniform scale."""
    aspect = size[0] / size[1]
    longest = np.exp(rng.uniform(*np.log(_SCALES)))
    crop_width, crop_height = longest * min(1, aspect), longest / max(1, aspect)
    shrink = min(1, image.width / crop_width, image.height / crop_height)
    crop_width, crop_height = crop_width * shrink, crop_height * shrink
    # A reduced side equals the strip's only up to rounding, hence the max and the min.
    left = rng.uniform(0, max(0, image.width - crop_width))
    top = rng.uniform(0, max(0, image.height - crop_height))
    right = min(left + crop_width, image.width)
    lower = min(top + crop_height, image.height)
    box = (left, top, right, lower)
    return image.resize(size, Image.Resampling.BILINEAR, box=box)


@validate_params(
    {
        "folder": [str, Path],
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "size": [Interval(Integral, 16, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_cells(
    folder: AnyPath, n_samples: int = 39, size: int = 600, random_state: RandomState = 0
) -> Bunch:
    """Write synthetic grey images of cells, in two classes, as PNG files.

    Cells of the class ``round`` are roundish, with one nucleus and a fine grain; cells of
    the class ``spindle`` are elongated, with two nuclei and a coarse grain along their length.
    Position, angle, size, outline, brightness and background vary from image to image.

    Parameters
    ----------
    folder : str or pathlib.Path
        Folder to write to; made if it does not exist. Each class becomes a sub-folder.
    n_samples : int, default=39
        Number of images. If it is odd, the first class has one more than the second.
    size : int, default=600
        Height and width of each image in pixels.
    random_state : int, RandomState instance or None, default=0
        Seed or generator of the images. The same seed writes the same pixels.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        filenames : ndarray of shape (n_samples,), dtype object
            Paths of the files, as str, sorted by class.
        target : ndarray of shape (n_samples,), dtype int64
            Class of each image.
        target_names : list of str
            ``["round", "spindle"]``.

    Examples
    --------
    >>> import tempfile
    >>> from skl_sae.datasets import make_cells
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cells = make_cells(folder, n_samples=4, size=32)
    >>> cells.target
    array([0, 0, 1, 1])
    """
    rng = check_random_state(random_state)
    target_names = ["round", "spindle"]
    target = np.repeat([0, 1], [n_samples - n_samples // 2, n_samples // 2])
    filenames = []
    for i, label in enumerate(target):
        path = Path(folder) / target_names[label] / f"cell_{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(255 * _draw_cell(label, size, rng), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        filenames.append(str(path))
    return Bunch(
        filenames=np.array(filenames, dtype=object),
        target=target.astype(np.int64),
        target_names=target_names,
    )


def _draw_cell(label, size, rng):
    """Draw one image, values about [0, 1]: background, textured body, nuclei, noise."""
    # The order of the draws is part of what a seed means.
    spindle = label == 1
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    centre_x, centre_y = rng.uniform(-0.15, 0.15, size=2)
    angle = rng.uniform(0, np.pi)
    # Coordinates of the pixels along the cell's longer axis, and across it.
    along = np.cos(angle) * (x - centre_x) + np.sin(angle) * (y - centre_y)
    across = -np.sin(angle) * (x - centre_x) + np.cos(angle) * (y - centre_y)
    length = rng.uniform(0.55, 0.75) if spindle else rng.uniform(0.42, 0.55)
    width = length * (rng.uniform(0.3, 0.42) if spindle else rng.uniform(0.85, 1.0))

    radius = _cell_radius(along / length, across / width, rng)
    body = 1 / (1 + np.exp((radius - 1) / (0.02 / width)))
    texture = _cell_texture(along, spindle, rng)
    image = rng.uniform(0.1, 0.25) + 0.06 * (np.cos(angle) * x + np.sin(angle) * y)
    image = image + body * (rng.uniform(0.3, 0.45) + texture - 0.1 * np.minimum(radius, 1))
    for place in (-0.35, 0.35) if spindle else (rng.uniform(-0.15, 0.15),):
        distance = np.hypot(along - place * length, across) / (0.45 * width)
        image = image + 0.25 * body / (1 + np.exp((distance - 1) / 0.08))
    return image + rng.normal(0, 0.015, (size, size))


def _cell_radius(along, across, rng):
    """Return the distance from the centre, 1 at an outline of an ellipse with random waves."""
    lobes = np.arange(2, 7)
    phases, heights = rng.uniform(0, 2 * np.pi, lobes.size), rng.normal(0, 0.08, lobes.size)
    polar = np.arctan2(across, along)
    waves = heights / lobes * np.cos(lobes * polar[..., None] + phases)
    return np.hypot(along, across) / (1 + waves.sum(axis=-1))


def _cell_texture(along, spindle, rng):
    """Return grain, and for spindles stripes."""
    size = len(along)
    grain = gaussian_filter(rng.standard_normal((size, size)), size * (0.02 if spindle else 0.007))
    stripes = np.sin(2 * np.pi * along / 0.12) if spindle else 0.0
    return 0.10 * grain / grain.std() + 0.05 * stripes


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_atoms": [Interval(Integral, 1, None, closed="left")],
        "n_active": [Interval(Integral, 1, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_sparse_rows(
    n_samples: int = 20000,
    n_features: int = 64,
    n_atoms: int = 256,
    n_active: int = 5,
    noise: float = 0.05,
    random_state: RandomState = 0,
) -> Bunch:
    """Make samples that are sums of few atoms of a known dictionary.

    Atoms are random directions of unit norm. Each sample has ``n_active`` different ones, with
    uniform codes from 0.5 to 1.5, and normal noise. Whether an estimator learned the dictionary is
    told by :func:`skl_sae.inspection.dictionary_recovery`.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of the samples.
    n_atoms : int, default=256
        Number of atoms in the dictionary.
    n_active : int, default=5
        Number of atoms in a sample.
    noise : float, default=0.05
        Root mean square of the noise, as a fraction of that of the samples without it.
    random_state : int, RandomState instance or None, default=0
        Seed or generator of all that is random.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (n_samples, n_features), dtype float32
            Samples.
        dictionary : ndarray of shape (n_atoms, n_features), dtype float32
            Atoms.
        codes : csr_array of shape (n_samples, n_atoms), dtype float32
            Codes, so that data is codes @ dictionary plus noise.

    Raises
    ------
    ValueError
        If n_active exceeds n_atoms.

    Examples
    --------
    >>> from skl_sae.datasets import make_sparse_rows
    >>> rows = make_sparse_rows(100, n_features=8, n_atoms=16, n_active=2)
    >>> rows.data.shape, rows.dictionary.shape, rows.codes.nnz
    ((100, 8), (16, 8), 200)
    """
    if n_active > n_atoms:
        raise ValueError(f"Expected n_active <= {n_atoms}, the number of atoms, got {n_active}.")
    rng = check_random_state(random_state)
    dictionary = normalize(rng.standard_normal((n_atoms, n_features))).astype(np.float32)
    active = np.stack([rng.choice(n_atoms, n_active, replace=False) for _ in range(n_samples)])
    values = rng.uniform(0.5, 1.5, active.size).astype(np.float32)
    starts = np.arange(0, active.size + 1, n_active)
    codes = sp.csr_array((values, active.ravel(), starts), shape=(n_samples, n_atoms))
    codes.sort_indices()
    data = codes @ dictionary
    data += noise * np.sqrt(np.square(data).mean()) * rng.standard_normal(data.shape)
    return Bunch(data=data, dictionary=dictionary, codes=codes)
