"""Lines of Python that give what the page shows."""

from ..inspection._placed import has_places


def python_lines(reading):
    """Return the lines, in which ``{n}`` stands for a number and ``{next}`` for the next one.

    Parameters
    ----------
    reading : Reading
        The estimator and its codes of the images.

    Returns
    -------
    lines : dict
        ``names`` is what the lines call by which name; ``atom`` and ``image`` are lists of lines;
        ``codes`` is an expression for the codes of one image as a dense array.
    """
    estimator, subject = reading.estimator, reading.subject
    has_sparse_codes = getattr(estimator, "sparse_output", True)
    coded = "sae.transform(X[{n}:{next}])"
    return {
        "names": _names(estimator, subject),
        "atom": _atom_lines(estimator, subject),
        "image": ["X.iloc[{n}]" if reading.is_frame else "X[{n}]", coded],
        "codes": f"{coded}.toarray()" if has_sparse_codes else f"np.array({coded})",
    }


def _atom_lines(estimator, subject):
    n_atoms = len(subject.atoms)
    if has_places(estimator):
        return [
            "sae.components_[{n}]",
            f"codes[:, {{n}}::{n_atoms}]",
            "skl_sae.inspection.atom_activations(sae, codes)[:, {n}]",
        ]
    n_members = len(estimator.components_) // n_atoms
    if n_members == 1:
        return ["sae.components_[{n}]", "codes[:, {n}]"]
    # The codes are the members' mean, and so are the atoms.
    return [f"sae.components_[{{n}}::{n_atoms}].mean(axis=0)", "codes[:, {n}]"]


def _names(estimator, subject):
    sae = "the estimator"
    if not subject.is_as_fitted:
        shape = tuple(map(int, subject.image_shape))
        sae = f"copy.copy(estimator).set_params(pooling=None, image_shape={shape})"
    return (
        f"Here sae is {sae}, X is what this report was given, and codes are sae.transform(X); of a "
        "Pipeline they are its last step and what that step is given."
    )
