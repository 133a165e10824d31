"""M+: a pool that forgets at random, and behind it all that it forgot, on the host.

Source: Wang et al., "M+: Extending MemoryLLM with Scalable Long-Term Memory", arXiv:2502.00592,
with the details of its published code.

The pool is that of MemoryLLM. Memory tokens that it gives up go into a long-term memory that grows
up to a capacity; then the oldest are lost. For each segment a retriever takes those with the
highest scores, in the order of their age:

    score(j) = mean over queries i of sigmoid(f_q(q_i) . f_k(k_j))

They stand before the pool, and the attention sees them with log score(j) added.

Where we differ. As in `armt.memories.memoryllm`, places hold keys and values, written by learned
tokens in the same pass; so f_q reads a layer's queries and f_k its keys, not hidden states. In the
paper the queries are all those of the segment that is read, which tells the future; here they are
those of the memory tokens before it, `literal=True` gives the others. The added logarithm, ours,
lets the loss of the model reach the retriever. Gradients go through the long-term memory as through
the pool, as far back as the recurrence says. Reading and writing happen in one pass, or in two with
an adapter each (`armt.use_adapters`).

The retriever's own loss is the paper's, -log p+ - log(1 - p-), with the score above for p as in the
published code. p+ is of places in the row's pool, and p- of those in another row's; there, of what
this document wrote and of what stood in the one pool before. The weight and the two small terms of
the published code are left out. What it compares is cut off from the backbone, as published,
unless `is_loss_cut_off=False` lets it teach the memory tokens to hold what they are found by.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from armt.core.config import MemoryConfig
from armt.core.contract import KeyValueMemory, KeyValues, Lookup, Written
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State
from armt.ops.growth import arranged, keep_newest
from armt.ops.pool import choose_dropped, first_chance, next_chance, take


@dataclass(frozen=True, kw_only=True)
class MPlusConfig(MemoryConfig):
    """Options of `MPlus`."""

    num_memory_tokens: int = 16
    """Tokens that a segment leaves in the pool (`K`)."""

    num_slots: int = 512
    """Places of the pool of each layer (`N`)."""

    num_retrieved: int = 128
    """Tokens of the long-term memory that a segment sees (`K0`)."""

    capacity: int | None = 150_000
    """Tokens that a layer's long-term memory holds at most (`M`); the oldest are lost. None to
    keep all."""

    d_retriever: int = 64
    """Width of the vectors that are compared."""

    is_offloaded: bool = True
    """Whether the long-term memory is kept on the host."""

    literal: bool = False
    """Whether all queries of the segment that is read choose, as published. Positions then learn of
    later ones."""

    is_loss_cut_off: bool = True
    """Whether the retriever's own loss teaches the retriever alone, as published. Otherwise it also
    teaches backbone and memory tokens to hold what tells one text from another."""

    seed: int = 0
    """Decides what leaves the pool; layers differ under the same seed."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_retrieved", "d_retriever"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if not 1 <= self.num_memory_tokens <= self.num_slots:
            raise ConfigError(
                "`num_memory_tokens` must be at least 1 and at most `num_slots`. Got "
                f"{self.num_memory_tokens} of {self.num_slots}."
            )
        if self.capacity is not None and self.capacity < 1:
            raise ConfigError(f"`capacity` must be at least 1. Got {self.capacity}.")

    def build(self, shape: LayerShape) -> "MPlus":
        """Returns the memory for a layer of this shape."""
        return MPlus(self, shape)


@dataclass(frozen=True)
class MPlusState(State):
    """Pool and long-term memory of one layer; at least single precision under any dtype."""

    keys: Float[Tensor, "B G N C"]
    """Of the pool; un-rotated, the newest last."""

    values: Float[Tensor, "B G N C"]

    numbers: Int[Tensor, "B N"]
    """Which memory token of the text stands in a place, from 1; 0 for an empty one."""

    chance: Int[Tensor, " B"]
    """Decides what leaves the pool next."""

    queries: Float[Tensor, "B K Q"]
    """Un-rotated queries, all heads, of the last memory tokens."""

    long_keys: Float[Tensor, "B S G C"]
    """Of the long-term memory, the oldest first; on the host if it is offloaded."""

    long_values: Float[Tensor, "B S G C"]

    long_vectors: Float[Tensor, "B S E"]
    """What they are found by, as the retriever made it when they left the pool."""

    long_numbers: Int[Tensor, "B S"]
    """Which memory token of the text each is; 0 where a row has fewer than another."""


