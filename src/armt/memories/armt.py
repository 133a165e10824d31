"""ARMT: an association matrix in every layer, written through memory tokens by the delta rule.

Source: Rodkin et al., "Associative Recurrent Memory Transformer", arXiv:2407.04841.

Where we differ from the paper by default, each reachable by an option: the features are scaled to
length one; reads are not divided by a normaliser; the memory tokens of a segment write one after
the other. The paper's model is `ARMTConfig.published()`. What is generated is written as what is
read, whenever a segment is full; the published code writes none of it.
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
    EPSILON,
    Association,
    Normalization,
    Normalizer,
    Tokens,
    WriteOrder,
    empty_association,
    read_association,
    split_heads,
)
from armt.ops.dispatch import write_tokens
from armt.ops.feature_maps import dpfp, unit_norm


@dataclass(frozen=True, kw_only=True)
class ARMTConfig(MemoryConfig):
    """Options of `ARMT`."""

    num_memory_tokens: int = 16
    """Tokens at the end of a segment through which it is written (`M`)."""

    d_mem: int = 64
    """Width of keys and queries before the feature map, all heads together."""

    nu: int = 3
    """Order of the feature map: a key has `2 * nu * d_mem` features."""

    num_heads: int = 1
    """Heads; each has its own matrix, and the state shrinks by this factor."""

    normalizer: Normalizer = "none"
    """Division of a read: `none`; by the `sum` of all keys; by the sum with the paper's `gamma`."""

    use_unit_features: bool = True
    """Whether features are scaled to length one (the later published code; not in the paper)."""

    write_order: WriteOrder = "sequential"
    """Whether a segment's tokens write one after the other, or (published) all at once."""

    gating: Literal["scalar", "channel"] = "scalar"
    """One gate for each token and head, or one for each value channel."""

    gate: Literal["sigmoid", "hard"] = "sigmoid"
    """`hard` stretches the sigmoid to (-0.1, 1.1) and clips it to [0, 1], so that a token can write
    nothing at all (Louizos et al., arXiv:1712.01312). The gradient passes the clipping, so that a
    gate that stands at 0 or 1 can still be moved."""

    gate_noise: float = 0.0
    """Standard deviation of noise on the gates' logits in training: what is learned under it keeps
    its distance from the point where a gate opens."""

    gate_bias: float | None = None
    """Where the gates' bias starts; none for PyTorch's default, gates near one half."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_memory_tokens", "d_mem", "nu", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.d_mem % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide `d_mem`. Got {self.num_heads} heads for {self.d_mem}."
            )
        if self.normalizer not in ("none", "sum", "gamma"):
            raise ConfigError(
                f"`normalizer` must be 'none', 'sum' or 'gamma'. Got {self.normalizer!r}."
            )
        if self.write_order not in ("sequential", "parallel"):
            raise ConfigError(
                f"`write_order` must be 'sequential' or 'parallel'. Got {self.write_order!r}."
            )
        if self.gating not in ("scalar", "channel"):
            raise ConfigError(f"`gating` must be 'scalar' or 'channel'. Got {self.gating!r}.")
        if self.gate not in ("sigmoid", "hard"):
            raise ConfigError(f"`gate` must be 'sigmoid' or 'hard'. Got {self.gate!r}.")
        if self.gate_noise < 0:
            raise ConfigError(f"`gate_noise` must not be negative. Got {self.gate_noise}.")

    @classmethod
    def published(cls, **options: Any) -> "ARMTConfig":
        """Returns the model of the paper: gamma, features as they are, writes in parallel.

        With `use_unit_features=True` besides, it is that of the later published code.
        """
        paper: dict[str, Any] = {
            "normalizer": "gamma",
            "use_unit_features": False,
            "write_order": "parallel",
        }
        return cls(**(paper | options))

    def build(self, shape: LayerShape) -> "ARMT":
        """Returns the memory for a layer of this shape.

        Raises:
            ConfigError: the heads do not divide the width.
        """
        if shape.d_model % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide the backbone's width. Got {self.num_heads} heads "
                f"for {shape.d_model}."
            )
        return ARMT(self, shape.d_model)


@dataclass(frozen=True)
class ARMTState(State):
    """The associations of one layer; at least single precision under any dtype of the model."""

    association: Float[Tensor, "B H F C"]
    """Maps the features of a key to a value."""

    key_sum: Float[Tensor, "B H Z"]
    """Running sum of keys; `Z` is `F` with a normaliser and 0 without."""


@MEMORIES.register(
    "armt",
    paper="arXiv:2407.04841",
    tiny=ARMTConfig(num_memory_tokens=2, d_mem=4),
)
class ARMT(LayerMemory[ARMTState]):
    """Associative memory of a layer, read by every token and written by the memory tokens."""

    def __init__(self, config: ARMTConfig, d_model: int) -> None:
        """Makes the learned maps; `to_value` is zero, so that a fresh memory changes nothing."""
        super().__init__()
        self.config: ARMTConfig = config
        self.d_model = d_model
        self.num_memory_tokens = config.num_memory_tokens
        num_gates = config.num_heads if config.gating == "scalar" else d_model
        self.to_query = nn.Linear(d_model, config.d_mem, bias=False)
        self.to_key = nn.Linear(d_model, config.d_mem, bias=False)
        self.to_value = nn.Linear(d_model, d_model, bias=False)
        self.to_gate = nn.Linear(d_model, num_gates)
        _ = nn.init.zeros_(self.to_value.weight)
        if config.gate_bias is not None:
            _ = nn.init.constant_(self.to_gate.bias, config.gate_bias)

    def init_state(self, batch_size: int) -> ARMTState:
        """Returns an empty association for each row."""
        config, heads = self.config, self.config.num_heads
        num_features = 2 * config.nu * config.d_mem // heads
        shape = (batch_size, heads, num_features, self.d_model // heads)
        empty = empty_association(shape, config.normalizer, self.to_value.weight)
        return ARMTState(association=empty.matrix, key_sum=empty.key_sum)

    def read(self, hidden: Float[Tensor, "B T D"], state: ARMTState) -> Float[Tensor, "B T D"]:
        """Adds to every position what its query finds (equation 4), with no norm before it."""
        queries = self._features(self.to_query(hidden))
        stored = Association(state.association.to(queries.dtype), state.key_sum.to(queries.dtype))
        found = read_association(stored, queries, self._normalization)
        return hidden + found.transpose(1, 2).flatten(2).to(hidden.dtype)

    def write(self, hidden: Float[Tensor, "B M D"], state: ARMTState) -> ARMTState:
        """Writes each memory token's value under its key, with its gate (equations 1-3)."""
        dtype = state.association.dtype
        tokens = Tokens(
            keys=self._features(self.to_key(hidden).to(dtype)),
            values=split_heads(self.to_value(hidden), self.config.num_heads).to(dtype),
            gates=self._gates(hidden).to(dtype),
        )
        old = Association(state.association, state.key_sum)
        stored = write_tokens(old, tokens, self._normalization, self.config.write_order)
        return ARMTState(association=stored.matrix, key_sum=stored.key_sum)

    def diagnose(
        self, source: Float[Tensor, "B M D"], state: ARMTState
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns the mean gate of a segment's writes."""
        del state
        return {"write_gate": self._gates(source).flatten(1).mean(1)}

    def _gates(self, hidden: Float[Tensor, "B M D"]) -> Float[Tensor, "B H M G"]:
        logits = self.to_gate(hidden)
        if self.training and self.config.gate_noise:
            logits = logits + self.config.gate_noise * torch.randn_like(logits)
        gates = torch.sigmoid(logits)
        if self.config.gate == "hard":
            stretched = 1.2 * gates - 0.1
            # adding zero keeps a clipped gate exactly 0 or 1
            gates = stretched.clamp(0, 1).detach() + (stretched - stretched.detach())
        if self.config.gating == "scalar":
            return gates.transpose(1, 2).unsqueeze(-1)
        return split_heads(gates, self.config.num_heads)

    def _features(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B H T F"]:
        features = dpfp(split_heads(x, self.config.num_heads), self.config.nu)
        return unit_norm(features) if self.config.use_unit_features else features

    @property
    def _normalization(self) -> Normalization:
        is_unit = self.config.use_unit_features
        return Normalization(self.config.normalizer, 0.0 if is_unit else EPSILON)
