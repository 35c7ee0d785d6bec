"""Types of the options' values: each returns the value, or says what was expected."""

import argparse
import math
import re

FORMATS = "saelens", "sparsify", "dictionary_learning", "saev"  # of `skl_sae.interop`
OURS = "skl_sae"
_LARGEST_SEED = 2**32 - 1  # of NumPy's generator


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


def height_and_width(text):
    height, separator, width = text.partition("x")
    sides = _whole(height), _whole(width if separator else height)
    if None in sides or min(sides) < 1:
        _refuse("HxW, as 64x48, or one number for both", text)
    return sides


def _whole_from(lowest, text):
    number = _whole(text)
    if number is None or number < lowest:
        _refuse(f"a whole number of at least {lowest}", text)
    return number


def count(text):
    return _whole_from(1, text)


def index(text):
    return _whole_from(0, text)


def count_or_fraction(text):
    number = _whole(text)
    if number is None:
        number = _number(text)
        if number is not None and 0 < number < 1:
            return number
    elif number >= 1:
        return number
    _refuse("a whole number of at least 1, or a fraction between 0 and 1", text)


def weight(text):
    number = _number(text)
    if number is None or number < 0:
        _refuse("a number of at least 0", text)
    return number


def rate(text):
    if text == "auto":
        return text
    number = _number(text)
    if number is None or number <= 0:
        _refuse("a number above 0, or auto", text)
    return number


def seed(text):
    number = _whole(text)
    if number is None or not 0 <= number <= _LARGEST_SEED:
        _refuse(f"a whole number from 0 to {_LARGEST_SEED}", text)
    return number


def device(text):
    # Whether this machine has it is checked later, because only torch can tell.
    if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d+)?", text, re.ASCII):
        _refuse("auto, cpu, cuda, cuda:N or mps", text)
    return text


def one_of(*choices):
    """Type of one of some words, whose error says all of them."""

    def word(text):
        if text not in choices:
            _refuse(" or ".join(choices), text)
        return text

    return word


def format_of_models(text):
    """Format of a file or folder of models, in which a hyphen is as good as an underscore."""
    return one_of(*FORMATS, OURS)(text.replace("-", "_"))
