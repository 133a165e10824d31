"""MemoryLLM: a pool of memory tokens in every layer that forgets at random.

Source: Wang et al., "MemoryLLM: Towards Self-Updatable Large Language Models", arXiv:2402.04624.

For a pool of N places in each layer and K memory tokens at the end of a segment:

    read:   every position of the text attends to all places in use, the memory tokens to the newest
            K, and both to their segment as ever
    inject: K places, empty ones first and then random ones, are given up; the others keep their
            order; the K memory tokens stand behind them

So of the K tokens of a segment K (1 - K/N)^n are left, on average, after n more.

Where we differ. In the paper the pool holds hidden states: the outputs of layer l at the last K
positions of a text, in a pass of their own, which layer l then reads as inputs, by its own norm and
projections. Here it holds what comes out of those projections, keys and values, of K learned tokens
behind the text in the same pass: the memory tokens of past segments simply stay in the attention.
What layer l reads is thus made of the output of layer l - 1, as ever in a Transformer, and nothing
is projected again; the first layer's pool, whose memory tokens have not seen the text yet, is the
same for every segment. The pool starts empty, not filled with copies of the first segment. There is
no learned first token in front of the pool. Every row has a pool of its own; the published code has
one.
"""

from dataclasses import dataclass

import torch

from armt.core.config import MemoryConfig
from armt.core.contract import KeyValueMemory, KeyValues, Lookup, Written
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State
from armt.ops.pool import choose_dropped, first_chance, next_chance, take


@dataclass(frozen=True, kw_only=True)
class MemoryLLMConfig(MemoryConfig):
    """Options of `MemoryLLM`."""

    num_memory_tokens: int = 16
    """Tokens that a segment leaves in the pool (`K`)."""

    num_slots: int = 512
    """Places of the pool of each layer (`N`)."""

    seed: int = 0
    """Decides what is forgotten; layers differ under the same seed."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if not 1 <= self.num_memory_tokens <= self.num_slots:
            raise ConfigError(
                "`num_memory_tokens` must be at least 1 and at most `num_slots`. Got "
                f"{self.num_memory_tokens} of {self.num_slots}."
            )

    def build(self, shape: LayerShape) -> "MemoryLLM":
        """Returns the memory for a layer of this shape."""
        return MemoryLLM(self, shape)


@dataclass(frozen=True)
class MemoryLLMState(State):
    """The pool of one layer; at least single precision under any dtype of the model."""

    keys: Float[Tensor, "B G N C"]
    """Un-rotated, the newest last; places that are not in use stand first."""

    values: Float[Tensor, "B G N C"]

    num_filled: Int[Tensor, " B"]
    """Places in use."""

    chance: Int[Tensor, " B"]
    """Decides what is forgotten next."""


@MEMORIES.register(
    "memoryllm",
    paper="arXiv:2402.04624",
    tiny=MemoryLLMConfig(num_memory_tokens=2, num_slots=8),
)
class MemoryLLM(KeyValueMemory[MemoryLLMState]):
    """A pool of memory tokens in every attention that forgets at random."""

    is_neutral_when_fresh = False

    like: Tensor

    def __init__(self, config: MemoryLLMConfig, shape: LayerShape) -> None:
        """Keeps the options; what is learned are the memory tokens and the backbone."""
        super().__init__()
        self.config: MemoryLLMConfig = config
        self.num_memory_tokens = config.num_memory_tokens
        self.num_positions_before = config.num_slots
        self._heads = (shape.num_kv_heads, config.num_slots, shape.head_dim)
        self.register_buffer("like", torch.zeros(()), persistent=False)
        self._first_chance = first_chance(config.seed, shape.index)

    def init_state(self, batch_size: int) -> MemoryLLMState:
        """Returns an empty pool for each row."""
        dtype = torch.promote_types(self.like.dtype, torch.float32)
        numbers = self.like.new_zeros(batch_size, dtype=torch.long)
        return MemoryLLMState(
            keys=self.like.new_zeros((batch_size, *self._heads), dtype=dtype),
            values=self.like.new_zeros((batch_size, *self._heads), dtype=dtype),
            num_filled=numbers,
            chance=numbers + self._first_chance,
        )

    def extend(self, lookup: Lookup, state: MemoryLLMState) -> KeyValues:
        """Returns the pool, which stands right before the segment."""
        num_queries, num_slots = lookup.queries.shape[2], self.config.num_slots
        places = torch.arange(num_slots, device=state.keys.device)
        is_newest = places >= num_slots - self.num_memory_tokens
        queries = torch.arange(num_queries, device=state.keys.device)
        is_text = queries < num_queries - lookup.num_memory_tokens
        is_visible = self._is_filled(state).unsqueeze(1) & (is_text.unsqueeze(1) | is_newest)
        return KeyValues(state.keys, state.values, is_visible.unsqueeze(1), places - num_slots)

    def write(self, written: Written, state: MemoryLLMState) -> MemoryLLMState:
        """Gives up as many places as there are memory tokens, and puts these behind the others."""
        number, dtype = self.num_memory_tokens, state.keys.dtype
        kept = choose_dropped(self._is_filled(state), state.chance, number).kept
        return MemoryLLMState(
            keys=torch.cat([take(state.keys, kept), written.keys.to(dtype)], dim=2),
            values=torch.cat([take(state.values, kept), written.values.to(dtype)], dim=2),
            num_filled=(state.num_filled + number).clamp_max(self.config.num_slots),
            chance=next_chance(state.chance),
        )

    def _is_filled(self, state: MemoryLLMState) -> Bool[Tensor, "B N"]:
        places = torch.arange(self.config.num_slots, device=state.keys.device)
        return places >= self.config.num_slots - state.num_filled.unsqueeze(-1)
