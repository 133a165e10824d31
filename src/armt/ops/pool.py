"""Pools of a fixed number of places that make room for what is new by forgetting at random.

Source: Wang et al., "MemoryLLM", arXiv:2402.04624, section 3.2. Chance is a number that is carried
like any other part of a state: the same state forgets the same places, on every device.
"""

from typing import NamedTuple

import torch

from armt.core.shapes import Bool, Float, Int, Tensor
from armt.ops.hashing import NUM_VALUES, hashed

_STEP = 0x9E3779B9


class Choice(NamedTuple):
    """Which places of a pool are kept and which are given up, in the order of the pool."""

    kept: Int[Tensor, "B R"]
    dropped: Int[Tensor, "B K"]


def first_chance(seed: int, stream: int) -> int:
    """Returns where a stream of random numbers starts; streams of one seed differ."""
    mixed = hashed(torch.tensor([(seed * _STEP + stream) % NUM_VALUES]))
    return int(hashed(mixed + stream + 1))


def next_chance(chance: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Returns the next number of each row's stream."""
    return hashed(chance + _STEP)


def random_shares(chance: Int[Tensor, " B"], number: int) -> Float[Tensor, "B N"]:
    """Returns as many random numbers in [0, 1) for each row, drawn from its stream's number."""
    places = hashed(torch.arange(1, number + 1, device=chance.device) * _STEP)
    return hashed(chance.unsqueeze(-1) ^ places).double() / NUM_VALUES


def choose_dropped(
    is_filled: Bool[Tensor, "B N"], chance: Int[Tensor, " B"], number: int
) -> Choice:
    """Chooses `number` places to give up: empty ones first, then filled ones at random."""
    shares = random_shares(chance, is_filled.shape[-1])
    dropped = torch.where(is_filled, shares, 2.0).topk(number, dim=-1).indices
    is_dropped = torch.zeros_like(is_filled).scatter(-1, dropped, value=True)
    # kept places before dropped ones, each in their order
    order = torch.arange(is_filled.shape[-1], device=is_filled.device)
    places = torch.where(is_dropped, order + len(order), order).argsort(-1)
    kept, dropped = places.split([len(order) - number, number], dim=-1)
    return Choice(kept, dropped)


def take(values: Float[Tensor, "B G N C"], places: Int[Tensor, "B R"]) -> Float[Tensor, "B G R C"]:
    """Returns the vectors at the places of each row, the same for all heads."""
    index = places[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[3])
    return values.gather(2, index)
