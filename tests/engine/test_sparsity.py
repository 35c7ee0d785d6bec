"""Choosing what counts, against sorting everything."""

import pytest
import torch

from skl_sae._engine._parameters import ActiveAtoms
from skl_sae._engine._sparsity import (
    above,
    batch_top_k,
    dense_codes,
    stack_padded,
    top_k,
)


# torch.testing imports what adds a filter.
@pytest.mark.touches_globals("warning filters")
@pytest.mark.parametrize("n_values", [64, 1000, 1024])
def test_top_k_equals_torch(n_values):
    values = torch.randn(3, 5, n_values, generator=torch.Generator().manual_seed(0))
    indices, largest = top_k(values, 7)
    torch.testing.assert_close(largest.sort(2).values, values.topk(7).values.flip(2))
    assert torch.equal(values.gather(2, indices), largest)


@pytest.mark.parametrize("spread", [1, 30], ids=["even", "one row takes most"])
def test_batch_top_k_equals_sorting_all(spread):
    values = torch.randn(2, 6, 100, generator=torch.Generator().manual_seed(0))
    values[:, 3] *= spread
    codes = dense_codes(batch_top_k(values, 5), 100)
    for got, given in zip(codes, values, strict=True):
        smallest = given.flatten().sort(descending=True).values[29]
        assert torch.equal(got, torch.where(given >= smallest, given, 0))


def test_above_keeps_what_reaches_the_members_threshold():
    values = torch.randn(2, 6, 100, generator=torch.Generator().manual_seed(0))
    thresholds = torch.tensor([1.0, 9.0])
    codes = dense_codes(above(values, thresholds), 100)
    assert torch.equal(codes, torch.where(values >= thresholds[:, None, None], values, 0))
    assert not codes[1].any()


def test_above_keeps_what_reaches_the_atoms_threshold():
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(2, 6, 100, generator=draw)
    thresholds = torch.rand(2, 100, generator=draw)
    thresholds[0, :50] = 0
    codes = dense_codes(above(values, thresholds), 100)
    assert torch.equal(codes, torch.where(values >= thresholds[:, None], values, 0))


def test_weights_spend_the_budget_as_repetitions_do():
    """Two of three rows count twice, the third not at all: as four rows."""
    values = torch.randn(1, 3, 100, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([[2.0, 0.0, 2.0]])
    codes = dense_codes(batch_top_k(values, 6, weight), 100)
    repeated = values[:, [0, 0, 2, 2]]
    wanted = dense_codes(batch_top_k(repeated, 6), 100)
    assert torch.equal(codes[:, [0, 2]], wanted[:, [0, 2]])


def test_stacked_members_are_filled_up_with_zeros():
    parts = [
        ActiveAtoms(torch.zeros(1, 4, n, dtype=torch.long), torch.ones(1, 4, n)) for n in (2, 5)
    ]
    assert stack_padded(parts).values.sum(2).tolist() == [[2] * 4, [5] * 4]
