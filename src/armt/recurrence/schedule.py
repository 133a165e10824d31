"""The two schedules: one segment after the other, or many at once in waves.

Both go through the model's own code, and the same cells in another order: they differ in nothing
but rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import nn

from armt.backbones.attach import Port, Visit, bound
from armt.backbones.cells import CellStack
from armt.backbones.huggingface import CACHE_NAME
from armt.backbones.layer_calls import enter, leave, merge_calls
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.wave import Arrival, Rider, Wave


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
        hidden = self.whole_segment(ids) if is_whole else self.embed(ids)
        visit = Visit(self.memory.num_tokens if is_whole else 0, is_whole)
        with bound(self.layers, states, visit) as ports:
            logits = self._call(hidden, logits_at, cache)
            return SegmentResult(logits, _states(ports))

    def whole_segment(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B U D"]:
        """Returns the embeddings of a segment's text and of the memory tokens behind it."""
        hidden = self.embed(ids)
        tokens = self.memory.token_embeddings(len(ids), hidden.dtype)
        return hidden if tokens is None else torch.cat([hidden, tokens.to(hidden.device)], dim=1)

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
        options: dict[str, Any] = {"use_cache": cache is not None, CACHE_NAME: cache}
        if logits_at is None:
            _ = self.decoder(inputs_embeds=hidden, **options)
            return None
        return self.forward(inputs_embeds=hidden, logits_to_keep=logits_at, **options).logits

    def _dtype(self) -> torch.dtype:
        assert self.memory.tokens is not None, "asked for a dtype without memory tokens"
        return self.memory.tokens.dtype


@final
class WaveSchedule:
    """Runs whole segments in waves: every layer at once, each on its own segment."""

    def __init__(
        self,
        sequential: SequentialSchedule,
        states: tuple[State, ...],
        *,
        is_checkpointed: bool = False,
    ) -> None:
        """Starts from the layers' states; see `Wave`."""
        self._parts = sequential
        self._start = states
        self._is_checkpointed = is_checkpointed
        self._wave: Wave | None = None

    def push(self, ids: Int[Tensor, "B T"], rider: Rider) -> Arrival | None:
        """Sends a whole segment after the others; may give back one that came through."""
        layers = self._parts.layers
        entry = enter(layers, self._parts.decoder, self._parts.whole_segment(ids))
        if self._wave is None:
            visit = Visit(self._parts.memory.num_tokens, True)
            cells = CellStack(layers, visit, merge_calls(entry.calls))
            self._wave = Wave(cells, self._start, is_checkpointed=self._is_checkpointed)
        return self._wave.advance(entry.hidden, rider)

    def finish(self) -> Iterator[Arrival]:
        """Lets the segments under way go through; yields them as they come out."""
        while self._wave is not None and not self._wave.is_empty:
            arrival = self._wave.advance()
            if arrival is not None:
                yield arrival

    def logits(self, arrival: Arrival, logits_at: Int[Tensor, " N"]) -> Float[Tensor, "B N V"]:
        """Returns the logits of a segment that came through, at the columns asked for."""
        return leave(self._parts.layers, self._parts.forward, arrival.hidden, logits_at)

    @property
    def states(self) -> tuple[State, ...]:
        """The states after all segments; nothing may be under way."""
        return self._start if self._wave is None else self._wave.states

    @property
    def tapped(self) -> tuple[State, ...]:
        """The states after the segment that was tapped."""
        assert self._wave is not None, "nothing was run"
        return self._wave.tapped


def _states(ports: Sequence[Port]) -> tuple[State, ...]:
    states = [port.state for port in ports]
    assert all(state is not None for state in states), "a port lost its state during the pass"
    return tuple(state for state in states if state is not None)
