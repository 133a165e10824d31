"""The sequential schedule: one segment after the other through the model's own forward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from armt.backbones.attach import Port, Visit, bound
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.memory_stack import MemoryStack


class SegmentResult(NamedTuple):
    """What one segment gave."""

    logits: Float[Tensor, "B N V"] | None
    """Logits at the columns asked for."""

    states: tuple[State, ...]
    """The layers' states after it."""


@dataclass(frozen=True)
class SequentialSchedule:
    """Runs a segment through every layer before the next segment begins."""

    memory: MemoryStack
    layers: Sequence[nn.Module]
    embed: Callable[[Int[Tensor, "B T"]], Float[Tensor, "B T D"]]

    decoder: Callable[..., Any]
    """The backbone without its head."""

    forward: Callable[..., Any]
    """The backbone with its head."""

    def run(
        self,
        ids: Int[Tensor, "B T"],
        states: tuple[State, ...],
        *,
        is_whole: bool,
        logits_at: Int[Tensor, " N"] | None = None,
        cache: Any = None,
    ) -> SegmentResult:
        """Runs one segment, or the next part of it if `cache` holds keys and values of the first.

        Memory tokens are appended and the memories written only if `is_whole`: this is where the
        segment ends. Text cannot see the memory tokens behind it, so a part that is not written
        needs none.
        """
        hidden = self.embed(ids)
        tokens = self.memory.token_embeddings(len(ids), hidden.dtype) if is_whole else None
        num_tokens = 0
        if tokens is not None:
            hidden = torch.cat([hidden, tokens.to(hidden.device)], dim=1)
            num_tokens = self.memory.num_tokens
        with bound(self.layers, states, Visit(num_tokens, is_whole)) as ports:
            logits = self._call(hidden, logits_at, cache)
            return SegmentResult(logits, _states(ports))

    def end_segment(
        self, num_rows: int, states: tuple[State, ...], cache: Any
    ) -> tuple[State, ...]:
        """Writes a segment whose text was run part by part; its keys and values are in `cache`."""
        tokens = self.memory.token_embeddings(num_rows, self._dtype())
        assert tokens is not None, "only a memory with memory tokens can end a segment afterwards"
        with bound(self.layers, states, Visit(self.memory.num_tokens, True)) as ports:
            _ = self._call(tokens, None, cache)
            return _states(ports)

    def _call(
        self, hidden: Float[Tensor, "B T D"], logits_at: Int[Tensor, " N"] | None, cache: Any
    ) -> Float[Tensor, "B N V"] | None:
        options: dict[str, Any] = {"use_cache": cache is not None, "past_key_values": cache}
        if logits_at is None:
            _ = self.decoder(inputs_embeds=hidden, **options)
            return None
        return self.forward(inputs_embeds=hidden, logits_to_keep=logits_at, **options).logits

    def _dtype(self) -> torch.dtype:
        assert self.memory.tokens is not None, "asked for a dtype without memory tokens"
        return self.memory.tokens.dtype


def _states(ports: Sequence[Port]) -> tuple[State, ...]:
    states = [port.state for port in ports]
    assert all(state is not None for state in states), "a port lost its state during the pass"
    return tuple(state for state in states if state is not None)
