"""Waves: many cells at once, each with its own layer and its own segment.

Cell (layer l, segment s) needs the cell below it, (l - 1, s), and the state that the cell before
it left, (l, s - 1). So all cells with l + s = t can run together, and N layers read S segments in
N + S - 1 waves instead of N * S steps:

    wave   0     1     2     3     4
    layer 0: s0    s1    s2
    layer 1:       s0    s1    s2
    layer 2:             s0    s1    s2

A segment *rides* from layer to layer, one layer a wave. The rows of a wave are neighbouring layers:
fewer of them while the first segments come in and the last ones leave. Compiled code wants waves of
one size: there the layers without a segment run on a copy of another's, and what they return is
dropped.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, cast, final

import torch
from torch.utils.checkpoint import checkpoint

from armt.backbones.cells import Cells, StateRows
from armt.core.shapes import Float, Tensor
from armt.core.state import State


class Rider(NamedTuple):
    """A segment on its way through the layers."""

    number: int
    """Its number in the row of segments."""

    is_cut: bool = False
    """Whether no gradient goes from it to the segments before."""

    is_tapped: bool = False
    """Whether the states after it are wanted."""


class Arrival(NamedTuple):
    """A segment that has left the last layer."""

    number: int
    hidden: Float[Tensor, "B T D"]


@final
class Wave:
    """The segments under way, and the state of every layer."""

    def __init__(
        self, cells: Cells, states: Sequence[State], *, is_checkpointed: bool = False
    ) -> None:
        """Starts with no segment under way.

        Args:
            cells: the layers with their memories.
            states: what each layer's memory holds.
            is_checkpointed: whether a wave is run again in the backward pass instead of kept.
        """
        self._cells = cells
        self._kind = type(states[0])
        self._num_layers = len(states)
        self._states = _stack([state.tensors() for state in states])
        self._tapped: list[StateRows] = []
        self._riders: deque[Rider] = deque()
        self._first = 0
        self._hidden: Float[Tensor, "N B T D"] | None = None
        self._is_checkpointed = is_checkpointed

    @property
    def is_empty(self) -> bool:
        """Whether no segment is under way."""
        return not self._riders

    @property
    def states(self) -> tuple[State, ...]:
        """The layers' states; they belong to one moment of the text only if no segment rides."""
        assert self.is_empty, "segments are under way: the states are of different moments"
        rows = [_row(self._states, layer) for layer in range(self._num_layers)]
        return tuple(self._kind.from_tensors(row) for row in rows)

    @property
    def tapped(self) -> tuple[State, ...]:
        """The states after the segment that was tapped; it has left the last layer."""
        assert len(self._tapped) == self._num_layers, "no segment was tapped, or it still rides"
        return tuple(self._kind.from_tensors(state) for state in self._tapped)

    def advance(
        self, entering: Float[Tensor, "B T D"] | None = None, rider: Rider | None = None
    ) -> Arrival | None:
        """Runs one wave: every segment under way goes through its next layer.

        Args:
            entering: a new segment, as the first layer sees it; none when no more come. Once a wave
                ran without one, the rest must leave before the next may enter.
            rider: what is known of the new segment.

        Returns:
            The segment that came out of the last layer, if one did.
        """
        hidden = self._board(entering, rider)
        first, last = self._first, self._first + len(hidden) - 1
        outputs = self._run(first, hidden)
        for layer, one in enumerate(self._riders, start=first):
            if one.is_tapped:
                row = _row(self._states, layer)
                self._tapped.append({name: value.clone() for name, value in row.items()})
        self._first = first + 1
        if last < self._num_layers - 1:
            self._hidden = outputs
            return None
        self._hidden = outputs[:-1]
        return Arrival(self._riders.pop().number, outputs[-1])

    def _board(self, entering: Tensor | None, rider: Rider | None) -> Float[Tensor, "N B T D"]:
        """Returns what the layers that run in this wave see."""
        if entering is None:
            assert self._hidden is not None, "a wave needs a segment"
            assert not self.is_empty, "a wave needs a segment"
            return self._hidden
        assert rider is not None, "a segment that enters is known"
        assert self.is_empty or self._first == 1, "a segment may not enter behind a gap"
        self._first = 0
        under_way = self._hidden if self._riders else None
        self._riders.appendleft(rider)
        one = entering.unsqueeze(0)
        return one if under_way is None else torch.cat([one, under_way])

    def _run(self, first: int, hidden: Float[Tensor, "N B T D"]) -> Float[Tensor, "N B T D"]:
        last = first + len(hidden) - 1
        states = {name: rows[first : last + 1] for name, rows in self._states.items()}
        if any(one.is_cut for one in self._riders):
            states = {name: self._cut(rows) for name, rows in states.items()}
        run: Any = self._cells.run if self._cells.compiler is None else self._run_filled
        if self._is_checkpointed and torch.is_grad_enabled():
            outputs, after = cast(
                "Any", checkpoint(run, first, hidden, states, self._kind, use_reentrant=False)
            )
        else:
            outputs, after = run(first, hidden, states, self._kind)
        if len(hidden) < self._num_layers:
            after = {
                name: torch.cat([rows[:first], after[name], rows[last + 1 :]])
                for name, rows in self._states.items()
            }
        self._states = after
        return outputs

    def _run_filled(
        self, first: int, hidden: Float[Tensor, "N B T D"], states: StateRows, kind: type[State]
    ) -> tuple[Float[Tensor, "N B T D"], StateRows]:
        """Runs all layers, those without a segment on what lies there; no gradient comes of it.

        One size of wave is compiled instead of one for each number of layers.
        """
        if len(hidden) == self._num_layers:
            return self._cells.run(0, hidden, states, kind)
        end = first + len(hidden)
        one = hidden[:1].detach()
        filled = torch.cat(
            [
                one.expand(first, *one.shape[1:]),
                hidden,
                one.expand(self._num_layers - end, *one.shape[1:]),
            ]
        )
        whole = {
            name: torch.cat([rows[:first].detach(), states[name], rows[end:].detach()])
            for name, rows in self._states.items()
        }
        outputs, after = self._cells.run(0, filled, whole, kind)
        return outputs[first:end], {name: rows[first:end] for name, rows in after.items()}

    def _cut(self, rows: Float[Tensor, "N *shape"]) -> Float[Tensor, "N *shape"]:
        """Stops the gradient of the rows whose segment is cut off from those before."""
        parts = [
            row.detach() if one.is_cut else row
            for row, one in zip(rows.unbind(), self._riders, strict=True)
        ]
        return torch.stack(parts)


def _stack(states: Sequence[StateRows]) -> StateRows:
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def _row(states: StateRows, layer: int) -> StateRows:
    return {name: rows[layer] for name, rows in states.items()}
