"""Slots that average what is alike: each holds the mean of the keys and values merged into it.

Source: He et al., "CAMELoT", arXiv:2402.13449: consolidation, novelty and recency.
"""

from typing import NamedTuple

import torch

from armt.core.shapes import Bool, Float, Int, Tensor

_OLDER_THAN_ALL = 1 << 62
_SHORTEST = 1e-12


class Slots(NamedTuple):
    """Means of keys and values, how many were merged, and how long ago."""

    keys: Float[Tensor, "*heads M C"]
    values: Float[Tensor, "*heads M C"]
    counts: Int[Tensor, "*heads M"]
    """Tokens merged into a slot; 0 for an empty one."""

    ages: Int[Tensor, "*heads M"]
    """Tokens written since a slot was last written."""


def write_slots(
    slots: Slots,
    keys: Float[Tensor, "*heads T C"],
    values: Float[Tensor, "*heads T C"],
    threshold: float,
) -> Slots:
    """Returns the slots after tokens were written one after the other, without gradients.

    A token whose key has, with the key of its nearest slot, a cosine of `threshold` or more is
    merged into that slot. Any other takes an empty slot or, without one, the stalest.
    """
    # cut off one by one, not by a mode of torch, which a trace of this code would not note
    slots, keys, values = Slots(*(part.detach() for part in slots)), keys.detach(), values.detach()
    for key, value in zip(keys.unbind(-2), values.unbind(-2), strict=True):
        best, nearest = _cosines(slots, key).max(-1)
        is_alike = (best >= threshold).unsqueeze(-1)
        slot = torch.where(is_alike, nearest.unsqueeze(-1), stalest_slot(slots).unsqueeze(-1))
        count = slots.counts.gather(-1, slot) * is_alike
        slots = Slots(
            keys=_merged(slots.keys, key, slot, count),
            values=_merged(slots.values, value, slot, count),
            counts=slots.counts.scatter(-1, slot, count + 1),
            ages=(slots.ages + 1).scatter(-1, slot, torch.zeros_like(slot)),
        )
    return slots


def stalest_slot(slots: Slots) -> Int[Tensor, "*heads"]:
    """Returns the first empty slot or, if there is none, the one that was written longest ago."""
    order = torch.arange(slots.counts.shape[-1], device=slots.counts.device)
    return torch.where(slots.counts == 0, _OLDER_THAN_ALL - order, slots.ages).argmax(-1)


def nearest_slots(
    scores: Float[Tensor, "*heads T M"], is_used: Bool[Tensor, "*heads M"], number: int
) -> Bool[Tensor, "*heads T M"]:
    """Returns which slots have, among those in use, the `number` highest scores of each token."""
    is_used = is_used.unsqueeze(-2).expand(scores.shape)
    found = scores.masked_fill(~is_used, -torch.inf).topk(number, dim=-1).indices
    return torch.zeros_like(is_used).scatter(-1, found, value=True) & is_used


def _cosines(slots: Slots, key: Float[Tensor, "*heads C"]) -> Float[Tensor, "*heads M"]:
    """Returns the cosine of each slot's key with a token's; minus infinity for an empty slot."""
    products = (slots.keys @ key.unsqueeze(-1)).squeeze(-1)
    lengths = slots.keys.norm(dim=-1) * key.norm(dim=-1, keepdim=True)
    cosines = (products / lengths.clamp_min(_SHORTEST)).clamp(-1, 1)
    return cosines.masked_fill(slots.counts == 0, -torch.inf)


def _merged(
    means: Float[Tensor, "*heads M C"],
    new: Float[Tensor, "*heads C"],
    slot: Int[Tensor, "*heads 1"],
    count: Int[Tensor, "*heads 1"],
) -> Float[Tensor, "*heads M C"]:
    """Returns the means with a new vector merged into a slot that is the mean of `count`."""
    place = slot.unsqueeze(-1).expand(*slot.shape, means.shape[-1])
    weight = count.unsqueeze(-1).to(means)
    merged = (weight * means.gather(-2, place) + new.unsqueeze(-2)) / (weight + 1)
    return means.scatter(-2, place, merged)
