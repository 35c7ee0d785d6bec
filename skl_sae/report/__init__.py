"""SAEReport: a fitted estimator and some images, as one HTML page that needs nothing else."""

import base64
import hashlib
import html
import json
import re
import tempfile
import webbrowser
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array, column_or_1d, gen_batches

from .._model_file._atomic import replacing
from ..images._shapes import checked_image_shape
from ..inspection import atom_usage, class_selectivity, match_members
from ..inspection._estimators import atoms_of_codes, fitted_step, training_mean
from ..metrics import row_correlations, unexplained_of_parts
from ._arrays import (
    CorrelationCurves,
    cumulative,
    evenly_ranked,
    histograms,
    nearest_atoms,
    top_images,
)
from ._thumbnails import (
    TILES_A_SHEET,
    TILES_ACROSS,
    image_bytes,
    sheets,
    shrink,
    signed_bytes,
    tile_shape,
)

__all__ = ["SAEReport"]

# What is shown at most, so that a page stays under 15 MB. Figures are of everything.
_MOST_ATOMS, _MOST_IMAGES = 4096, 1000
_MOST_CODES = 256  # of an image, one by one; the others together
_BUDGETS = {"atom": 6_400_000, "image": 1_600_000, "guess": 1_600_000}  # bytes
_N_TOP, _N_BINS, _N_NEAREST, _N_CLASSES = 12, 24, 4, 5
# Matching members takes about a second for a tenth of this.
_MOST_TO_MATCH = 1e11
_ROWS_AT_A_TIME = 256


