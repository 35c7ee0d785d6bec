"""Architectures: what kind of model is trained, and which rows it sees."""

import math

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._engine._conv import ConvModel
from .._engine._pursuit import adapt_atoms, adapt_conv_atoms
from .._engine._spread import spread_model
from .._engine._tuning import ROWS_AT_A_TIME
from ._collective import current
from ._scaling import Scaling

# Rounds that adapt the atoms to OMP: at most, and for each row per feature. Few rows of many
# features are soon overfitted: of photographs (800 rows of 3,072) every round after the second
# leaves more of held-out ones, of digits (22 rows a feature) 80 rounds still gain.
_MOST_ROUNDS, _ROUNDS = 80, 8
# The same for atoms at all places: photographs gain 9 % in the first round, 1 % in the fourth.
_CONV_ROUNDS = 8
# Patches that initial atoms are computed from, at most.
_START_PATCHES = 2**14
# Patches of an image that are drawn for an epoch, at most, where each is a task of its own.
_DRAWN = 16
# Part of the mean spread of patches that is added to each one's own, so that patches that hardly
# vary are not blown up: 0.1, squared.
_LEAST_SPREAD = 0.01


class FlatArchitecture:
    """Each row is coded as a whole.

    Parameters
    ----------
    spreads : bool, default=True
        Whether ranks share a large model; otherwise each has all of it.
    """

    n_places = 1
    spreads = True

    def __init__(self, spreads=True):
        self.spreads = spreads

    def as_json(self):
        """Sizes that a file holds besides those of the arrays; None for none."""

    def trained_k(self, k):
        """Number of active atoms in training, where codes have k."""
        return k

    def scaling(self, rows):
        """Units of a fit to rows."""
        return Scaling.of(rows)

    def model(self, parameters, **options):
        """A model of parameters in scaled units, spread over the ranks of a fit that is shared."""
        return spread_model(parameters, current() if self.spreads else None, **options)

    def prepare(self, rows, rng):
        """Return what the model sees of rows; random choices are made anew."""
        return rows

    def start_parameters(self, parameters):
        """Parameters to start from, of those made for the rows of `start_rows`."""
        return parameters

    def start_rows(self, rows, k, generator):
        """Rows that initial atoms are made from, and how many atoms each may use."""
        return rows, k

    def adapt(self, model, rows, rng):
        """Adapt the atoms to orthogonal matching pursuit."""
        p = model.parameters
        n_rounds = min(_MOST_ROUNDS, _ROUNDS * len(rows) // rows.shape[1])
        for center, atoms in zip(p.centers, p.decoder, strict=True):
            adapt_atoms(rows - center, atoms, model.k, n_rounds)


class ConvArchitecture:
    """Images are coded by small atoms at all places.

    Parameters
    ----------
    places : Places
        Places of the images.
    pursued : bool, default=False
        Whether codes will be those of pursuit. Then atoms are trained side by side, since those
        that suit the encoder where patches overlap fade out at their edges.

    Attributes
    ----------
    images : Places
        Places of the images.
    places : Places
        Places of what the model is trained on.
    """

    spread = None

    def __init__(self, places, pursued=False):
        self.images = places
        self.places = places.without_overlap() if pursued else places

    def as_json(self):
        """Sizes that a file holds besides those of the arrays."""
        places = self.images
        return {
            "image_shape": list(places.image_shape), "atom_shape": list(places.atom_shape),
            "stride": list(places.stride), "spread": self.spread,
        }  # fmt: skip

    def trained_k(self, k):
        """Number of active atoms in training, where codes of images have k."""
        return k

    @property
    def n_places(self):
        return len(self.places)

    def scaling(self, rows):
        return Scaling.of(rows, self.places.image_shape[2])

    def model(self, parameters, **options):
        return ConvModel(parameters, places=self.places, **options)

    def prepare(self, rows, rng):
        return rows

    def start_parameters(self, parameters):
        """Atoms that fade out where patches overlap, and encoders that allow for the overlap.

        With orthonormal directions u of patches times a window v, an atom v u and its encoder are
        a tight frame, since squared windows add up to 1: sum over places of v P(v x) = x, where
        P x = sum of u (u . x). Atoms are scaled to unit norm, and encoders by the inverse.
        """
        parameters.centers = np.zeros((1, self.places.image_shape[2]), np.float32)
        if self.overlaps:
            atoms = parameters.decoder * self.places.window().numpy()
            norms = np.linalg.norm(atoms, axis=2, keepdims=True)
            parameters.decoder = atoms / norms
            if not parameters.tied:
                parameters.encoder = atoms * norms
        return parameters

    def adapt(self, model, rows, rng):
        """Adapt the atoms to pursuit at all places."""
        pursuing = self._pursuing(model)
        adapt_conv_atoms(pursuing, rows, rng, _CONV_ROUNDS)
        model.parameters.decoder.copy_(pursuing.parameters.decoder)  # on a CPU they are the same

    def _pursuing(self, model):
        return ConvModel(
            model.parameters.map(lambda tensor: tensor.cpu().numpy()), places=self.images,
            k=model.k, device=model.device,
        )  # fmt: skip

    @property
    def overlaps(self):
        return self.places.stride != self.places.atom_shape[:2]

    def start_rows(self, rows, k, generator):
        """Random patches; an atom's share of an image's budget is that of its pixels."""
        if rows is None:
            return None, k
        places = self.places
        n = min(_START_PATCHES, len(rows) * len(places))
        drawn = torch.randperm(len(rows) * len(places), generator=generator)[:n].sort().values
        image, place = drawn // len(places), drawn % len(places)
        parts = []
        for first in range(0, len(rows), ROWS_AT_A_TIME):
            here = (image >= first) & (image < first + ROWS_AT_A_TIME)
            part = slice(first, first + ROWS_AT_A_TIME)
            parts.append(picked_patches(places, rows[part], image[here] - first, place[here]))
        # In random order, since some of them judge the others.
        patches = torch.cat(parts)[torch.randperm(n, generator=generator)]
        if self.overlaps:
            patches *= self.places.window()
        share = math.prod(places.stride) / math.prod(places.image_shape[:2])
        return patches, max(1, round(k * share))


class PatchArchitecture(ConvArchitecture):
    """Patches of an image, each centred and divided by its spread, are coded side by side.

    An epoch sees some random patches of each image.

    Parameters
    ----------
    places : Places
        Places of the images.
    spread : float
        Root of the mean variance in a patch.
    """

    def __init__(self, places, spread):
        self.n_drawn = min(_DRAWN, len(places))
        super().__init__(places.side_by_side(self.n_drawn))
        self.images, self.spread = places, spread

    def trained_k(self, k):
        # The share of the patches that are drawn.
        return max(1, round(k * len(self.places) / len(self.images)))

    def _pursuing(self, model):
        return model

    def scaling(self, rows):
        return Scaling(np.zeros(self.places.image_shape[2]), 1)

    def prepare(self, rows, rng):
        """Random patches of each image, as one row."""
        return rows.changed(self._draw_patches, rng)

    def _draw_patches(self, X, rng):
        drawn = np.empty((len(X), self.n_drawn * self.images.atom_size), np.float32)
        for part in gen_batches(len(X), ROWS_AT_A_TIME):
            images = torch.from_numpy(X[part])
            order = rng.random_sample((len(images), len(self.images))).argsort(axis=1)
            place = torch.from_numpy(order[:, : self.n_drawn]).flatten()
            image = torch.arange(len(images)).repeat_interleave(self.n_drawn)
            patches = picked_patches(self.images, images, image, place)
            drawn[part] = normalized(patches, self.spread).view(len(images), -1).numpy()
        return drawn


def picked_patches(places, rows, image, place):
    """Patches (n, D) at these places of these images, of rows (B, H W C)."""
    framed = places.frame(rows)
    offsets = places.offsets
    lines = torch.arange(offsets.height)[:, None] * offsets.pitch + torch.arange(offsets.width)
    begins = image * places.n_framed + torch.from_numpy(offsets.begins)[place]
    return framed.reshape(-1)[begins[:, None] + lines.flatten()]


def normalized(patches, spread):
    """Patches (n, D), each centred and divided by its spread."""
    # In units of the spread, since the squares of the data's own may be beyond float32.
    patches = (patches - patches.mean(1, keepdim=True)).div_(spread)
    return patches.div_(_spreads(patches))


def _spreads(patches):
    """Spreads of centred patches, in units of the mean one, that they are divided by."""
    return (patches.square().mean(1, keepdim=True) + _LEAST_SPREAD).sqrt_()


def restored(places, rows, patches, spread):
    """Images of normalized patches (B, P D) with the mean and spread that those of rows have."""
    original = places.patches(places.frame(rows))
    mean = original.mean(1, keepdim=True)
    spreads = _spreads((original - mean).div_(spread)) * spread
    patches = patches.reshape(original.shape) * spreads + mean
    framed = [rows.new_zeros(len(rows), places.n_framed) for _ in range(2)]
    # Where patches overlap, their mean counts.
    for image, part in zip(framed, (patches, torch.ones_like(patches)), strict=True):
        places.add_patches(part, image)
    return places.unframe(framed[0] / framed[1].clamp_(min=1))


def mean_spread(places, X, rng):
    """Root of the mean variance within the patches of some random images."""
    rows = X[rng.permutation(len(X))[:ROWS_AT_A_TIME]]
    patches = places.patches(places.frame(torch.from_numpy(rows)))
    spread = float(patches.double().var(1, correction=0).mean().sqrt())
    return spread if spread > 0 else 1.0
