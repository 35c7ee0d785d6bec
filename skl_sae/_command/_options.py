"""Options of the command, checked as far as possible without torch and without reading images."""

import argparse
import os
import re
import sys
from pathlib import Path

from .. import __version__
from ..images._marker import OUTPUT_FOLDER
from ._output import FILES, MODEL, TABLES, check_writable, picture_to_be_replaced
from ._values import (
    FORMATS,
    OURS,
    count,
    count_or_fraction,
    device,
    format_of_models,
    height_and_width,
    index,
    one_of,
    rate,
    seed,
    weight,
)

# Its name, as it was called.
_SCRIPT = Path(sys.argv[0]).name.startswith("skl-sae")
PROGRAM = "skl-sae" if _SCRIPT else "python -m skl_sae"
_KERNEL_SIZE = 8
_DESCRIPTION = (
    "Top-K sparse autoencoders for images: learn the images of a folder, apply what was learned "
    "to other images, and look at it. Where no command is named, fit is meant."
)
_DESCRIPTIONS = {
    "fit": (
        "learn the images of a folder, and write a report",
        "Train Top-K sparse autoencoders on the images of a folder, or on crops of the two "
        "photographs that come with scikit-learn; print held-out figures beside those of PCA with "
        "as many active numbers; and write model.safetensors (for transform, report, info, convert "
        "and skl_sae.load), codes.npz (the codes of all images), training.png, report.html (the "
        "held-out images and the atoms, to look at in a browser) and, for a folder, images.csv "
        "(the file of each row of the codes). Sub-folders are classes. Output of earlier runs is "
        "not learned.",
    ),
    "transform": (
        "code the images of a folder by a saved model",
        "Code the images of a folder by a model that fit wrote, or skl_sae.save of a Pipeline with "
        "an ImageLoader; the file says how images are loaded. Writes codes.npz (CSR, for "
        "scipy.sparse.load_npz) and codes.csv: a line for each image with its file, class, "
        "correlation with its reconstruction, number of active atoms, and these with their values.",
    ),
    "report": (
        "write a report on a saved model and the images of a folder",
        "Write report.html, one page to look at in a browser: the images of a folder, their "
        "reconstructions by a saved model, and its atoms.",
    ),
    "info": (
        "say what a model's file holds",
        "Say what a model's file holds: how images are loaded, classes, sizes, parameters that "
        "differ from the defaults, figures of held-out images, and the checksum.",
    ),
    "convert": (
        "write a model for another library, or read one of theirs",
        "Write a fitted TopKSparseAutoencoder as a folder that another library reads, or read such "
        "a folder into a file of ours. The format of IN is recognised.",
    ),
}


class OptionError(ValueError):
    """An unusable option; the message names it in the style of argparse."""

    def __init__(self, option, problem):
        super().__init__(f"argument {option}: {problem}")


class _Parser(argparse.ArgumentParser):
    """Argument parser that reports errors in one line, which begins with what was expected."""

    def error(self, message):
        message = " ".join(message.split())
        for pattern, ours in (
            ("the following arguments are required: (.*)", r"Expected \1, got nothing."),
            ("unrecognized arguments: (.*)", rf"Expected options that {self.prog} --help lists, "
             r"got \1."),
        ):  # fmt: skip
            message = re.sub(pattern, ours, message)
        self.exit(2, f"{PROGRAM}: error: {message}\n")


