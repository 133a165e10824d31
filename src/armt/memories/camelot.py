"""CAMELoT: slots of averaged keys and values in every attention, without any training.

Source: He et al., "CAMELoT: Towards Large Language Models with Training-Free Consolidated
Associative Memory", arXiv:2402.13449. No code was published; what the text leaves open is decided
here and marked.

For key-value head and slot m with key K, value V, count c and age a, and a token's key k, value v:

    near:  m = argmax cos(K_m, k)
    write: if cos(K_m, k) >= R:  K_m <- (c K_m + k) / (c + 1),  V_m likewise,  c <- c + 1,  a <- 0
           else the stalest slot, an empty one first:  K <- k,  V <- v,  c <- 1,  a <- 0
           all other slots: a <- a + 1

Tokens are written in their order when the segment is full; reads see the slots as they were before.

Where we differ by default. In the paper a token of the segment retrieves by its key, and all tokens
attend to all that was retrieved: what token i retrieves tells token j < i what token i will be.
Here a token retrieves by its query and sees nothing else; with `read_by="keys"` it sees what the
tokens that it attends to retrieve. `literal=True` shows every token's slots to all. A slot that
several tokens retrieve is attended to once, not once for each of them.

Our choices where the text is silent: one memory for each layer and key-value head; cosines decide
what is alike, dot products what a query retrieves; keys are kept un-rotated and stand one position
before the segment.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from armt.core.config import MemoryConfig
from armt.core.contract import KeyValueMemory, KeyValues, Lookup, Written
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State
from armt.ops.slots import Slots, nearest_slots, write_slots


@dataclass(frozen=True, kw_only=True)
class CAMELoTConfig(MemoryConfig):
    """Options of `CAMELoT`."""

    num_slots: int = 1024
    """Slots of each layer and key-value head (`M`)."""

    threshold: float = 0.95
    """Cosine from which a key counts as a slot's own (`R`): above 1 nothing is averaged and the
    memory holds the last tokens; at -1 all is averaged in one slot."""

    num_reads: int = 1
    """Slots that a token retrieves; `num_slots` for all of them."""

    read_by: Literal["queries", "keys"] = "queries"
    """What a token retrieves by."""

    literal: bool = False
    """Whether every position attends to what any position of the segment retrieves, as published.
    Positions then learn of later ones."""

    layers: tuple[int, ...] | None = None
    """Numbers of the layers that have a memory, from 0 at the bottom; none for all."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_slots", "num_reads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.num_reads > self.num_slots:
            raise ConfigError(
                f"`num_reads` must be at most `num_slots`. Got {self.num_reads} of "
                f"{self.num_slots}."
            )
        if self.read_by not in ("queries", "keys"):
            raise ConfigError(f"`read_by` must be 'queries' or 'keys'. Got {self.read_by!r}.")

    @classmethod
    def published(cls, *, num_slots: int = 1024, threshold: float = 0.95) -> "CAMELoTConfig":
        """Returns the form of the paper, whose reads see the future."""
        return cls(num_slots=num_slots, threshold=threshold, read_by="keys", literal=True)

    def build(self, shape: LayerShape) -> "CAMELoT":
        """Returns the memory for a layer of this shape.

        Raises:
            ConfigError: a layer is named that the backbone does not have.
        """
        if self.layers is not None and not set(self.layers) <= set(range(shape.num_layers)):
            raise ConfigError(
                f"`layers` must be numbers from 0 to {shape.num_layers - 1}. Got {self.layers}."
            )
        return CAMELoT(self, shape)


@dataclass(frozen=True)
class CAMELoTState(State):
    """The slots of one layer; at least single precision under any dtype of the model."""

    keys: Float[Tensor, "B G M C"]
    values: Float[Tensor, "B G M C"]

    counts: Int[Tensor, "B G M"]
    """Tokens merged into a slot; 0 for an empty one."""

    ages: Int[Tensor, "B G M"]
    """Tokens written since a slot was last written."""


