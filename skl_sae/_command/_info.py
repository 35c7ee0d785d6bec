"""Run `info`: a model's file in words."""

import os
import shutil
import textwrap

from sklearn.pipeline import Pipeline

from .. import ImageLoader, load
from .._model_file._safetensors import read_metadata_alone
from ._figures import figure

_WIDEST = 80
_LABEL = 14
_MOST_NAMES = 20


def info(options, progress):
    """Print what a model's file holds."""
    progress.begin("Reading the model")
    estimator = load(options.model)
    metadata = read_metadata_alone(options.model)
    progress.end()
    steps = estimator.steps if isinstance(estimator, Pipeline) else [("", estimator)]
    lines = [("File", f"{options.model}, {_bytes(os.path.getsize(options.model))}")]
    lines.append(("Kind", _kind(estimator)))
    for _, step in steps:
        lines += _about(step)
    lines += _about_images(estimator)
    lines.append(("sha256", metadata["sha256"]))
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    print("\n".join(line for label, text in lines for line in _wrapped(label, text, width)))


def _wrapped(label, text, width):
    """Lines of a label and its text, of which the further ones are indented."""
    if width < 3 * _LABEL:  # the text below its label
        return [f"{label}:", *textwrap.wrap(text, width, initial_indent="  ",
                                            subsequent_indent="  ")]  # fmt: skip
    return textwrap.wrap(
        text, width, initial_indent=f"{label + ':':{_LABEL}}", subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    )  # fmt: skip


def _bytes(n):
    """A number of bytes in the largest unit of which there is one."""
    power = min(len(str(n)) - 1, 11) // 3
    return f"{n / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def _kind(estimator):
    if not isinstance(estimator, Pipeline):
        return type(estimator).__name__
    return "Pipeline of " + ", ".join(type(step).__name__ for _, step in estimator.steps)


# --- Steps ---


def _about(step):
    """Yield labels and texts of a step."""
    if isinstance(step, ImageLoader):
        size = "x".join(map(str, step.size))
        kind = "colour" if step.mode == "RGB" else "grey"
        yield "Images", f"{kind}, {size} pixels, others: {step.aspect}"
        return
    name = type(step).__name__
    if hasattr(step, "estimators_"):
        names = ", ".join(sorted({type(member).__name__ for member in step.estimators_}))
        yield "Model", f"{name} of {len(step.estimators_)} members: {names}"
    elif hasattr(step, "components_"):
        yield "Model", f"{name}, {_sizes(step)}"
        yield "Training", _training(step)
    else:
        yield "Step", name
    yield "Parameters", _changed(step)


def _sizes(sae):
    """Sizes of a fitted autoencoder in words."""
    n_members = len(sae.centers_)
    n_atoms = len(sae.components_) // n_members
    members = f"{n_members} members of " if n_members > 1 else ""
    atoms = f"{members}{n_atoms:,} atoms"
    if hasattr(sae, "atom_shape_"):
        atoms += f" of {'x'.join(map(str, sae.atom_shape_))} at {_places(sae)} places"
    of = " each" if n_members > 1 else ""
    return f"{atoms}, k = {sae.k_:,}{of}; {sae.n_features_in_:,} features"


def _places(sae):
    return "x".join(map(str, sae.maps_shape_[:2]))


def _training(sae):
    """The fit of an autoencoder in words."""
    if not sae.n_iter_:
        return "by another library"
    n_dead = int((sae.atom_frequency_ == 0).sum())
    text = f"{sae.n_iter_:,} epochs, loss {sae.loss_curve_[-1]:.4g}" if sae.loss_curve_ else ""
    text += f"; {n_dead:,} of {len(sae.components_):,} atoms dead in the last"
    if sae.best_validation_score_ is not None:
        text += f"; best score of held-out samples {sae.best_validation_score_:.4f}"
    return text


def _changed(step):
    """Parameters that differ from the defaults, as in a step's own text."""
    parameters = step.get_params(deep=False)
    try:
        defaults = type(step)().get_params(deep=False)
    except TypeError:  # some have to be given
        defaults = {}
    changed = [
        f"{name}={_short(value)}" for name, value in parameters.items()
        if name not in defaults or repr(value) != repr(defaults[name])
    ]  # fmt: skip
    return ", ".join(changed) or "all as by default"


def _short(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


# --- Images ---


def _about_images(estimator):
    """Yield labels and texts of what the command keeps besides."""
    names = getattr(estimator, "target_names_", None)
    if names is not None:
        text = ", ".join(names[:_MOST_NAMES])
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        yield "Classes", f"{len(names):,}: {text}{more}"
    held_out = getattr(estimator, "held_out_", None)
    if held_out is not None:
        correlation, fvu = (figure(held_out[name]) for name in ("correlation", "fvu"))
        yield "Learned", f"{held_out['n_learned']:,} images"
        yield (
            "Held out",
            (
                f"{held_out['n_images']:,} images: correlation {correlation}, FVU {fvu}, "
                f"{held_out['n_active']:,.1f} active numbers on average"
            ),
        )
