"""PRMT: recurrent memory tokens of every layer, each layer's own output carried to its next input.

Source: Rodkin et al., "Associative Recurrent Memory Transformer", arXiv:2407.04841, where it stands
between RMT and ARMT: a memory of each layer, without the association.

Where we differ: the paper has no equations; we follow the published code, but the gradient can be
cut, and text that was generated is written too.
"""

from dataclasses import dataclass

import torch
from torch import nn

from armt.core.config import MemoryConfig
from armt.core.contract import TokenEdges, TokenMemory
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State


@dataclass(frozen=True, kw_only=True)
class PRMTConfig(MemoryConfig):
    """Options of `PRMT`."""

    num_memory_tokens: int = 16
    """Tokens at each end of a segment (`M`)."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_memory_tokens < 1:
            raise ConfigError(
                f"`num_memory_tokens` must be at least 1. Got {self.num_memory_tokens}."
            )

    def build(self, shape: LayerShape) -> "PRMT":
        """Returns the memory for a layer of this shape."""
        return PRMT(self, shape.d_model)


@dataclass(frozen=True)
class PRMTState(State):
    """The memory tokens of one layer as the last segment left them."""

    memory: Float[Tensor, "B M D"]
    """The layer's output at the tokens after the text; zeros before the first segment."""

    is_written: Bool[Tensor, " B"]
    """Whether a segment was read; if not, the learned first memory stands in."""


@MEMORIES.register("prmt", paper="arXiv:2407.04841", tiny=PRMTConfig(num_memory_tokens=2))
class PRMT(TokenMemory[PRMTState]):
    """Memory tokens of a layer before and after the text, written by the layer itself."""

    is_layer_local = True

    def __init__(self, config: PRMTConfig, d_model: int) -> None:
        """Makes the layer's first memory, normally distributed."""
        super().__init__()
        self.config = config
        self.num_prefix_tokens = self.num_memory_tokens = config.num_memory_tokens
        self.first_memory = nn.Parameter(torch.randn(config.num_memory_tokens, d_model))

    def init_state(self, batch_size: int) -> PRMTState:
        """Returns rows that have read nothing."""
        shape = (batch_size, *self.first_memory.shape)
        is_written = torch.zeros(batch_size, dtype=torch.bool, device=self.first_memory.device)
        return PRMTState(memory=self.first_memory.new_zeros(shape), is_written=is_written)

    def tokens(self, state: PRMTState) -> TokenEdges:
        """Returns the same memory for both ends of the layer's input."""
        memory = torch.where(state.is_written.view(-1, 1, 1), state.memory, self.first_memory)
        return TokenEdges(prefix=memory, suffix=memory)

    def write(self, hidden: Float[Tensor, "B M D"], state: PRMTState) -> PRMTState:
        """Returns the layer's output after the text as its next memory."""
        return PRMTState(
            memory=hidden.to(state.memory.dtype), is_written=torch.ones_like(state.is_written)
        )
