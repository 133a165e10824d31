"""RMT-R: RMT that also reads from all memories it ever had, by attention.

Source: Kuratov et al., "In Search of Needles in a 11M Haystack: Recurrent Memory Finds What LLMs
Miss", arXiv:2402.10790, with the details of its published code.

Where we differ: the perceptron's activation is GELU, not the backbone's own; the gradient can be
cut by `bptt_depth`, which the published code does not allow together with retrieval.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from armt.core.config import MemoryConfig
from armt.core.contract import TokenEdges, TokenMemory
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State

_TOP_1_SHARPNESS = 1e5


@dataclass(frozen=True, kw_only=True)
class RMTRConfig(MemoryConfig):
    """Options of `RMTR`."""

    num_memory_tokens: int = 16
    """Tokens that are written (`M`); twice as many are read."""

    retrieval: Literal["attention", "top_1"] = "attention"
    """Whether a token of the memory finds a mixture of past tokens, or the likeliest alone."""

    dropout: float = 0.1
    """Share of the attention, and of what comes from it, that is left out in training."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_memory_tokens < 1:
            raise ConfigError(
                f"`num_memory_tokens` must be at least 1. Got {self.num_memory_tokens}."
            )
        if self.retrieval not in ("attention", "top_1"):
            raise ConfigError(
                f"`retrieval` must be 'attention' or 'top_1'. Got {self.retrieval!r}."
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"`dropout` must lie in [0, 1). Got {self.dropout}.")

    def build(self, shape: LayerShape) -> "RMTR":
        """Returns the memory for a backbone whose layers have this shape."""
        return RMTR(self, shape)


@dataclass(frozen=True)
class RMTRState(State):
    """The memory tokens after every segment."""

    memory: Float[Tensor, "B M D"]
    """Those of the last segment; zeros before the first."""

    past: Float[Tensor, "B S M D"]
    """Those of all segments, the last one included; grows by one with each."""

    is_stored: Bool[Tensor, "B S"]
    """Which of the past are the row's own; rows of one batch may have read unequally much."""


@MEMORIES.register(
    "rmt_r", paper="arXiv:2402.10790", tiny=RMTRConfig(num_memory_tokens=2, dropout=0.0)
)
class RMTR(TokenMemory[RMTRState]):
    """Memory tokens like those of RMT, and what they find among all memories of the past."""

    is_bounded = False

    def __init__(self, config: RMTRConfig, shape: LayerShape) -> None:
        """Makes the first memory, as long as embeddings, and the maps of the retrieval."""
        super().__init__()
        self.config, d_model = config, shape.d_model
        self.num_memory_tokens = config.num_memory_tokens
        self.num_prefix_tokens = 2 * config.num_memory_tokens
        drawn = torch.randn(self.num_prefix_tokens, d_model) * shape.embedding_std
        self.first_memory = nn.Parameter(drawn)
        self.query_norm, self.past_norm, self.found_norm = (nn.LayerNorm(d_model) for _ in range(3))
        self.to_query, self.to_key, self.to_value, self.to_output = (
            nn.Linear(d_model, d_model) for _ in range(4)
        )
        self.perceptron = nn.Sequential(
            nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model)
        )
        self.dropout = nn.Dropout(config.dropout)

    def init_state(self, batch_size: int) -> RMTRState:
        """Returns rows that have read nothing."""
        first = self.first_memory[: self.num_memory_tokens]
        return RMTRState(
            memory=first.new_zeros(batch_size, *first.shape),
            past=first.new_zeros(batch_size, 0, *first.shape),
            is_stored=torch.zeros(batch_size, 0, dtype=torch.bool, device=first.device),
        )

    def tokens(self, state: RMTRState) -> TokenEdges:
        """Returns the memory and what it finds before the text, and the memory after it."""
        is_written = state.is_stored.any(1).view(-1, 1, 1)
        first_memory, first_found = self.first_memory.chunk(2)
        memory = torch.where(is_written, state.memory, first_memory)
        found = torch.where(is_written, self._retrieve(state), first_found)
        return TokenEdges(prefix=torch.cat([memory, found], dim=1), suffix=memory)

    def write(self, hidden: Float[Tensor, "B M D"], state: RMTRState) -> RMTRState:
        """Returns the hidden states after the text as the next memory, kept for ever."""
        memory = hidden.to(state.memory.dtype)
        return RMTRState(
            memory=memory,
            past=torch.cat([state.past, memory.unsqueeze(1)], dim=1),
            is_stored=functional.pad(state.is_stored, (0, 1), value=True),
        )

    def diagnose(
        self, source: Float[Tensor, "B M D"], state: RMTRState
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns how far back the memories were written that were found for the segment."""
        num_past = state.past.shape[1]
        if not num_past:
            return {"reach": source.new_zeros(len(source))}
        shares = self._shares(state, self._normed_past(state))
        by_segment = shares.unflatten(-1, (num_past, self.num_memory_tokens)).sum(-1)
        ages = torch.arange(num_past, 0, -1, device=shares.device)
        return {"reach": (by_segment * ages).sum(-1).mean(1)}

    def _retrieve(self, state: RMTRState) -> Float[Tensor, "B M D"]:
        """Returns what each token of the memory finds among those of all past segments."""
        past = self._normed_past(state)
        weights = self._shares(state, past)
        if self.config.retrieval == "attention":
            weights = self.dropout(weights)
        memory = state.memory.to(past.dtype)
        found = self.dropout(self.to_output(weights @ self.to_value(past))) + memory
        return found + self.dropout(self.perceptron(self.found_norm(found)))

    def _normed_past(self, state: RMTRState) -> Float[Tensor, "B N D"]:
        """Returns the past memories normed, in the precision of the model and not of the state."""
        return self.past_norm(state.past.flatten(1, 2).to(self.past_norm.weight.dtype))

    def _shares(self, state: RMTRState, past: Float[Tensor, "B N D"]) -> Float[Tensor, "B M N"]:
        """Returns the share of each past memory token in what each token finds."""
        queries = self.to_query(self.query_norm(state.memory.to(past.dtype)))
        scores = queries @ self.to_key(past).transpose(1, 2) / past.shape[-1] ** 0.5
        # sharpened they are greater than half precision can tell
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if self.config.retrieval == "top_1":
            scores = scores * _TOP_1_SHARPNESS
        is_own = state.is_stored.repeat_interleave(self.num_memory_tokens, dim=1).unsqueeze(1)
        # not minus infinity: a row without a past would be NaN, and so would every gradient
        scores = scores.masked_fill(~is_own, torch.finfo(scores.dtype).min)
        return scores.softmax(-1).to(past.dtype)
