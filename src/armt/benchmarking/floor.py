"""What a segment costs at least: operations, and bytes that must move, whatever runs it."""

from dataclasses import replace
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
    """Returns the floor of a shape with a memory, from one of its layers; all are alike."""
    num_layers = shape.num_layers
    model = build_model(
        replace(shape, num_layers=1, vocab_size=1),
        memory,
        shape.segment_len,
        dtype=torch.bfloat16,
        device=torch.device("cpu"),
        seed=0,
    )
    modules = [*model.anatomy.layers, *model.memory.mechanisms]
    num_weights = sum(each.numel() for module in modules for each in module.parameters())
    num_positions = shape.segment_len + model.memory.num_tokens
    return SegmentFloor(
        flops=SegmentFlops(*(num_layers * each for each in count_flops(model))),
        weight_nbytes=num_layers * _HALF_NBYTES * num_weights,
        state_nbytes=num_layers * 2 * model.init_state(1).nbytes,
        hidden_nbytes=num_layers * 2 * _HALF_NBYTES * num_positions * shape.d_model,
    )
