"""What a segment costs at least: operations, and bytes that must move, whatever runs it."""

from typing import NamedTuple

import torch

from armt.benchmarking.shapes import ModelShape, build_model
from armt.memories.armt import ARMTConfig
from armt.recurrence.flops import SegmentFlops, count_flops

_HALF_NBYTES = 2
"""Bytes of a number in bfloat16."""


class SegmentFloor(NamedTuple):
    """The work of one segment in one row of the batch, weights and activations in bfloat16."""

    flops: SegmentFlops

    weight_nbytes: int
    """Weights of the layers and their memories. They are read once for a segment, and once for all
    rows of a batch; in a wave as well, which runs every layer once."""

    state_nbytes: int
    """The states, in float32: read and written."""

    hidden_nbytes: int
    """The hidden states of all positions, into each layer and out of it. What a layer keeps between
    its own steps is not counted: it depends on what is fused."""

    num_text_tokens: int

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return self.weight_nbytes + self.state_nbytes + self.hidden_nbytes

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops.total / self.nbytes

    def seconds(self, flops_per_s: float, nbytes_per_s: float) -> float:
        """Returns the least time: of the operations or of the bytes, whichever takes longer."""
        return max(self.flops.total / flops_per_s, self.nbytes / nbytes_per_s)


def segment_floor(shape: ModelShape, memory: ARMTConfig) -> SegmentFloor:
    """Returns the floor of a shape with a memory; nothing is computed and no weight allocated."""
    model = build_model(
        shape,
        memory,
        shape.segment_len,
        dtype=torch.bfloat16,
        device=torch.device("meta"),
        seed=0,
    )
    layers = [*model.anatomy.layers, *model.memory.mechanisms]
    num_weights = sum(each.numel() for layer in layers for each in layer.parameters())
    num_positions = shape.segment_len + model.memory.num_tokens
    return SegmentFloor(
        flops=count_flops(model),
        weight_nbytes=_HALF_NBYTES * num_weights,
        state_nbytes=2 * model.init_state(1).nbytes,
        hidden_nbytes=2 * _HALF_NBYTES * shape.num_layers * num_positions * shape.d_model,
        num_text_tokens=shape.segment_len,
    )
