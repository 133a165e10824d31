"""Reads a text of any length without a loss or logits, in constant memory."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, final

import torch

from armt.core.errors import DataError
from armt.core.shapes import Int, Tensor
from armt.recurrence.choose_schedule import WaveStarter, choose_waves
from armt.recurrence.segmenter import pack
from armt.recurrence.state import RecurrentState
from armt.recurrence.walk import Walk
from armt.recurrence.wave import Rider

if TYPE_CHECKING:
    from armt.recurrence.model import Recurrent


class ReadingProgress(NamedTuple):
    """How far a reading has come."""

    num_tokens: int
    """Tokens of each row read by this call so far, those in flight and pending included."""

    nbytes: int
    """Size of the layers' states, in bytes."""


OnProgress = Callable[[ReadingProgress], None]


def read_pieces(
    model: "Recurrent",
    pieces: Iterable[Int[Tensor, "B T"]],
    state: RecurrentState | None,
    on_progress: OnProgress | None,
) -> RecurrentState | None:
    """Reads batches of token ids one after the other; see `Recurrent.read`.

    Rows that stand at the same place of their segments ride in waves, if the model can; the waves
    go on from piece to piece and end with the text.
    """
    waves: WaveStarter | None = choose_waves(model)
    reading: _WaveReading | None = None
    num_tokens = 0
    for ids in pieces:
        state = state or model.init_state(len(ids))
        on_device = ids.to(model.device)
        if reading is None and waves is not None and _is_even(state):
            reading = _WaveReading(model, waves, state)
        if reading is not None:
            reading.push(on_device)
        for piece in on_device.split(model.recurrence.segment_len, dim=1):
            if reading is None:
                packed = pack(state, piece)
                state = Walk(model.schedule(), model.recurrence, packed).run(state)
            num_tokens += piece.shape[1]
            if on_progress is not None:
                on_progress(ReadingProgress(num_tokens, state.nbytes))
    return state if reading is None else reading.finish()


def _is_even(state: RecurrentState) -> bool:
    return bool((state.num_pending == state.num_pending[0]).all())


@final
class _WaveReading:
    """A text on its way through the layers, and the tokens that do not fill a segment yet."""

    def __init__(self, model: "Recurrent", waves: WaveStarter, state: RecurrentState) -> None:
        self._segment_len = model.recurrence.segment_len
        self._schedule = waves(state.layers)
        self._start = state
        self._held = state.pending[:, : int(state.num_pending[0])].to(model.device)
        self._num_segments = 0
        self._num_pushed = 0

    def push(self, ids: Int[Tensor, "B T"]) -> None:
        """Sends the whole segments that the new tokens fill."""
        if len(ids) != self._start.batch_size:
            raise DataError(
                f"The pieces of a text have {self._start.batch_size} rows. Got {len(ids)}."
            )
        self._num_pushed += ids.shape[1]
        held = torch.cat([self._held, ids], dim=1)
        whole_len = held.shape[1] - held.shape[1] % self._segment_len
        for segment in held[:, :whole_len].split(self._segment_len, dim=1):
            if segment.shape[1]:
                _ = self._schedule.push(segment, Rider(self._num_segments))
                self._num_segments += 1
        self._held = held[:, whole_len:]

    def finish(self) -> RecurrentState:
        """Lets every segment come through and returns the state after the text."""
        for _ in self._schedule.finish():
            pass
        start = self._start
        return RecurrentState(
            layers=self._schedule.states,
            pending=self._held,
            num_pending=torch.full_like(start.num_pending, self._held.shape[1]),
            num_tokens=start.num_tokens + self._num_pushed,
        )