def parsed(arguments=None):
    """Return the options; if one of them is wrong, end the process with one line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if _SCRIPT and not arguments:
        arguments = ["--help"]
    first = arguments[0] if arguments else None
    if first in ("-h", "--help", "--version"):
        _top_parser().parse_args(arguments)
    command = first if first in _DESCRIPTIONS else "fit"
    parser = _parser(command)
    options = parser.parse_args(arguments[1:] if first == command else arguments)
    options.command = command
    try:
        _CHECKS[command](options)
    except OptionError as error:
        parser.error(str(error))
    return options


# --- Checks ---


def _check_fit(options):
    _complete(options)
    if not options.conv and options.k > options.n_components:
        raise OptionError(
            "--k", f"Expected at most --n-components={options.n_components}, got {options.k}."
        )
    if options.folder is not None:
        _check_folder(options)
    _check_output(options, FILES)
    if options.folder is not None:
        picture = picture_to_be_replaced(options.output, options.folder)
        if picture is not None:
            raise OptionError(
                "--output", f"Expected a folder without the picture {picture!r}, to be replaced."
            )


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


def _check_transform(options):
    _check_model(options)
    _check_folder(options)
    if options.output is None:
        # Not in the folder of fit, whose codes would be replaced.
        name = os.path.basename(os.path.realpath(options.folder)) or "images"
        options.output = Path(OUTPUT_FOLDER, name)
    _check_output(options, TABLES)


def _check_report(options):
    _check_model(options)
    _check_folder(options)
    _check_output(options, ["report.html"])


def _check_model(options):
    """The model's file; of a folder that fit has written to, the file in it."""
    if options.model.is_dir():
        options.model = options.model / MODEL
    if not options.model.is_file():
        got = "something else" if options.model.exists() else "nothing there"
        raise OptionError("MODEL", f"Expected a model's file, got {got}: {str(options.model)!r}.")


def _check_folder(options):
    if not os.path.isdir(options.folder):
        got = "a file" if os.path.exists(options.folder) else "nothing there"
        raise OptionError("FOLDER", f"Expected a folder of images, got {got}: {options.folder!r}.")


def _check_output(options, names):
    try:
        check_writable(options.output, names)
    except (OSError, ValueError) as error:  # a name with a null in it is the latter
        raise OptionError("--output", f"Expected a folder to write to. {error}") from error


def _check_convert(options):
    if not os.path.exists(options.source):
        raise OptionError(
            "IN", f"Expected a model's file or folder, got nothing there: {str(options.source)!r}."
        )
    if options.to == OURS:
        if options.target.is_dir():
            raise OptionError("OUT", f"Expected a file, got the folder {str(options.target)!r}.")
    elif options.target.exists() and not options.target.is_dir():
        raise OptionError("OUT", f"Expected a folder, got the file {str(options.target)!r}.")


_CHECKS = {
    "fit": _check_fit,
    "transform": _check_transform,
    "report": _check_report,
    "info": _check_model,
    "convert": _check_convert,
}


