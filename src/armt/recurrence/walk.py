"""One pass over the segments of a text: what is run, what is kept, what is lost over it."""

from collections.abc import Callable, Iterator
from typing import final

import torch

from armt.core.errors import DataError
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.loss import LossSum, Targets
from armt.recurrence.schedule import SequentialSchedule, WaveSchedule
from armt.recurrence.segmenter import PackedText, Segment, on_device
from armt.recurrence.state import RecurrentState
from armt.recurrence.wave import Arrival, Rider


@final
class Walk:
    """One pass over the segments of a packed text."""

    def __init__(
        self,
        schedule: SequentialSchedule,
        recurrence: RecurrenceConfig,
        packed: PackedText,
        targets: Targets | None = None,
        is_kept: Bool[Tensor, " T"] | None = None,
        waves: Callable[[tuple[State, ...]], WaveSchedule] | None = None,
    ) -> None:
        """Prepares a pass.

        Args:
            schedule: runs one segment.
            recurrence: how the text is cut.
            packed: the text.
            targets: what the loss is taken over; none for no loss.
            is_kept: columns whose logits are handed out; none to read only, which leaves out the
                head, and the text after the last whole segment.
            waves: starts waves from given states; none to run segment by segment.
        """
        self.waves = waves
        self.schedule, self.recurrence = schedule, recurrence
        self.packed, self.targets, self.is_kept = packed, targets, is_kept
        self.losses = LossSum()
        # an overlap that waits at the end for more text is no segment that a loss could start from
        lengths = (packed.lengths - recurrence.overlap_len).clamp_min(1)
        self._num_segments: list[int] = (-(-lengths // recurrence.segment_len)).tolist()
        self._kept: list[tuple[Segment, Int[Tensor, " N"], Float[Tensor, "B N V"]]] = []

    def run(self, state: RecurrentState, carry_len: int | None = None) -> RecurrentState:
        """Goes over all segments and returns the state after them.

        Args:
            state: what was read before.
            carry_len: tokens after which the state is returned instead; whole segments.

        Raises:
            DataError: the text has no place where this state could be taken.
        """
        carried = None if carry_len is None else self._carried_text(carry_len)
        current, layers = state, state.layers
        for together in self._together():
            current = self._cut(current, together[0])
            if len(together) > 1:
                current, tapped = self._ride(together, current, carry_len)
            else:
                current = self._visit(together[0], current)
                tapped = current.layers if together[0].stop == carry_len else None
            layers = layers if tapped is None else tapped
        if carry_len is None:
            layers = current.layers
        text = self.packed if carried is None else carried
        return RecurrentState(layers=layers, **text.remainder(state, self.recurrence))

    def _together(self) -> Iterator[list[Segment]]:
        """Yields the segments, those that can ride in waves together.

        Waves cut all rows or none, so that a ride begins anew where some rows are cut.
        """
        riding: list[Segment] = []
        for segment in self.packed.segments(self.recurrence.segment_len):
            is_riding = self.waves is not None and segment.is_whole and segment.rows is None
            if riding and not (is_riding and self._cuts_alike(segment)):
                yield riding
                riding = []
            if is_riding:
                riding.append(segment)
            else:
                yield [segment]
        if riding:
            yield riding

    def _cuts(self, segment: Segment) -> list[bool]:
        """For each row whether no gradient goes from the segment to those before.

        A row that has no part in it is not cut: its state stays what its own text made it.
        """
        number = segment.start // self.recurrence.segment_len
        cuts = [self.recurrence.is_cut_before(number, count) for count in self._num_segments]
        if segment.rows is None:
            return cuts
        rows = set(segment.rows.tolist())
        return [is_cut and row in rows for row, is_cut in enumerate(cuts)]

    def _cuts_alike(self, segment: Segment) -> bool:
        cuts = self._cuts(segment)
        return all(cuts) or not any(cuts) or not torch.is_grad_enabled()

    def _cut(self, state: RecurrentState, segment: Segment) -> RecurrentState:
        cuts = self._cuts(segment)
        if all(cuts):
            return state.detach()
        if not any(cuts) or not torch.is_grad_enabled():
            return state
        is_cut = torch.tensor(cuts).to(self.packed.ids.device, non_blocking=True)
        layers = tuple(layer.detach().where(is_cut, layer) for layer in state.layers)
        return state.with_layers(layers)

    def _ride(
        self, segments: list[Segment], state: RecurrentState, carry_len: int | None
    ) -> tuple[RecurrentState, tuple[State, ...] | None]:
        """Runs whole segments in waves; also returns the states after `carry_len` tokens."""
        assert self.waves is not None, "there is no schedule of waves"
        schedule, is_tapped = self.waves(state.layers), False

        def collect(arrival: Arrival | None) -> None:
            columns = (
                torch.arange(0) if arrival is None else self._columns(segments[arrival.number])
            )
            if arrival is not None and len(columns):
                wanted = on_device(columns, arrival.hidden.device)
                logits = schedule.logits(arrival, wanted)
                self._collect(segments[arrival.number], columns, logits)

        for number, segment in enumerate(segments):
            rider = Rider(number, all(self._cuts(segment)), segment.stop == carry_len)
            is_tapped = is_tapped or rider.is_tapped
            collect(schedule.push(self.packed.ids[:, segment.start : segment.stop], rider))
        for arrival in schedule.finish():
            collect(arrival)
        after = state.with_layers(schedule.states)
        return after, schedule.tapped if is_tapped else None

    def _carried_text(self, carry_len: int) -> PackedText:
        """Returns the first tokens of the text, which must be whole segments of every row."""
        packed, segment_len = self.packed, self.recurrence.segment_len
        is_there = packed.source is None and 0 <= carry_len <= packed.ids.shape[1]
        if not is_there or carry_len % segment_len:
            raise DataError(
                f"`carry_len` must be 0 or whole segments of {segment_len} tokens of a text "
                "without padding or overlap, from a state without pending tokens. Got "
                f"{carry_len}."
            )
        lengths = torch.full_like(packed.lengths, carry_len)
        return PackedText(packed.ids[:, :carry_len], lengths, None)

    def _visit(self, segment: Segment, state: RecurrentState) -> RecurrentState:
        columns = self._columns(segment)
        if not segment.is_whole and not len(columns):
            return state
        ids, layers = self.packed.ids[:, segment.start : segment.stop], state.layers
        if segment.rows is not None:
            ids = ids[segment.rows.to(ids.device)]
            layers = tuple(layer.select_rows(segment.rows) for layer in layers)
        wanted = on_device(columns, ids.device) if len(columns) else None
        result = self.schedule.run(ids, layers, is_whole=segment.is_whole, logits_at=wanted)
        if result.logits is not None:
            self._collect(segment, columns, result.logits)
        if not segment.is_whole:
            return state
        rows = segment.rows
        if rows is None:
            return state.with_layers(result.states)
        pairs = zip(result.states, state.layers, strict=True)
        return state.with_layers(tuple(new.scatter_rows(rows, old) for new, old in pairs))

    def _columns(self, segment: Segment) -> Int[Tensor, " N"]:
        """Columns of the segment whose logits are needed, counted from its start."""
        if self.is_kept is None:
            return torch.arange(0)
        is_needed = self.is_kept[segment.start : segment.stop]
        if self.targets is not None:
            is_needed = is_needed | self.targets.is_used[segment.start : segment.stop]
        return is_needed.nonzero()[:, 0]

    def _collect(
        self, segment: Segment, columns: Int[Tensor, " N"], logits: Float[Tensor, "B N V"]
    ) -> None:
        if self.targets is not None:
            self.losses.add(logits, self.targets.at(segment.rows, columns + segment.start))
        assert self.is_kept is not None, "reading asks for no logits"
        kept = self.is_kept[columns + segment.start].nonzero()[:, 0]
        if len(kept):
            part = logits[:, on_device(kept, logits.device)]
            self._kept.append((segment, columns[kept] + segment.start, part))

    def joined_logits(self, width: int, num_kept: int) -> Float[Tensor, "B N V"] | None:
        """Returns logits at the last `num_kept` of the caller's `width` columns.

        Padding gets zeros; where all of it is padding there are no logits.
        """
        if not self._kept:
            return None
        source = self.packed.source
        if source is None:
            return torch.cat([part for _, _, part in self._kept], dim=1)
        num_rows, first = len(source), width - num_kept
        targets: list[Int[Tensor, "2 N"]] = []
        values: list[Float[Tensor, "N V"]] = []
        for segment, columns, part in self._kept:
            rows = torch.arange(num_rows) if segment.rows is None else segment.rows
            places = source.cpu()[rows][:, columns]
            row, column = (places >= first).nonzero(as_tuple=True)
            targets.append(torch.stack([rows[row], places[row, column] - first]))
            values.append(part[row.to(part.device), column.to(part.device)])
        row, column = torch.cat(targets, dim=1).to(values[0].device)
        logits = values[0].new_zeros(num_rows, num_kept, values[0].shape[-1])
        return logits.index_put((row, column), torch.cat(values))


def num_to_keep(
    packed: PackedText, width: int, logits_to_keep: int | None, segment_len: int | None
) -> int:
    """Returns how many of the caller's last columns get logits.

    Without a wish these are all of them or, if `segment_len` is given, the last segment's.

    Raises:
        DataError: the wish is negative.
    """
    if logits_to_keep is None:
        longest = int(packed.lengths.max())
        last_len = (longest - 1) % segment_len + 1 if segment_len and longest else width
        return min(last_len, width)
    if logits_to_keep < 0:
        raise DataError(f"`logits_to_keep` must not be negative. Got {logits_to_keep}.")
    return min(logits_to_keep or width, width)


def kept_columns(packed: PackedText, width: int, num_kept: int) -> Bool[Tensor, " T"]:
    """Returns the packed columns that some row has in the caller's last `num_kept` columns."""
    if packed.source is None:
        return torch.arange(width) >= width - num_kept
    source = packed.source.cpu()
    return ((source >= width - num_kept) & (source >= 0)).any(0)
