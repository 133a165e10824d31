"""LM2: a bank of memory slots in every layer, read by cross-attention, rewritten through gates.

Source: Kang et al., "LM2: Large Memory Models", arXiv:2502.06049.

The published equations add slots to tokens and close only if a segment has as many tokens as there
are slots, and the released code also needs slots as wide as they are many; there every token sees
the whole segment through the gates. Where we differ, so that the memory is causal for segments of
any length:

- tokens attend to the slots, without a mask, which are the same for the whole segment;
- slots are written once, at the segment's end, by attending to the tokens of the layer's output;
- the input gate looks at a slot and at what it has found, not at the tokens;
- the output projection starts at zero, so that a fresh memory changes nothing;
- the read enters before the layer instead of between its attention and its residual sum.

`literal=True` is the step of the released code, which is not causal, for comparison.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import nn

from armt.core.config import MemoryConfig
from armt.core.contract import LayerMemory
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Float, Tensor
from armt.core.state import State


@dataclass(frozen=True, kw_only=True)
class LM2Config(MemoryConfig):
    """Options of `LM2`."""

    num_slots: int = 16
    """Slots of a layer, each as wide as the backbone (`N`); the paper has 2048."""

    num_heads: int = 8
    """Heads of the attention between tokens and slots."""

    literal: bool = False
    """Whether to run the step of the released code. It is not causal, and needs a backbone as wide
    as there are slots and segments of as many tokens."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_slots", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")

    def build(self, shape: LayerShape) -> "LM2":
        """Returns the memory for a layer of this shape.

        Raises:
            ConfigError: heads or slots do not fit the width.
        """
        width = shape.d_model
        if width % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide the backbone's width. Got {self.num_heads} heads "
                f"for {width}."
            )
        if self.num_slots > width:
            raise ConfigError(
                "Slots start as rows of an identity matrix, so there are at most as many as the "
                f"backbone is wide. Got `num_slots` {self.num_slots} for {width}."
            )
        if self.literal and self.num_slots != width:
            raise ConfigError(
                "The literal form needs as many slots as the backbone is wide. Got `num_slots` "
                f"{self.num_slots} for {width}: set it to {width}, or leave out `literal`."
            )
        return LM2(self, width)


@dataclass(frozen=True)
class LM2State(State):
    """The slots of one layer; at least single precision under any dtype of the model."""

    slots: Float[Tensor, "B N D"]


@MEMORIES.register("lm2", paper="arXiv:2502.06049", tiny=LM2Config(num_slots=3, num_heads=2))
@final
class LM2(LayerMemory[LM2State]):
    """Gated memory slots of a layer, read by every token and rewritten after each segment."""

    def __init__(self, config: LM2Config, d_model: int) -> None:
        """Makes the learned maps; the output projection is zero."""
        super().__init__()
        self.config = config
        self.d_model = d_model
        self.is_neutral_when_fresh = self.is_causal = not config.literal
        self.rule = (LiteralRule if config.literal else CausalRule)(d_model, config.num_heads)

    def init_state(self, batch_size: int) -> LM2State:
        """Returns slots that are rows of an identity matrix, as in the released code."""
        like = next(self.parameters())
        dtype = torch.promote_types(like.dtype, torch.float32)
        slots = torch.eye(self.config.num_slots, self.d_model, dtype=dtype, device=like.device)
        return LM2State(slots=slots.repeat(batch_size, 1, 1))

    def read(self, hidden: Float[Tensor, "B T D"], state: LM2State) -> Float[Tensor, "B T D"]:
        """Adds to every position what it finds in the slots, through an output gate."""
        return self.rule.read(hidden, state.slots)

    def write(self, hidden: Float[Tensor, "B T D"], state: LM2State) -> LM2State:
        """Lets every slot attend to the segment and take over what its gates let through."""
        return LM2State(slots=blend(state.slots, *self.rule.step(hidden, state.slots)))

    def diagnose(
        self, source: Float[Tensor, "B T D"], state: LM2State
    ) -> dict[str, Float[Tensor, " B"]]:
        """Returns the mean input and forget gates of the slots; the latter keeps what is there."""
        take, keep = torch.sigmoid(self.rule.step(source, state.slots).gates).chunk(2, dim=-1)
        return {"write_gate": take.flatten(1).mean(1), "forget_gate": keep.flatten(1).mean(1)}


