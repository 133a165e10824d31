"""Linear and MLP associative memories: keys to values, written in closed form or by gradient.

Source: Nichani, Lee, Bietti, "Understanding Factual Recall in Transformers via Associative
Memories", arXiv:2412.06538. There an association matrix `W = sum of value key^T` or a two-layer
perceptron stores facts once and for all, and its capacity is known: about one association for each
number that it holds, up to logarithms.

Here the same stores are memories of a layer, which the paper does not have: the state is the store;
queries, keys, values and a weight for each association are learned maps of the layer's input and
output; the memory tokens of a segment each write one association. Keys have length one, as the
paper's embeddings have nearly.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from armt.core.config import MemoryConfig
from armt.core.contract import LayerMemory
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Float, Tensor
from armt.core.state import State
from armt.ops.delta_rule import Association, Normalization, Tokens, write_sequential
from armt.ops.feature_maps import unit_norm
from armt.ops.linear_association import (
    RidgeAssociation,
    WeightedPairs,
    write_hebbian,
    write_ridge,
)
from armt.ops.mlp_association import MLPAssociation, read_mlp, write_mlp


def _check_positive(config: MemoryConfig, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"`{name}` must be at least 1. Got {getattr(config, name)}.")


class AssociationMaps(nn.Module):
    """The learned maps that both memories hold: what is asked for, and what is written."""

    def __init__(self, d_model: int, d_mem: int) -> None:
        """Makes the maps; `to_value` is zero."""
        super().__init__()
        self.to_query = nn.Linear(d_model, d_mem, bias=False)
        self.to_key = nn.Linear(d_model, d_mem, bias=False)
        self.to_value = nn.Linear(d_model, d_model, bias=False)
        self.to_gate = nn.Linear(d_model, 1)
        _ = nn.init.zeros_(self.to_value.weight)

    def queries(self, hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B T F"]:
        """Returns the query of each position, of length one."""
        return unit_norm(self.to_query(hidden))

    def pairs(self, hidden: Float[Tensor, "B M D"], dtype: torch.dtype) -> WeightedPairs:
        """Returns what each position writes: a key of length one, a value, a weight in (0, 1)."""
        return WeightedPairs(
            keys=unit_norm(self.to_key(hidden).to(dtype)),
            values=self.to_value(hidden).to(dtype),
            weights=self.weights(hidden).to(dtype),
        )

    def weights(self, hidden: Float[Tensor, "B M D"]) -> Float[Tensor, "B M 1"]:
        """Returns how much of each position is written, in (0, 1)."""
        return torch.sigmoid(self.to_gate(hidden))


@dataclass(frozen=True, kw_only=True)
class LinearAssociativeConfig(MemoryConfig):
    """Options of `LinearAssociative`."""

    num_memory_tokens: int = 16
    """Tokens at the end of a segment, each of which writes one association."""

    d_mem: int = 64
    """Width of keys and queries."""

    rule: Literal["hebbian", "delta", "ridge"] = "delta"
    """`hebbian` adds up; `delta` corrects what a key reads now; `ridge` fits all that was ever
    written."""

    ridge_penalty: float = 0.1
    """Weight of the matrix' own size in the fit of `ridge`; the other rules have none."""

    def __post_init__(self) -> None:
        """Checks the options."""
        _check_positive(self, "num_memory_tokens", "d_mem")
        if self.rule not in ("hebbian", "delta", "ridge"):
            raise ConfigError(f"`rule` must be 'hebbian', 'delta' or 'ridge'. Got {self.rule!r}.")
        if self.ridge_penalty <= 0:
            raise ConfigError(f"`ridge_penalty` must be positive. Got {self.ridge_penalty}.")

    def build(self, shape: LayerShape) -> "LinearAssociative":
        """Returns the memory for a layer of this shape."""
        return LinearAssociative(self, shape.d_model)


@dataclass(frozen=True)
class LinearAssociativeState(State):
    """The matrix of one layer; at least single precision under any dtype of the model."""

    matrix: Float[Tensor, "B F D"]
    """Maps a key to a value."""

    gram: Float[Tensor, "B F Z"]
    """Weighted products of keys with themselves; `Z` is `F` for `ridge` and 0 otherwise."""


