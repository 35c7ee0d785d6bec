"""Members of fitted estimators: their columns of the codes, their names, and their training."""

from typing import NamedTuple

import numpy as np

from ._estimators import atoms_of_codes


class Member(NamedTuple):
    """A member whose atoms have columns of codes of their own."""

    name: str  # such as "member 2", "stage 1 (flat)" or "stage 3, member 2"; "" if it is alone
    n_atoms: int  # columns of the codes
    scale: float  # what a reconstruction multiplies its atoms by, besides their codes


class Training(NamedTuple):
    """Curves of one fit, a number an epoch."""

    name: str  # of the member that was fitted
    loss: list
    correlation: list
    held_out: list  # empty without early stopping


def members_of(estimator):
    """Return the members of a fitted estimator in the order of the columns of its codes.

    With the centre b, which an ensemble's stages add up and its members average, images are
    b + sum_j scale_j z_j d_j.
    """
    if is_ensemble(estimator):
        return [
            member._replace(name=", ".join(filter(None, (name, member.name))))
            for name, part in parts_of(estimator)
            for member in members_of(part)
        ]
    n_atoms, n_columns = len(estimator.components_), len(atoms_of_codes(estimator))
    n_members = len(getattr(estimator, "centers_", [None])) * n_columns // n_atoms
    if n_members <= 1:  # if the codes are the members' mean, so are the atoms
        return [Member("", n_columns, 1.0)]
    each = Member("", n_columns // n_members, 1 / n_members)
    return [each._replace(name=f"member {e + 1}") for e in range(n_members)]


def is_ensemble(estimator):
    """Return whether an estimator is made of others, each fitted by itself."""
    return hasattr(estimator, "estimators_")


def adds_up(estimator):
    """Return whether an ensemble's estimators are stages, of which each explains only a part."""
    return hasattr(estimator, "named_estimators_")


def has_stages(estimator):
    """Return whether an estimator has stages, or a member that has."""
    members = getattr(estimator, "estimators_", ())
    return adds_up(estimator) or any(has_stages(member) for member in members)


def parts_of(estimator):
    """Return names and estimators that an ensemble was made of; stages of a list tell theirs."""
    numbered = list(enumerate(estimator.estimators_, 1))
    if not adds_up(estimator):
        return [(f"member {i}", part) for i, part in numbered]
    # Without a list, stages are named by their numbers from 0.
    names = [f" ({own})" * (own != str(i)) for i, own in enumerate(estimator.named_estimators_)]
    # There may be fewer stages than names, of a sum of the first ones.
    return [(f"stage {i}{own}", part) for (i, part), own in zip(numbered, names, strict=False)]


def scales_of(members):
    """Return the scale of each column's atom."""
    return np.repeat([member.scale for member in members], [member.n_atoms for member in members])


def scaled_atoms(estimator):
    """Return what each column adds to a reconstruction for each 1 of its code."""
    return atoms_of_codes(estimator) * scales_of(members_of(estimator))[:, None]


def atoms_of_member(estimator, member):
    """Return the indices of a member's atoms in ``components_``; of all atoms for None."""
    atoms = np.arange(len(estimator.components_))
    if member is None:
        return atoms
    if is_ensemble(estimator):
        ends = np.cumsum([one.n_atoms for one in members_of(estimator)])
    else:  # PCA and similar estimators have no centers_, and count as one member
        n_members = len(getattr(estimator, "centers_", [None]))
        ends = np.arange(1, n_members + 1) * (len(atoms) // n_members)
    if member not in range(len(ends)):
        raise ValueError(f"Expected a member from 0 to {len(ends) - 1}, got {member!r}.")
    return np.split(atoms, ends[:-1])[member]


def trainings_of(estimator):
    """Return the Training of each fit that an estimator was made by; none if none is known."""
    if is_ensemble(estimator):
        return [
            one._replace(name=", ".join(filter(None, (name, one.name))))
            for name, part in parts_of(estimator)
            for one in trainings_of(part)
        ]
    if not estimator.loss_curve_:  # of another library
        return []
    scores = estimator.validation_scores_ or []
    return [Training("", estimator.loss_curve_, estimator.correlation_curve_, scores)]
