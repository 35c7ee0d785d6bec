"""The compiled loops against plain NumPy."""

import numpy as np
import pytest

from skl_sae._engine import _fused, kernels
from skl_sae._engine._parameters import ActiveAtoms
from skl_sae._engine.kernels._parcels import Clock

SHAPE = 2, 6, 100  # members, rows, atoms
NO_BIAS = np.empty((0, 0), np.float32)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def selected(values, k, allowed):
    shape = *values.shape[:2], k
    active = ActiveAtoms(np.full(shape, -1), np.full(shape, -1, np.float32))
    arguments = values, NO_BIAS, allowed, active
    kernels.run([(kernels.select_rows, shape[0] * shape[1], arguments)], None)
    return active


def codes_of(active):
    codes = np.zeros(SHAPE, np.float32)
    indices, values = (part.transpose(2, 0, 1) for part in active)
    np.add.at(codes, (*np.ogrid[:2, :6], indices), values)
    return codes


@pytest.mark.parametrize("shift", [0, -2, -9], ids=["many", "few", "none"])
def test_selection_equals_sorting(shift):
    values, allowed = drawn(*SHAPE) + np.float32(shift), drawn(2, 100) > 0
    active = selected(values, 7, allowed)
    considered = np.where(allowed[:, None] & (values > 0), values, 0)
    smallest = np.sort(considered)[..., -7, None]
    expected = np.where(considered >= smallest, considered, 0)
    np.testing.assert_array_equal(codes_of(active), expected)


def test_selection_adds_a_bias_first():
    values, bias, allowed = drawn(*SHAPE), drawn(2, 100, seed=1), np.ones((2, 100), bool)
    expected = selected(values + bias[:, None], 7, allowed)
    got = ActiveAtoms(*(np.empty_like(part) for part in expected))
    both = values.copy()
    kernels.run([(kernels.select_rows, 12, (both, bias, allowed, got))], None)
    np.testing.assert_array_equal(both, values + bias[:, None])
    np.testing.assert_array_equal(got.indices, expected.indices)
    np.testing.assert_array_equal(got.values, expected.values)


@pytest.mark.parametrize("n_values", [1, 127, 128, 129, 1000])
def test_selection_sees_every_number(n_values):
    """Numbers are looked at in blocks; the last may be short, and equal numbers are all found."""
    values = np.arange(n_values, dtype=np.float32)[None, None] % 300
    active = selected(values, min(20, n_values), np.ones((1, n_values), bool))
    expected = np.sort(values[0, 0])[::-1][: active.values.shape[2]]
    np.testing.assert_array_equal(np.sort(active.values[0, 0])[::-1], expected)
    at = active.indices[0, 0][active.values[0, 0] > 0]
    assert len(set(at)) == len(at)


def found_by_ranks(values, k, starts):
    """The picks of ranks from the atoms where they start, in the bits of a message."""
    found = np.zeros((len(starts), 2, *values.shape[:2], k), np.int32)
    for message, start, stop in zip(found, starts, [*starts[1:], None], strict=True):
        part = np.ascontiguousarray(values[..., start:stop])
        width = min(k, part.shape[2])
        indices, largest = selected(part, width, np.ones(part.shape[::2], bool))
        message[0, ..., :width], message[1, ..., :width] = indices, largest.view(np.int32)
    return found


@pytest.mark.parametrize("shift", [0, -2, -9], ids=["many", "few", "none"])
def test_merging_what_ranks_select_selects_from_all(shift):
    """One of the ranks has fewer atoms than picks."""
    values, starts = drawn(*SHAPE) + np.float32(shift), np.array([0, 30, 95])
    got = _fused.merge(found_by_ranks(values, 7, starts), starts, 7)
    expected = selected(values, 7, np.ones((2, 100), bool))
    np.testing.assert_array_equal(codes_of(got), codes_of(expected))


def test_merging_takes_the_first_of_equal_picks_and_does_not_hide_nan():
    values, starts = np.ones((1, 2, 40), np.float32), np.array([0, 20])
    values[0, 1, 25] = np.nan
    got = _fused.merge(found_by_ranks(values, 5, starts), starts, 5)
    assert (got.indices[0, 0] < 20).all()
    assert np.isnan(got.values[0, 1]).all()


