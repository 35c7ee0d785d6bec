"""Run `convert`: models of ours as folders of other libraries, and back."""

import os

from sklearn.pipeline import Pipeline

from .. import interop, load, save
from .._model_file._composed import TRANSFORMERS
from ..inspection._members import has_stages, is_ensemble, parts_of
from ..interop import _dictionary_learning, _saelens, _saev, _sparsify
from ._options import OptionError
from ._values import FORMATS, OURS

# The file by which a folder is recognised.
_RECOGNISED_BY = {
    "saelens": _saelens._ARRAYS,
    "sparsify": _sparsify._ARRAYS,
    "dictionary_learning": _dictionary_learning._ARRAYS,
    "saev": _saev._FILE,
}


def convert(options, progress):
    """Read a model, and write it in another format."""
    progress.begin("Reading the model")
    estimator, found = _read(options.source)
    if found == options.to:
        raise OptionError("--to", f"Expected another format than that of IN, got {options.to}.")
    progress.begin("Writing the model")
    if options.to == OURS:
        if options.member is not None:
            raise OptionError("--member", f"Expected --to another format than {OURS} beside it.")
        save(estimator, options.target)
    else:
        _write(estimator, options, progress)
    progress.end()
    progress.say(f"Wrote {options.target} ({options.to}).")


def _read(source):
    """Return the model of a file or folder, and the name of its format."""
    if not source.is_dir():
        return load(source), OURS
    found = [name for name in FORMATS if os.path.lexists(source / _RECOGNISED_BY[name])]
    if len(found) != 1:
        got = " and ".join(_RECOGNISED_BY[name] for name in found) or "none of these"
        raise OptionError(
            "IN", f"Expected a folder with one of {', '.join(_RECOGNISED_BY.values())}, got {got}: "
            f"{str(source)!r}.",
        )  # fmt: skip
    return getattr(interop, f"from_{found[0]}")(source), found[0]


def _write(estimator, options, progress):
    """Write the autoencoder of a model for another library."""
    if isinstance(estimator, Pipeline):
        estimator = _autoencoder(estimator, options.source, progress)
    members, member = _members(estimator), options.member or 0
    n_members = len(members)
    if member >= n_members:
        raise OptionError("--member", f"Expected at most {n_members - 1}, got {member}.")
    single, own = members[member]
    getattr(interop, f"to_{options.to}")(single, options.target, own)
    if options.member is None and n_members > 1:
        progress.note(f"Member 0 of {n_members} is written; --member chooses another.")
    if has_stages(estimator):
        progress.note(
            "It is one of several stages that add up: alone it reconstructs a part of an image, "
            "and a later one codes what those before it left over."
        )


def _members(estimator):
    """Return the single models of an estimator, such as a folder can hold: estimator and member.

    Those of an ensemble's estimators are counted on, as its codes have them.
    """
    if is_ensemble(estimator):
        return [own for _, part in parts_of(estimator) for own in _members(part)]
    return [(estimator, e) for e in range(len(estimator.centers_))]


def _autoencoder(pipeline, source, progress):
    """Return the only autoencoder of a Pipeline; say what is left out."""
    names = [type(step).__name__ for _, step in pipeline.steps]
    found = [step for name, (_, step) in zip(names, pipeline.steps, strict=True)
             if name not in TRANSFORMERS]  # fmt: skip
    if len(found) != 1:
        raise OptionError(
            "IN", f"Expected a Pipeline with one autoencoder, got {' and '.join(names)}: "
            f"{str(source)!r}.",
        )  # fmt: skip
    others = " and ".join(name for name in names if name in TRANSFORMERS)
    if others:
        progress.note(f"Other libraries have no place for {others}, which is left out.")
    return found[0]
