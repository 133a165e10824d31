"""Counts the floating-point operations of a segment, to say how much of a machine is used."""

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from armt.core.contract import LayerMemory
from armt.recurrence.model import Recurrent


class SegmentFlops(NamedTuple):
    """Operations of one segment in one row of the batch; a multiply-add counts as two."""

    matrices: int
    """Products with the layers' weight matrices."""

    attention: int
    """Scores and weighted sums, over the whole square: that is what a kernel without a causal
    short cut does."""

    memory: int
    """Reading and writing the memories."""

    @property
    def total(self) -> int:
        """All of them; the head is left out, since reading needs none."""
        return sum(self)


def count_flops(model: Recurrent) -> SegmentFlops:
    """Returns the operations of reading one whole segment, memory tokens included.

    Norms, rotations, activations and the triangular solve are left out, as in
    `torch.utils.flop_counter`, with which the tests compare.
    """
    num_memory_tokens = model.memory.num_tokens
    text_len = model.recurrence.segment_len
    num_positions = text_len + num_memory_tokens
    num_weights = sum(_num_weights(layer) for layer in model.anatomy.layers)
    width = _attention_width(model.config.get_text_config())
    mechanisms = model.memory.mechanisms
    return SegmentFlops(
        matrices=2 * num_weights * num_positions,
        attention=4 * len(model.anatomy.layers) * num_positions**2 * width,
        memory=len(mechanisms)
        * _memory_flops(mechanisms[0], model.anatomy.d_model, text_len, num_memory_tokens),
    )


@torch.no_grad()
def _memory_flops(
    memory: LayerMemory[Any], d_model: int, text_len: int, num_memory_tokens: int
) -> int:
    """Counts what a memory does with one segment by watching it."""
    like = next(memory.parameters(), torch.zeros(()))
    hidden = like.new_zeros(1, text_len + num_memory_tokens, d_model)
    state = memory.init_state(1)
    with FlopCounterMode(display=False) as counter:
        _ = memory.read(hidden, state)
        _ = memory.write(hidden[:, -(num_memory_tokens or text_len) :], state)
    return counter.get_total_flops()


def _num_weights(layer: nn.Module) -> int:
    """Entries of the matrices that every position is multiplied with."""
    return sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2)


def _attention_width(config: Any) -> int:
    """Width of all heads together."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(head_dim * config.num_attention_heads)
