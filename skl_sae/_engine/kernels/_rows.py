"""Compiled loops over rows and the atoms picked for them; how compiled loops are run.

torch's operators would need several passes over what one visit to each row can do, and on a
small batch each costs more than its arithmetic. Members' rows and atoms are worked on as one
list: of E members with H atoms each, atom h of member e has the number ``e H + h``.
"""

import numpy as np

from .._shares import share
from ._compile import compiled

# Features handled at a time, so that they stay in the first-level cache.
TILE = 2048
# Into so many ranges rows are cut, for any number of threads: enough that none waits long for the
# last, which may have to wait for a core.
N_RANGES = 32


@compiled
def _sink(values, places):
    """Restore the order of a heap, the smallest first, after its first number has grown."""
    at, value, place = 0, values[0], places[0]
    while True:
        below = 2 * at + 1
        if below + 1 < len(values) and values[below + 1] < values[below]:
            below += 1
        if below >= len(values) or values[below] >= value:
            break
        values[at], places[at] = values[below], places[below]
        at = below
    values[at], places[at] = value, place


@compiled
def fill_heap(row, allowed, heap, places):
    """Put the largest of the numbers that are allowed in a heap of zeros, if it has room."""
    if len(heap) == 0:
        return
    for h in range(len(row)):
        if allowed[h] and not row[h] <= heap[0]:
            if np.isnan(row[h]):
                heap[:] = np.nan
                return
            heap[0], places[0] = row[h], h
            _sink(heap, places)


@compiled
def positive_top_k(values, k, allowed):
    """The k largest positive numbers along the last axis, in no order, and their places.

    Where there are fewer than k the rest is 0, at the place 0; a NaN makes all of them NaN.

    Parameters
    ----------
    values : ndarray of shape (n_members, n_rows, n_components), dtype float32
        The numbers.
    k : int
        How many.
    allowed : ndarray of shape (n_members, n_components), dtype bool
        Which components to look at.
    """
    n_members, n_rows = values.shape[:2]
    largest = np.zeros((n_members, n_rows, k), np.float32)
    places = np.zeros((n_members, n_rows, k), np.int64)
    for e in range(n_members):
        for b in range(n_rows):
            fill_heap(values[e, b], allowed[e], largest[e, b], places[e, b])
    return largest, places


@compiled
def _add_atoms(row, atoms, activations, decoder):
    for start in range(0, len(row), TILE):
        tile = row[start : start + TILE]
        for pick in range(len(atoms)):
            activation = activations[pick]
            if activation != 0:
                atom = decoder[atoms[pick], start : start + TILE]
                for d in range(len(tile)):
                    tile[d] += activation * atom[d]


@compiled
def _multiply(row, atoms, decoder, slope, out):
    for pick in range(len(atoms)):
        atom = decoder[atoms[pick]]
        total = np.float32(0)
        for d in range(len(row)):
            total += atom[d] * row[d]
        out[pick] = slope * total


@compiled
def decode_rows(_, begin, end, decoder, picks, rows, slope, products):
    """The rows from begin to end of `decode_onto`."""
    atoms, activations = picks
    for i in range(begin, end):
        e, b = divmod(i, rows.shape[1])
        _add_atoms(rows[e, b], atoms[e, b], activations[e, b], decoder[e])
        if len(products):
            _multiply(rows[e, b], atoms[e, b], decoder[e], slope, products[e, b])


def decode_onto(rows, atoms, activations, decoder, slope, n_threads):
    """Add to rows, in place, their atoms times activations; slope times their products then.

    Parameters
    ----------
    rows : ndarray of shape (n_members, n_rows, n_features), dtype float32
        What is added to.
    atoms, activations : ndarray of shape (n_members, n_rows, n_picks)
        Picked atoms, numbered within the member, and their weights.
    decoder : ndarray of shape (n_members, n_components, n_features), dtype float32
        The members' atoms.
    slope : float or None
        Factor of the products; None for no products.
    n_threads : int or None
        Threads to share the rows, as in `run`.

    Returns
    -------
    products : ndarray of shape (n_members, n_rows, n_picks), dtype float32, or None
        Of the rows, after the addition, with their atoms.
    """
    products = np.empty((0, 0, 0) if slope is None else atoms.shape, np.float32)
    arguments = decoder, (atoms, activations), rows, np.float32(slope or 0), products
    run([(decode_rows, rows.shape[0] * rows.shape[1], arguments)], n_threads)
    return None if slope is None else products


@compiled
def count_firing(atoms, activations, fired_rows, rows_since_fired):
    """Note in both, of shape (n_members, n_components), which atoms fired in which rows."""
    n_members, n_rows, n_picks = atoms.shape
    for e in range(n_members):
        for h in range(rows_since_fired.shape[1]):
            rows_since_fired[e, h] += n_rows
        for b in range(n_rows):
            for pick in range(n_picks):
                if activations[e, b, pick] > 0:
                    fired_rows[e, atoms[e, b, pick]] += 1
                    rows_since_fired[e, atoms[e, b, pick]] = 0


