"""Initial parameters: unit-norm atoms, drawn independently for each member, and biases."""

from typing import NamedTuple

import numpy as np
import torch

from .._parameters import Parameters, n_always_active
from .._sparsity import dense_codes, fitting_threshold, top_k
from .._threads import one_thread, product
from ._announce import announced
from ._principal import N_SHARED, N_SHARED_NESTED, Layout, sparse_directions, useful_layout

# Principal directions come from square matrices with sides of n_features or n_rows, the smaller.
# These bound the side, and so the time (seconds) and memory for any amount of data.
MAX_SIDE = 2048
MAX_ROWS = 2**15
# Principal directions of all features, not rotated.
PLAIN = Layout(1, 0)
# Shares of the rows on which each atom that is no principal direction is above 0, from the most
# useful (digits: FVU 0.148 after training, 0.153 where all such atoms fire freely) to the safest:
# 0 keeps it silent.
SPARE_RATES = 0.1, 0.03, 0.01, 0.001, 0
# Bias of a silent atom, in scaled units, which no row comes near.
DORMANT = 1e9
# An atom that is always on answers rows up to so many times the largest of those seen.
SHIFT = 2.0
# Fewest rows held out, or rows without any held out, that can judge; and most that do.
MIN_JUDGES, MIN_ROWS, MOST_JUDGES = 5, 50, 2**10
# Atoms that fire freely do much harm if they leave so much more of the rows that were learned.
MUCH_HARM = 0.05
# Share of the variance that a hundredth of the rows must not hold.
HEAVY_TAIL = 0.2


@one_thread()
def initial_parameters(kind, rows, shape, code, generator, judges=None, choices=None):
    """Atoms, biases and centres of each member to start from.

    Parameters
    ----------
    kind : {"random", "orthogonal", "pca"}
        "random" draws directions uniformly. "orthogonal" makes as many of them orthogonal
        to one another as the number of features allows. "pca" takes plus and minus the
        principal directions of the rows or of groups of their features, rotated to code them
        by few; a simpler start replaces it where that leaves less of the judges.
    rows : tensor of shape (n_rows, D)
        Centred data; None unless they are needed.
    shape : tuple (E, H, D)
        Members, atoms, features.
    code : Code
        How rows will be coded.
    generator : torch.Generator
        Where random numbers come from.
    judges : tensor of shape (n_judges, D) or None
        Rows held out, by which the start is chosen. None takes the rows themselves.
    choices : list of Choice or None
        What was chosen for each member at an earlier call; None chooses.

    Returns
    -------
    parameters : Parameters
        NumPy arrays of dtype float32, tied.
    choices : list of Choice
        For another call; empty where nothing was chosen.
    """
    parameters = _blank(np.empty(shape, np.float32))
    arrays = parameters.decoder, parameters.bias, parameters.centers
    members = [Start(*parts) for parts in zip(*map(torch.from_numpy, arrays), strict=True)]
    if kind == "pca":
        return parameters, _fill_principal(members, rows, code, generator, judges, choices)
    for member in members:
        (_fill_orthogonal if kind == "orthogonal" else _fill_random)(member.atoms, generator)
    return parameters, []


def _blank(decoder):
    """Tied parameters with these atoms, without biases or centres."""
    n_members, n_components, n_features = decoder.shape
    bias, centers = (np.zeros((n_members, n), np.float32) for n in (n_components, n_features))
    return Parameters(decoder, None, bias, centers)


