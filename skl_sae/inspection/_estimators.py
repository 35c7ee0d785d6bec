"""What displays read off a fitted estimator."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


def last_step(estimator, X=None, *, needs):
    """The estimator itself, or of a Pipeline the last step, with the rows that it is given.

    ``needs`` is the fitted attribute that it must have.
    """
    if isinstance(estimator, Pipeline):
        if X is not None and len(estimator) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    if not hasattr(estimator, needs):
        check_is_fitted(estimator)
        raise ValueError(f"Expected an estimator with {needs}, got {estimator!r}.")
    return estimator, X


def training_mean(estimator):
    """The mean of the rows that the estimator was fitted to, which is noted along with its scale.

    The members' centres began there and were then learned, so they are something else.
    """
    return estimator._offset


def atoms_of_codes(estimator):
    """One atom for each column of the codes: the members' mean where the codes are such."""
    atoms = estimator.components_
    if getattr(estimator, "aggregate", None) == "mean":
        atoms = atoms.reshape(len(estimator.centers_), -1, atoms.shape[1]).mean(axis=0)
    return atoms


def atoms_of_member(estimator, member):
    """Numbers of the atoms of a member, or of all members."""
    atoms = np.arange(len(estimator.components_))
    if member is None:
        return atoms
    n_members = len(getattr(estimator, "centers_", [None]))
    if member not in range(n_members):
        raise ValueError(f"Expected a member from 0 to {n_members - 1}, got {member!r}.")
    return atoms.reshape(n_members, -1)[member]


def sorted_atoms(estimator, atoms, order):
    """Those of these atoms that order names; or all of them, by use or as they are."""
    if order is None:
        return atoms
    if isinstance(order, str):
        if order != "use":
            raise ValueError(f"Expected order='use', None or numbers of atoms, got {order!r}.")
        last_step(estimator, needs="atom_frequency_")
        return atoms[np.argsort(-estimator.atom_frequency_[atoms], kind="stable")]
    named = np.asarray(order)
    if named.ndim != 1 or not len(named):
        raise ValueError(f"Expected a list of numbers of atoms, got shape {named.shape}.")
    wrong = named[~np.isin(named, atoms)]
    if len(wrong):
        raise ValueError(f"Expected atoms from {atoms[0]} to {atoms[-1]}, got {wrong[0]}.")
    return named.astype(np.int64)