@MEMORIES.register(
    "camelot",
    paper="arXiv:2402.13449",
    tiny=CAMELoTConfig(num_slots=8, num_reads=5, threshold=0.9),
)
class CAMELoT(KeyValueMemory[CAMELoTState]):
    """Slots of averaged keys and values in every attention; nothing is trained."""

    is_neutral_when_fresh = False
    is_differentiable = False
    num_positions_before = 1

    like: Tensor

    def __init__(self, config: CAMELoTConfig, shape: LayerShape) -> None:
        """Keeps the options; there is nothing to learn."""
        super().__init__()
        self.config: CAMELoTConfig = config
        self.is_causal = not config.literal
        has_memory = config.layers is None or shape.index in config.layers
        self.num_slots = config.num_slots if has_memory else 0
        self.num_kv_heads, self.head_dim = shape.num_kv_heads, shape.head_dim
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def init_state(self, batch_size: int) -> CAMELoTState:
        """Returns empty slots for each row."""
        dtype = torch.promote_types(self.like.dtype, torch.float32)
        shape = (batch_size, self.num_kv_heads, self.num_slots)
        return CAMELoTState(
            keys=self.like.new_zeros((*shape, self.head_dim), dtype=dtype),
            values=self.like.new_zeros((*shape, self.head_dim), dtype=dtype),
            counts=self.like.new_zeros(shape, dtype=torch.long),
            ages=self.like.new_zeros(shape, dtype=torch.long),
        )

    def extend(self, lookup: Lookup, state: CAMELoTState) -> KeyValues | None:
        """Returns all slots, of which each query sees what was retrieved for it."""
        if not self.num_slots:
            return None
        is_visible = self._is_visible(lookup, state)
        place = torch.full((self.num_slots,), -1, device=state.keys.device)
        return KeyValues(state.keys, state.values, is_visible, place)

    def write(self, written: Written, state: CAMELoTState) -> CAMELoTState:
        """Merges or adds each token of the segment, one after the other."""
        if not self.num_slots:
            return state
        dtype = state.keys.dtype
        slots = Slots(state.keys, state.values, state.counts, state.ages)
        keys, values = written.keys.to(dtype), written.values.to(dtype)
        return CAMELoTState(*write_slots(slots, keys, values, self.config.threshold))

    def diagnose(self, source: Written, state: CAMELoTState) -> dict[str, Float[Tensor, " B"]]:
        """Returns how many slots a token of the segment finds, as a mean over tokens and heads."""
        if not self.num_slots:
            return {}
        is_there = torch.ones(source.keys.shape[2], source.keys.shape[2], dtype=torch.bool)
        is_visible = is_there.tril().to(source.keys.device).expand(len(source.keys), -1, -1)
        lookup = Lookup(source.queries, source.keys, is_visible, 0, source.ids)
        found = self._is_visible(lookup, state).sum(-1).to(state.keys.dtype)
        return {"retrieved": found.flatten(1).mean(1)}

    def _is_visible(self, lookup: Lookup, state: CAMELoTState) -> Bool[Tensor, "B G T M"]:
        """Returns which slots each query sees."""
        is_by_query = self.config.read_by == "queries"
        scores = self._query_scores(lookup, state) if is_by_query else _key_scores(lookup, state)
        found = nearest_slots(scores, state.counts > 0, self.config.num_reads)
        if self.config.literal:
            return found.any(2, keepdim=True).expand(-1, -1, lookup.queries.shape[2], -1)
        if is_by_query:
            return found
        # a slot retrieved by a token is seen where the token itself is seen
        return lookup.is_visible.unsqueeze(1).to(state.keys) @ found.to(state.keys) > 0

    def _query_scores(self, lookup: Lookup, state: CAMELoTState) -> Float[Tensor, "B G T M"]:
        """Returns dot products, the mean of those of the query heads that share a slot."""
        queries = lookup.queries.unflatten(1, (self.num_kv_heads, -1)).mean(2)
        return queries.to(state.keys) @ state.keys.transpose(-1, -2)


def _key_scores(lookup: Lookup, state: CAMELoTState) -> Float[Tensor, "B G S M"]:
    """Returns cosines of the segment's keys with those of the slots."""
    keys = F.normalize(lookup.keys.to(state.keys), dim=-1)
    return keys @ F.normalize(state.keys, dim=-1).transpose(-1, -2)
