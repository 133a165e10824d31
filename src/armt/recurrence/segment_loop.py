"""Segment after segment over fixed places in memory, as graphs that a GPU runs without the host.

Every layer's cell runs compiled, one layer after the other, on one segment of every row. Where many
rows are read at once a layer fills the GPU by itself, and what goes from layer to layer stays near
the processors, so that this is faster than waves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, final

import torch

from armt.backbones.cells import StateRows
from armt.backbones.compiled import compile_traced
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.cudagraph import replayed
from armt.recurrence.schedule import SequentialSchedule
from armt.recurrence.segment_ring import SegmentRing

_NUM_AT_ONCE = 8
"""Segments in one graph; only after the last of them the states are put in place."""


@final
class SegmentLoop:
    """Reads segments of one shape, one after the other, text after text; only states come out."""

    def __init__(
        self, parts: SequentialSchedule, states: tuple[State, ...], like: Int[Tensor, "B L"]
    ) -> None:
        """Lays out the fixed places.

        Args:
            parts: the model's parts; its cells are compiled.
            states: states of the shape that all texts have.
            like: a segment of the shape that all have, on the model's device.
        """
        assert parts.compiler is not None, "only compiled cells run in a loop"
        self._parts, self._kind = parts, type(states[0])
        self._ring = SegmentRing(like)
        self._cursor = torch.zeros(1, dtype=torch.long, device=like.device)
        self._states = [_copied(state.tensors()) for state in states]
        self._cells = parts.cells(parts.enter(like), parts.memory.visit())
        self._enter = compile_traced(self._entering, self._ring.places, self._cursor)
        self._run_one: Callable[[], Any] = partial(self._run, 1)
        self._run_several: Callable[[], Any] = partial(self._run, _NUM_AT_ONCE)
        if like.is_cuda:
            self._run_one, self._run_several = replayed(self._run_one, self._run_several)

    def begin(self, states: tuple[State, ...]) -> None:
        """Starts a text from the layers' states."""
        for place, state in zip(self._states, states, strict=True):
            _put(state.tensors(), place)
        _ = self._cursor.zero_()
        self._ring.restart()

    def push(self, segments: Int[Tensor, "S B L"]) -> None:
        """Reads whole segments."""
        while len(segments):
            num_put = self._ring.put(segments)
            segments = segments[num_put:]
            for _ in range(num_put // _NUM_AT_ONCE):
                _ = self._run_several()
            for _ in range(num_put % _NUM_AT_ONCE):
                _ = self._run_one()

    def finish(self) -> tuple[State, ...]:
        """Returns the states after all segments."""
        return tuple(self._kind.from_tensors(_copied(place)) for place in self._states)

    def _run(self, num_segments: int) -> None:
        """Runs the next segments through all layers."""
        cursor, states = self._cursor, [self._kind.from_tensors(each) for each in self._states]
        for _ in range(num_segments):
            hidden = self._enter(self._ring.places, cursor)
            cursor = cursor + 1
            for layer, state in enumerate(states):
                hidden, states[layer] = self._cells.run_one(layer, hidden, state)
        for place, state in zip(self._states, states, strict=True):
            _put(state.tensors(), place)
        _ = self._cursor.copy_(cursor)

    def _entering(
        self, ring: Int[Tensor, "R B L"], cursor: Int[Tensor, "1"]
    ) -> Float[Tensor, "B T D"]:
        """Returns the next segment as the first layer sees it."""
        return self._parts.enter(SegmentRing.pick(ring, cursor)).hidden


def _copied(tensors: StateRows) -> StateRows:
    return {name: value.clone() for name, value in tensors.items()}


def _put(tensors: StateRows, place: StateRows) -> None:
    for name, value in tensors.items():
        _ = place[name].copy_(value)
