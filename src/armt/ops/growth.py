"""Rows that hold different numbers of entries: each row's own come first, zeros fill the rest."""

from typing import NamedTuple

import torch

from armt.core.shapes import Bool, Int, Tensor

_BEHIND_ALL = 1 << 62


class Order(NamedTuple):
    """Which entries a row keeps, and in what order."""

    places: Int[Tensor, "B W"]
    """Where they are."""

    is_kept: Bool[Tensor, "B W"]
    """Which of these a row keeps; the others only fill it up."""


def keep_newest(numbers: Int[Tensor, "B S"], capacity: int | None) -> Order:
    """Returns the entries of the highest numbers in each row, in rising order, without gaps.

    Args:
        numbers: the number of each entry; 0 where there is none.
        capacity: entries that a row keeps at most; none for all.

    How wide the result is depends on the values.
    """
    order = torch.where(numbers > 0, numbers, _BEHIND_ALL).argsort(dim=-1, stable=True)
    is_stored = (numbers > 0).gather(-1, order)
    counts = is_stored.sum(-1, keepdim=True)
    first = (counts - counts if capacity is None else counts - capacity).clamp_min(0)
    width = int((counts - first).max()) if numbers.numel() else 0
    columns = first + torch.arange(width, device=numbers.device)
    is_kept = columns < counts
    places = order.gather(-1, torch.where(is_kept, columns, 0))
    return Order(places, is_kept)


def arranged(values: Tensor, order: Order) -> Tensor:
    """Returns entries of the shape `B S ...` in an order, zeros where a row keeps nothing."""
    shape = (*order.places.shape, *values.shape[2:])
    extra = (1,) * (values.dim() - 2)
    places, is_kept = (each.view(*each.shape, *extra).expand(shape) for each in order)
    return torch.where(is_kept, values.gather(1, places), torch.zeros_like(values[:1, :1]))