@MEMORIES.register(
    "mplus",
    paper="arXiv:2502.00592",
    tiny=MPlusConfig(num_memory_tokens=2, num_slots=3, num_retrieved=20, d_retriever=3),
)
class MPlus(KeyValueMemory[MPlusState]):
    """A pool of memory tokens, and a long-term memory of those that it forgot."""

    is_bounded = False
    is_neutral_when_fresh = False

    def __init__(self, config: MPlusConfig, shape: LayerShape) -> None:
        """Makes the maps of the retriever."""
        super().__init__()
        self.config: MPlusConfig = config
        self.is_causal = not config.literal
        # in the published form the queries that choose are not in the state
        self.has_own_loss = not config.literal and config.num_slots > config.num_memory_tokens
        self.num_memory_tokens = config.num_memory_tokens
        self.num_positions_before = config.num_slots + config.num_retrieved
        self._num_kv_heads, self._head_dim = shape.num_kv_heads, shape.head_dim
        self._query_width = shape.num_heads * shape.head_dim
        self._first_chance = first_chance(config.seed, shape.index)
        self.to_query = _retriever(self._query_width, config.d_retriever)
        self.to_key = _retriever(shape.num_kv_heads * shape.head_dim, config.d_retriever)

    def init_state(self, batch_size: int) -> MPlusState:
        """Returns an empty pool and nothing behind it for each row."""
        config, like = self.config, self._like
        dtype = torch.promote_types(like.dtype, torch.float32)
        heads, width = (self._num_kv_heads, self._head_dim), self._query_width
        pool = like.new_zeros((batch_size, heads[0], config.num_slots, heads[1]), dtype=dtype)
        numbers = like.new_zeros((batch_size, config.num_slots), dtype=torch.long)
        host = torch.zeros((batch_size, 0, *heads), dtype=dtype, device=self._host)
        return MPlusState(
            keys=pool,
            values=pool,
            numbers=numbers,
            chance=numbers[:, 0] + self._first_chance,
            queries=pool.new_zeros((batch_size, self.num_memory_tokens, width)),
            long_keys=host,
            long_values=host,
            long_vectors=host.new_zeros((batch_size, 0, config.d_retriever)),
            long_numbers=host.new_zeros((batch_size, 0), dtype=torch.long),
        )

    def extend(self, lookup: Lookup, state: MPlusState) -> KeyValues:
        """Returns what is retrieved and the pool, in the order of age, right before the segment."""
        found = self._retrieve(lookup, state)
        keys = torch.cat([found.keys, state.keys], dim=2)
        num_found, num_queries = found.keys.shape[2], lookup.queries.shape[2]
        places = torch.arange(keys.shape[2], device=keys.device) - keys.shape[2]
        queries = torch.arange(num_queries, device=keys.device)
        is_text = (queries < num_queries - lookup.num_memory_tokens).unsqueeze(1)
        is_newest = places >= -self.num_memory_tokens
        is_stored = torch.cat([found.is_stored, state.numbers > 0], dim=1)
        return KeyValues(
            keys=keys,
            values=torch.cat([found.values, state.values], dim=2),
            is_visible=(is_stored.unsqueeze(1) & (is_text | is_newest)).unsqueeze(1),
            positions=places,
            bias=F.pad(found.bias, (0, self.config.num_slots)) if num_found else None,
        )

    def write(self, written: Written, state: MPlusState) -> MPlusState:
        """Puts the memory tokens into the pool, and what it gives up into the long-term memory."""
        number, dtype = self.num_memory_tokens, state.keys.dtype
        kept, dropped = choose_dropped(state.numbers > 0, state.chance, number)
        steps = torch.arange(1, number + 1, device=kept.device)
        return MPlusState(
            keys=torch.cat([take(state.keys, kept), written.keys.to(dtype)], dim=2),
            values=torch.cat([take(state.values, kept), written.values.to(dtype)], dim=2),
            numbers=torch.cat([state.numbers.gather(1, kept), state.numbers[:, -1:] + steps], 1),
            chance=next_chance(state.chance),
            queries=written.queries.transpose(1, 2).flatten(2).to(dtype),
            **self._remembered(dropped, state),
        )

    def own_loss(self, state: MPlusState) -> Float[Tensor, ""]:
        """Returns how badly the retriever tells a row's memory tokens from those of another row.

        The last segment asks, and the memory tokens of those before it are compared. Where there
        are none yet, nothing is lost.

        Raises:
            ConfigError: there is no other row.
        """
        if len(state.queries) < 2:
            raise ConfigError(
                "The retriever learns from other texts in the batch. Got one row: raise "
                "`batch_size`, or set `memory_loss` to 0."
            )
        num_old = self.config.num_slots - self.num_memory_tokens
        queries, keys = state.queries, state.keys[:, :, :num_old].transpose(1, 2)
        if self.config.is_loss_cut_off:
            queries, keys = queries.detach(), keys.detach()
        asked, vectors = self.to_query(queries.to(self._like.dtype)), self._to_vectors(keys)
        is_there = state.numbers[:, :num_old] > 0
        own = _mean_where(is_there, _log_share(asked, vectors))
        # the share of the negative is one minus the share
        strange = _mean_where(is_there.roll(1, 0), _log_share(-asked, vectors.roll(1, 0)))
        return -own - strange

    def diagnose(self, source: Written, state: MPlusState) -> dict[str, Float[Tensor, " B"]]:
        """Returns how many tokens the long-term memory hands out, and how old they are.

        In the published form, which asks with the text itself, there is nothing to tell.
        """
        del source
        if self.config.literal:
            return {}
        numbers = self.next_retrieved(state).to(state.numbers.device)
        is_stored = numbers > 0
        retrieved = is_stored.sum(1)
        ages = (state.numbers[:, -1:] - numbers) / self.num_memory_tokens
        reach = (ages * is_stored).sum(1) / retrieved.clamp_min(1)
        return {"retrieved": retrieved.to(reach.dtype), "reach": reach}

    def next_retrieved(self, state: MPlusState) -> Int[Tensor, "B R"]:
        """Returns which memory tokens the next segment will be handed, the oldest first.

        Number n was written by segment (n - 1) // K, from 0 on; 0 is none. In the published form
        the next segment's own text asks, so that there is nothing to tell before it is read.

        Raises:
            ConfigError: the published form.
        """
        if self.config.literal:
            raise ConfigError(
                "With `literal` the next segment's own text decides what it is handed."
            )
        asked = self.to_query(state.queries.to(self._like.dtype))
        places = best_places(asked, state, self.config.num_retrieved)
        return state.long_numbers.gather(1, places)

    def _remembered(self, dropped: Int[Tensor, "B K"], state: MPlusState) -> dict[str, Tensor]:
        """Returns the long-term memory with what the pool gives up; empty places are nothing."""
        keys, values = (take(part, dropped).transpose(1, 2) for part in (state.keys, state.values))
        with torch.no_grad():
            vectors = self._to_vectors(keys).to(state.long_vectors.dtype)
        joined = {
            "long_keys": (state.long_keys, keys),
            "long_values": (state.long_values, values),
            "long_vectors": (state.long_vectors, vectors),
            "long_numbers": (state.long_numbers, state.numbers.gather(1, dropped)),
        }
        # not pinned: the host works on what comes right away, and has to wait for it
        host = self._host
        long = {
            name: torch.cat([part.to(host) for part in parts], 1) for name, parts in joined.items()
        }
        order = keep_newest(long["long_numbers"], self.config.capacity)
        return {name: arranged(value, order) for name, value in long.items()}

    def _retrieve(self, lookup: Lookup, state: MPlusState) -> "_Found":
        """Returns the tokens of the long-term memory that score highest, the oldest first."""
        queries = state.queries
        if self.config.literal:
            text_len = lookup.queries.shape[2] - lookup.num_memory_tokens
            queries = lookup.queries[:, :, :text_len].transpose(1, 2).flatten(2)
        asked = self.to_query(queries.to(self._like.dtype))
        places = best_places(asked, state, self.config.num_retrieved)
        index = places[:, :, None, None].expand(-1, -1, *state.long_keys.shape[2:])
        keys, values = (
            part.gather(1, index).to(state.keys.device)
            for part in (state.long_keys, state.long_values)
        )
        return _Found(
            keys=keys.transpose(1, 2),
            values=values.transpose(1, 2),
            is_stored=(state.long_numbers.gather(1, places) > 0).to(keys.device),
            bias=_log_share(asked, self._to_vectors(keys)),
        )

    def _to_vectors(self, keys: Float[Tensor, "B R G C"]) -> Float[Tensor, "B R E"]:
        return self.to_key(keys.flatten(2).to(self._like.dtype))

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())

    @property
    def _host(self) -> torch.device:
        return torch.device("cpu") if self.config.is_offloaded else self._like.device


