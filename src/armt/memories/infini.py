"""Infini-attention: every token of a segment writes its association, and every token reads.

Source: Munkhdalai et al., "Leave No Context Behind: Efficient Infinite Context Transformers with
Infini-attention", arXiv:2404.07143, with the delta rule (equation 5).

The baseline "write all tokens" against ARMT's "write a few summary tokens". In the paper the memory
lives inside a layer's attention; through the residual stream it cannot get there. So it has
queries, keys and values of its own, taken from the layer's input and output; its gate scales what
is read instead of weighing it against the local attention, which stays whole; and its output
projection starts at zero, so that a fresh memory changes nothing.

Besides, by default: features have length one instead of being divided by their running sum, and
tokens write one after the other. `InfiniConfig.published()` has the paper's form of both.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from armt.core.config import MemoryConfig
from armt.core.contract import LayerMemory
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Float, Tensor
from armt.core.state import State
from armt.ops.delta_rule import (
    Association,
    Normalization,
    Tokens,
    WriteOrder,
    empty_association,
    read_association,
    split_heads,
)
from armt.ops.dispatch import write_tokens
from armt.ops.feature_maps import elu_plus_one, unit_norm


@dataclass(frozen=True, kw_only=True)
class InfiniConfig(MemoryConfig):
    """Options of `Infini`."""

    num_heads: int = 4
    """Heads; each has its own matrix and its own gate."""

    d_mem: int = 256
    """Width of keys and queries, all heads together."""

    normalizer: Literal["none", "sum"] = "none"
    """`none`: features are scaled to length one. `sum`: they are left as they come, and a read is
    divided by the sum of all keys (published)."""

    write_order: WriteOrder = "sequential"
    """Whether a segment's tokens write one after the other, or (published) all at once."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_heads", "d_mem"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.d_mem % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide `d_mem`. Got {self.num_heads} heads for {self.d_mem}."
            )
        if self.normalizer not in ("none", "sum"):
            raise ConfigError(f"`normalizer` must be 'none' or 'sum'. Got {self.normalizer!r}.")
        if self.write_order not in ("sequential", "parallel"):
            raise ConfigError(
                f"`write_order` must be 'sequential' or 'parallel'. Got {self.write_order!r}."
            )

    @classmethod
    def published(cls, **options: Any) -> "InfiniConfig":
        """Returns the memory of the paper: reads divided by the sum of keys, writes in parallel."""
        paper: dict[str, Any] = {"normalizer": "sum", "write_order": "parallel"}
        return cls(**(paper | options))

    def build(self, shape: LayerShape) -> "Infini":
        """Returns the memory for a layer of this shape.

        Raises:
            ConfigError: the heads do not divide the width.
        """
        if shape.d_model % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide the backbone's width. Got {self.num_heads} heads "
                f"for {shape.d_model}."
            )
        return Infini(self, shape.d_model)


@dataclass(frozen=True)
class InfiniState(State):
    """The associations of one layer; at least single precision under any dtype of the model."""

    association: Float[Tensor, "B H F C"]
    """Maps the features of a key to a value."""

    key_sum: Float[Tensor, "B H Z"]
    """Running sum of keys; `Z` is `F` with a normaliser and 0 without."""


@MEMORIES.register("infini", paper="arXiv:2404.07143", tiny=InfiniConfig(num_heads=2, d_mem=8))
class Infini(LayerMemory[InfiniState]):
    """Associative memory of a layer that every token of the text writes, gated by head."""

    def __init__(self, config: InfiniConfig, d_model: int) -> None:
        """Makes the learned maps; the output projection is zero and each gate one half."""
        super().__init__()
        self.config = config
        self.d_model = d_model
        self.to_query = nn.Linear(d_model, config.d_mem, bias=False)
        self.to_key = nn.Linear(d_model, config.d_mem, bias=False)
        self.to_value = nn.Linear(d_model, d_model, bias=False)
        self.to_output = nn.Linear(d_model, d_model, bias=False)
        self.gate = nn.Parameter(torch.zeros(config.num_heads))
        _ = nn.init.zeros_(self.to_output.weight)

    def init_state(self, batch_size: int) -> InfiniState:
        """Returns an empty association for each row."""
        config, heads = self.config, self.config.num_heads
        shape = (batch_size, heads, config.d_mem // heads, self.d_model // heads)
        empty = empty_association(shape, config.normalizer, self.to_value.weight)
        return InfiniState(association=empty.matrix, key_sum=empty.key_sum)

    def read(self, hidden: Float[Tensor, "B T D"], state: InfiniState) -> Float[Tensor, "B T D"]:
        """Adds to every position what its queries find, each head scaled by its gate."""
        queries = self._features(self.to_query(hidden))
        stored = Association(state.association.to(queries.dtype), state.key_sum.to(queries.dtype))
        found = read_association(stored, queries, self._normalization)
        gated = torch.sigmoid(self.gate).view(-1, 1, 1) * found
        merged = gated.transpose(1, 2).flatten(2).to(hidden.dtype)
        return hidden + self.to_output(merged).to(hidden.dtype)

    def write(self, hidden: Float[Tensor, "B T D"], state: InfiniState) -> InfiniState:
        """Writes the value of every token of the segment under its key, by the delta rule."""
        dtype = state.association.dtype
        keys = self._features(self.to_key(hidden).to(dtype))
        tokens = Tokens(
            keys=keys,
            values=split_heads(self.to_value(hidden), self.config.num_heads).to(dtype),
            gates=torch.ones_like(keys[..., :1]),
        )
        old = Association(state.association, state.key_sum)
        stored = write_tokens(old, tokens, self._normalization, self.config.write_order)
        return InfiniState(association=stored.matrix, key_sum=stored.key_sum)

    def diagnose(
        self, source: Float[Tensor, "B T D"], state: InfiniState
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns the mean gate of the heads, the same for every segment."""
        del state
        return {"read_gate": torch.sigmoid(self.gate).mean().expand(len(source))}

    def _features(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B H T F"]:
        features = elu_plus_one(split_heads(x, self.config.num_heads))
        return unit_norm(features) if self.config.normalizer == "none" else features

    @property
    def _normalization(self) -> Normalization:
        return Normalization(self.config.normalizer)
