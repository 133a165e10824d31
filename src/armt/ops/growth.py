"""Rows that hold different numbers of entries: each row's own come first, zeros fill the rest."""

from typing import NamedTuple

import torch

from armt.core.shapes import Bool, Int, Tensor


class Order(NamedTuple):
    """Which entries a row keeps, and in what order."""

    places: Int[Tensor, "B W"]
    """Where they are."""

    is_kept: Bool[Tensor, "B W"]
    """Which of these a row keeps; the others only fill it up."""


def keep_newest(is_stored: Bool[Tensor, "B S"], capacity: int) -> Order:
    """Returns the last `capacity` entries of each row in their order, and no more than are there.

    Gaps between entries are closed. How wide the result is depends on the values.
    """
    number = is_stored.sum(-1, keepdim=True)
    is_kept = is_stored & (is_stored.cumsum(-1) > number - capacity)
    width = int(is_kept.sum(-1).max()) if is_kept.numel() else 0
    places = (~is_kept).int().argsort(dim=-1, stable=True)[:, :width]
    return Order(places, is_kept.gather(-1, places))


def arranged(values: Tensor, order: Order) -> Tensor:
    """Returns entries of the shape `B S ...` in an order, zeros where a row keeps nothing."""
    shape = (*order.places.shape, *values.shape[2:])
    extra = (1,) * (values.dim() - 2)
    places, is_kept = (each.view(*each.shape, *extra).expand(shape) for each in order)
    return torch.where(is_kept, values.gather(1, places), torch.zeros_like(values[:1, :1]))
