"""Waves over fixed places in memory, so that a GPU can run them as graphs without the host.

Every wave is the same: it takes the next segment from a ring of tokens on the device, counts on
the device which segment that is, and runs all layers. While the first segments come in and the last
ones leave, some layers have no segment: they run on what lies there, and their states are kept as
they were. In between no state needs keeping, and several waves go in one graph, each on what the
one before returned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import torch

from armt.backbones.cells import Cells, StateRows
from armt.backbones.compiled import compile_traced
from armt.backbones.layer_calls import merge_calls
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.cudagraph import replayed
from armt.recurrence.schedule import SequentialSchedule
from armt.recurrence.segment_ring import SegmentRing

_ENDLESS = 1 << 62
_NUM_AT_ONCE = 8
"""Waves in one graph where every layer has a segment."""


class _Places(NamedTuple):
    """What one wave hands to the next."""

    cursor: Int[Tensor, "1"]
    """The number of the segment that enters."""

    hidden: Float[Tensor, "N B T D"]
    """What the layers put out."""

    states: StateRows


@final
class WaveLoop:
    """Reads segments of one shape in waves, text after text; only states come out."""

    def __init__(
        self, parts: SequentialSchedule, states: tuple[State, ...], like: Int[Tensor, "B L"]
    ) -> None:
        """Lays out the fixed places.

        Args:
            parts: the model's parts.
            states: states of the shape that all texts have.
            like: a segment of the shape that all have, on the model's device.
        """
        self._parts, self._kind = parts, type(states[0])
        self._num_layers, device = len(states), like.device
        entry = parts.enter(like)
        self._cells = Cells(parts.layers, parts.memory.visit(), merge_calls(entry.calls))
        self._ring = SegmentRing(like)
        self._places = _Places(
            cursor=torch.zeros(1, dtype=torch.long, device=device),
            hidden=entry.hidden.new_zeros((self._num_layers, *entry.hidden.shape)),
            states={
                name: torch.stack([state.tensors()[name] for state in states])
                for name in states[0].tensors()
            },
        )
        self._layers = torch.arange(self._num_layers, device=device)
        self._end = torch.full((1,), _ENDLESS, dtype=torch.long, device=device)
        self._num_entered = 0
        self._wave: Callable[..., tuple[Any, ...]] = self._run_wave
        _ = self._cells.lay_side_by_side()  # now: what is traced below is done in every wave
        if parts.compiler is not None:
            self._wave = compile_traced(self._run_wave, self._ring.places, *self._places)
        self._run_one: Callable[[], Any] = self._step
        self._run_several: Callable[[], Any] = self._stride
        if device.type == "cuda":
            self._run_one, self._run_several = replayed(self._step, self._stride)

    def begin(self, states: tuple[State, ...]) -> None:
        """Starts a text from the layers' states."""
        for layer, state in enumerate(states):
            for name, value in state.tensors().items():
                _ = self._places.states[name][layer].copy_(value)
        _ = self._places.cursor.zero_()
        _ = self._end.fill_(_ENDLESS)
        self._ring.restart()
        self._num_entered = 0

    def push(self, segments: Int[Tensor, "S B L"]) -> None:
        """Reads whole segments, one wave for each; those before them go on riding."""
        while len(segments):
            num_put = self._ring.put(segments)
            segments = segments[num_put:]
            end = self._num_entered + num_put
            while self._num_entered < end:
                self._advance(end - self._num_entered)

    def finish(self) -> tuple[State, ...]:
        """Lets the segments under way go through; returns the states after them."""
        _ = self._end.fill_(self._num_entered)
        for _ in range(self._num_layers - 1 if self._num_entered else 0):
            _ = self._run_one()
        return tuple(
            self._kind.from_tensors(
                {name: rows[layer].clone() for name, rows in self._places.states.items()}
            )
            for layer in range(self._num_layers)
        )

    def _advance(self, num_waiting: int) -> None:
        """Lets one or several of the segments that wait in the ring enter."""
        is_full = self._num_entered >= self._num_layers - 1
        if is_full and num_waiting >= _NUM_AT_ONCE:
            _ = self._run_several()
            self._num_entered += _NUM_AT_ONCE
        else:
            _ = self._run_one()
            self._num_entered += 1

    def _step(self) -> None:
        """Runs one wave in place; the states of layers without a segment stay as they are."""
        before = self._places
        after = _Places(*self._wave(self._ring.places, *before))
        segment = before.cursor - self._layers
        is_riding = (segment >= 0) & (segment < self._end)
        kept: StateRows = {}
        for name, rows in before.states.items():
            mask = is_riding.view(-1, *[1] * (rows.dim() - 1))
            kept[name] = torch.where(mask, after.states[name], rows)
        self._put(after._replace(states=kept))

    def _stride(self) -> None:
        """Runs several waves in which every layer has a segment; only the last is put in place."""
        after = self._places
        for _ in range(_NUM_AT_ONCE):
            after = _Places(*self._wave(self._ring.places, *after))
        self._put(after)

    def _put(self, after: _Places) -> None:
        """Writes what waves returned into the fixed places."""
        for name, rows in self._places.states.items():
            _ = rows.copy_(after.states[name])
        _ = self._places.hidden.copy_(after.hidden)
        _ = self._places.cursor.copy_(after.cursor)

    def _run_wave(
        self,
        ring: Int[Tensor, "R B L"],
        cursor: Int[Tensor, "1"],
        hidden: Float[Tensor, "N B T D"],
        states: StateRows,
    ) -> tuple[Tensor, Tensor, StateRows]:
        """Takes the next segment and runs all layers; returns what the next wave needs."""
        entry = self._parts.enter(SegmentRing.pick(ring, cursor))
        inputs = torch.cat([entry.hidden.unsqueeze(0), hidden[:-1]])
        outputs, after = self._cells.run(0, inputs, states, self._kind)
        return cursor + 1, outputs, after
