"""A torch module, run on batches of images, and where in its output the places of images are."""

import contextlib
import difflib
import itertools
import math

import torch

# Tokens before those of places: the class token alone, with one for distillation (DeiT), or with
# four registers (DINOv2, DINOv3).
_MOST_PREFIX = 5
_NAMES_SHOWN = 8


@contextlib.contextmanager
def running(module, device):
    """The module on a device in evaluation mode, without gradients; afterwards as it was."""
    modes = [(part, part.training) for part in module.modules()]
    home = _home(module)[0]
    try:
        module.to(device).eval()
        with torch.inference_mode():
            yield
    finally:
        module.to(home)
        for part, mode in modes:
            part.training = mode


def _home(module):
    """Device and dtype of a module's numbers."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
    return first.device, first.dtype


def output_of(module, layer, batch):
    """Output of a layer, or for None of the module, for a batch (n, C, H, W): one tensor."""
    batch = batch.to(*_home(module))
    if layer is None:
        output = _called(module, batch)
    else:
        kept = []
        hook = submodule(module, layer).register_forward_hook(
            lambda part, given, output: kept.append(output)
        )
        try:
            _called(module, batch)
        finally:
            hook.remove()
        if not kept:
            raise ValueError(f"Expected a layer that runs in a pass, got layer={layer!r}.")
        output = kept[-1]
    output = tensor_in(output)
    if not output.ndim or len(output) != len(batch):
        raise ValueError(
            f"Expected an output with {len(batch)} images first, got shape {tuple(output.shape)}."
        )
    return output


def submodule(module, layer):
    """The layer of this name; a ValueError lists names like it."""
    layers = dict(module.named_modules())
    if layer and layer in layers:
        return layers[layer]
    names = [name for name in layers if name]
    near = difflib.get_close_matches(layer, names, _NAMES_SHOWN, cutoff=0.5)
    near = near or [name for name in names if "." not in name][-_NAMES_SHOWN:]
    raise ValueError(
        f"Expected layer to be the name of a layer of the model, such as {', '.join(near)}; "
        f"got {layer!r}."
    )


def _called(module, batch):
    try:
        return module(batch)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        channels, height, width = batch.shape[1:]
        raise ValueError(
            f"Expected images that the model takes; it refused {height} x {width} pixels of "
            f"{channels} channel(s){_channels_of(module)}: {error}"
        ) from error


def _channels_of(module):
    """Say how many channels the first convolution takes."""
    convolutions = (part for part in module.modules() if isinstance(part, torch.nn.Conv2d))
    first = next(convolutions, None)
    return "" if first is None else f" (its first convolution takes {first.in_channels})"


def tensor_in(output):
    """The tensor that an output is or holds; a ValueError says what is in any other."""
    if isinstance(output, torch.Tensor):
        return output
    if hasattr(output, "items"):
        return tensor_in(_entry(dict(output.items())))
    if isinstance(output, tuple) and output:  # the hidden state comes before what is said about it
        return tensor_in(output[0])
    if isinstance(output, list) and len(output) == 1:
        return tensor_in(output[0])
    size = f" of {len(output)} items" if isinstance(output, (tuple, list)) else ""
    raise ValueError(
        f"Expected one tensor from the model, got a {type(output).__name__}{size}. Name a layer, "
        "or give a module that picks one."
    )


def _entry(entries):
    if "last_hidden_state" in entries:
        return entries["last_hidden_state"]
    if len(entries) == 1:
        return next(iter(entries.values()))
    raise ValueError(
        "Expected one tensor from the model, or last_hidden_state among several, got "
        f"{', '.join(map(str, entries)) or 'nothing'}. Name a layer, or give a module that picks "
        "one."
    )


def rows_of(output, sides, pooling):
    """Rows of an output, one an image or one a place, and the shape of places, or None.

    Parameters
    ----------
    output : tensor (n, d), (n, tokens, d) or (n, d, rows, columns)
        For n images.
    sides : tuple (H, W)
        Of the images.
    pooling : {"mean", "max", "cls"} or None
        None gives (n * places, d), the others (n, d).
    """
    if output.ndim == 2 and pooling in ("mean", "max"):
        return output, None
    if output.ndim == 3:
        return _rows_of_tokens(output, sides, pooling)
    if output.ndim == 4 and pooling != "cls":
        return _pooled(output.flatten(2).transpose(1, 2), pooling), tuple(output.shape[2:])
    expected = "tokens (images, tokens, features)" if pooling == "cls" else "tokens or maps"
    raise ValueError(
        f"Expected {expected} from the model for pooling={pooling!r}, got an output of shape "
        f"{tuple(output.shape)}."
    )


def _rows_of_tokens(output, sides, pooling):
    shape, n_first = grid_of(output.shape[1], sides)
    if pooling != "cls":
        return _pooled(output[:, n_first:], pooling), shape
    if not n_first:
        raise ValueError(
            f"Expected a class token for pooling='cls', but the {output.shape[1]} tokens of the "
            f"output are {shape[0]} x {shape[1]} places."
        )
    return output[:, 0], shape


def grid_of(n_tokens, sides):
    """Rows and columns of places that tokens stand for, and the number of tokens before these.

    A patch is a square that divides the image; if no such patch fits, as in a model that resizes
    images itself, the grid has the image's proportions.
    """
    unit = math.gcd(*sides)
    shape = tuple(side // unit for side in sides)
    divisors = [n for n in range(unit, 0, -1) if unit % n == 0]
    for scales in (divisors, range(math.isqrt(n_tokens), 0, -1)):
        for scale in scales:
            rows, columns = (side * scale for side in shape)
            if 0 <= n_tokens - rows * columns <= _MOST_PREFIX:
                return (rows, columns), n_tokens - rows * columns
    raise ValueError(
        f"Expected tokens of a grid of places, after at most {_MOST_PREFIX} others, got {n_tokens} "
        f"of images of {sides[0]} x {sides[1]} pixels. Give a module that returns maps "
        "(images, features, rows, columns)."
    )


def _pooled(places, pooling):
    """Rows of places (n, P, d)."""
    if pooling is None:
        return places.flatten(0, 1)
    return places.mean(dim=1) if pooling == "mean" else places.amax(dim=1)