# --- Parsers ---


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Help that says defaults, but for those that its text explains."""

    def _get_help_string(self, action):
        is_plain = action.default is None or action.default is False  # not 0, which is one
        return action.help if is_plain else super()._get_help_string(action)


class _TopParser(_Parser):
    """Parser of the command without the name of one of its parts, whose help has that of fit."""

    def format_help(self):
        return f"{super().format_help()}\n\n{_parser('fit').format_help()}"


def _top_parser():
    parser = _TopParser(prog=PROGRAM, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"skl-sae {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, (summary, _) in _DESCRIPTIONS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


def _parser(command):
    parser = _Parser(
        prog=f"{PROGRAM} {command}", description=_DESCRIPTIONS[command][1], formatter_class=_Help
    )
    _OPTIONS[command](parser.add_argument)
    return parser


def _fit_options(add):
    add("folder", nargs="?", metavar="FOLDER", help="images to learn; without one, the photographs")
    add("--size", type=height_and_width, default="64x64", metavar="HxW", help="in pixels")
    _add_choice(add, "--mode", ["RGB", "L"], "colour or grey")
    _add_choice(
        add, "--aspect", ["stretch", "crop", "pad"],
        "how images of another shape are brought to the size",
    )  # fmt: skip
    _add_on_error(add)
    add("--augment", action="store_true", help="also learn five new variants of each image")
    _add_model_options(add)
    _add_device(add)
    add("--seed", type=seed, default=0, metavar="N", help="seed of all random numbers")
    _add_output(add, OUTPUT_FOLDER)
    _add_quiet(add)


def _add_model_options(add):
    add("--conv", action="store_true", help="small atoms that are looked for at all places")
    add("--kernel-size", type=count, metavar="P",
        help="side of such an atom in pixels (default: 8)")  # fmt: skip
    add("--stride", type=count, metavar="P",
        help="distance of places in pixels (default: half of an atom)")  # fmt: skip
    add("--n-components", type=count, metavar="N",
        help="atoms of a member (default: 1024; 128 with --conv)")  # fmt: skip
    add("--k", type=count_or_fraction, help="active atoms of an image, or a fraction of N, with "
        "--conv of N at all places (default: 64; with --conv 0.05, but at most an eighth of the "
        "pixels)")  # fmt: skip
    add("--members", type=count, metavar="E", help="number of autoencoders (default: 3; 1 with "
        "--conv)")  # fmt: skip
    add("--consistency", type=weight, default=0.0, metavar="C",
        help="weight of the term that makes the members' codes similar")  # fmt: skip
    add("--epochs", type=count, default=10, metavar="N", help="passes over the training images")
    add("--batch-size", type=count, default=32, metavar="N", help="images of a training step")
    add("--learning-rate", type=rate, default="auto", metavar="R", help="step size of Adam")
    add("--untied", action="store_true", help="separate weights for the encoder")
    _add_choice(add, "--transform-algorithm", ["topk", "omp"], "coding method")
    _add_choice(add, "--init", ["pca", "orthogonal", "random"], "initial atoms")


def _transform_options(add):
    _add_model(add)
    _add_folder(add, "images to code")
    _add_on_error(add)
    _add_device(add, None)
    add("--output", type=Path, metavar="FOLDER",
        help=f"folder to write to (default: a folder in {OUTPUT_FOLDER} named like that of the "
        "images)")  # fmt: skip
    _add_quiet(add)


def _report_options(add):
    _add_model(add)
    _add_folder(add, "images to show; sub-folders are classes")
    _add_on_error(add)
    _add_device(add, None)
    _add_output(add, OUTPUT_FOLDER)
    add("--open", action="store_true", help="open the page in the browser")
    _add_quiet(add)


def _info_options(add):
    _add_model(add)


def _convert_options(add):
    add("source", type=Path, metavar="IN", help="file of ours, or folder of another library")
    add("target", type=Path, metavar="OUT",
        help="folder to write for another library, or file of ours")  # fmt: skip
    add("--to", type=format_of_models, default=OURS, metavar="FORMAT",
        help=f"{', '.join(FORMATS)} or {OURS}")  # fmt: skip
    add("--member", type=index, metavar="N",
        help="member to write, of which such a folder holds one; a stage or member of an ensemble, "
        "counted as its codes have them (default: 0)")  # fmt: skip
    _add_quiet(add)


_OPTIONS = {
    "fit": _fit_options,
    "transform": _transform_options,
    "report": _report_options,
    "info": _info_options,
    "convert": _convert_options,
}


def _add_choice(add, name, choices, help):
    # Not choices=..., whose error does not begin with what was expected.
    add(name, type=one_of(*choices), default=choices[0], metavar=f"{{{','.join(choices)}}}",
        help=help)  # fmt: skip


def _add_model(add):
    add("model", type=Path, metavar="MODEL",
        help=f"file of a model, or the folder that holds it as {MODEL}")  # fmt: skip


def _add_folder(add, help):
    add("folder", metavar="FOLDER", help=help)


def _add_on_error(add):
    _add_choice(
        add, "--on-error", ["warn", "raise"],
        "leave out unreadable files, and images beside folders of classes, with a note; or stop "
        "with an error",
    )  # fmt: skip


def _add_device(add, default="auto"):
    of_model = "" if default else " (default: that of the model)"
    add("--device", type=device, default=default, metavar="NAME",
        help=f"auto, cpu, cuda, cuda:N or mps{of_model}")  # fmt: skip


def _add_output(add, default):
    add("--output", type=Path, default=default, metavar="FOLDER", help="folder to write to")


def _add_quiet(add):
    add("--quiet", action="store_true", help="say nothing but errors")
