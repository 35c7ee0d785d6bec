"""SAEReport: its figures, and the data from which the page's script draws."""

import html
import math
import tempfile
import webbrowser
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.utils import column_or_1d, gen_batches

from .._model_file._atomic import replacing
from ..inspection import class_selectivity
from ..inspection._coherence import coherence_of_pictures
from ..inspection._estimators import fitted_step
from ..inspection._placed import has_places
from ..inspection._samples import strongest_samples
from ..metrics import row_correlations, unexplained_of_parts
from ._arrays import cumulative, evenly_ranked, histograms, nearest_atoms
from ._examples import examples
from ._labels import checked_labels, label_key
from ._page import definitions, filled, json_for_script, packed, parameter_rows, policy, template
from ._python import python_lines
from ._subject import ImagesOfPlaces, Shown, WholeImages
from ._summary import summary
from ._thumbnails import (
    TILES_A_SHEET,
    TILES_ACROSS,
    image_bytes,
    sheets,
    shrink,
    signed_bytes,
    tile_shape,
)

# Limits of what is shown, so that a page stays under 15 MB. Figures are of all images and atoms.
_MOST_ATOMS, _MOST_IMAGES = 4096, 1000
_BUDGETS = {"atom": 6_400_000, "image": 1_600_000, "guess": 1_600_000}  # bytes of thumbnails
_N_TOP, _N_BINS, _N_NEAREST, _N_CLASSES = 12, 24, 4, 5
_N_EXAMPLES = 6  # of each quantile
_ROWS_AT_A_TIME = 256


