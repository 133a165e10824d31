"""Rows of unequal length in one tensor, against lists."""

import pytest
import torch

from armt.ops.growth import arranged, keep_newest


def lists(values, is_stored):
    return [
        [value for value, stored in zip(*row, strict=True) if stored]
        for row in zip(values.tolist(), is_stored.tolist(), strict=True)
    ]


@pytest.mark.parametrize("capacity", [1, 3, 5, 20, None])
def test_each_row_keeps_its_newest_in_order_and_gaps_are_closed(capacity):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        is_stored = torch.rand(4, 9, generator=generator) < 0.6
        values = torch.rand(4, 9, generator=generator).argsort(-1) + 1
        order = keep_newest(values * is_stored, capacity)
        expected = [sorted(row)[-(capacity or 99) :] for row in lists(values, is_stored)]
        assert lists(arranged(values, order), order.is_kept) == expected
        width = max(len(row) for row in expected)
        assert order.is_kept.shape == (4, width)
        for row, number in zip(order.is_kept.tolist(), map(len, expected), strict=True):
            assert row == [True] * number + [False] * (width - number)


def test_entries_of_any_shape_are_arranged_and_nothing_fills_the_rest():
    values = torch.randn(2, 3, 2, 5)
    found = arranged(values, keep_newest(torch.tensor([[8, 0, 3], [0, 0, 1]]), 9))
    assert torch.equal(found[0], values[0][[2, 0]])
    assert torch.equal(found[1], torch.stack([values[1, 2], torch.zeros(2, 5)]))


def test_nothing_is_kept_of_nothing():
    for num_rows, width in ((3, 0), (3, 4)):
        order = keep_newest(torch.zeros(num_rows, width, dtype=torch.long), 5)
        assert order.places.shape == (num_rows, 0)
        assert arranged(torch.randn(num_rows, width, 6), order).shape == (num_rows, 0, 6)