@pytest.mark.parametrize("bounds", [(0, 50), (50, 100), (97, 100)])
def test_own_picks_come_first_and_know_their_places(bounds):
    active = selected(drawn(*SHAPE), 7, np.ones((2, 100), bool))
    active.values[0, 0, 3:], active.values[1] = 0, 0
    own, places = _fused.own(active, *bounds)
    is_own = (active.indices >= bounds[0]) & (active.indices < bounds[1]) & (active.values != 0)
    assert own.values.shape[2] == max(1, is_own.sum(2).max())
    for at in np.ndindex(2, 6):
        n = is_own[at].sum()
        np.testing.assert_array_equal(places[at][:n], np.flatnonzero(is_own[at]))
        np.testing.assert_array_equal(
            own.indices[at][:n], active.indices[at][is_own[at]] - bounds[0]
        )
        np.testing.assert_array_equal(own.values[at][:n], active.values[at][is_own[at]])
        assert (own.indices[at][n:] == -1).all() and not own.values[at][n:].any()


def test_selection_of_none_touches_nothing():
    """Compiled loops do not check bounds: memory beside an empty heap is someone else's."""
    values, indices = np.zeros((2, 6, 1), np.float32), np.zeros((2, 6, 1), np.int64)
    active = ActiveAtoms(indices[..., :0].copy(), values[..., :0].copy())
    arguments = drawn(*SHAPE), NO_BIAS, np.ones((2, 100), bool), active
    kernels.run([(kernels.select_rows, 12, arguments)], None)
    assert not values.any() and not indices.any()


def test_selection_does_not_hide_nan():
    """NaN of either sign: processors make negative ones."""
    values = drawn(*SHAPE)
    values[0, 1, 50] = np.nan
    values[1, 2, 50] = -np.float32(np.nan)
    values[1, 3, 50] = np.inf
    active = selected(values, 7, np.ones((2, 100), bool))
    found = np.isnan(active.values).any(2).nonzero()
    np.testing.assert_array_equal(found, [[0, 1], [1, 2]])


@pytest.mark.parametrize("n_threads", [None, 1, 3])
def test_decoding_equals_dense_products(n_threads):
    values, decoder, rows = drawn(*SHAPE), drawn(2, 100, 3000, seed=1), drawn(2, 6, 3000, seed=2)
    active = selected(values, 7, np.ones((2, 100), bool))
    expected = rows + codes_of(active).astype(float) @ decoder
    slope = np.random.default_rng(3).uniform(size=(2, 6))
    products = np.empty(active.values.shape, np.float32)
    squares = np.empty((2, 6), np.float32)
    arguments = decoder, active, slope, rows, products, squares
    kernels.run([(kernels.decode_rows, 12, arguments)], n_threads)
    np.testing.assert_allclose(squares, np.square(rows.astype(float)).sum(axis=2), rtol=1e-4)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)
    expected = slope[..., None] * (expected @ decoder.swapaxes(1, 2).astype(float))
    wanted = np.take_along_axis(expected, active.indices, 2)
    np.testing.assert_allclose(products, wanted, rtol=1e-4)


def test_correlations_equal_numpy():
    rows, guess, offset = drawn(9, 50), drawn(9, 50, seed=1), 1e3 * drawn(50, seed=2)
    rows[3] = (7 - offset).astype(np.float32)  # constant in the units of the data
    guess[4] = (5 - offset).astype(np.float32)
    offset = offset.astype(np.float64)
    rows[3], guess[4] = -offset, -offset
    got = np.empty(9, np.float32)
    kernels.run([(kernels.correlate_rows, len(rows), (rows, guess, offset, got))], None)
    assert np.isnan(got[3]) and got[4] == 0
    for i in {*range(9)} - {3, 4}:
        wanted = np.corrcoef(rows[i] + offset, guess[i] + offset)[0, 1]
        assert got[i] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("start", [1, 5, 97])
def test_adam_of_a_flat_array_does_not_depend_on_where_a_number_lies(start):
    """A member trained alone has the bits of one that is trained beside others."""
    clock = Clock(1, np.ones(2, np.float32))
    arrays = drawn(4, 400)
    arrays[0], arrays[2] = 0, arrays[2] ** 2
    apart = [array[start : start + 97].copy() for array in arrays]
    kernels.adam_step(*arrays, clock)
    kernels.adam_step(*apart, clock)
    np.testing.assert_array_equal(apart[0], arrays[0, start : start + 97])