@MEMORIES.register(
    "linear_associative",
    paper="arXiv:2412.06538",
    tiny=LinearAssociativeConfig(num_memory_tokens=2, d_mem=4, rule="ridge"),
)
class LinearAssociative(LayerMemory[LinearAssociativeState]):
    """Association matrix of a layer, written by Hebbian sums, delta rule or ridge regression."""

    def __init__(self, config: LinearAssociativeConfig, d_model: int) -> None:
        """Makes the learned maps; values start at zero, so that a fresh memory changes nothing."""
        super().__init__()
        self.config = config
        self.d_model = d_model
        self.num_memory_tokens = config.num_memory_tokens
        self.maps = AssociationMaps(d_model, config.d_mem)

    def init_state(self, batch_size: int) -> LinearAssociativeState:
        """Returns an empty matrix for each row."""
        width, like = self.config.d_mem, self.maps.to_value.weight
        dtype = torch.promote_types(like.dtype, torch.float32)
        num_columns = width if self.config.rule == "ridge" else 0
        return LinearAssociativeState(
            matrix=like.new_zeros(batch_size, width, self.d_model, dtype=dtype),
            gram=like.new_zeros(batch_size, width, num_columns, dtype=dtype),
        )

    def read(
        self, hidden: Float[Tensor, "B T D"], state: LinearAssociativeState
    ) -> Float[Tensor, "B T D"]:
        """Adds to every position what its query finds."""
        queries = self.maps.queries(hidden)
        found = queries @ state.matrix.to(queries.dtype)
        return hidden + found.to(hidden.dtype)

    def write(
        self, hidden: Float[Tensor, "B M D"], state: LinearAssociativeState
    ) -> LinearAssociativeState:
        """Writes one association for each memory token."""
        pairs = self.maps.pairs(hidden, state.matrix.dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            stored = self._written(RidgeAssociation(state.matrix, state.gram), pairs)
        return LinearAssociativeState(matrix=stored.matrix, gram=stored.gram)

    def diagnose(
        self, source: Float[Tensor, "B M D"], state: LinearAssociativeState
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns the mean weight of a segment's writes."""
        del state
        return {"write_gate": self.maps.weights(source).flatten(1).mean(1)}

    def _written(self, stored: RidgeAssociation, pairs: WeightedPairs) -> RidgeAssociation:
        if self.config.rule == "ridge":
            return write_ridge(stored, pairs, self.config.ridge_penalty)
        if self.config.rule == "hebbian":
            return RidgeAssociation(write_hebbian(stored.matrix, pairs), stored.gram)
        one_head = Association(stored.matrix.unsqueeze(1), stored.matrix[:, None, 0, :0])
        tokens = Tokens(*(part.unsqueeze(1) for part in pairs))
        matrix = write_sequential(one_head, tokens, Normalization()).matrix
        return RidgeAssociation(matrix.squeeze(1), stored.gram)


@dataclass(frozen=True, kw_only=True)
class MLPAssociativeConfig(MemoryConfig):
    """Options of `MLPAssociative`."""

    num_memory_tokens: int = 16
    """Tokens at the end of a segment, each of which writes one association."""

    d_mem: int = 64
    """Width of keys and queries."""

    d_hidden: int = 128
    """Hidden units of the perceptron."""

    def __post_init__(self) -> None:
        """Checks the options."""
        _check_positive(self, "num_memory_tokens", "d_mem", "d_hidden")

    def build(self, shape: LayerShape) -> "MLPAssociative":
        """Returns the memory for a layer of this shape."""
        return MLPAssociative(self, shape.d_model)


@dataclass(frozen=True)
class MLPAssociativeState(State):
    """The perceptron of one layer; at least single precision under any dtype of the model."""

    first: Float[Tensor, "B F W"]
    """From a key to the hidden units."""

    second: Float[Tensor, "B W D"]
    """From the hidden units to a value."""


@MEMORIES.register(
    "mlp_associative",
    paper="arXiv:2412.06538",
    tiny=MLPAssociativeConfig(num_memory_tokens=2, d_mem=4, d_hidden=16),
)
class MLPAssociative(LayerMemory[MLPAssociativeState]):
    """Two-layer perceptron of a layer whose weights are the state, written by gradient steps."""

    def __init__(self, config: MLPAssociativeConfig, d_model: int) -> None:
        """Makes the learned maps, among them the first layer that every text starts from.

        Its scale makes the hidden units of a key of length one a vector of about length one.
        """
        super().__init__()
        self.config = config
        self.d_model = d_model
        self.num_memory_tokens = config.num_memory_tokens
        self.maps = AssociationMaps(d_model, config.d_mem)
        scale = (2 / config.d_hidden) ** 0.5
        self.first = nn.Parameter(scale * torch.randn(config.d_mem, config.d_hidden))

    def init_state(self, batch_size: int) -> MLPAssociativeState:
        """Returns the learned first layer and an empty second one for each row."""
        first = self.first.to(torch.promote_types(self.first.dtype, torch.float32))
        return MLPAssociativeState(
            first=first.repeat(batch_size, 1, 1),
            second=first.new_zeros(batch_size, self.config.d_hidden, self.d_model),
        )

    def read(
        self, hidden: Float[Tensor, "B T D"], state: MLPAssociativeState
    ) -> Float[Tensor, "B T D"]:
        """Adds to every position what its query finds."""
        queries = self.maps.queries(hidden)
        stored = MLPAssociation(state.first.to(queries.dtype), state.second.to(queries.dtype))
        return hidden + read_mlp(stored, queries).to(hidden.dtype)

    def write(
        self, hidden: Float[Tensor, "B M D"], state: MLPAssociativeState
    ) -> MLPAssociativeState:
        """Takes one gradient step for each memory token."""
        pairs = self.maps.pairs(hidden, state.first.dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            stored = write_mlp(MLPAssociation(state.first, state.second), pairs)
        return MLPAssociativeState(first=stored.first, second=stored.second)

    def diagnose(
        self, source: Float[Tensor, "B M D"], state: MLPAssociativeState
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns the mean weight of a segment's writes."""
        del state
        return {"write_gate": self.maps.weights(source).flatten(1).mean(1)}