class SAEReport:
    """A page on what a fitted autoencoder learned, and how it reconstructs given images.

    The page has a summary, the training curves, the images beside their reconstructions and a
    gallery of the atoms, to be sorted and filtered. An atom opens on the images that excite it
    most, an image on the atoms that build it up, one by one. The page is one file: it loads
    nothing, and shows names and labels as text, whatever they hold.

    Parameters
    ----------
    estimator : TopKSparseAutoencoder or Pipeline
        A fitted estimator, or a Pipeline that ends in one. It is read once, here.
    X : array-like of shape (n_samples, n_features)
        Images as rows, or what else the estimator's transform takes. Those held out from
        training tell more. Of a Pipeline, the page shows the rows that its last step is given.
    y : array-like of shape (n_samples,), default=None
        The class of each row: numbers or str.
    image_shape : tuple
        (height, width) of grey images, or (height, width, channels) with 1 or 3 channels.
    filenames : array-like of shape (n_samples,), default=None
        A name for each row.

    Raises
    ------
    ValueError
        If the lengths of X, y and filenames differ, image_shape does not suit X, or the
        estimator is no TopKSparseAutoencoder.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    Images are shown on the scale [0, 1] if X lies in it, else from the smallest number of X, in
    black, to the largest, in white. Atoms are shown each on its own scale around 0: in grey
    images as red for positive and blue for negative, in colour images around middle grey.

    An atom is dead here if it fires on none of the given rows. With ``aggregate="mean"`` a
    column of the codes belongs to all members; its atom is then the members' mean, which is
    what inverse_transform adds up. Codes by ``transform_algorithm="omp"`` have a sign; their
    activation is the absolute value.

    Of more than 1,000 rows the page shows 1,000, evenly spaced in rank from the worst
    reconstruction to the best, and of more than 4,096 atoms those that fire most often; its
    figures are of all. Thumbnails are at most 64 pixels long, and compressed so far that the
    page stays under 15 MB. A notebook that shows the report stores the page.

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

    def __init__(self, estimator, X, y=None, *, image_shape, filenames=None):
        estimator, X = fitted_step(estimator, X, needs="centers_")
        self._X = check_array(X, dtype=np.float32, input_name="X")
        self._image_shape = checked_image_shape(image_shape, self._X.shape[1])
        self._classes, self._labels = _checked_classes(y, len(self._X))
        self._names = _checked_names(filenames, len(self._X))
        self._estimator = estimator
        codes = estimator.transform(X)  # X as it came: a DataFrame's names are checked
        self._codes = sp.csr_array(codes if sp.issparse(codes) else np.asarray(codes))
        self._centre = estimator.centers_.mean(axis=0)
        self._atoms = atoms_of_codes(estimator)
        # Where the codes are the members' mean, so are the atoms, as those of one member.
        self._n_members = len(estimator.centers_) * len(self._atoms) // len(estimator.components_)
        self._weight = 1 / self._n_members

    # --- Public methods ---

    def html(self):
        """The page.

        Returns
        -------
        page : str
            A whole HTML document.
        """
        averaged = len(self._atoms) < len(self._estimator.components_)
        usage = atom_usage(self._codes, self._atoms if averaged else None)
        correlations, unexplained = self._reconstruction_figures()
        atoms = np.lexsort((-usage.share, -usage.frequency))[:_MOST_ATOMS]
        images = evenly_ranked(np.nan_to_num(correlations), _MOST_IMAGES)
        data, sprites = self._page_data(usage, correlations, atoms, images)
        template = (files(__package__) / "report.html").read_text(encoding="utf-8")
        return _filled(
            template,
            policy=html.escape(_policy(template)),
            subtitle=html.escape(self._subtitle(len(atoms), len(images))),
            figures=_definitions(self._figures(usage, correlations, unexplained)),
            parameters=_parameter_rows(self._estimator),
            data=_json_for_script(data),
            sprites="\n".join(
                f'<script type="text/plain" id="{name}">{content}</script>'
                for name, content in sprites
            ),
        )

    def write_html(self, path):
        """Write the page.

        What was at path stays until the new page is whole, which takes over its permissions.

        Parameters
        ----------
        path : str or pathlib.Path
            The file to write, in a folder that exists.
        """
        content = self.html().encode("utf-8")
        with replacing(path) as file:
            file.write(content)

    def open(self):
        """Write the page to a temporary file, which stays, and show it in the web browser.

        Returns
        -------
        path : pathlib.Path
            The temporary file.
        """
        path = Path(tempfile.mkdtemp(prefix="skl_sae_")) / "report.html"
        self.write_html(path)
        webbrowser.open(path.as_uri())
        return path

    def _repr_html_(self):
        """The page in a frame, for notebooks; it runs there without access to the notebook."""
        return (
            '<iframe title="Sparse autoencoder report" sandbox="allow-scripts" width="100%" '
            f'height="800" frameborder="0" srcdoc="{html.escape(self.html())}"></iframe>'
        )

    # --- Figures ---

    def _reconstruction_figures(self):
        """Correlation of each row (NaN if constant), and the fraction of variance unexplained."""
        correlations = np.empty(len(self._X))

        def parts():
            for rows in gen_batches(len(self._X), _ROWS_AT_A_TIME):
                guess = self._estimator.inverse_transform(self._codes[rows])
                correlations[rows] = row_correlations(self._X[rows], guess)
                yield self._X[rows], guess

        unexplained = unexplained_of_parts(parts(), training_mean(self._estimator))
        return correlations, unexplained

    def _figures(self, usage, correlations, unexplained):
        """Name, value and explanation of each figure of the summary."""
        n_atoms = len(usage.dead)
        n_dead = int(usage.dead.sum())
        n_active = np.diff(self._codes.indptr)
        varying = correlations[~np.isnan(correlations)]
        mean = f"{varying.mean():.4f}" if len(varying) else "undefined"
        n_trained = int((self._estimator.atom_frequency_ == 0).sum())
        figures = [
            ("Correlation", mean, "of an image with its reconstruction, on average"),
            (
                "FVU",
                "undefined" if np.isnan(unexplained) else f"{unexplained:.4f}",
                "fraction of the variance of these images, about the mean of those learned, that "
                "is left unexplained",
            ),
            (
                "Active atoms",
                f"{n_active.mean():,.1f}",
                f"an image, on average; {n_active.max():,} at most",
            ),
            (
                "Dead atoms",
                f"{100 * n_dead / n_atoms:.1f} %",
                f"{n_dead:,} of {n_atoms:,} fire on none of these images; in the last epoch of "
                f"training {n_trained:,} of {len(self._estimator.components_):,}",
            ),
            (
                "Atoms for 80 %",
                f"{100 * usage.fraction_for_80:.1f} %",
                f"{usage.atoms_for_80:,} atoms carry 80 % of the reconstructions' energy",
            ),
        ]
        stability = self._stability()
        if stability is not None:
            explanation = "mean cosine of atoms matched between members"
            figures.append(("Stability", f"{stability:.3f}", explanation))
        return figures

    def _stability(self):
        """Agreement of the members; None for one member, or where it would take long."""
        n_members = len(self._estimator.centers_)
        n_components = len(self._estimator.components_) // n_members
        n_pairs = n_members * (n_members - 1) // 2
        if not 0 < n_pairs * n_components**3 <= _MOST_TO_MATCH:
            return None
        return match_members(self._estimator).stability

    def _subtitle(self, n_atoms, n_images):
        height, width, *channels = self._image_shape
        kind = "colour" if channels == [3] else "grey"
        n_members = len(self._estimator.centers_)
        parts = [
            f"{len(self._X):,} {kind} images of {height}x{width} pixels",
            f"{n_members} member{'s' if n_members > 1 else ''} of "
            f"{len(self._estimator.components_) // n_members:,} atoms",
        ]
        if n_images < len(self._X):
            parts.append(f"{n_images:,} images shown, from the worst to the best")
        if n_atoms < self._codes.shape[1]:
            parts.append(f"the {n_atoms:,} atoms used most shown")
        return " · ".join(parts)

    # --- What the page's script reads ---

    def _page_data(self, usage, correlations, atoms, images):
        """The data, which names arrays by type, and the sheets of thumbnails with their names."""
        low, high = float(self._X.min()), float(self._X.max())
        if 0 <= low and high <= 1:
            low, high = 0.0, 1.0
        elif low == high:
            high = low + 1
        codes = self._codes[images]
        guesses = self._estimator.inverse_transform(codes)
        codes, atom_rows = codes[:, atoms], self._atoms[atoms]
        gram = atom_rows @ atom_rows.T
        curves = CorrelationCurves(self._X[images], atom_rows, gram, self._centre)
        steps, sprites = self._sprites(atom_rows, self._X[images], guesses, low, high)
        estimator = self._estimator
        data = {
            "tile": tile_shape(self._image_shape),
            "across": TILES_ACROSS,
            "range": [low, high],
            "centre": _packed(shrink(self._centre[None], self._image_shape), "f4"),
            "classes": self._classes,
            "members": self._n_members,
            "curves": {
                "loss": _packed(estimator.loss_curve_, "f4"),
                "correlation": _packed(estimator.correlation_curve_, "f4"),
                "held_out": _packed(estimator.validation_scores_ or [], "f4"),
                "share": _packed(cumulative(usage.share), "f4"),
            },
            "atoms": {
                **self._atom_data(usage, atoms, codes, gram),
                "step": _packed(steps * self._weight, "f4"),
            },
            "images": self._image_data(correlations, images, codes, gram, curves),
        }
        return data, sprites

    def _sprites(self, atoms, images, guesses, low, high):
        """What one step of an atom's bytes means; and the names and contents of the sheets."""
        steps = np.empty(len(atoms))

        def atom_tiles(rows):
            tiles, steps[rows] = signed_bytes(shrink(atoms[rows], self._image_shape))
            return tiles

        def image_tiles(source, rows):
            return image_bytes(shrink(source[rows], self._image_shape), low, high)

        kinds = {
            "atom": (len(atoms), atom_tiles),
            "image": (len(images), partial(image_tiles, images)),
            "guess": (len(images), partial(image_tiles, guesses)),
        }
        sprites = []
        for kind, (n, tiles) in kinds.items():
            parts = map(tiles, gen_batches(n, TILES_A_SHEET))
            contents = sheets(parts, n, _BUDGETS[kind])
            sprites += [(f"{kind}-{i}", content) for i, content in enumerate(contents)]
        return steps, sprites

    def _atom_data(self, usage, atoms, codes, gram):
        """Figures of each atom shown, from all rows, and the shown images that excite it most."""
        member = atoms // (self._codes.shape[1] // self._n_members)
        rows, activations = top_images(codes, _N_TOP)
        nearest, cosines = nearest_atoms(gram, member, _N_NEAREST)
        counts, low, high = histograms(self._codes, atoms, _N_BINS)
        return {
            "column": _packed(atoms, "u4"),
            "member": _packed(member, "u2"),
            "frequency": _packed(usage.frequency[atoms], "f4"),
            "mean": _packed(usage.mean_activation[atoms], "f4"),
            "max": _packed(usage.max_activation[atoms], "f4"),
            "share": _packed(usage.share[atoms], "f4"),
            "top": _packed(rows, "i4"),
            "top_code": _packed(activations, "f4"),
            "nearest": _packed(nearest, "i4"),
            "cosine": _packed(cosines, "f4"),
            "histogram": _packed(counts, "u4"),
            "low": _packed(low, "f4"),
            "high": _packed(high, "f4"),
            **self._class_data(atoms),
        }

    def _class_data(self, atoms):
        """The classes that each atom tells best, where there are two or more."""
        if self._classes is None or len(self._classes) < 2:
            return {}
        selectivity = class_selectivity(self._codes, self._labels)
        best = np.argsort(-selectivity.auc[:, atoms], axis=0, kind="stable")[:_N_CLASSES]
        figures = {"auc": selectivity.auc, "rate": selectivity.frequency,
                   "difference": selectivity.difference, "p": selectivity.p_adjusted}  # fmt: skip
        return {"class": _packed(best.T, "u2")} | {
            name: _packed(values[best, atoms].T, "f4") for name, values in figures.items()
        }

    def _image_data(self, correlations, images, codes, gram, curves):
        """Each image shown: its strongest codes first, and the correlation as they add up."""
        sizes = np.sqrt(gram.diagonal())
        indptr, shown, values, sums = [0], [], [], []
        for i in range(len(images)):
            entries = slice(codes.indptr[i], codes.indptr[i + 1])
            columns, strengths = codes.indices[entries], codes.data[entries]
            order = np.argsort(-np.abs(strengths) * sizes[columns], kind="stable")[:_MOST_CODES]
            shown.append(columns[order])
            values.append(strengths[order])
            sums.append(curves.curve(i, shown[-1], values[-1] * self._weight))
            indptr.append(indptr[-1] + len(order))
        data = {
            "row": _packed(images, "u4"),
            "correlation": _packed(np.nan_to_num(correlations[images]), "f4"),
            "active": _packed(np.diff(self._codes.indptr)[images], "u4"),
            "indptr": _packed(indptr, "u4"),
            "atom": _packed(np.concatenate(shown), "u2"),
            "code": _packed(np.concatenate(values), "f4"),
            "curve": _packed(np.rint(np.concatenate(sums) * 32767), "i2"),
        }
        if self._names is not None:
            data["name"] = [self._names[i] for i in images]
        if self._labels is not None:
            data["label"] = _packed(self._labels[images], "u2")
        return data


