"""Options of the command, checked as far as possible without torch and without reading images."""

import argparse
import math
import os
import re
from pathlib import Path

from ..images._marker import OUTPUT_FOLDER
from ._output import check_writable, picture_to_be_replaced

PROGRAM = "python -m skl_sae"
_LARGEST_SEED = 2**32 - 1  # of NumPy's generator
_KERNEL_SIZE = 8
_DESCRIPTION = (
    "Train Top-K sparse autoencoders on the images of a folder, or on crops of the two photographs "
    "that come with scikit-learn; print held-out figures beside PCA's; and write model.safetensors "
    "(for TopKSparseAutoencoder.load, or with --conv ConvTopKSparseAutoencoder.load), codes.npz "
    "(the codes of all images), training.png, report.html (the held-out images and the atoms, to "
    "look at in a browser) and, for a folder, images.csv (the file of each row of the codes). "
    "Sub-folders are classes. Output of earlier runs is not learned."
)


class OptionError(ValueError):
    """An unusable option; the message names it in the style of argparse."""

    def __init__(self, option, problem):
        super().__init__(f"argument {option}: {problem}")


class _Parser(argparse.ArgumentParser):
    """Argument parser that reports errors in one line."""

    def error(self, message):
        message = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {message}\n")


def parsed(arguments=None):
    """Return the options; if one of them is wrong, end the process with one line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _complete(options)
        _check_together(options)
    except OptionError as error:
        parser.error(str(error))
    return options


def _complete(options):
    """Check that options suit the kind of atoms, and fill in its defaults."""
    if options.conv:
        for option, possible in (("--members", (None, 1)), ("--consistency", (0,))):
            got = getattr(options, option[2:])
            if got not in possible:
                raise OptionError(
                    option, f"Expected {possible[-1]} with --conv, which has one member, got {got}."
                )
        kernel_size = options.kernel_size or _KERNEL_SIZE
        if options.stride is not None and options.stride > kernel_size:
            raise OptionError(
                "--stride", f"Expected at most --kernel-size={kernel_size}, got {options.stride}."
            )
        usual = {"n_components": 128, "members": 1, "kernel_size": _KERNEL_SIZE}
    else:
        for option in ("kernel_size", "stride"):
            if getattr(options, option) is not None:
                raise OptionError(f"--{option.replace('_', '-')}", "Expected --conv beside it.")
        usual = {"n_components": 1024, "k": 64, "members": 3}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def _check_together(options):
    """Check what depends on several options or on the disk."""
    if not options.conv and options.k > options.n_components:
        raise OptionError(
            "--k", f"Expected at most --n-components={options.n_components}, got {options.k}."
        )
    if options.folder is not None and not os.path.isdir(options.folder):
        got = "a file" if os.path.exists(options.folder) else "nothing there"
        raise OptionError("FOLDER", f"Expected a folder of images, got {got}: {options.folder!r}.")
    try:
        check_writable(options.output)
    except (OSError, ValueError) as error:  # a name with a null in it is the latter
        raise OptionError("--output", f"Expected a folder to write to. {error}") from error
    if options.folder is not None:
        picture = picture_to_be_replaced(options.output, options.folder)
        if picture is not None:
            raise OptionError(
                "--output", f"Expected a folder without the picture {picture!r}, to be replaced."
            )


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that says defaults, but for those that its text explains."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


def _parser():
    parser = _Parser(prog=PROGRAM, description=_DESCRIPTION, formatter_class=_Help)
    _add_image_options(parser.add_argument)
    _add_model_options(parser.add_argument)
    _add_run_options(parser.add_argument)
    return parser


def _add_image_options(add):
    add("folder", nargs="?", metavar="FOLDER", help="images to learn; without one, the photographs")
    add("--size", type=_height_and_width, default="64x64", metavar="HxW", help="in pixels")
    add("--mode", choices=["RGB", "L"], default="RGB", help="colour or grey")
    add("--aspect", choices=["stretch", "crop", "pad"], default="stretch",
        help="how images of another shape are brought to the size")  # fmt: skip
    add("--on-error", choices=["warn", "raise"], default="warn",
        help="leave out unreadable files, and images beside folders of classes, with a note; or "
        "stop with an error")  # fmt: skip
    add("--augment", action="store_true", help="also learn five new variants of each image")


def _add_model_options(add):
    add("--conv", action="store_true", help="small atoms that are looked for at all places")
    add("--kernel-size", type=_count, metavar="P",
        help="side of such an atom in pixels (default: 8)")  # fmt: skip
    add("--stride", type=_count, metavar="P",
        help="distance of places in pixels (default: half of an atom)")  # fmt: skip
    add("--n-components", type=_count, metavar="N",
        help="atoms of a member (default: 1024; 128 with --conv)")  # fmt: skip
    add("--k", type=_count_or_fraction, help="active atoms of an image, or a fraction of N, with "
        "--conv of N at all places (default: 64; with --conv 0.05, but at most an eighth of the "
        "pixels)")  # fmt: skip
    add("--members", type=_count, metavar="E", help="number of autoencoders (default: 3; 1 with "
        "--conv)")  # fmt: skip
    add("--consistency", type=_weight, default=0.0, metavar="C",
        help="weight of the term that makes the members' codes similar")  # fmt: skip
    add("--epochs", type=_count, default=10, metavar="N", help="passes over the training images")
    add("--batch-size", type=_count, default=32, metavar="N", help="images of a training step")
    add("--learning-rate", type=_rate, default="auto", metavar="R", help="step size of Adam")
    add("--untied", action="store_true", help="separate weights for the encoder")
    add("--transform-algorithm", choices=["topk", "omp"], default="topk", help="coding method")
    add("--init", choices=["pca", "orthogonal", "random"], default="pca", help="initial atoms")


def _add_run_options(add):
    add("--device", type=_device, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--seed", type=_seed, default=0, metavar="N", help="seed of all random numbers")
    add("--output", type=Path, default=OUTPUT_FOLDER, metavar="FOLDER", help="folder to write to")


# --- Types of values: each returns the value, or says what was expected ---


def _refuse(expected, text):
    raise argparse.ArgumentTypeError(f"Expected {expected}, got {text!r}.")


def _whole(text):
    """Return a whole number, or None."""
    # Python's int also takes underscores, spaces, digits of other scripts, and any length.
    return int(text) if re.fullmatch(r"[+-]?\d+", text, re.ASCII) and len(text) < 19 else None


def _number(text):
    """Return a finite number, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _height_and_width(text):
    height, separator, width = text.partition("x")
    sides = _whole(height), _whole(width if separator else height)
    if None in sides or min(sides) < 1:
        _refuse("HxW, as 64x48, or one number for both", text)
    return sides


def _count(text):
    number = _whole(text)
    if number is None or number < 1:
        _refuse("a whole number of at least 1", text)
    return number


def _count_or_fraction(text):
    number = _whole(text)
    if number is None:
        number = _number(text)
        if number is not None and 0 < number < 1:
            return number
    elif number >= 1:
        return number
    _refuse("a whole number of at least 1, or a fraction between 0 and 1", text)


def _weight(text):
    number = _number(text)
    if number is None or number < 0:
        _refuse("a number of at least 0", text)
    return number


def _rate(text):
    if text == "auto":
        return text
    number = _number(text)
    if number is None or number <= 0:
        _refuse("a number above 0, or auto", text)
    return number


def _seed(text):
    number = _whole(text)
    if number is None or not 0 <= number <= _LARGEST_SEED:
        _refuse(f"a whole number from 0 to {_LARGEST_SEED}", text)
    return number


def _device(text):
    # Whether this machine has it is checked later, because only torch can tell.
    if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d+)?", text, re.ASCII):
        _refuse("auto, cpu, cuda, cuda:N or mps", text)
    return text
