"""HMT: one memory token a segment, recalled among the last ones by a summary of the text.

Source: He et al., "HMT: Hierarchical Memory Transformer for Efficient Long Context Language
Processing", arXiv:2405.06067, equations 1-3, with the details of its published code.

Where we differ: the published form summarises the first half of a segment and puts what it recalls
in front of the same half, so that a token learns of later ones. By default the summary is of the
end of the segment before; `literal=True` is the published form. Before the first segment the
learned first memory also stands in for the sensory tokens, which the published code leaves out.
Scores are always divided by the root of the queries' width. In the published form, a segment that
the text does not fill is summarised by a share of what there is, not of a whole segment. The switch
of reading speed is left out.

The optional loss that teaches what to recall is that of the published code: the cross-entropy of
the shares in equation 2 with a mask of the memories that are wanted. Which these are comes there
with the data; here a text wants its own memories and not those of the other texts in the batch. The
published code takes the softmax of shares that are a softmax already, which is left out. With
`literal=True` there is no such loss: the summary is of the very segment whose memory came last.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from armt.core.config import MemoryConfig
from armt.core.contract import Encode, TokenEdges, TokenMemory
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State


@dataclass(frozen=True, kw_only=True)
class HMTConfig(MemoryConfig):
    """Options of `HMT`."""

    stage_options: ClassVar[frozenset[str]] = frozenset({"use_recall"})

    num_cached: int = 300
    """Memories of past segments among which is recalled (`N`)."""

    num_sensory: int = 32
    """Tokens of the segment before that are put in front of the text once more (`K`)."""

    summary_fraction: float = 0.5
    """Share of a segment's text that is summarised to search for it."""

    d_query: int | None = None
    """Width of queries and keys; none for that of the backbone (published: 4096 for every one)."""

    use_recall: bool = True
    """Whether memories are recalled; if not, the last one is taken: the first stage of training."""

    literal: bool = False
    """The published form: the summary is of the segment itself, whose beginning so learns of what
    follows it."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_cached < 1:
            raise ConfigError(f"`num_cached` must be at least 1. Got {self.num_cached}.")
        if self.num_sensory < 0:
            raise ConfigError(f"`num_sensory` must not be negative. Got {self.num_sensory}.")
        if not 0 < self.summary_fraction <= 1:
            raise ConfigError(
                f"`summary_fraction` must lie in (0, 1]. Got {self.summary_fraction}."
            )
        if self.d_query is not None and self.d_query < 1:
            raise ConfigError(f"`d_query` must be at least 1. Got {self.d_query}.")

    def build(self, shape: LayerShape) -> "HMT":
        """Returns the memory for a backbone whose layers have this shape."""
        return HMT(self, shape)


@dataclass(frozen=True)
class HMTState(State):
    """What is known of the last segments, the newest last."""

    cache: Float[Tensor, "B N D"]
    """Their memories; where fewer were read, zeros in front."""

    num_cached: Int[Tensor, " B"]
    """How many of them there are."""

    summary: Float[Tensor, "B D"]
    """The summary by which the next memory is recalled."""

    sensory: Float[Tensor, "B K D"]
    """The embeddings at the end of the last segment."""

    upcoming: Float[Tensor, "B U D"]
    """Those of the segment that is being read; kept apart in the published form only."""


@MEMORIES.register(
    "hmt", paper="arXiv:2405.06067", tiny=HMTConfig(num_cached=3, num_sensory=2, d_query=4)
)
class HMT(TokenMemory[HMTState]):
    """A memory token recalled from a cache, between it and the text the last words read."""

    def __init__(self, config: HMTConfig, shape: LayerShape) -> None:
        """Makes the two learned tokens, as long as embeddings, and the maps of the search."""
        super().__init__()
        self.config, d_model = config, shape.d_model
        self.is_causal = not config.literal
        self.has_own_loss = not config.literal
        self.num_prefix_tokens, self.num_memory_tokens = 1 + config.num_sensory, 1
        self.min_segment_len = max(1, config.num_sensory)
        self.first_memory = nn.Parameter(torch.randn(1, d_model) * shape.embedding_std)
        self.summary_token = nn.Parameter(torch.randn(1, d_model) * shape.embedding_std)
        self.to_query = nn.Linear(d_model, config.d_query or d_model, bias=False)
        self.to_key = nn.Linear(d_model, config.d_query or d_model, bias=False)

    def init_state(self, batch_size: int) -> HMTState:
        """Returns rows that have read nothing."""
        like, config = self.first_memory, self.config
        d_model = like.shape[1]
        num_upcoming = config.num_sensory if config.literal else 0
        return HMTState(
            cache=like.new_zeros(batch_size, config.num_cached, d_model),
            num_cached=torch.zeros(batch_size, dtype=torch.long, device=like.device),
            summary=like.new_zeros(batch_size, d_model),
            sensory=like.new_zeros(batch_size, config.num_sensory, d_model),
            upcoming=like.new_zeros(batch_size, num_upcoming, d_model),
        )

    def query(self, text: Float[Tensor, "B T D"], state: HMTState, encode: Encode) -> HMTState:
        """Summarises a part of the text (equation 1) and keeps the embeddings at its end."""
        config, summary, dtype = self.config, state.summary, state.cache.dtype
        if config.use_recall:
            summary = self._summarise(text, encode).to(dtype)
        last = text[:, max(text.shape[1] - config.num_sensory, 0) :].to(dtype)
        if not config.literal:
            return replace(state, summary=summary, sensory=last)
        # a shorter text is the beginning of a segment, from which nothing will be written
        num_missing = config.num_sensory - last.shape[1]
        upcoming = functional.pad(last, (0, 0, num_missing, 0))
        return replace(state, summary=summary, upcoming=upcoming)

    def tokens(self, state: HMTState) -> TokenEdges:
        """Returns what is recalled for both ends, and after the first the sensory tokens."""
        is_started = (state.num_cached > 0).view(-1, 1, 1)
        found = self.recall(state) if self.config.use_recall else state.cache[:, -1:]
        memory = torch.where(is_started, found, self.first_memory)
        sensory = torch.where(is_started, state.sensory, self.first_memory)
        return TokenEdges(prefix=torch.cat([memory, sensory], dim=1), suffix=memory)

    def recall(self, state: HMTState) -> Float[Tensor, "B 1 D"]:
        """Returns the mixture of cached memories that suits the summary (equations 2 and 3)."""
        return self._shares(state).to(state.cache.dtype) @ state.cache

    def own_loss(self, state: HMTState) -> Float[Tensor, ""]:
        """Returns how badly the search tells a text's memories from those of other texts.

        The last summary searches the caches of all rows (equation 2). Rows that have read nothing
        do not count.

        Raises:
            ConfigError: nothing is recalled, or there is no other row.
        """
        num_rows, num_places = state.cache.shape[:2]
        if not self.config.use_recall:
            raise ConfigError(
                "Without recall there is no search to teach. Set the `memory_loss` of a stage with "
                "use_recall=false to 0."
            )
        if num_rows < 2:
            raise ConfigError(
                "The search learns from other texts in the batch. Got one row: raise "
                "`batch_size`, or set `memory_loss` to 0."
            )
        scores = self._scores(state.summary, state.cache.flatten(0, 1))
        is_there = self._is_there(state)
        scores = scores.masked_fill(~is_there.flatten(), torch.finfo(scores.dtype).min)
        log_shares = scores.log_softmax(-1).view(num_rows, num_rows, num_places)
        own = torch.where(is_there, log_shares.diagonal().T, 0).sum(1)
        count = is_there.sum(1)
        return -(own / count.clamp_min(1)).sum() / (count > 0).sum().clamp_min(1)

    def diagnose(
        self, source: Float[Tensor, "B 1 D"], state: HMTState
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns how far back the memories were written that the next segment is given."""
        if not self.config.use_recall or self.config.literal:
            return {}
        ages = torch.arange(self.config.num_cached, 0, -1, device=source.device)
        return {"reach": (self._shares(self.write(source, state)) * ages).sum(-1).squeeze(1)}

    def _shares(self, state: HMTState) -> Float[Tensor, "B 1 N"]:
        """Returns the share of each cached memory in what is recalled."""
        scores = self._scores(state.summary.unsqueeze(1), state.cache)
        is_there = self._is_there(state).unsqueeze(1)
        # not minus infinity: a row that has read nothing would be NaN, and so would every gradient
        scores = scores.masked_fill(~is_there, torch.finfo(scores.dtype).min)
        return scores.softmax(-1)

    def _scores(
        self, summaries: Float[Tensor, "*B M D"], memories: Float[Tensor, "*B N D"]
    ) -> Float[Tensor, "*B M N"]:
        """Returns how well each memory suits each summary (equation 2, before the softmax)."""
        # a state may be more precise than the model that goes on from it
        dtype = self.to_query.weight.dtype
        queries, keys = self.to_query(summaries.to(dtype)), self.to_key(memories.to(dtype))
        return queries @ keys.mT / keys.shape[-1] ** 0.5

    def _is_there(self, state: HMTState) -> Bool[Tensor, "B N"]:
        """Returns which places of the cache hold a memory."""
        ages = torch.arange(self.config.num_cached, 0, -1, device=state.num_cached.device)
        return ages <= state.num_cached.unsqueeze(1)

    def write(self, hidden: Float[Tensor, "B 1 D"], state: HMTState) -> HMTState:
        """Adds the hidden state after the text to the cache; the oldest one falls out."""
        return replace(
            state,
            cache=torch.cat([state.cache[:, 1:], hidden.to(state.cache.dtype)], dim=1),
            num_cached=(state.num_cached + 1).clamp_max(self.config.num_cached),
            sensory=state.upcoming if self.config.literal else state.sensory,
        )

    def _summarise(self, text: Float[Tensor, "B T D"], encode: Encode) -> Float[Tensor, "B D"]:
        """Returns the hidden state at a learned token behind a part of the text."""
        length = max(1, int(self.config.summary_fraction * text.shape[1]))
        part = text[:, :length] if self.config.literal else text[:, -length:]
        token = self.summary_token.to(text.dtype).expand(len(text), 1, -1)
        return encode(torch.cat([token, part, token], dim=1))[:, -1]
