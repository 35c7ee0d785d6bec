"""Contents: the data from which the page's script draws, and its thumbnails."""

from functools import partial

import numpy as np
from sklearn.utils import gen_batches

from ..inspection._members import adds_up, trainings_of
from ..inspection._samples import strongest_samples
from ._arrays import cumulative, evenly_ranked, histograms, nearest_atoms
from ._compare import SAME
from ._examples import examples
from ._map import arranged
from ._page import packed
from ._subject import Shown
from ._thumbnails import (
    TILES_A_SHEET,
    TILES_ACROSS,
    image_bytes,
    sheets,
    shrink,
    signed_bytes,
    tile_shape,
)
from ._together import fired_together, similar_rows

# Limits of what is shown, so that a page stays under 15 MB. Figures are of all images and atoms.
_MOST_ATOMS, _MOST_IMAGES, _MOST_CLASSES = 4096, 1000, 256
# Bytes of thumbnails. Atoms of a second estimator have to share with those of the first.
_BUDGETS = {"atom": 6_000_000, "image": 1_600_000, "guess": 1_600_000, "class": 400_000}
_BUDGETS_OF_TWO = {"atom": 3_600_000, "other": 2_400_000}
_N_TOP, _N_BINS, _N_NEAREST, _N_CLASSES, _N_TOGETHER = 12, 24, 4, 5, 6
_N_EXAMPLES = 6  # of each quantile
# Names of measures in the page's data, where they differ.
_SHORT = {"mean_activation": "mean", "max_activation": "max"}
# Measures that the page has for several classes, and those that are numbers of classes.
_ELSEWHERE, _WHOLE = {"auc", "best_class"}, {"dominant_class"}


