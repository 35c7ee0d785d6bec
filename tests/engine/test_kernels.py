"""The compiled loops against plain NumPy."""

import numpy as np
import pytest

from skl_sae._engine.kernels._rows import decode_onto, fill_heap, positive_top_k

SHAPE = 2, 6, 100  # members, rows, atoms


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def codes_of(activations, places):
    codes = np.zeros(SHAPE, np.float32)
    np.add.at(codes, (*np.ogrid[:2, :6], places.transpose(2, 0, 1)), activations.transpose(2, 0, 1))
    return codes


@pytest.mark.parametrize("shift", [0, -2, -9], ids=["many", "few", "none"])
def test_positive_top_k_equals_sorting(shift):
    values, allowed = drawn(*SHAPE) + np.float32(shift), drawn(2, 100) > 0
    activations, places = positive_top_k(values, 7, allowed)
    considered = np.where(allowed[:, None] & (values > 0), values, 0)
    smallest = np.sort(considered)[..., -7, None]
    expected = np.where(considered >= smallest, considered, 0)
    np.testing.assert_array_equal(codes_of(activations, places), expected)
    assert activations.shape == (2, 6, 7)


def test_positive_top_k_of_none_touches_nothing():
    """Compiled loops do not check bounds: memory beside an empty heap is someone else's."""
    memory = np.zeros(2, np.float32)
    places = np.zeros(2, np.int64)
    fill_heap(drawn(100), np.ones(100, bool), memory[:0], places[:0])
    assert not memory.any() and not places.any()
    activations, atoms = positive_top_k(drawn(*SHAPE), 0, np.ones((2, 100), bool))
    assert activations.shape == atoms.shape == (2, 6, 0)


def test_positive_top_k_does_not_hide_nan():
    values = drawn(*SHAPE)
    values[0, 1, 50] = np.nan
    values[1, 2, 50] = np.nan
    allowed = np.ones((2, 100), bool)
    allowed[1, 50] = False
    activations, _ = positive_top_k(values, 7, allowed)
    np.testing.assert_array_equal(np.isnan(activations).any(2).nonzero(), [[0], [1]])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_decode_onto_equals_dense_products(n_threads):
    values, decoder, rows = drawn(*SHAPE), drawn(2, 100, 3000, seed=1), drawn(2, 6, 3000, seed=2)
    activations, atoms = positive_top_k(values, 7, np.ones((2, 100), bool))
    expected = rows + codes_of(activations, atoms).astype(float) @ decoder
    products = decode_onto(rows, atoms, activations, decoder, 0.5, n_threads)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)
    expected = 0.5 * expected @ decoder.swapaxes(1, 2).astype(float)
    np.testing.assert_allclose(products, np.take_along_axis(expected, atoms, 2), rtol=1e-4)
    assert decode_onto(rows, atoms, activations, decoder, None, n_threads) is None
