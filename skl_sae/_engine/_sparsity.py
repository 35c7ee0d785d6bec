"""Which activations count: the k largest of a row, of a batch, or those above a threshold.

Shapes: E members, B rows, H atoms. Picks are numbers and their places along the last axis,
as many for each row as the fullest has: others are filled up with the number 0 at any place.
"""

import torch
from torch.nn.functional import pad

from ._threads import share_operators

# Rows to look at in one piece, which threads share where there are so many numbers.
_ROWS = 64
_SHARED_NUMBERS = 2**20


def top_k(values, k):
    """The k largest numbers along the last axis, in no order, and their places.

    Where k is much smaller than a long axis, that is first cut into groups: the k largest
    numbers lie in the k groups with the largest maxima.
    """
    return _in_pieces(_top_k, values, k)


def _in_pieces(search, values, k):
    """What a search gives for (E, B, H) values and k, the rows in pieces if they are many."""
    if values.device.type != "cpu" or values.numel() < _SHARED_NUMBERS:
        return search(values, k)
    pieces = values.split(_ROWS, dim=1)
    found = [None] * len(pieces)

    def look(i):
        found[i] = search(pieces[i], k)

    share_operators(look, range(len(pieces)))
    return tuple(torch.cat(part, dim=1) for part in zip(*found, strict=True))


def _top_k(values, k):
    n_values = values.shape[-1]
    group, least = 8, 512
    if values.device.type != "cpu" or n_values % group or n_values < max(least, 2 * group * k):
        return values.topk(k, sorted=False)
    n_groups = n_values // group
    groups = values.unflatten(-1, (group, n_groups))
    chosen = groups.amax(-2).topk(k, sorted=False).indices
    places = chosen[..., None, :] + torch.arange(0, n_values, n_groups)[:, None]
    places = places.flatten(-2)
    largest, within = values.gather(-1, places).topk(k, sorted=False)
    return largest, places.gather(-1, within)


def batch_top_k(values, k):
    """The k B largest numbers of each member's (B, H), and their places: both (E, B, picks).

    Of numbers that are equal as many are taken as belong to the k B largest. Rows that have fewer
    than the fullest are filled up with zeros.
    """
    n_rows, n_values = values.shape[1:]
    width = min(n_values, 4 * k)
    while True:
        largest, places = _in_pieces(torch.topk, values, width)
        chosen = largest.flatten(1).topk(k * n_rows)
        if width == n_values or (largest[..., -1] < chosen.values.amin(1)[:, None]).all():
            break
        width = min(n_values, 2 * width)  # of some row we have not seen enough
    counts = torch.zeros(values.shape[:2], dtype=torch.long, device=values.device)
    counts.scatter_add_(1, chosen.indices // width, torch.ones_like(chosen.indices))
    return trimmed(largest, places, torch.arange(width, device=values.device) < counts[..., None])


def above(values, thresholds):
    """The numbers that reach the member's threshold, and their places, filled up with zeros."""
    fullest = int((values >= thresholds[:, None, None]).sum(2).max())
    largest, places = _in_pieces(torch.topk, values, max(1, fullest))
    return trimmed(largest, places, largest >= thresholds[:, None, None])


def fitting_threshold(activations, k):
    """The threshold, a tensor above 0, that k of a row's activations (B, H) reach on average."""
    smallest = activations.flatten().topk(k * len(activations)).values[-1]
    return smallest.clamp(min=torch.finfo(torch.float32).tiny)


def trimmed(largest, places, kept):
    """Of numbers in falling order those kept, which are the first of each row; zero others."""
    n_picks = max(1, int(kept.sum(2).max()))
    picks = torch.where(kept, largest, 0)[..., :n_picks], places[..., :n_picks]
    return tuple(part.contiguous() for part in picks)


def dense_codes(activations, atoms, n_components):
    """Picks of shape (E, B, any) as codes with their zeros: shape (E, B, H)."""
    codes = activations.new_zeros(*atoms.shape[:2], n_components)
    return codes.scatter_add_(2, atoms, activations)  # what fills up is added, as 0


def stack_padded(parts):
    """Members' picks, each (1, B, any), as one tensor (E, B, most), filled up with zeros."""
    most = max(part.shape[2] for part in parts)
    return torch.cat([pad(part, (0, most - part.shape[2])) for part in parts])
