"""The plainest memory of keys and values: it keeps all of them, up to a number, in their order."""

from dataclasses import dataclass

import torch

from armt.core.config import MemoryConfig
from armt.core.contract import KeyValueMemory, KeyValues, Lookup, Written
from armt.core.layer_shape import LayerShape
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State


@dataclass(frozen=True, kw_only=True)
class WholePastConfig(MemoryConfig):
    num_slots: int = 32
    num_memory_tokens: int = 0
    has_positions: bool = True
    source: int | None = None
    num_copies: int = 1
    bias: float | None = None

    def build(self, shape: LayerShape) -> "WholePast":
        return WholePast(self, shape)


@dataclass(frozen=True)
class WholePastState(State):
    keys: Float[Tensor, "B G P C"]
    values: Float[Tensor, "B G P C"]
    num_kept: Int[Tensor, " B"]


class WholePast(KeyValueMemory[WholePastState]):
    is_neutral_when_fresh = False

    def __init__(self, config: WholePastConfig, shape: LayerShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.num_memory_tokens, self.source = config.num_memory_tokens, config.source
        self.num_positions_before = config.num_slots if config.has_positions else 0
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def init_state(self, batch_size: int) -> WholePastState:
        shape = (batch_size, self.shape.num_kv_heads, self.config.num_slots, self.shape.head_dim)
        nothing = self.like.new_zeros(shape)
        count = torch.zeros(batch_size, dtype=torch.long, device=self.like.device)
        return WholePastState(nothing, nothing, count)

    def extend(self, lookup: Lookup, state: WholePastState) -> KeyValues:
        slots = torch.arange(self.config.num_slots, device=self.like.device)
        is_kept = slots >= len(slots) - state.num_kept.unsqueeze(-1)
        num_queries = lookup.queries.shape[2]
        is_visible = is_kept[:, None, None, :].expand(-1, 1, num_queries, -1)
        positions = slots - len(slots) if self.config.has_positions else None
        bias = None
        if self.config.bias is not None:
            bias = self.like.new_full(is_kept.shape, self.config.bias)
        found = KeyValues(state.keys, state.values, is_visible, positions, bias)
        if self.config.num_copies == 1:
            return found
        copies = [torch.cat([each] * 2, 2) for each in found[:2]]
        seen, places = torch.cat([is_visible] * 2, -1), torch.cat([positions] * 2)
        return KeyValues(copies[0], copies[1], seen, places)

    def write(self, written: Written, state: WholePastState) -> WholePastState:
        num_new = written.keys.shape[2]
        return WholePastState(
            keys=torch.cat([state.keys, written.keys], dim=2)[:, :, num_new:],
            values=torch.cat([state.values, written.values], dim=2)[:, :, num_new:],
            num_kept=(state.num_kept + num_new).clamp_max(self.config.num_slots),
        )