@compiled
def _firsts(counts):
    """Where each atom's picks begin if those of all atoms stand in line; and where they end."""
    firsts = np.zeros(len(counts) + 1, np.int64)
    for atom in range(len(counts)):
        firsts[atom + 1] = firsts[atom] + counts[atom]
    return firsts


@compiled
def _count_picks(parts, n_members, n_components):
    counts = np.zeros(n_members * n_components, np.int64)
    for atoms, _, _, _ in parts:
        for i in range(n_members * atoms.shape[1]):
            e, b = divmod(i, atoms.shape[1])
            for pick in range(atoms.shape[2]):
                counts[e * n_components + atoms[e, b, pick]] += 1
    return counts


@compiled
def picks_by_atom(parts, slopes, encoder_bias, tied):
    """Gradients of atoms as sums of rows; what is needed besides of the bias's gradient.

    Parameters
    ----------
    parts : tuple of tuple (atoms, activations, products, gradient)
        Picks of each source in turn, all of shape (n_members, n_rows, any): atoms, numbered
        within the member; activations; the squared error's gradient at them; the whole loss's,
        which counts only where an atom is active.
    slopes : tuple of float
        By source, the gradient at the reconstruction is slope times the source's row.
    encoder_bias : ndarray of shape (n_members, n_components), dtype float32
        The members' biases.
    tied : bool
        Whether encoder and decoder are one.

    Returns
    -------
    firsts : ndarray of shape (n_members * n_components + 1,)
        Atom h has the picks from ``firsts[h]`` to ``firsts[h + 1]`` of the next two.
    rows, values : ndarray of shape (2, n_picks)
        An atom's gradient is the sum of values times rows, part 0 the decoder's, part 1 the
        encoder's. The sources' rows are numbered one after another, and then the centred ones.
    bias_gradient : ndarray of shape (n_members * n_components,), dtype float32
        Gradient at the bias.
    along : ndarray of shape (n_members * n_components,), dtype float32
        Each atom's product with its own gradient.
    """
    n_members, n_components = encoder_bias.shape
    firsts = _firsts(_count_picks(parts, n_members, n_components))
    place = firsts[:-1].copy()
    rows, values = np.empty((2, firsts[-1]), np.int64), np.empty((2, firsts[-1]), np.float32)
    bias_gradient = np.zeros(encoder_bias.size, np.float32)
    along = np.zeros(encoder_bias.size, np.float32)
    for source in range(len(parts)):
        atoms, activations, products, gradients = parts[source]
        n_rows = atoms.shape[1]
        for i in range(n_members * n_rows):
            e, b = divmod(i, n_rows)
            for pick in range(atoms.shape[2]):
                atom = e * n_components + atoms[e, b, pick]
                activation = activations[e, b, pick]
                gradient = gradients[e, b, pick] if activation > 0 else np.float32(0)
                at = place[atom]
                place[atom] += 1
                rows[0, at] = source * n_members * n_rows + i
                rows[1, at] = len(parts) * n_members * n_rows + i
                values[0, at] = slopes[source] * activation
                values[1, at] = gradient
                bias_gradient[atom] += gradient
                tied_part = gradient if tied else np.float32(0)
                along[atom] += activation * (products[e, b, pick] + tied_part)
    if tied:
        for atom in range(len(along)):
            e, h = divmod(atom, n_components)
            along[atom] -= bias_gradient[atom] * encoder_bias[e, h]
    return firsts, rows, values, bias_gradient, along


@compiled
def sort_picks(atoms, n_atoms):
    """Order the picks by atom, keeping their order within one: firsts (n_atoms + 1,), order."""
    counts = np.zeros(n_atoms, np.int64)
    for atom in atoms:
        counts[atom] += 1
    firsts = _firsts(counts)
    place = firsts[:-1].copy()
    order = np.empty(len(atoms), np.int64)
    for pick, atom in enumerate(atoms):
        order[place[atom]] = pick
        place[atom] += 1
    return firsts, order


def n_ranges(n_threads):
    """Into how many ranges `run` cuts the rows of a job."""
    return 1 if n_threads is None else N_RANGES


def run(jobs, n_threads):
    """Run kernels over ranges of rows, in threads that end with the call.

    The ranges are the same for any number of threads.

    Parameters
    ----------
    jobs : list of tuple (kernel, n_rows, arguments)
        A kernel is given the numbers of its thread and of its range, where the range begins and
        ends, and the arguments.
    n_threads : int or None
        How many threads; None for no ranges, where there is too little to share.
    """
    n = n_ranges(n_threads)
    ranges = [
        (kernel, i, i * n_rows // n, (i + 1) * n_rows // n, arguments)
        for kernel, n_rows, arguments in jobs
        for i in range(n)
    ]

    def work(thread, part):
        kernel, i, start, stop, arguments = part
        if start < stop:
            kernel((thread, i), start, stop, *arguments)

    share(work, ranges, n_threads or 1)
