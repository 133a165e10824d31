"""RMT: memory tokens at both ends of a segment, carried from its end to the next one's beginning.

Source: Bulatov et al., "Recurrent Memory Transformer", arXiv:2207.06881, and its later form for
pretrained decoders, arXiv:2304.11062 and arXiv:2406.10149.

Where we differ: no position sees a later one, as in the later published code; in the first paper
the tokens of one end see each other. There is no cache of the segment before, which the first paper
adds for comparison (Transformer-XL). The gradient is cut by the recurrence's `bptt_depth`, in
stretches; the first published code runs the last segments anew for each segment instead. Training
may put noise on the memory (`memory_noise`), which is ours.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

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
class RMTConfig(MemoryConfig):
    """Options of `RMT`."""

    stage_options: ClassVar[frozenset[str]] = frozenset({"memory_noise"})

    num_memory_tokens: int = 16
    """Tokens at each end of a segment (`M`)."""

    init: Literal["separate", "replicated"] = "separate"
    """How the first memory starts: each token drawn for itself, or (first paper) all alike."""

    memory_noise: float = 0.0
    """Spread of the noise that training puts on a memory, as a share of the memory's own; a stage
    may change it. What is kept in spite of it is kept over more segments than were trained on."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_memory_tokens < 1:
            raise ConfigError(
                f"`num_memory_tokens` must be at least 1. Got {self.num_memory_tokens}."
            )
        if self.init not in ("separate", "replicated"):
            raise ConfigError(f"`init` must be 'separate' or 'replicated'. Got {self.init!r}.")
        if self.memory_noise < 0:
            raise ConfigError(f"`memory_noise` must not be negative. Got {self.memory_noise}.")

    def build(self, shape: LayerShape) -> "RMT":
        """Returns the memory for a backbone whose layers have this shape."""
        return RMT(self, shape)


@dataclass(frozen=True)
class RMTState(State):
    """The memory tokens as the last segment left them."""

    memory: Float[Tensor, "B M D"]
    """The backbone's last hidden states at the tokens after the text; zeros before the first."""

    is_written: Bool[Tensor, " B"]
    """Whether a segment was read; if not, the learned first memory stands in."""


@MEMORIES.register("rmt", paper="arXiv:2207.06881", tiny=RMTConfig(num_memory_tokens=2))
class RMT(TokenMemory[RMTState]):
    """Memory tokens before and after the text: the model reads the first, and writes the last."""

    def __init__(self, config: RMTConfig, shape: LayerShape) -> None:
        """Makes the first memory, as long as embeddings; nothing else is learned here."""
        super().__init__()
        self.config = config
        self.num_prefix_tokens = self.num_memory_tokens = config.num_memory_tokens
        num_drawn = 1 if config.init == "replicated" else config.num_memory_tokens
        drawn = torch.randn(num_drawn, shape.d_model) * shape.embedding_std
        self.first_memory = nn.Parameter(drawn.repeat(config.num_memory_tokens // num_drawn, 1))

    def init_state(self, batch_size: int) -> RMTState:
        """Returns rows that have read nothing."""
        shape = (batch_size, *self.first_memory.shape)
        is_written = torch.zeros(batch_size, dtype=torch.bool, device=self.first_memory.device)
        return RMTState(memory=self.first_memory.new_zeros(shape), is_written=is_written)

    def tokens(self, state: RMTState) -> TokenEdges:
        """Returns the same memory for both ends."""
        memory = torch.where(state.is_written.view(-1, 1, 1), state.memory, self.first_memory)
        return TokenEdges(prefix=memory, suffix=memory)

    def write(self, hidden: Float[Tensor, "B M D"], state: RMTState) -> RMTState:
        """Returns the hidden states after the text as the next memory."""
        if self.training and self.config.memory_noise:
            hidden = _noisy(hidden, self.config.memory_noise)
        return RMTState(
            memory=hidden.to(state.memory.dtype), is_written=torch.ones_like(state.is_written)
        )


def _noisy(memory: Float[Tensor, "B M D"], share: float) -> Float[Tensor, "B M D"]:
    """Returns the memory with noise of this share of each token's root mean square."""
    spread = memory.detach().float().square().mean(-1, keepdim=True).sqrt()
    return memory + (share * spread).to(memory.dtype) * torch.randn_like(memory)
