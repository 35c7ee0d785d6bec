"""SAEReport: a page, and the figures on it, of a fitted estimator and some images."""

import html
import json
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, column_or_1d

from .._model_file._atomic import replacing
from ..images._typing import AnyPath, Shape
from ..inspection._members import adds_up
from ..inspection._placed import has_places
from ._contents import Contents
from ._export import as_dict
from ._findings import Findings, Labels
from ._labels import checked_labels, label_key
from ._page import (
    definitions,
    filled,
    json_for_script,
    models_table,
    parameter_rows,
    policy,
    template,
)
from ._python import python_lines
from ._reading import Reading
from ._summary import described, more_described, values_of


class SAEReport:
    """HTML page about a fitted autoencoder's atoms and its reconstructions of given images.

    The page has a summary, the training curves, the images beside their reconstructions, a gallery
    and a map of the atoms, a table of their measures, to be sorted, filtered and copied from, the
    classes with the atoms that mark them, and matched atoms of members or of two estimators.
    Opening an atom shows the images on which it fires most strongly, and others from the upper
    quarter, the middle half and the lower quarter of its activations, what images would be
    without it, and the atoms that fire with it. Opening an image shows the atoms that compose it,
    each with a switch and a factor that redraw the reconstruction, and images of similar codes.
    Both have an address, such as ``report.html#atom-17``, and are found by a search box.
    The page is a single file: it loads nothing else, and shows names and labels as plain text.
    :meth:`to_dict` has the same figures as numbers.

    Parameters
    ----------
    estimator : autoencoder of this package or Pipeline
        Fitted estimator, or a Pipeline that ends with one; of ensembles such as have atoms as large
        as the images in all members or stages. It is read once, on construction.
    X : array-like of shape (n_samples, n_features)
        Images as rows, or other input of the estimator's transform. Held-out images are more
        informative. For a Pipeline, the page shows the input of its last step.
    y : array-like of shape (n_samples,), default=None
        Class of each sample: numbers or str.
    image_shape : tuple or None, default=None
        Shape of an image: (height, width) if grey, or (height, width, channels) with 1 or 3
        channels. None is that of the images the estimator was fitted to, ``image_shape_``, or that
        its Pipeline loads. A ConvTopKSparseAutoencoder takes images of another size, too.
    filenames : array-like of shape (n_samples,), default=None
        Name of each sample.
    compare : estimator or None, default=None
        Another fitted estimator, or a Pipeline that ends with one, which takes X too and has atoms
        of the same size. Its atoms are matched to those of ``estimator`` one to one, as
        :func:`skl_sae.inspection.shared_atoms` does, and the figures of both stand side by side.
    labels : dict, str, pathlib.Path or None, default=None
        Labels of atoms, {column of the codes: text}, or the path of a JSON file of them, as the
        page exports what was typed into it.
    embeddings : array-like of shape (n_samples, n_dimensions), default=None
        A vector for each sample: its activations in some other network, such as
        :class:`~skl_sae.ImageEmbedder` computes of a pretrained one. They make a column
        :func:`~skl_sae.inspection.monosemanticity` in the table, how alike the images are on which
        an atom fires. There is none by default, since pixels do not do: an atom is a picture that
        adds to the pixels of the images on which it fires, so that these are alike in their pixels
        whether or not they show the same thing.

    Raises
    ------
    ValueError
        If the lengths of X, y, filenames and embeddings differ, image_shape does not fit X, labels
        are not text of atoms that there are, the estimator is not an autoencoder of this package,
        or its decoder has hidden layers: the page adds up atoms. Also if an ensemble has members of
        small atoms, or if the atoms of compare have another size.
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
    share of the reconstructions' variance is that of all places, and ``pooling`` makes no
    difference. Images of normalized patches are shown with their reconstructions, but not built up
    atom by atom, as each patch has its mean and spread put back.

    Atoms that fire together are told by phi, the correlation of whether they fire, of at least
    three common images; images of similar codes by the cosine of their activations. The map places
    each atom near the five of largest cosine with it; nearly orthogonal atoms have no such order in
    two dimensions, and the map then says little. Figures of an ensemble's first six members stand
    side by side, too.

    Images of a :class:`~skl_sae.BoostingSparseAutoencoder` are sums of all stages' atoms. The title
    of an atom says its stage. Each fit has a curve: the loss of a stage is a part of the variance
    that the stages before it left. Side by side stand the first stage, the first two and so on, as
    a later one alone explains no whole image. Small atoms have no place on a page of larger ones:
    of a hierarchy with such, each stage has its own page, of the images that it learned. With
    ``first = boosting.estimators_[0]`` and ``left = X - first.inverse_transform(
    first.transform(X))``, the second is ``SAEReport(boosting.estimators_[1], left)``.

    Of more than 1,000 samples the page shows 1,000, evenly spaced in rank from the worst
    reconstruction to the best, and of more than 4,096 atoms those that fire most often; its
    figures are computed from all. Thumbnails have at most 64 pixels on their longer side, and
    are compressed to keep the page under 15 MB. A notebook that shows the report stores the
    page.

    Labels that are typed into the page are kept in the browser's local storage, under a digest of
    the atoms and of the ``labels`` given here; a notebook's frame keeps none. The page saves them
    as a JSON file of the form that ``labels`` takes.

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

    The figures as numbers, for a table or another program:

    >>> figures = report.to_dict()
    >>> len(figures["atoms"]), figures["summary"]["n_images"], figures["atoms"][5]["atom"]
    (64, 200, 5)
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        image_shape: Shape | None = None,
        filenames: Sequence[str] | ArrayLike | None = None,
        compare: Any = None,
        labels: Mapping[int, str] | Mapping[str, str] | AnyPath | None = None,
        embeddings: ArrayLike | None = None,
    ) -> None:
        reading = Reading(estimator, X, image_shape)
        n_samples = len(reading.subject.rows)
        given = Labels(
            *_checked_classes(y, n_samples),
            _checked_names(filenames, n_samples),
            checked_labels(labels, len(reading.subject.atoms)),
        )
        other = None if compare is None else _checked_other(reading, compare, X, image_shape)
        embeddings = _checked_embeddings(embeddings, n_samples)
        self._findings = Findings(reading, given, other, embeddings)

    # --- Public methods ---

    def html(self) -> str:
        """Make the page.

        Returns
        -------
        page : str
            Complete HTML document.
        """
        findings, contents = self._findings, Contents(self._findings)
        reading, page = findings.reading, template()
        steps, sprites = contents.sprites()
        return filled(
            page,
            policy=html.escape(policy(page)),
            subtitle=html.escape(self._subtitle(contents.shown)),
            figures=definitions(described(findings.summary, reading.subject.mean_words)),
            more=definitions(more_described(findings.summary, reading.subject.mean_words)),
            models=models_table(
                [name for name, _ in findings.models],
                [values_of(figures) for _, figures in findings.models],
            ),
            parameters=parameter_rows(reading.estimator),
            data=json_for_script(contents.data(steps) | self._reader_data()),
            sprites="\n".join(
                f'<script type="text/plain" id="{name}">{content}</script>'
                for name, content in sprites
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report's figures, of all atoms and images, as numbers.

        Returns
        -------
        figures : dict
            Only dict, list, str, int, float, bool and None, which stands for undefined. Atoms are
            numbered like the columns of the codes and images like the rows of X. Keys:

            - ``format`` and ``version``: "skl_sae.report", and 1 for the keys listed here.
            - ``estimator`` and ``parameters``: name of the class, and its parameters; what JSON
              cannot hold is described in words.
            - ``image_shape``: height, width and perhaps channels.
            - ``summary``: ``n_images``, ``n_atoms`` (columns of the codes), ``n_members``,
              ``n_trained_atoms`` (of all members), ``correlation`` (mean), ``fvu``, ``cosine``,
              ``length_ratio`` and ``bias`` (see
              :func:`skl_sae.inspection.reconstruction_figures`),
              ``active_atoms`` (mean of an image), ``most_active_atoms``, ``dead_atoms``,
              ``dead_fraction``, ``atoms_for_80``, ``fraction_for_80``, ``dead_in_training``,
              ``correlation_in_training`` (in the last epoch) and ``stability``; with embeddings
              ``monosemanticity`` (mean of the atoms that have one) and ``monosemanticity_chance``
              (that of an atom as active everywhere).
            - ``members``: their names, "" of one alone.
            - ``training``: curves ``loss``, ``correlation`` and ``held_out``, a number an epoch; of
              an ensemble they are empty, and ``members`` has a dict of these for each fit, with its
              ``name``.
            - ``atoms``: a dict for each atom with its number ``atom``, ``member`` (from 0),
              ``label`` (None if it has none) and measures, see Notes.
            - ``images``: a dict for each image with ``row``, ``correlation`` and
              ``active_atoms``; ``name`` with filenames, ``class`` with y.
            - ``classes``: a dict for each of two or more classes with ``name``, ``n_images``,
              ``correlation`` (mean), its most selective ``atoms`` and their ``auc``.
            - ``models``: for members, first stages or two estimators a dict each, with ``name`` and
              keys of ``summary``; else empty.
            - ``comparisons``: a dict for each two of them with ``names``, ``mean_cosine`` of
              matched atoms, ``shared``, the share of them from the cosine ``same_from`` on,
              ``atoms``, pairs of numbers, and their ``cosines``, the largest first.

        Notes
        -----
        Measures of an atom are ``frequency``, ``mean_activation``, ``max_activation``, ``share``
        and ``dead`` (see :func:`skl_sae.inspection.atom_usage`); ``place_frequency`` (of small
        atoms, where ``frequency`` is that in images); ``smoothness`` (Moran's I, see
        :func:`skl_sae.inspection.picture_coherence`); ``nearest_cosine`` (the largest with another
        atom of its member); ``encoder_cosine`` (with the weights of its encoder; None if they are
        tied); ``dead_in_training`` (in the last epoch); ``spatial_coherence`` (of small atoms: of
        activations over places, see :func:`skl_sae.inspection.spatial_coherence`). None stands for
        an undefined one. With embeddings also ``monosemanticity`` (see
        :func:`skl_sae.inspection.monosemanticity`); with several members ``member_cosine`` (mean
        cosine with the atoms matched to it in the others, see
        :func:`skl_sae.inspection.match_members`); with compare ``compared_cosine`` (cosine with the
        atom matched to it, of which :func:`skl_sae.inspection.shared_atoms` counts those of at
        least 0.7 as found again; None if it has no match). With two or more classes also
        ``best_class``, ``auc`` and ``p_adjusted`` (of the class of largest AUC, see
        :func:`skl_sae.inspection.class_selectivity`); ``accuracy`` (the balanced accuracy of
        telling that class by one threshold on the atom, learned on one half of the images and
        scored on the other, both ways); ``purity`` and ``dominant_class`` (share of the most
        frequent class among the images on which the atom fires, and that class);
        ``class_variance`` (share of its activations' variance that lies between classes, by which
        :func:`skl_sae.inspection.sparse_probing` ranks atoms).
        """
        return as_dict(self._findings)

    def to_json(self, path: AnyPath | None = None) -> str | None:
        """Return the figures of :meth:`to_dict` as JSON, or write them to a file.

        Parameters
        ----------
        path : str, pathlib.Path or None, default=None
            Path of the file, in an existing folder; it is replaced once the new one is complete.

        Returns
        -------
        text : str or None
            JSON in ASCII; None if it was written.
        """
        text = json.dumps(self.to_dict(), allow_nan=False)
        if path is None:
            return text
        with replacing(path) as file:
            file.write(text.encode("ascii"))
        return None

    def write_html(self, path: AnyPath) -> None:
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

    def open(self) -> Any:
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

    def _reader_data(self):
        """Return data about what readers write and copy."""
        reading, labels = self._findings.reading, self._findings.labels.of_atoms
        return {
            "labels": labels,
            "key": label_key(reading.subject.atoms, labels),
            "python": python_lines(reading),
        }

    def _subtitle(self, shown):
        subject, estimator = self._findings.reading.subject, self._findings.reading.estimator
        height, width, *channels = subject.image_shape
        kind = "colour" if channels == [3] else "grey"
        n_images = len(shown.images)
        parts = [
            f"{len(subject.rows):,} {kind} images of {height}x{width} pixels",
            _members_said(estimator, subject.members),
        ]
        if has_places(estimator):
            side = "x".join(map(str, subject.atom_shape[:2]))
            parts[1] = f"{len(subject.atoms):,} atoms of {side} pixels at all places"
        if n_images < len(subject.rows):
            parts.append(f"{n_images:,} images shown, from the worst to the best")
        if len(shown.atoms) < subject.activations.shape[1]:
            parts.append(f"the {len(shown.atoms):,} atoms used most shown")
        return " · ".join(parts)