class _Found(NamedTuple):
    """What was taken from the long-term memory."""

    keys: Float[Tensor, "B G R C"]
    values: Float[Tensor, "B G R C"]
    is_stored: Bool[Tensor, "B R"]
    bias: Float[Tensor, "B R"]


@torch.no_grad()
def best_places(
    asked: Float[Tensor, "B I E"], state: MPlusState, number: int
) -> Int[Tensor, "B R"]:
    """Returns the places in the long-term memory that score highest for what is asked.

    They come in the order of age; where a row has fewer than another, what fills it up comes first,
    so that the newest stand next to the pool in every row.
    """
    is_stored, width = state.long_numbers > 0, state.long_numbers.shape[1]
    scores = _log_share(asked.to(state.long_vectors), state.long_vectors)
    scores = scores.masked_fill(~is_stored, -torch.inf)
    places = scores.topk(min(number, width), dim=-1).indices
    ranks = torch.where(is_stored.gather(1, places), places + width, places)
    return ranks.sort(-1).values % max(width, 1)


def _retriever(width: int, d_retriever: int) -> nn.Sequential:
    """Returns two maps without bias, as in the paper."""
    return nn.Sequential(
        nn.Linear(width, 2 * d_retriever, bias=False),
        nn.SiLU(),
        nn.Linear(2 * d_retriever, d_retriever, bias=False),
    )


def _log_share(
    queries: Float[Tensor, "B I E"], vectors: Float[Tensor, "B R E"]
) -> Float[Tensor, "B R"]:
    """Returns the logarithm of the mean, over the queries, of the sigmoid of their products."""
    products = queries @ vectors.transpose(1, 2)
    return F.logsigmoid(products).logsumexp(1) - math.log(queries.shape[1])


def _mean_where(is_there: Bool[Tensor, "B R"], values: Float[Tensor, "B R"]) -> Float[Tensor, ""]:
    return (values * is_there).sum() / is_there.sum().clamp_min(1)