class SAEReport:
    """HTML page about a fitted autoencoder's atoms and its reconstructions of given images.

    The page has a summary, the training curves, the images beside their reconstructions and a
    gallery of the atoms, which can be sorted and filtered. Opening an atom shows the images on
    which it fires most strongly; opening an image shows the atoms that compose it, one by one.
    The page is a single file: it loads nothing else, and shows names and labels as plain text.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder, ConvTopKSparseAutoencoder or Pipeline
        Fitted estimator, or a Pipeline that ends with one. It is read once, on construction.
    X : array-like of shape (n_samples, n_features)
        Images as rows, or other input of the estimator's transform. Held-out images are more
        informative. For a Pipeline, the page shows the input of its last step.
    y : array-like of shape (n_samples,), default=None
        Class of each sample: numbers or str.
    image_shape : tuple or None, default=None
        Shape of an image: (height, width) if grey, or (height, width, channels) with 1 or 3
        channels. Needed but for a ConvTopKSparseAutoencoder, which knows it, and takes images of
        another size than in fit, too.
    filenames : array-like of shape (n_samples,), default=None
        Name of each sample.
    labels : dict, str, pathlib.Path or None, default=None
        Labels of atoms, {column of the codes: text}, or the path of a JSON file of them, as the
        page exports what was typed into it.

    Raises
    ------
    ValueError
        If the lengths of X, y and filenames differ, image_shape does not fit X, labels are not
        text of atoms that there are, the estimator is not an autoencoder of this package, or its
        decoder has hidden layers: the page adds up atoms.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    Images are shown on the scale [0, 1] if X lies in it, else from the smallest value of X, in
    black, to the largest, in white. Each atom is shown on its own scale around 0: red for
    positive and blue for negative values of grey images, around middle grey for colour images.

    Here an atom is dead if it fires on none of the given samples. With ``aggregate="mean"`` a
    column of the codes belongs to all members; its atom is then the mean of the members' atoms,
    with which inverse_transform decodes. Codes by ``transform_algorithm="omp"`` have a sign;
    their activation is the absolute value.

    Small atoms at all places are shown by themselves. An atom's page frames up to four places
    where it fires in an image, the strongest; an atom's activation in an image is its largest, its
    share of the reconstructions is that of all places, and ``pooling`` makes no difference. Images
    of normalized patches are shown with their reconstructions, but not built up atom by atom, as
    each patch has its mean and spread put back.

    Of more than 1,000 samples the page shows 1,000, evenly spaced in rank from the worst
    reconstruction to the best, and of more than 4,096 atoms those that fire most often; its
    figures are computed from all. Thumbnails have at most 64 pixels on their longer side, and
    are compressed to keep the page under 15 MB. A notebook that shows the report stores the
    page.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skl_sae import TopKSparseAutoencoder
    >>> from skl_sae.report import SAEReport
    >>> digits = load_digits()
    >>> sae = TopKSparseAutoencoder(64, k=8, max_iter=2, random_state=0).fit(digits.data[:500])
    >>> held_out = slice(500, 700)
    >>> report = SAEReport(
    ...     sae, digits.data[held_out], digits.target[held_out], image_shape=(8, 8)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report.write_html(os.path.join(folder, "report.html"))
    ...     print(os.listdir(folder))
    ['report.html']
    """

    def __init__(self, estimator, X, y=None, *, image_shape=None, filenames=None, labels=None):
        estimator, X = fitted_step(estimator, X, needs="centers_")
        _check_linear(estimator)
        kind = ImagesOfPlaces if has_places(estimator) else WholeImages
        self._subject = kind(estimator, X, image_shape)
        self._X = self._subject.rows
        self._classes, self._labels = _checked_classes(y, len(self._X))
        self._names = _checked_names(filenames, len(self._X))
        self._atom_labels = checked_labels(labels, len(self._subject.atoms))
        self._python = python_lines(estimator, self._subject, X)
        self._estimator = estimator

    # --- Public methods ---

    def html(self):
        """Make the page.

        Returns
        -------
        page : str
            Complete HTML document.
        """
        subject = self._subject
        usage = subject.usage()
        correlations, unexplained = self._reconstruction_figures()
        atoms = np.lexsort((-usage.share, -usage.frequency))[:_MOST_ATOMS]
        images = evenly_ranked(np.nan_to_num(correlations), _MOST_IMAGES)
        data, sprites = self._page_data(usage, correlations, atoms, images)
        figures = summary(self._estimator, subject, usage, correlations, unexplained)
        page = template()
        return filled(
            page,
            policy=html.escape(policy(page)),
            subtitle=html.escape(self._subtitle(len(atoms), len(images))),
            figures=definitions(figures),
            parameters=parameter_rows(self._estimator),
            data=json_for_script(data),
            sprites="\n".join(
                f'<script type="text/plain" id="{name}">{content}</script>'
                for name, content in sprites
            ),
        )

    def write_html(self, path):
        """Write the page.

        An existing file is replaced once the new page is complete; its permissions are kept.

        Parameters
        ----------
        path : str or pathlib.Path
            Path of the file, in an existing folder.
        """
        content = self.html().encode("utf-8")
        with replacing(path) as file:
            file.write(content)

    def open(self):
        """Write the page to a temporary file, which is kept, and open it in the web browser.

        Returns
        -------
        path : pathlib.Path
            Path of the temporary file.
        """
        path = Path(tempfile.mkdtemp(prefix="skl_sae_")) / "report.html"
        self.write_html(path)
        webbrowser.open(path.as_uri())
        return path

    def _repr_html_(self):
        """Return the page in a frame for notebooks, without access to the notebook."""
        return (
            '<iframe title="Sparse autoencoder report" sandbox="allow-scripts" width="100%" '
            f'height="800" frameborder="0" srcdoc="{html.escape(self.html())}"></iframe>'
        )

    def _reconstruction_figures(self):
        """Return each sample's correlation (NaN if constant), and the unexplained variance."""
        correlations = np.empty(len(self._X))

        def parts():
            # Reconstructions of all samples may be too many for the memory.
            for rows in gen_batches(len(self._X), _ROWS_AT_A_TIME):
                reconstruction = self._subject.reconstructions(rows)
                correlations[rows] = row_correlations(self._X[rows], reconstruction)
                yield self._X[rows], reconstruction

        unexplained = unexplained_of_parts(parts(), self._subject.mean)
        return correlations, unexplained

    def _subtitle(self, n_atoms, n_images):
        height, width, *channels = self._subject.image_shape
        kind = "colour" if channels == [3] else "grey"
        n_members = len(self._estimator.centers_)
        parts = [
            f"{len(self._X):,} {kind} images of {height}x{width} pixels",
            f"{n_members} member{'s' if n_members > 1 else ''} of "
            f"{len(self._estimator.components_) // n_members:,} atoms",
        ]
        if has_places(self._estimator):
            side = "x".join(map(str, self._subject.atom_shape[:2]))
            parts[1] = f"{len(self._subject.atoms):,} atoms of {side} pixels at all places"
        if n_images < len(self._X):
            parts.append(f"{n_images:,} images shown, from the worst to the best")
        if n_atoms < self._subject.activations.shape[1]:
            parts.append(f"the {n_atoms:,} atoms used most shown")
        return " · ".join(parts)

    # --- Data of the page's script ---

    def _page_data(self, usage, correlations, atoms, images):
        """Return the data, and names and contents of the sheets of thumbnails.

        ``atoms`` and ``images`` are the indices of those shown; in the data they count from 0.
        """
        rows = self._subject.atoms[atoms]
        shown = Shown(images, atoms, rows, rows @ rows.T)
        reconstructions = self._subject.reconstructions(images)
        steps, sprites = self._sprites(rows, self._X[images], reconstructions)
        data = self._general_data(usage) | {
            "atoms": {
                **self._atom_data(usage, shown),
                "step": packed(steps / self._subject.n_members, "f4"),
            },
            "images": self._image_data(correlations, shown),
        }
        return data, sprites

    def _general_data(self, usage):
        estimator, subject = self._estimator, self._subject
        return {
            "tile": tile_shape(subject.image_shape),
            "atom_tile": tile_shape(subject.atom_shape),
            "across": TILES_ACROSS,
            "range": self._range(),
            "classes": self._classes,
            "members": subject.n_members,
            "labels": self._atom_labels,
            "key": label_key(subject.atoms, self._atom_labels),
            "python": self._python,
            "curves": {
                "loss": packed(estimator.loss_curve_, "f4"),
                "correlation": packed(estimator.correlation_curve_, "f4"),
                "held_out": packed(estimator.validation_scores_ or [], "f4"),
                "share": packed(cumulative(usage.share), "f4"),
            },
        } | subject.general_data()

    def _range(self):
        """Return the values shown in black and in white."""
        low, high = float(self._X.min()), float(self._X.max())
        if 0 <= low and high <= 1:
            return [0.0, 1.0]
        return [low, high if low < high else low + 1]

    def _sprites(self, atoms, images, reconstructions):
        """Return one step of each atom's bytes, in units of X; and names and contents of sheets."""
        steps, limits = np.empty(len(atoms)), self._range()

        def atom_tiles(rows):
            tiles, steps[rows] = signed_bytes(shrink(atoms[rows], self._subject.atom_shape))
            return tiles

        def image_tiles(source, rows):
            return image_bytes(shrink(source[rows], self._subject.image_shape), *limits)

        kinds = {
            "atom": (len(atoms), atom_tiles),
            "image": (len(images), partial(image_tiles, images)),
            "guess": (len(images), partial(image_tiles, reconstructions)),
        }
        sprites = []
        for kind, (n, tiles) in kinds.items():
            parts = map(tiles, gen_batches(n, TILES_A_SHEET))
            contents = sheets(parts, n, _BUDGETS[kind])
            sprites += [(f"{kind}-{i}", content) for i, content in enumerate(contents)]
        return steps, sprites

    def _atom_data(self, usage, shown):
        """Return figures of each atom, from all samples, and its strongest among those shown."""
        activations, atoms = self._subject.activations, shown.atoms
        member = atoms // (activations.shape[1] // self._subject.n_members)
        codes = activations[shown.images][:, atoms]
        top, strongest = strongest_samples(codes, _N_TOP)
        weaker = examples(codes, _N_TOP, _N_EXAMPLES)
        nearest, cosines = nearest_atoms(shown.gram, member, _N_NEAREST)
        counts, low, high = histograms(activations, atoms, _N_BINS)
        figures = {
            "frequency": usage.frequency,
            "mean": usage.mean_activation,
            "max": usage.max_activation,
            "share": usage.share,
        }
        if "place_frequency" in usage:
            figures["place_frequency"] = usage.place_frequency
        return {
            "column": packed(atoms, "u4"),
            "member": packed(member, "u2"),
            **{name: packed(values[atoms], "f4") for name, values in figures.items()},
            "smoothness": packed(self._smoothness(shown.rows), "f4"),
            "top": packed(top, "i2"),
            "top_code": packed(strongest, "f4"),
            "nearest": packed(nearest, "i2"),
            "cosine": packed(cosines, "f4"),
            "histogram": packed(counts, "u4"),
            "low": packed(low, "f4"),
            "high": packed(high, "f4"),
            **weaker.data(),
            **self._subject.atom_data(shown, top=top, example=weaker.samples),
            **self._class_data(atoms),
        }

    def _smoothness(self, atoms):
        """Return Moran's I of each atom as a picture; 0 where it has none."""
        shape = self._subject.atom_shape
        if math.prod(shape[:2]) < 2:
            return np.zeros(len(atoms))
        return np.nan_to_num(coherence_of_pictures(atoms, shape))

    def _class_data(self, atoms):
        """Return the classes that each atom marks best, if there are two or more."""
        if self._classes is None or len(self._classes) < 2:
            return {}
        selectivity = class_selectivity(self._subject.activations, self._labels)
        # Of thousands of classes a page shows a few for each atom.
        best = np.argsort(-selectivity.auc[:, atoms], axis=0, kind="stable")[:_N_CLASSES]
        figures = {
            "auc": selectivity.auc,
            "rate": selectivity.frequency,
            "difference": selectivity.difference,
            "p": selectivity.p_adjusted,
        }
        return {"class": packed(best.T, "u2")} | {
            name: packed(values[best, atoms].T, "f4") for name, values in figures.items()
        }

    def _image_data(self, correlations, shown):
        """Return figures of each image, its strongest codes, and how they add up."""
        images = shown.images
        data = {
            "row": packed(images, "u4"),
            "correlation": packed(np.nan_to_num(correlations[images]), "f4"),
            "active": packed(np.diff(self._subject.codes.indptr)[images], "u4"),
            **self._subject.image_data(shown),
        }
        if self._names is not None:
            data["name"] = [self._names[i] for i in images]
        if self._labels is not None:
            data["label"] = packed(self._labels[images], "u2")
        return data