def _members_said(estimator, members):
    """Return in words how many members there are, and atoms of each or of all."""
    sizes = {member.n_atoms for member in members}
    # Of members whose codes are averaged, one has columns.
    n_members = len(members) if len(members) > 1 else len(estimator.centers_)
    is_of_stages = adds_up(estimator) and len(estimator.estimators_) == n_members
    noun = ("stage" if is_of_stages else "member") + "s" * (n_members > 1)
    if len(sizes) > 1:
        return f"{n_members} {noun}, {sum(member.n_atoms for member in members):,} atoms"
    return f"{n_members} {noun} of {sizes.pop():,} atoms"


# --- Checks ---


def _checked_other(reading, compare, X, image_shape):
    other = Reading(compare, X, image_shape)
    sizes = [found.subject.atom_shape for found in (reading, other)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"Expected compare with atoms of shape {sizes[0]}, as those of estimator, "
            f"got {sizes[1]}."
        )
    return other


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


def _checked_embeddings(embeddings, n_samples):
    if embeddings is None:
        return None
    embeddings = check_array(embeddings, dtype=[np.float64, np.float32], input_name="embeddings")
    if len(embeddings) != n_samples:
        raise ValueError(f"Expected {n_samples} embeddings, as X has rows, got {len(embeddings)}.")
    return embeddings


def _checked_names(filenames, n_samples):
    if filenames is None:
        return None
    names = [filenames] if isinstance(filenames, str) else list(map(str, filenames))
    if len(names) != n_samples:
        raise ValueError(f"Expected {n_samples} filenames, as X has rows, got {len(names)}.")
    return names
