"""Reads a text of any length without a loss or logits, in constant memory."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol, final

import torch

from armt.core.errors import DataError, StateError
from armt.core.shapes import Int, Tensor
from armt.recurrence.choose_schedule import choose_loop
from armt.recurrence.pieces import check_vocabulary
from armt.recurrence.read_loops import LoopMaker, ReadLoop, ReadLoops
from armt.recurrence.segmenter import pack
from armt.recurrence.state import RecurrentState
from armt.recurrence.walk import Walk

if TYPE_CHECKING:
    from armt.recurrence.model import Recurrent

_NUM_AT_ONCE = 64
"""Segments handed to a loop at once."""

_NUM_UNCHECKED = 64
"""Segments that are read before it is looked whether the memory is finite; in a loop twice as many
for each layer. A look waits for the device, and waves must run empty for it: one wave more for each
layer, less than a hundredth of all."""


class ReadingProgress(NamedTuple):
    """How far a reading has come."""

    num_tokens: int
    """Tokens of each row read by this call so far, those in flight and pending included."""

    nbytes: int
    """Size of the layers' states, in bytes; of states that grow, when last looked at."""


class _Reading(Protocol):
    """A text under way."""

    @property
    def stretch_len(self) -> int:
        """Tokens that are best pushed at once."""
        ...

    @property
    def unchecked_len(self) -> int:
        """Tokens that may be pushed before the state is looked at."""
        ...

    def push(self, ids: Int[Tensor, "B T"]) -> None:
        """Reads the next tokens of every row."""
        ...

    def finish(self) -> RecurrentState:
        """Returns the state after all that was pushed; more may be pushed then."""
        ...


def read_pieces(
    model: "Recurrent",
    pieces: Iterable[Int[Tensor, "B T"]],
    state: RecurrentState | None,
    on_progress: Callable[[ReadingProgress], None] | None,
    *,
    is_whole: bool,
) -> RecurrentState | None:
    """Reads batches of token ids one after the other; see `Recurrent.read`.

    `is_whole` says that there is one piece only. None comes back if there is neither a state nor
    anything to read.

    Rows that stand at the same place of their segments go through a loop over fixed places, if the
    model can: in waves, or segment by segment. It goes on from piece to piece.
    """
    reading: _CheckedReading | None = None
    num_tokens = 0
    for ids in pieces:
        check_vocabulary(model, ids)
        if reading is None:
            start = state or model.init_state(len(ids))
            under_way = _start(model, start, ids.shape[1] if is_whole else None)
            reading = _CheckedReading(under_way, start)
        for stretch in ids.split(reading.stretch_len, dim=1):
            reading.push(stretch)
            num_tokens += stretch.shape[1]
            if on_progress is not None:
                on_progress(ReadingProgress(num_tokens, reading.good.nbytes))
    if reading is not None:
        return reading.finish()
    if state is not None:
        state.check_finite()
    return state


def _start(model: "Recurrent", state: RecurrentState, num_tokens: int | None) -> _Reading:
    is_even = bool((state.num_pending == state.num_pending[0]).all())
    num_segments = None if num_tokens is None else num_tokens // model.recurrence.segment_len
    make = choose_loop(model, state.batch_size, num_segments) if is_even else None
    return _PlainReading(model, state) if make is None else _LoopReading(model, state, make)


@final
class _CheckedReading:
    """A text under way that is stopped soon after its memory is no longer finite."""

    def __init__(self, reading: _Reading, start: RecurrentState) -> None:
        self._reading, self._num_unchecked = reading, 0
        self.good = start
        self.stretch_len = reading.stretch_len

    def push(self, ids: Int[Tensor, "B T"]) -> None:
        """Reads the next tokens of every row.

        Raises:
            StateError: as `finish` does, if the state was looked at.
        """
        self._reading.push(ids)
        self._num_unchecked += ids.shape[1]
        if self._num_unchecked >= self._reading.unchecked_len:
            _ = self.finish()

    def finish(self) -> RecurrentState:
        """Returns the state after all that was pushed; more may be pushed then.

        Raises:
            StateError: it is not finite; the error's `state` is the last one that was.
        """
        state = self._reading.finish()
        try:
            state.check_finite()
        except StateError as error:
            self.good.check_finite()  # no one has looked at a state that was given
            raise _lost(error, state, self.good) from error
        self.good, self._num_unchecked = state, 0
        return state


def _lost(error: StateError, state: RecurrentState, good: RecurrentState) -> StateError:
    """Returns the error that also tells between which tokens, and holds the good state."""
    first = int((good.num_tokens - good.num_pending).min())
    last = int((state.num_tokens - state.num_pending).max())
    return StateError(
        f"{error} It happened between tokens {first:,} and {last:,}; the state before is `state` "
        "of this error.",
        state=good,
    )


@final
class _PlainReading:
    """A text whose segments go through the model's own forward."""

    def __init__(self, model: "Recurrent", state: RecurrentState) -> None:
        self._model, self._state = model, state
        self.stretch_len = model.recurrence.segment_len
        self.unchecked_len = _NUM_UNCHECKED * self.stretch_len

    def push(self, ids: Int[Tensor, "B T"]) -> None:
        recurrence = self._model.recurrence
        packed = pack(self._state, ids.to(self._model.device)).overlapping(recurrence)
        walk = Walk(self._model.schedule(), recurrence, packed)
        self._state = walk.run(self._state)

    def finish(self) -> RecurrentState:
        return self._state


@final
class _LoopReading:
    """A text on its way through a loop, and the tokens that do not fill a segment yet."""

    def __init__(self, model: "Recurrent", state: RecurrentState, make: LoopMaker) -> None:
        self._model, self._start, self._make = model, state, make
        self._held = state.pending[:, : int(state.num_pending[0])]
        self._loop: ReadLoop | None = None
        self._num_tokens = 0
        self.stretch_len = _NUM_AT_ONCE * model.recurrence.segment_len
        num_unchecked = 2 * _NUM_UNCHECKED * len(model.anatomy.layers)
        self.unchecked_len = num_unchecked * model.recurrence.segment_len

    def push(self, ids: Int[Tensor, "B T"]) -> None:
        if len(ids) != self._start.batch_size:
            raise DataError(
                f"The pieces of a text have {self._start.batch_size} rows. Got {len(ids)}."
            )
        self._num_tokens += ids.shape[1]
        recurrence = self._model.recurrence
        held = torch.cat([self._held.to(ids), ids], dim=1)
        self._held = held
        if held.shape[1] >= recurrence.segment_len:
            segments = held.unfold(1, recurrence.segment_len, recurrence.stride).transpose(0, 1)
            self._held = held[:, len(segments) * recurrence.stride :]
            self._loop = self._loop or self._open(segments[0])
            self._loop.push(segments)

    def finish(self) -> RecurrentState:
        start = self._start
        after = RecurrentState(
            layers=start.layers if self._loop is None else self._loop.finish(),
            pending=self._held.to(self._model.device),
            num_pending=torch.full_like(start.num_pending, self._held.shape[1]),
            num_tokens=start.num_tokens + self._num_tokens,
        )
        self._start, self._loop, self._num_tokens = after, None, 0
        return after

    def _open(self, segment: Int[Tensor, "B L"]) -> ReadLoop:
        model = self._model
        loops: ReadLoops = model.__dict__.setdefault("_read_loops", ReadLoops())
        like = segment.to(model.device).contiguous()
        return loops.get(self._make, model.schedule(), self._start.layers, like)