# --- Checks ---


def _checked_classes(y, n_rows):
    """The classes as str and the number of each row's; None and None without y."""
    if y is None:
        return None, None
    y = column_or_1d(y)
    if len(y) != n_rows:
        raise ValueError(f"Expected {n_rows} labels, as X has rows, got {len(y)}.")
    if y.dtype.kind == "f":
        if not np.array_equal(y, np.floor(y)):
            raise ValueError("Expected classes in y, got numbers that are not whole.")
        y = y.astype(np.int64)
    if y.dtype.kind == "O":
        y = y.astype(str)
    classes, labels = np.unique(y, return_inverse=True)
    return [str(name) for name in classes], labels


def _checked_names(filenames, n_rows):
    if filenames is None:
        return None
    names = [filenames] if isinstance(filenames, str) else list(map(str, filenames))
    if len(names) != n_rows:
        raise ValueError(f"Expected {n_rows} filenames, as X has rows, got {len(names)}.")
    return names


# --- The document ---


def _packed(values, dtype):
    """An array as the page's script reads it: little-endian numbers in base64, named by type."""
    content = np.ascontiguousarray(values, dtype=f"<{dtype}").tobytes()
    return {dtype: base64.b64encode(content).decode("ascii")}


def _json_for_script(data):
    """JSON that no HTML parser takes for the end of a script, or for anything but letters."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII alone
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _policy(template):
    """What the page may load and run: pictures in it, its own style and its own script."""

    def digest(tag):
        content = re.search(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL).group(1)
        return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest('style')}'; "
        f"script-src 'sha256-{digest('script')}'; base-uri 'none'; form-action 'none'"
    )


def _filled(template, **contents):
    """The template with its places filled, in one pass: contents are not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: contents[place.group(1)], template)


def _definitions(figures):
    return "\n".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        f"<dd>{html.escape(explanation)}</dd></div>"
        for name, value, explanation in figures
    )


def _parameter_rows(estimator):
    """Rows of a table of the estimator's parameters, those changed from the default marked."""
    defaults = type(estimator)().get_params(deep=False)
    rows = []
    for name, value in sorted(estimator.get_params(deep=False).items()):
        text = _described(value)
        changed = ' class="changed"' if text != _described(defaults[name]) else ""
        rows.append(
            f'<tr{changed}><th scope="row">{html.escape(name)}</th>'
            f"<td>{html.escape(text)}</td></tr>"
        )
    return "\n".join(rows)


def _described(value):
    if hasattr(value, "shape"):
        return f"array of shape {tuple(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:200]} …"