class Contents:
    """Data and thumbnails of a page.

    Parameters
    ----------
    findings : Findings
        Figures of all atoms and images.

    Attributes
    ----------
    shown : Shown
        The atoms and images on the page; in the data they count from 0.
    """

    def __init__(self, findings):
        self._findings, self._labels = findings, findings.labels
        self._reading, self._subject = findings.reading, findings.reading.subject
        usage, correlations = self._reading.usage, self._reading.reconstruction[0]
        atoms = np.lexsort((-usage.share, -usage.frequency))[:_MOST_ATOMS]
        images = evenly_ranked(np.nan_to_num(correlations), _MOST_IMAGES)
        rows, gram = self._subject.atoms[atoms], self._reading.gram
        gram = rows @ rows.T if gram is None else gram[np.ix_(atoms, atoms)]
        self.shown = Shown(images, atoms, rows, gram)
        self._compared = self._matched_pairs()

    def data(self, steps):
        """Return the data; ``steps`` are one step of each atom's bytes, as sprites() has them."""
        images = self._image_data()
        steps = steps * self._subject.scales[self.shown.atoms]  # as a reconstruction has them
        data = self._general_data() | {
            "atoms": {**self._atom_data(), "step": packed(steps, "f4")},
            "images": images,
            "compare": self._compared,
        }
        if self._findings.classes is not None:
            data["class_page"] = self._class_page()
        return data

    def _general_data(self):
        estimator, subject = self._reading.estimator, self._subject
        return {
            "tile": tile_shape(subject.image_shape),
            "atom_tile": tile_shape(subject.atom_shape),
            "across": TILES_ACROSS,
            "range": self._range(),
            "classes": self._labels.classes,
            "members": len(subject.members),
            "chance": self._findings.summary.get("monosemanticity_chance"),
            "member_names": [member.name for member in subject.members],
            "member": "stage" if adds_up(estimator) else "member",
            "trainings": [_training_data(one) for one in trainings_of(estimator)],
            "curves": {"share": packed(cumulative(self._reading.usage.share), "f4")},
        } | subject.general_data()

    def _range(self):
        """Return the values shown in black and in white."""
        rows = self._subject.rows
        low, high = float(rows.min()), float(rows.max())
        if 0 <= low and high <= 1:
            return [0.0, 1.0]
        return [low, high if low < high else low + 1]

    # --- Atoms ---

    def _atom_data(self):
        """Return figures of each atom, from all samples, and its strongest among those shown."""
        subject, shown = self._subject, self.shown
        activations, atoms = subject.activations, shown.atoms
        member = self._reading.members[atoms]
        codes = activations[shown.images][:, atoms]
        top, strongest = strongest_samples(codes, _N_TOP)
        weaker = examples(codes, _N_TOP, _N_EXAMPLES)
        nearest, cosines = nearest_atoms(shown.gram, member, _N_NEAREST)
        counts, low, high = histograms(activations, atoms, _N_BINS)
        together, phi = fired_together(activations[:, atoms], _N_TOGETHER)
        return {
            "column": packed(atoms, "u4"),
            "member": packed(member, "u2"),
            **self._measure_data(),
            "top": packed(top, "i2"),
            "top_code": packed(strongest, "f4"),
            "nearest": packed(nearest, "i2"),
            "cosine": packed(cosines, "f4"),
            "together": packed(together, "i2"),
            "phi": packed(phi, "f4"),
            "place": packed(arranged(_cosines(shown.gram)), "f4"),
            "histogram": packed(counts, "u4"),
            "low": packed(low, "f4"),
            "high": packed(high, "f4"),
            **weaker.data(),
            **subject.atom_data(shown, top=top, example=weaker.samples),
            **self._class_data(),
        }

    def _measure_data(self):
        """Return each measure of the atoms shown; 0 stands for an undefined one of a dead atom."""
        dead = self._reading.usage.dead
        measures = {
            _SHORT.get(name, name): np.where(dead, np.nan_to_num(values), values)[self.shown.atoms]
            for name, values in self._findings.measures.items()
            if name not in _ELSEWHERE and not np.isnan(values).all()
        }
        # Sorts and captions of the page need these.
        for name in ("mean", "max", "smoothness"):
            measures.setdefault(name, np.zeros(len(self.shown.atoms)))
        return {
            name: packed(values, "u2" if name in _WHOLE else "f4")
            for name, values in measures.items()
        }

    def _class_data(self):
        """Return the classes that each atom marks best, if there are two or more."""
        selectivity, atoms = self._findings.selectivity, self.shown.atoms
        if selectivity is None:
            return {}
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

    # --- Images and classes ---

    def _image_data(self):
        """Return figures of each image, its strongest codes, and how they add up."""
        subject, images, labels = self._subject, self.shown.images, self._labels
        similar, likeness = similar_rows(subject.activations[images], _N_TOGETHER)
        data = {
            "row": packed(images, "u4"),
            "correlation": packed(np.nan_to_num(self._reading.reconstruction[0][images]), "f4"),
            "active": packed(np.diff(subject.codes.indptr)[images], "u4"),
            "similar": packed(similar, "i2"),
            "likeness": packed(likeness, "f4"),
            **subject.image_data(self.shown),
        }
        if labels.names is not None:
            data["name"] = [labels.names[i] for i in images]
        if labels.of_image is not None:
            data["label"] = packed(labels.of_image[images], "u2")
        return data

    def _classes_shown(self):
        """Return the indices of the classes with most images, in order."""
        counts = self._findings.classes.counts
        return np.sort(np.argsort(-counts, kind="stable")[:_MOST_CLASSES])

    def _class_page(self):
        figures, shown = self._findings.classes, self._classes_shown()
        return {
            "index": packed(shown, "u2"),
            "count": packed(figures.counts[shown], "u4"),
            "correlation": packed(np.nan_to_num(figures.correlations[shown]), "f4"),
            "atom": packed(self._positions()[figures.atoms[shown]], "i4"),
            "auc": packed(figures.auc[shown], "f4"),
        }

    def _positions(self):
        """Return the position of each atom among those shown, or -1."""
        positions = np.full(len(self._subject.atoms), -1)
        positions[self.shown.atoms] = np.arange(len(self.shown.atoms))
        return positions

    # --- Comparisons ---

    def _matched_pairs(self):
        """Return the matched atoms of two models; those of another estimator get a sheet."""
        positions, entries, self._other_atoms = self._positions(), [], None
        for found in self._findings.comparisons:
            left, right = found.atoms.T
            kept = positions[left] >= 0
            if found.is_other:
                self._other_atoms = right[kept]
                second = np.arange(np.count_nonzero(kept))
            else:
                kept &= positions[right] >= 0
                second = positions[right[kept]]
            entries.append(
                {
                    "names": list(found.names),
                    "other": found.is_other,
                    "shared": found.shared(),
                    "mean": float(found.cosines.mean()),
                    "left": packed(positions[left[kept]], "u2"),
                    "right": packed(second, "u2"),
                    "cosine": packed(found.cosines[kept], "f4"),
                }
            )
        data = {"same": SAME, "entries": entries}
        if self._other_atoms is not None:
            usage = self._findings.other.usage
            data["column"] = packed(self._other_atoms, "u4")
            data["frequency"] = packed(usage.frequency[self._other_atoms], "f4")
        return data

    # --- Thumbnails ---

    def sprites(self):
        """Return one step of each atom's bytes, in units of X; and names and contents of sheets."""
        images = self._subject.rows[self.shown.images]
        reconstructions = self._subject.reconstructions(self.shown.images)
        steps = np.empty(len(self.shown.rows))
        kinds = {
            "atom": (self.shown.rows, partial(self._atom_tiles, steps)),
            "image": (images, self._image_tiles),
            "guess": (reconstructions, self._image_tiles),
        }
        budgets = _BUDGETS
        if self._findings.classes is not None:
            means = self._findings.classes.means[self._classes_shown()]
            kinds["class"] = means, self._image_tiles
        if self._other_atoms is not None:
            budgets = _BUDGETS | _BUDGETS_OF_TWO
            others = self._findings.other.subject.atoms[self._other_atoms]
            kinds["other"] = others, partial(self._atom_tiles, np.empty(len(others)))
        sprites = []
        for kind, (rows, tiles) in kinds.items():
            parts = (tiles(rows, part) for part in gen_batches(len(rows), TILES_A_SHEET))
            contents = sheets(parts, len(rows), budgets[kind])
            sprites += [(f"{kind}-{i}", content) for i, content in enumerate(contents)]
        return steps, sprites

    def _atom_tiles(self, steps, rows, part):
        tiles, steps[part] = signed_bytes(shrink(rows[part], self._subject.atom_shape))
        return tiles

    def _image_tiles(self, rows, part):
        return image_bytes(shrink(rows[part], self._subject.image_shape), *self._range())


def _training_data(training):
    name, *curves = training
    return {"name": name} | {
        key: packed(curve, "f4") for key, curve in zip(training._fields[1:], curves, strict=True)
    }


def _cosines(gram):
    lengths = np.sqrt(gram.diagonal()).clip(np.finfo(np.float32).tiny)
    return gram / lengths / lengths[:, None]
