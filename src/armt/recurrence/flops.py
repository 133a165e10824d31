"""Counts the floating-point operations of a segment, to say how much of a machine is used."""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from armt.core.contract import Lookup, Memory, Written
from armt.core.layer_shape import LayerShape
from armt.core.shapes import Tensor
from armt.recurrence.model import Recurrent


class SegmentFlops(NamedTuple):
    """Operations of one segment in one row of the batch; a multiply-add counts as two."""

    matrices: int
    """Products with the layers' weight matrices."""

    attention: int
    """Scores and weighted sums, over the whole square: that is what a kernel without a causal
    short cut does."""

    memory: int
    """Reading and writing the memories, extra passes of the backbone included."""

    @property
    def total(self) -> int:
        """All of them; the head is left out, since reading needs none."""
        return sum(self)


def count_flops(model: Recurrent) -> SegmentFlops:
    """Returns the operations of reading one whole segment, memory tokens included.

    Norms, rotations, activations and the triangular solve are left out, as in
    `torch.utils.flop_counter`, with which the tests compare. The memory is empty, which matters
    for one that grows.
    """
    num_positions = model.recurrence.segment_len + model.memory.num_tokens
    matrices, attention = _backbone_flops(model, num_positions)
    return SegmentFlops(matrices, attention, _memory_flops(model))


def _memory_flops(model: Recurrent) -> int:
    """Counts what the memories do with one segment, and what the backbone does for them."""
    mechanisms = model.memory.mechanisms
    if mechanisms[0].door == "key_value":
        pairs = zip(mechanisms, model.anatomy.shapes, strict=True)
        return sum(_watch_attention(memory, shape, model) for memory, shape in pairs)
    memory, pass_lens = _watch(mechanisms[0], model)
    extra = [_backbone_flops(model, num_positions) for num_positions in pass_lens]
    return len(mechanisms) * memory + sum(map(sum, extra))


def _backbone_flops(model: Recurrent, num_positions: int) -> tuple[int, int]:
    """Counts the products with weights, and those of attention, of one pass."""
    layers = model.anatomy.layers
    num_weights = sum(_num_weights(layer) for layer in layers)
    width = _attention_width(model.config.get_text_config())
    return 2 * num_weights * num_positions, 4 * len(layers) * num_positions**2 * width


@torch.no_grad()
def _watch(memory: Memory[Any], model: Recurrent) -> tuple[int, list[int]]:
    """Watches a memory with one segment: its operations, and the lengths of its extra passes."""
    like = next(memory.parameters(), torch.zeros(()))
    visit = model.memory.visit()
    text_len, pass_lens = model.recurrence.segment_len, list[int]()
    hidden = like.new_zeros(1, text_len + model.memory.num_tokens, model.anatomy.d_model)
    state = memory.init_state(1)

    def encode(embedded: Tensor) -> Tensor:
        pass_lens.append(embedded.shape[1])
        return torch.zeros_like(embedded)

    door: Any = memory
    with FlopCounterMode(display=False) as counter:
        if memory.door == "tokens":
            _ = door.tokens(state)
            state = door.query(visit.text(hidden), state, encode)
        else:
            _ = door.read(hidden, state)
        _ = door.write(visit.source(hidden), state)
    return counter.get_total_flops(), pass_lens


@torch.no_grad()
def _watch_attention(memory: Any, shape: LayerShape, model: Recurrent) -> int:
    """Counts what a memory does inside one attention, and what the attention does for it."""
    visit, text_len = model.memory.visit(), model.recurrence.segment_len
    num_positions = text_len + model.memory.num_tokens
    like = next(model.parameters())
    queries = like.new_zeros(1, shape.num_heads, num_positions, shape.head_dim)
    keys = like.new_zeros(1, shape.num_kv_heads, num_positions, shape.head_dim)
    is_visible = torch.ones(1, num_positions, num_positions, dtype=torch.bool, device=like.device)
    ids = torch.zeros(1, text_len, dtype=torch.long, device=like.device)
    source, state = [visit.source(part, dim=2) for part in (queries, keys)], memory.init_state(1)
    with FlopCounterMode(display=False) as counter:
        found = memory.extend(Lookup(queries, keys, is_visible, visit.suffix_len, ids), state)
        _ = memory.write(Written(source[0], source[1], source[1], ids), state)
    num_found = 0 if found is None else found.keys.shape[2]
    width = shape.num_heads * shape.head_dim
    return counter.get_total_flops() + 4 * num_found * num_positions * width


def _num_weights(layer: nn.Module) -> int:
    """Entries of the matrices that every position is multiplied with."""
    return sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2)


def _attention_width(config: Any) -> int:
    """Width of all heads together."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(head_dim * config.num_attention_heads)