# --- Checks ---


def _check_linear(estimator):
    """The page adds atoms up as the reader picks them."""
    if len(getattr(estimator, "decoder_coefs_", ())):
        raise ValueError(
            "SAEReport adds up atoms, and so needs a linear decoder, got one with hidden layers. "
            "ReconstructionDisplay shows its reconstructions."
        )


def _checked_classes(y, n_samples):
    """Return the classes as str and the index of each sample's; None and None without y."""
    if y is None:
        return None, None
    y = column_or_1d(y)
    if len(y) != n_samples:
        raise ValueError(f"Expected {n_samples} labels, as X has rows, got {len(y)}.")
    if y.dtype.kind == "f":
        if not np.array_equal(y, np.floor(y)):
            raise ValueError("Expected classes in y, got numbers that are not whole.")
        y = y.astype(np.int64)
    if y.dtype.kind == "O":
        y = y.astype(str)
    classes, labels = np.unique(y, return_inverse=True)
    return [str(name) for name in classes], labels


def _checked_names(filenames, n_samples):
    if filenames is None:
        return None
    names = [filenames] if isinstance(filenames, str) else list(map(str, filenames))
    if len(names) != n_samples:
        raise ValueError(f"Expected {n_samples} filenames, as X has rows, got {len(names)}.")
    return names
