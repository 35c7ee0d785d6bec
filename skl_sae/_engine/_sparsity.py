"""Selection of activations: the k largest of a row, of a batch, or those above a threshold.

Shapes: E members, B rows, H atoms.
"""

import torch
from torch.nn.functional import pad

from ._parameters import ActiveAtoms
from ._threads import share_operators
from ._tuning import GROUP, LEAST_GROUPED, SEARCHED_ROWS, SHARED_SEARCH


def top_k(values, k):
    """Select the k largest numbers along the last axis, in no order.

    Where k is much smaller than a long axis, that is first cut into groups: the k largest
    numbers lie in the k groups with the largest maxima.
    """
    return _in_pieces(_top_k, values, k)


def _in_pieces(search, values, k):
    """Search (E, B, H) values, the rows in pieces if there are many."""
    if values.device.type != "cpu" or values.numel() < SHARED_SEARCH:
        return search(values, k)
    pieces = values.split(SEARCHED_ROWS, dim=1)
    found = [None] * len(pieces)

    def look(i):
        found[i] = search(pieces[i], k)

    share_operators(look, range(len(pieces)))
    return ActiveAtoms(*(torch.cat(part, dim=1) for part in zip(*found, strict=True)))


def _top_k(values, k):
    n_values = values.shape[-1]
    is_long = n_values >= max(LEAST_GROUPED, 2 * GROUP * k)
    if values.device.type != "cpu" or n_values % GROUP or not is_long:
        return _torch_top_k(values, k, sorted=False)
    n_groups = n_values // GROUP
    groups = values.unflatten(-1, (GROUP, n_groups))
    chosen = groups.amax(-2).topk(k, sorted=False).indices
    indices = chosen[..., None, :] + torch.arange(0, n_values, n_groups)[:, None]
    indices = indices.flatten(-2)
    largest, within = values.gather(-1, indices).topk(k, sorted=False)
    return ActiveAtoms(indices.gather(-1, within), largest)


def _torch_top_k(values, k, sorted=True):
    largest, indices = values.topk(k, sorted=sorted)
    return ActiveAtoms(indices, largest)


def batch_top_k(values, k, weight=None):
    """Select the k B largest numbers of each member's (B, H).

    Of equal numbers as many are taken as belong to the k B largest. With weights (E, B) the
    numbers of a row count as often as its weight says, up to k times the sum of the weights.
    """
    n_values = values.shape[2]
    width = min(n_values, 4 * k)
    while True:
        largest = _in_pieces(_torch_top_k, values, width)
        chosen, least = _within_budget(largest.values, k, weight)
        if width == n_values or (largest.values[..., -1] < least[:, None]).all():
            break
        # Some row may have more numbers within the budget than were looked at.
        width = min(n_values, 2 * width)
    counts = torch.zeros(values.shape[:2], dtype=torch.long, device=values.device)
    counts.scatter_add_(1, chosen.indices // width, chosen.values)
    return trimmed(largest, torch.arange(width, device=values.device) < counts[..., None])


def _within_budget(values, k, weight):
    """Flat indices of the values within the budget, 1 for those that are; and the least of them."""
    flat = values.flatten(1)
    if weight is None:
        chosen = flat.topk(k * values.shape[1])
        within = torch.ones_like(chosen.indices)
        return ActiveAtoms(chosen.indices, within), chosen.values.amin(1)
    # Numbers in falling order are taken while the sum of their rows' weights is in the budget.
    largest, indices = flat.sort(dim=1, descending=True)
    weight = weight.double()
    of_number = weight.gather(1, indices // values.shape[2])
    budget = k * weight.sum(1, keepdim=True) * (1 + 1e-6)
    within = (of_number.cumsum(1) <= budget) & (of_number > 0)
    least = torch.where(within, largest, largest[:, :1]).amin(1)
    return ActiveAtoms(indices, within.long()), least


def above(values, thresholds):
    """Select the numbers that reach the threshold of their member, (E,), or atom, (E, H)."""
    if thresholds.ndim == 2:
        values = torch.where(values >= thresholds[:, None], values, 0)
        thresholds = torch.full_like(thresholds[:, 0], torch.finfo(torch.float32).tiny)
    fullest = int((values >= thresholds[:, None, None]).sum(2).max())
    largest = _in_pieces(_torch_top_k, values, max(1, fullest))
    return trimmed(largest, largest.values >= thresholds[:, None, None])


def fitting_threshold(activations, k):
    """Find the threshold, above 0, that k of a row's activations (B, H) reach on average."""
    n_active = min(max(1, round(k * len(activations))), activations.numel())
    smallest = activations.flatten().topk(n_active).values[-1]
    return smallest.clamp(min=torch.finfo(torch.float32).tiny)


def trimmed(largest, kept):
    """Keep the first numbers of each row, which fall; the others become 0."""
    n_picks = max(1, int(kept.sum(2).max()))
    values = torch.where(kept, largest.values, 0)[..., :n_picks]
    return ActiveAtoms(largest.indices[..., :n_picks].contiguous(), values.contiguous())


def dense_codes(active, n_components):
    """Write active atoms as codes with their zeros: shape (E, B, H)."""
    codes = active.values.new_zeros(*active.indices.shape[:2], n_components)
    return codes.scatter_add_(2, *active)  # what fills up is added, as 0


def stack_padded(members):
    """Join the active atoms of members, each (1, B, any), filled up with zeros."""
    most = max(active.indices.shape[2] for active in members)
    return ActiveAtoms(*(
        torch.cat([pad(part, (0, most - part.shape[2])) for part in parts])
        for parts in zip(*members, strict=True)
    ))  # fmt: skip
