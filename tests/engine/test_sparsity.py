"""Choosing what counts, against sorting everything."""

import pytest
import torch

from skl_sae._engine._sparsity import above, batch_top_k, stack_padded, top_k


# torch.testing imports what adds a filter.
@pytest.mark.touches_globals("warning filters")
@pytest.mark.parametrize("n_values", [64, 1000, 1024])
def test_top_k_equals_torch(n_values):
    values = torch.randn(3, 5, n_values, generator=torch.Generator().manual_seed(0))
    largest, places = top_k(values, 7)
    torch.testing.assert_close(largest.sort(2).values, values.topk(7).values.flip(2))
    assert torch.equal(values.gather(2, places), largest)


@pytest.mark.parametrize("spread", [1, 30], ids=["even", "one row takes most"])
def test_batch_top_k_equals_sorting_all(spread):
    values = torch.randn(2, 6, 100, generator=torch.Generator().manual_seed(0))
    values[:, 3] *= spread
    largest, places = batch_top_k(values, 5)
    codes = torch.zeros_like(values).scatter_add(2, places, largest)
    for got, given in zip(codes, values, strict=True):
        smallest = given.flatten().sort(descending=True).values[29]
        assert torch.equal(got, torch.where(given >= smallest, given, 0))


def test_above_keeps_what_reaches_the_members_threshold():
    values = torch.randn(2, 6, 100, generator=torch.Generator().manual_seed(0))
    thresholds = torch.tensor([1.0, 9.0])
    largest, places = above(values, thresholds)
    codes = torch.zeros_like(values).scatter_add(2, places, largest)
    assert torch.equal(codes, torch.where(values >= thresholds[:, None, None], values, 0))
    assert not codes[1].any()


def test_stacked_members_are_filled_up_with_zeros():
    parts = torch.ones(1, 4, 2), torch.ones(1, 4, 5)
    assert stack_padded(parts).sum(2).tolist() == [[2] * 4, [5] * 4]
