"""Waves over fixed places in memory, so that a GPU can run them as one graph without the host.

Every wave is the same step: it takes the next segment from a ring of tokens on the device, counts
on the device which segment that is, and runs all layers. While the first segments come in and the
last ones leave, some layers have no segment: they run on what lies there, and their states are kept
as they were. A graph captures one step and replays it for each wave.
"""

from collections.abc import Callable
from typing import Any, final

import torch

from armt.backbones.cells import Cells, StateRows
from armt.backbones.compiled import compile_traced
from armt.backbones.layer_calls import enter, merge_calls
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.cudagraph import capture
from armt.recurrence.schedule import SequentialSchedule

_ENDLESS = 1 << 62
_NUM_KEPT = 4


@final
class WaveLoop:
    """Reads segments of one shape in waves, text after text; only states come out."""

    def __init__(
        self,
        parts: SequentialSchedule,
        states: tuple[State, ...],
        like: Int[Tensor, "B L"],
        *,
        ring_len: int = 64,
    ) -> None:
        """Lays out the fixed places.

        Args:
            parts: the model's parts.
            states: states of the shape that all texts have.
            like: a segment of the shape that all have, on the model's device.
            ring_len: segments that are copied to the device at once.
        """
        self._parts, self._kind = parts, type(states[0])
        self._num_layers, device = len(states), like.device
        entry = enter(parts.layers, parts.decoder, parts.whole_segment(like))
        self._cells = Cells(parts.layers, parts.memory.visit(), merge_calls(entry.calls))
        self._ring = like.new_zeros((ring_len, *like.shape))
        self._hidden = entry.hidden.new_zeros((self._num_layers, *entry.hidden.shape))
        self._states: StateRows = {
            name: torch.stack([state.tensors()[name] for state in states])
            for name in states[0].tensors()
        }
        self._layers = torch.arange(self._num_layers, device=device)
        self._cursor = torch.zeros(1, dtype=torch.long, device=device)
        self._end = torch.full((1,), _ENDLESS, dtype=torch.long, device=device)
        self._num_pushed = 0
        self._wave: Callable[..., Any] = self._run_wave
        _ = self._cells.lay_side_by_side()  # now: what is traced below is done in every wave
        if parts.compiler is not None:
            places = (self._ring, self._cursor, self._end, self._hidden, self._states)
            self._wave = compile_traced(self._run_wave, *places)
        self._replay: Callable[[], Any] = self._step
        if device.type == "cuda":
            self._replay = self._captured()

    def begin(self, states: tuple[State, ...]) -> None:
        """Starts a text from the layers' states."""
        for layer, state in enumerate(states):
            for name, value in state.tensors().items():
                _ = self._states[name][layer].copy_(value)
        _ = self._cursor.zero_()
        _ = self._end.fill_(_ENDLESS)
        self._num_pushed = 0

    def push(self, segments: Int[Tensor, "S B L"]) -> None:
        """Reads whole segments, one wave for each; those before them go on riding.

        Copies and waves stand in one queue of the device, so the ring is never overwritten early.
        """
        while len(segments):
            place = self._num_pushed % len(self._ring)
            part = segments[: len(self._ring) - place]
            _ = self._ring[place : place + len(part)].copy_(part, non_blocking=True)
            for _ in range(len(part)):
                _ = self._replay()
            self._num_pushed += len(part)
            segments = segments[len(part) :]

    def finish(self) -> tuple[State, ...]:
        """Lets the segments under way go through; returns the states after them."""
        _ = self._end.fill_(self._num_pushed)
        for _ in range(self._num_layers - 1 if self._num_pushed else 0):
            _ = self._replay()
        return tuple(
            self._kind.from_tensors(
                {name: rows[layer].clone() for name, rows in self._states.items()}
            )
            for layer in range(self._num_layers)
        )

    def _step(self) -> None:
        """Runs one wave in place."""
        self._wave(self._ring, self._cursor, self._end, self._hidden, self._states)

    def _run_wave(
        self,
        ring: Int[Tensor, "R B L"],
        cursor: Int[Tensor, "1"],
        end: Int[Tensor, "1"],
        hidden: Float[Tensor, "N B T D"],
        states: StateRows,
    ) -> None:
        """Takes the next segment and runs all layers; changes the last four in place."""
        ids = ring.index_select(0, cursor % len(ring)).squeeze(0)
        parts = self._parts
        entry = enter(parts.layers, parts.decoder, parts.whole_segment(ids))
        inputs = torch.cat([entry.hidden.unsqueeze(0), hidden[:-1]])
        outputs, after = self._cells.run(0, inputs, states, self._kind)
        segment = cursor - self._layers
        is_riding = (segment >= 0) & (segment < end)
        for name, rows in states.items():
            mask = is_riding.view(-1, *[1] * (rows.dim() - 1))
            _ = rows.copy_(torch.where(mask, after[name], rows))
        _ = hidden.copy_(outputs)
        _ = cursor.add_(1)

    def _captured(self) -> Callable[[], Any]:
        """Returns what replays one step as a graph."""
        return capture(self._step).graph.replay


@final
class WaveLoops:
    """The loops of one model, kept for the next text of the same shape; not copied with it."""

    def __init__(self) -> None:
        """Keeps none yet."""
        self._kept: dict[tuple[Any, ...], WaveLoop] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "WaveLoops":
        """A copied model has loops of its own."""
        del memo
        return WaveLoops()

    def get(
        self, parts: SequentialSchedule, states: tuple[State, ...], like: Int[Tensor, "B L"]
    ) -> WaveLoop:
        """Returns the loop for texts like this one, started from their states."""
        loop = self._kept.pop(_key(parts, like), None) or WaveLoop(parts, states, like)
        # the key is taken anew: laying the weights side by side may have moved them
        self._kept[_key(parts, like)] = loop
        while len(self._kept) > _NUM_KEPT:
            _ = self._kept.pop(next(iter(self._kept)))
        loop.begin(states)
        return loop


def _key(parts: SequentialSchedule, like: Int[Tensor, "B L"]) -> tuple[Any, ...]:
    """What a graph is bound to: a shape, a precision, a mode, and where the weights stand."""
    modules = (*parts.layers, parts.memory)
    places = tuple(weight.data_ptr() for module in modules for weight in module.parameters())
    device = like.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return tuple(like.shape), precision, parts.memory.training, places