def _fill_principal(members, rows, code, generator, judges, choices):
    """Fill in principal starts; returns what was chosen for each member."""
    layout, chosen = None, []
    n_atoms = len(members[0].atoms)
    code = code._replace(k=min(code.k, n_atoms))
    for i, member in enumerate(members):
        drawn = _sample(rows, len(members) == 1, generator)
        if not choices:
            layout = layout or useful_layout(
                drawn, -(-n_atoms // 2), code.k, _seed(generator), code.n_shared
            )
            allowed = allowed_choices(layout, drawn, judges, n_atoms, code.k)
        else:
            (n_groups, n_rounds), rate = choices[i]  # lists, where a file had them
            allowed = [Choice(Layout(n_groups, n_rounds), rate)]
        starts = _principal_starts(drawn, n_atoms, code, allowed, generator)
        if len(allowed) == 1:  # nothing to judge
            choice, start = next(starts)
        else:
            starts = announced(starts, len(allowed), i, len(members))
            choice, start = least_error(starts, drawn[:MOST_JUDGES], judges, code)
        chosen.append(choice)
        for part, of_start in zip(member, start, strict=True):
            part.copy_(of_start)
    return chosen


class Code(NamedTuple):
    """The k largest activations count: of each row, or on average, by a threshold."""

    k: int
    of_each_row: bool
    is_nested: bool = False  # the first atoms are models, too

    @property
    def n_shared(self):
        """Number of leading directions that each group of features shares with the others."""
        return N_SHARED_NESTED if self.is_nested else N_SHARED


class Start(NamedTuple):
    """Start of a member: it codes a row x as TopK(ReLU(atoms (x - center) + bias))."""

    atoms: torch.Tensor  # (H, D)
    bias: torch.Tensor  # (H,)
    center: torch.Tensor  # (D,)


class Choice(NamedTuple):
    """One of the ways to start from principal directions."""

    layout: Layout
    spare_rate: float | None  # one of SPARE_RATES; None: there are fewer than 2 k atoms


# --- Which start is taken ---


def allowed_choices(layout, rows, judges, n_atoms, k):
    """The choices that may be judged, from the richest to the plainest.

    The plainest reconstructs every row at least as well as PCA with k components does: of
    orthonormal coordinates, each in both signs, the k largest count.
    """
    rates = SPARE_RATES if can_judge(rows, judges) else SPARE_RATES[-1:]
    # Rows that were learned do not tell which directions are good; `useful_layout` does.
    layouts = [layout] if layout == PLAIN or judges is None else [layout, PLAIN]
    choices = [Choice(layout_, rate) for layout_ in layouts for rate in rates]
    return choices + [Choice(PLAIN, None)] * (2 * k > n_atoms)


def can_judge(rows, judges):
    """Whether held-out rows can tell a good start from a dangerous one.

    A handful cannot, and none can where a few rows hold most of the variance: the next such row
    decides.
    """
    if len(rows) < MIN_ROWS if judges is None else len(judges) < MIN_JUDGES:
        return False
    # Share of the variance that the largest hundredth of the rows holds.
    squares = torch.cat([part.double().square().sum(1) for part in rows.split(256)])
    squares = squares.sort(descending=True).values
    return float(squares[: -(-len(rows) // 100)].sum()) < HEAVY_TAIL * float(squares.sum())


def least_error(starts, rows, judges, code):
    """The start, with its choice, that leaves least of the rows held out; of equals the first.

    Rows that were learned have a say in how freely atoms fire: rare rows on which such atoms do
    much harm are among these. Without rows held out they decide.
    """
    best, least_held_out, least = None, np.inf, np.inf
    for choice, start in starts:
        error = one_pass_error(start, rows, code)
        held_out = error if judges is None else one_pass_error(start, judges, code)
        # Choices come from rich to plain, and those of one layout differ in how often spare atoms
        # fire. A plainer one of them is only taken for a reason: the held-out error falls, or
        # the error on learned rows, where rare harmful rows show, falls by a good deal.
        if best is not None and choice.layout == best[0].layout:
            is_harmless = judges is None or held_out >= least_held_out
            is_better = error < (1 - MUCH_HARM) * least or not is_harmless
        else:
            is_better = held_out < least_held_out
        if best is None or is_better:
            best, least_held_out, least = (choice, start), held_out, error
    return best


def one_pass_error(start, rows, code):
    """The squared error of rows in one pass of the encoder, in float64."""
    error, threshold = 0.0, 0.0
    # Batch top-k has a threshold for all rows, such that k activations a row reach it on average.
    if not code.of_each_row:
        threshold = fitting_threshold(_activations(start, rows), code.k)
    for part in rows.split(256):
        centred = part - start.center
        activations = _activations(start, part)
        if code.of_each_row:
            active = top_k(activations[None], code.k)
            codes = dense_codes(active, len(start.atoms))[0]
        else:
            codes = torch.where(activations >= threshold, activations, 0)
        error += float((product(codes, start.atoms) - centred).double().square().sum())
    return error


def _activations(start, rows):
    return product(rows - start.center, start.atoms.T).add_(start.bias).clamp_(min=0)


def _principal_starts(rows, n_atoms, code, choices, generator):
    """The choices with what they come to; atoms of one layout are the same but for biases."""
    layout, k = None, code.k
    for choice in choices:
        if choice.spare_rate is None:
            yield choice, _always_on(rows, n_atoms, code, generator)
            continue
        if choice.layout != layout:
            layout = choice.layout
            directions = sparse_directions(
                rows, -(-n_atoms // 2), k, layout, _seed(generator), code.n_shared
            )
            atoms = torch.empty(n_atoms, rows.shape[1])
            _fill_both_ways(atoms, directions, code, generator)
            # Pairs of atoms code both signs of a direction; the others are spare.
            n_paired = min(2 * len(directions), n_atoms)
            spare = product(rows[:MOST_JUDGES], atoms[n_paired:].T)
            spare = spare.sort(dim=0, descending=True).values
        elif n_paired == n_atoms:  # no spare atom, whose rate could differ
            continue
        bias = torch.zeros(n_atoms)
        bias[n_paired:] = _spare_bias(spare, choice.spare_rate)
        yield choice, Start(atoms, bias, torch.zeros(rows.shape[1]))


def _spare_bias(sorted_answers, rate):
    """Biases by which atoms are above 0 on this share of the rows."""
    if not rate:
        return -DORMANT
    # bias = -quantile: an answer a is above 0 after a + bias where it is among the largest.
    return -sorted_answers[int(rate * len(sorted_answers))].clamp(min=0)


def _always_on(rows, n_atoms, code, generator):
    """PCA with k components by fewer than 2 k atoms.

    A pair of atoms has a direction's two signs, of which one is active. Other directions have one
    atom, which a shift of the centre keeps active on any row.
    """
    k = code.k
    directions = sparse_directions(rows, k, k, PLAIN, _seed(generator))
    n_single = min(n_always_active(n_atoms, k), len(directions))
    single = directions[:n_single]
    paired = directions[n_single : n_single + (n_atoms - n_single) // 2]
    atoms = torch.empty(n_atoms, rows.shape[1])
    _fill_both_ways(atoms[n_single:], paired, code, generator)
    atoms[:n_single] = single
    bias = torch.zeros(n_atoms)
    bias[n_single + 2 * len(paired) :] = -DORMANT
    # Moving the centre by -s v makes an atom v answer s more, for all rows alike.
    largest = (rows @ single.T).abs().amax(0) if len(rows) else torch.zeros(n_single)
    return Start(atoms, bias, -(SHIFT * largest) @ single)


# --- Atoms ---


def _sample(rows, alone, generator):
    """All rows or as many as allowed; of several members, each draws four fifths of them."""
    n_rows, n_features = rows.shape
    # Members that saw the same rows would begin with the same atoms.
    n_drawn = n_rows if alone else max(1, n_rows * 4 // 5)
    n_drawn = min(n_drawn, MAX_ROWS if n_features <= MAX_SIDE else MAX_SIDE)
    return rows[torch.randperm(n_rows, generator=generator)[:n_drawn]]


def _fill_random(atoms, generator):
    atoms.normal_(generator=generator)
    torch.nn.functional.normalize(atoms, dim=1, out=atoms)


def _fill_orthogonal(atoms, generator):
    """Orthonormal rows, in independent sets where there are more atoms than features."""
    for part in atoms.split(atoms.shape[1]):
        part.normal_(generator=generator)
        basis, upper = torch.linalg.qr(part.T)
        # With this sign the directions are uniform (Mezzadri 2007, arXiv:math-ph/0609050).
        part.copy_((basis * upper.diagonal().sign()).T)


def _fill_both_ways(atoms, directions, code, generator):
    """Plus and minus the directions, strongest first, then random ones.

    Of nested models the k leading directions come first, then what is opposed to them, from the
    weakest to the strongest: the first 2 k - n of n < 2 k atoms need no opposite, see
    `n_always_active`.

    From the random ones the leading directions have been taken away, so that they answer where
    the directions leave something, unlike a mixture of the directions.
    """
    n_atoms, n_features = atoms.shape
    first, others = directions.tensor_split([code.k if code.is_nested else 0])
    pairs = torch.stack([others, -others], dim=1).flatten(0, 1)
    both = torch.cat([first, -first.flip(0), pairs])[:n_atoms]
    atoms[: len(both)] = both
    rest = atoms[len(both) :]
    if len(rest):
        _fill_random(rest, generator)
        # Up to k of them may be active in a row at once.
        n_leading = min(len(directions) - 1, max(code.k, len(directions) // 2), n_features - 1)
        leading = directions[: max(0, n_leading)]
        rest -= product(product(rest, leading.T), leading)
        torch.nn.functional.normalize(rest, dim=1, out=rest)


def _seed(generator):
    return int(torch.randint(2**31 - 1, (), generator=generator))


def given_parameters(atoms, shape):
    """Parameters with the atoms that the user gives, at unit norm; of shape (E, H, D)."""
    given = np.array(atoms, dtype=np.float32)
    expected = shape[1:] if shape[0] == 1 else shape
    if given.shape not in (expected, shape):
        raise ValueError(f"Expected init of shape {expected}, got {given.shape}.")
    norms = np.linalg.norm(given, axis=-1, keepdims=True)
    if not np.isfinite(given).all() or not norms.all():
        raise ValueError("Expected init with finite rows that are not all zero.")
    return _blank((given / norms).reshape(shape))
