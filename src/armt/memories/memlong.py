"""MemLong: one layer's keys and values of all that was read, found again by what the text says.

Source: Liu et al., "MemLong: Memory-Augmented Retrieval for Long Text Modeling", arXiv:2408.16967,
with the details of its published code.

The text is cut into passages. The memory layer keeps each one's un-rotated keys and values, cut off
from gradients, and a vector that an embedder makes of its tokens. For each segment the passages of
the highest inner products with a query vector are taken, in the order of the text; the retrieval
layers attend to them and to their own segment under one softmax.

Where we differ. In the published code the query is the embedding of the very segment that is read:
what position i attends to is chosen with the tokens behind it. Here it is that of the last passage
read before; `literal=True` is the published form. When the memory is full its oldest passages are
dropped, not the older half at once; the paper's counters of retrievals are not in its code either.
The segment's first token stands at position 0, where the passages are, and not one behind them.
Keys are kept in the model's own precision, any number of rows may have passages of their own, and
grouped heads work. There is no gate between the memory and the segment; the published recipe leaves
it out too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch.nn import functional as F

from armt.core.config import MemoryConfig
from armt.core.contract import KeyValueMemory, KeyValues, Lookup, Written
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES, Registry
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.ops.growth import arranged, keep_newest
from armt.ops.hashing import hashed
from armt.ops.inner_products import INDICES, require_faiss

Embedder = Callable[[Int[Tensor, "B L"]], Float[Tensor, "B E"]]
"""Makes one vector from the tokens of a text; what is alike has a high inner product."""

EMBEDDERS: Registry[Embedder] = Registry("embedder", "armt.memories")
"""What can make vectors of texts; register yours under a name, and name it in the config."""

_BAG_WIDTH = 256


@EMBEDDERS.register("token_bag")
def bag_of_tokens(ids: Int[Tensor, "B L"]) -> Float[Tensor, "B E"]:
    """Returns the mean of fixed random vectors of the tokens, at length one.

    The inner product of two texts is nearly the cosine of their counts of tokens. Needs no model.
    """
    places = torch.arange(_BAG_WIDTH, device=ids.device)
    signs = 2.0 * (hashed(ids.unsqueeze(-1) * _BAG_WIDTH + places) & 1) - 1
    return F.normalize(signs.mean(1), dim=-1)


@dataclass(frozen=True, kw_only=True)
class MemLongConfig(MemoryConfig):
    """Options of `MemLong`."""

    free_options: ClassVar[frozenset[str]] = frozenset({"index"})

    passage_len: int = 128
    """Tokens of a passage; what is left of a segment makes a shorter one."""

    num_passages: int = 8
    """Passages that are retrieved for a segment."""

    memory_len: int = 32768
    """Tokens that are kept at most, in whole passages; the oldest are dropped."""

    memory_layer: int | None = None
    """Number of the layer whose keys and values are kept, from 0; none for the middle one."""

    retrieval_layers: tuple[int, ...] | None = None
    """Layers that attend to them, from the memory layer up; none for every fourth."""

    embedder: str = "token_bag"
    """Name of what makes vectors of passages, in `armt.memories.memlong.EMBEDDERS`."""

    index: Literal["torch", "faiss"] = "torch"
    """What finds the passages: `torch` where the memory is, or `faiss`, an extra, on the host. Both
    find the same."""

    literal: bool = False
    """Whether the query is the segment that is read, as published. Positions then learn of later
    ones."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("passage_len", "num_passages"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.memory_len < self.passage_len:
            raise ConfigError(
                f"`memory_len` must hold at least one passage of {self.passage_len} tokens. Got "
                f"{self.memory_len}."
            )

    def build(self, shape: LayerShape) -> "MemLong":
        """Returns the memory for a layer of this shape.

        Raises:
            ConfigError: a layer is named that the backbone does not have, or a layer should read
                what is written above it.
            UnknownNameError: no embedder has the name.
            MissingExtraError: the index is of a library that is not installed.
        """
        if self.index == "faiss":
            require_faiss()
        return MemLong(self, shape)

    def roles(self, num_layers: int) -> "Roles":
        """Returns which layers take part, in a backbone of so many."""
        memory = num_layers // 2 if self.memory_layer is None else self.memory_layer
        readers = self.retrieval_layers
        roles = Roles(memory, tuple(range(memory, num_layers, 4)) if readers is None else readers)
        if not 0 <= memory < num_layers:
            raise ConfigError(
                f"`memory_layer` must be a number from 0 to {num_layers - 1}. Got {memory}."
            )
        if not roles.retrieval or not all(memory <= each < num_layers for each in roles.retrieval):
            raise ConfigError(
                f"`retrieval_layers` must be numbers from {memory}, the memory layer, to "
                f"{num_layers - 1}. Got {roles.retrieval}."
            )
        return roles


class Roles(NamedTuple):
    """Which layers take part."""

    memory: int
    retrieval: tuple[int, ...]


@dataclass(frozen=True)
class MemLongState(State):
    """The passages of one layer, in the order of the text; empty but in the memory layer."""

    keys: Float[Tensor, "B S G P C"]
    """Un-rotated."""

    values: Float[Tensor, "B S G P C"]

    vectors: Float[Tensor, "B S E"]
    """What passages are found by."""

    lengths: Int[Tensor, "B S"]
    """Tokens of each passage; 0 where a row has none."""

    query: Float[Tensor, "B E"]
    """The vector of the last passage."""