@final
class CausalRule(nn.Module):
    """The default: slots of any number, the same for a whole segment."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        """Makes the learned maps; a forget gate starts near sigmoid(1), as in the released code."""
        super().__init__()
        self.read_attention = CrossAttention(d_model, num_heads)
        self.to_output = nn.Linear(d_model, d_model, bias=False)
        self.to_output_gate = nn.Linear(d_model, d_model)
        self.write_attention = CrossAttention(d_model, num_heads)
        self.to_gates = nn.Linear(2 * d_model, 2 * d_model)
        _ = nn.init.zeros_(self.to_output.weight)
        with torch.no_grad():
            _ = self.to_gates.bias.copy_(torch.tensor([0.0, 1.0]).repeat_interleave(d_model))

    def read(
        self, hidden: Float[Tensor, "B T D"], slots: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B T D"]:
        """Returns `hidden` with what the tokens find in the slots."""
        found = self.read_attention(hidden, slots.to(hidden.dtype))
        gated = torch.sigmoid(self.to_output_gate(found)) * self.to_output(found)
        return hidden + gated.to(hidden.dtype)

    def step(self, hidden: Float[Tensor, "B T D"], slots: Float[Tensor, "B N D"]) -> "Step":
        """Returns what the slots find in a segment, and their gates for it."""
        rounded = slots.to(hidden.dtype)
        found = self.write_attention(rounded, hidden)
        return Step(found, self.to_gates(torch.cat([rounded, found.to(hidden.dtype)], dim=-1)))


@final
class LiteralRule(nn.Module):
    """The step of the released code for T = N = D, without its dropout.

    Token t attends to the slots up to number t, and the step's result is both what is added to the
    tokens and the next memory. The code takes one step for both, on the output of the layer's
    attention; the residual door has a read and a write, so the step is taken on the layer's input
    and again on its output. The code hands one memory from layer to layer; here each has its own.
    """

    def __init__(self, d_model: int, num_heads: int) -> None:
        """Makes the learned maps of the code, under its rules of initialisation."""
        super().__init__()
        self.attention = CrossAttention(d_model, num_heads, is_causal=True)
        self.norm_read = nn.LayerNorm(d_model)
        self.to_same = nn.Linear(d_model, d_model)
        self.norm_same = nn.LayerNorm(d_model)
        self.input_scale = nn.Parameter(torch.randn(d_model))
        self.input_to_gates = nn.Linear(d_model, 2 * d_model)
        self.slots_to_gates = nn.Linear(d_model, 2 * d_model)
        self.gate_biases = nn.Parameter(torch.tensor([0.0, 1.0]))
        bound = 1 / math.sqrt(2 * d_model)
        _ = nn.init.uniform_(self.slots_to_gates.weight, -bound, bound)

    def read(
        self, hidden: Float[Tensor, "B T D"], slots: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B T D"]:
        """Returns `hidden` with the next memory added, row by row."""
        return hidden + blend(slots, *self.step(hidden, slots)).to(hidden.dtype)

    def step(self, hidden: Float[Tensor, "B T D"], slots: Float[Tensor, "B N D"]) -> "Step":
        """Returns what the next memory takes up, and its gates."""
        if hidden.shape[1] != slots.shape[1]:
            raise ConfigError(
                f"The literal form of LM2 reads segments of exactly {slots.shape[1]} tokens. Got "
                f"{hidden.shape[1]}: cut the text to whole segments, or leave out `literal`."
            )
        rounded = slots.to(hidden.dtype)
        found = self.norm_read(rounded + self.attention(hidden, rounded))
        same = self.to_same(self.to_same(found).relu()).relu()  # one map twice, as in the code
        found = self.norm_same(found + same)
        pooled = (self.input_scale * hidden).relu().mean(1, keepdim=True)
        gates = self.slots_to_gates(rounded.tanh()) + self.input_to_gates(pooled)
        biases = self.gate_biases.repeat_interleave(hidden.shape[-1])
        return Step(found, gates + biases)


@final
class CrossAttention(nn.Module):
    """Multi-head attention of one row of vectors to another, heads side by side in the result."""

    def __init__(self, d_model: int, num_heads: int, *, is_causal: bool = False) -> None:
        """Makes the three maps; `is_causal` lets query i see the sources up to number i."""
        super().__init__()
        self.num_heads, self.is_causal = num_heads, is_causal
        self.to_query = nn.Linear(d_model, d_model, bias=False)
        self.to_key = nn.Linear(d_model, d_model, bias=False)
        self.to_value = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self, queries: Float[Tensor, "B Q D"], source: Float[Tensor, "B S D"]
    ) -> Float[Tensor, "B Q D"]:
        """Returns for each query the weighted mean of the sources' values."""
        query, key, value = (
            mapped.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for mapped in (self.to_query(queries), self.to_key(source), self.to_value(source))
        )
        scores = query @ key.mT / math.sqrt(key.shape[-1])
        if self.is_causal:
            is_hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(is_hidden, -math.inf)
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


class Step(NamedTuple):
    """What a segment offers to the slots."""

    found: Float[Tensor, "B N D"]

    gates: Float[Tensor, "B N G"]
    """Input gates and, behind them, forget gates, before the sigmoid."""


def blend(
    slots: Float[Tensor, "B N D"], found: Float[Tensor, "B N D"], gates: Float[Tensor, "B N G"]
) -> Float[Tensor, "B N D"]:
    """Returns `sigmoid(input) * tanh(found) + sigmoid(forget) * slots`, in the slots' precision.

    `gates` holds the input gates and, behind them, the forget gates, before the sigmoid.
    """
    take, keep = torch.sigmoid(gates.to(slots.dtype)).chunk(2, dim=-1)
    return take * torch.tanh(found.to(slots.dtype)) + keep * slots
