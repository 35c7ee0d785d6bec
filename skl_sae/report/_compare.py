"""Two models, or the members of one, side by side, with their atoms matched."""

import copy
from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import normalize

from ..inspection import atom_usage
from ..inspection._matching import matched
from ..inspection._members import adds_up, is_ensemble, parts_of
from ._reading import judged
from ._subject import WholeImages
from ._summary import model_figures, summary_figures

# Cosine from which two atoms count as the same, the default of shared_atoms.
SAME = 0.7
THIS, OTHER = "This estimator", "Compared estimator"
# Members that are told apart in the summary, and whose pairs are shown.
_MOST_MEMBERS = 6


class Comparison(NamedTuple):
    """Atoms of two models, matched one to one."""

    names: tuple  # of both models
    atoms: np.ndarray  # (n_pairs, 2), an index in each, of largest cosine first
    cosines: np.ndarray  # (n_pairs,)
    is_other: bool  # whether the second is another estimator, not a member of this one

    def shared(self):
        """Return the share of pairs that count as the same atom."""
        return float(np.mean(self.cosines >= SAME))


def comparisons(reading, other):
    """Return a Comparison of the estimator and another, and of each two of its members."""
    found = []
    if other is not None:
        atoms = [normalize(r.subject.atoms) for r in (reading, other)]
        matches, cosines = matched(atoms)
        found.append(_comparison((THIS, OTHER), matches[0, 1], cosines[0, 1], None))
    if members_differ(reading) and reading.matching is not None:
        matches, cosines = reading.matching.matches, reading.matching.cosines
        names = [_titled(member.name) for member in reading.subject.members]
        # Atoms are counted on through all members, as codes have them.
        first = np.cumsum([0, *(member.n_atoms for member in reading.subject.members)])
        for e, f in combinations(range(min(len(names), _MOST_MEMBERS)), 2):
            pair = (names[e], names[f]), matches[e, f], cosines[e, f]
            found.append(_comparison(*pair, first[[e, f]]))
    return found


def matched_cosines(reading, found):
    """Return each atom's cosine with its match: in another estimator, and in other members.

    Parameters
    ----------
    reading : Reading
        The estimator and its codes of the images.
    found : list of Comparison
        Its comparisons, of another estimator first if there is one.

    Returns
    -------
    measures : dict of str to ndarray of shape (n_atoms,)
        ``compared_cosine``, and ``member_cosine``, a mean over the other members; NaN for an atom
        that has no match. An entry is left out where nothing was matched.
    """
    measures = {}
    if found and found[0].is_other:
        measures["compared_cosine"] = np.full(len(reading.subject.atoms), np.nan)
        measures["compared_cosine"][found[0].atoms[:, 0]] = found[0].cosines
    if members_differ(reading) and reading.matching is not None:
        measures["member_cosine"] = _member_cosines(reading)
    return measures


def _member_cosines(reading):
    """Return each atom's mean cosine with its matches in other members; NaN if it has none."""
    means = np.full(len(reading.subject.atoms), np.nan)
    for e, cosines in enumerate(reading.matching.cosines):
        own = np.flatnonzero(reading.members == e)
        of_others = np.delete(cosines, e, axis=0)[:, : len(own)]
        means[own] = np.ma.masked_invalid(of_others).mean(axis=0).filled(np.nan)
    return means


def _comparison(names, matches, cosines, first):
    own = np.flatnonzero(matches >= 0)
    order = own[np.argsort(-cosines[own], kind="stable")]
    pairs = np.stack([order, matches[order]], axis=1)
    if first is not None:
        pairs += first
    return Comparison(names, pairs, cosines[order], first is None)


def _titled(name):
    return name[:1].upper() + name[1:]


def members_differ(reading):
    """Return whether members have columns of codes of their own."""
    return len(reading.subject.members) > 1


def models(reading, other):
    """Return names and figures of the models that are compared; none if there is one alone."""
    found = [(THIS, summary_figures(reading))]
    if other is not None:
        found.append((OTHER, summary_figures(other)))
    if is_ensemble(reading.estimator):
        found += [(name, _part_figures(reading, part)) for name, part in _parts(reading.estimator)]
    elif members_differ(reading):
        members = reading.subject.members[:_MOST_MEMBERS]
        found += [
            (_titled(member.name), _member_figures(reading, e)) for e, member in enumerate(members)
        ]
    return found if len(found) > 1 else []


def _parts(ensemble):
    """Return names and estimators: members, or the first stages of a sum, of which all are it."""
    parts = parts_of(ensemble)
    if not adds_up(ensemble):
        return [(_titled(name), part) for name, part in parts[:_MOST_MEMBERS]]
    found = []
    for n, (name, _) in enumerate(parts[:-1][:_MOST_MEMBERS], 1):
        first = copy.copy(ensemble)
        first.estimators_ = ensemble.estimators_[:n]
        found.append((_titled(name) if n == 1 else f"Stages 1 to {n}", first))
    return found


def _part_figures(reading, part):
    """Return the figures of a part of an ensemble by itself, coding the images anew."""
    subject = reading.subject
    # Rows have no names of features, which members have never seen either.
    part = copy.copy(part)
    vars(part).pop("feature_names_in_", None)
    own = WholeImages(part, subject.rows, subject.image_shape)
    figures = judged(subject, own.reconstructions, own.codes)
    return model_figures(*figures, own.codes, own.usage())


def _member_figures(reading, e):
    """Return the figures of member e by itself, decoded by its own atoms and centre."""
    subject, centres = reading.subject, reading.estimator.centers_
    n = len(subject.atoms) // len(centres)
    own = slice(e * n, (e + 1) * n)
    codes, atoms = subject.codes[:, own], subject.atoms[own]
    figures = judged(subject, lambda rows: codes[rows] @ atoms + centres[e], codes)
    return model_figures(*figures, codes, atom_usage(codes))