@MEMORIES.register(
    "memlong",
    paper="arXiv:2408.16967",
    tiny=MemLongConfig(
        passage_len=3, memory_len=192, num_passages=8, memory_layer=0, retrieval_layers=(0, 1)
    ),
)
class MemLong(KeyValueMemory[MemLongState]):
    """Passages of one layer's keys and values, retrieved by their text into other layers."""

    is_bounded = False
    is_neutral_when_fresh = False
    is_differentiable = False

    like: Tensor

    def __init__(self, config: MemLongConfig, shape: LayerShape) -> None:
        """Keeps the options; there is nothing to learn but in the backbone."""
        super().__init__()
        self.config: MemLongConfig = config
        self.is_causal = not config.literal
        roles = config.roles(shape.num_layers)
        self.is_written = shape.index == roles.memory
        self.source = roles.memory if shape.index in roles.retrieval else None
        self._embed = EMBEDDERS[config.embedder].entry
        self._heads = (shape.num_kv_heads, config.passage_len, shape.head_dim)
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def init_state(self, batch_size: int) -> MemLongState:
        """Returns no passages for each row."""
        numbers = torch.zeros(batch_size, 0, dtype=torch.long, device=self.like.device)
        nothing = self.like.new_zeros((batch_size, 0, *self._heads))
        width = self._vectors(numbers.new_zeros(1, 1)).shape[-1]
        vectors = nothing.new_zeros((batch_size, 0, width), dtype=torch.float32)
        query = vectors.new_zeros(batch_size, width)
        return MemLongState(nothing, nothing, vectors, numbers, query)

    def extend(self, lookup: Lookup, state: MemLongState) -> KeyValues | None:
        """Returns the passages that are found, as if they all stood at position 0."""
        if self.source is None or not state.lengths.shape[1]:
            return None
        query = state.query
        if self.config.literal:
            assert lookup.ids is not None, "the published form asks with the text itself"
            query = self._vectors(lookup.ids)
        found = best_passages(query, state, self.config)
        lengths = state.lengths.gather(1, found)
        places = torch.arange(self.config.passage_len, device=lengths.device)
        is_visible = (places < lengths.unsqueeze(-1)).flatten(1).to(lookup.queries.device)
        num_queries = lookup.queries.shape[2]
        return KeyValues(
            keys=_passages(state.keys, found).to(lookup.keys),
            values=_passages(state.values, found).to(lookup.keys),
            is_visible=is_visible[:, None, None].expand(-1, -1, num_queries, -1),
        )

    @torch.no_grad()
    def write(self, written: Written, state: MemLongState) -> MemLongState:
        """Adds the passages of a segment, and drops the oldest of all where they are too many."""
        if not self.is_written:
            return state
        assert written.ids is not None, "passages are embedded by their text"
        size, total = self.config.passage_len, written.ids.shape[1]
        parts = [self._vectors(part) for part in written.ids.split(size, dim=1)]
        lengths = torch.tensor([min(size, total - start) for start in range(0, total, size)])
        added = MemLongState(
            keys=_cut(written.keys, size).to(state.keys),
            values=_cut(written.values, size).to(state.keys),
            vectors=torch.stack(parts, dim=1).to(state.vectors),
            lengths=lengths.to(state.lengths).expand(len(written.ids), -1),
            query=parts[-1].to(state.vectors),
        )
        tensors, new = state.tensors(), added.tensors()
        joined = {name: torch.cat([tensors[name], new[name]], 1) for name in new if name != "query"}
        places = torch.arange(1, joined["lengths"].shape[1] + 1, device=state.lengths.device)
        numbers = torch.where(joined["lengths"] > 0, places, 0)
        order = keep_newest(numbers, self.config.memory_len // size)
        kept = {name: arranged(value, order) for name, value in joined.items()}
        return MemLongState(**kept, query=added.query)

    def diagnose(self, source: Written, state: MemLongState) -> dict[str, Float[Tensor, " B"]]:
        """Returns how many passages are found; told by the layer that keeps them.

        In the published form, which asks with the text itself, there is nothing to tell.
        """
        del source
        if not self.is_written or self.config.literal:
            return {}
        found = best_passages(state.query, state, self.config)
        return {"retrieved": (state.lengths.gather(1, found) > 0).sum(1).to(state.vectors.dtype)}

    def _vectors(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B E"]:
        with torch.no_grad():
            return self._embed(ids).detach().to(self.like.device, torch.float32)


def best_passages(
    query: Float[Tensor, "B E"], state: MemLongState, config: MemLongConfig
) -> Int[Tensor, "B R"]:
    """Returns the places of the passages with the highest inner products, in the text's order."""
    search = INDICES[config.index]
    return search(query, state.vectors, state.lengths > 0, config.num_passages)


def _cut(values: Float[Tensor, "B G T C"], size: int) -> Float[Tensor, "B S G P C"]:
    """Returns a segment's vectors in passages, the last one filled up with zeros."""
    missing = -values.shape[2] % size
    return F.pad(values, (0, 0, 0, missing)).unflatten(2, (-1, size)).movedim(2, 1)


def _passages(
    stored: Float[Tensor, "B S G P C"], places: Int[Tensor, "B R"]
) -> Float[Tensor, "B G K C"]:
    """Returns the vectors of the passages at the places of each row, one after the other."""
    index = places[:, :, None, None, None].expand(-1, -1, *stored.shape[2:])
    return stored.gather(1, index).movedim(1, 2).flatten(2, 3)
