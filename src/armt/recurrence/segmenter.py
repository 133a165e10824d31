"""Cuts the rows of a batch into segments, each row from its own beginning."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from armt.core.errors import DataError
from armt.core.shapes import Bool, Int, Tensor
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.state import RecurrentState


@dataclass(frozen=True)
class Segment:
    """Rows that go through the backbone together."""

    start: int
    """Position of its first token in the packed text."""

    stop: int
    """Position after its last token."""

    rows: Int[Tensor, " N"] | None
    """The rows that take part; none for all of them."""

    is_whole: bool
    """Whether it fills a segment, so that the memory is written."""


@dataclass(frozen=True)
class PackedText:
    """Pending and new tokens of each row, without padding, left-aligned."""

    ids: Int[Tensor, "B T"]
    """Token ids; what stands after a row's end has no meaning."""

    lengths: Int[Tensor, " B"]
    """Tokens of each row; on the CPU."""

    source: Int[Tensor, "B T"] | None
    """For each position the column of the caller's input it came from, -1 for pending tokens, for
    those that are there again and the space after a row's end; none if the input was used as it is.
    """

    def overlapping(self, recurrence: RecurrenceConfig) -> "PackedText":
        """Returns the text with the end of each whole segment once more, before the next.

        A text that ends with a whole segment has it too: what is read after it begins there. So a
        state tells by its pending tokens alone how a text goes on.
        """
        segment_len, overlap_len = recurrence.segment_len, recurrence.overlap_len
        if not overlap_len:
            return self
        num_whole = ((self.lengths - overlap_len) // recurrence.stride).clamp_min(0)
        most, width = int(num_whole.max()), self.ids.shape[1]
        num_columns = width + most * overlap_len

        def columns(device: torch.device) -> Int[Tensor, " C"]:
            starts = recurrence.stride * torch.arange(most + 1, device=device)
            return (starts.unsqueeze(1) + torch.arange(segment_len, device=device)).flatten()

        source = torch.arange(width).expand_as(self.ids) if self.source is None else self.source
        source = source[:, columns(source.device)[:num_columns]]
        place = torch.arange(num_columns, device=source.device)
        is_again = (place >= segment_len) & (place % segment_len < overlap_len)
        return PackedText(
            ids=self.ids[:, columns(self.ids.device)[:num_columns]],
            lengths=self.lengths + num_whole * overlap_len,
            source=source.masked_fill(is_again, -1),
        )

    def segments(self, segment_len: int) -> Iterator[Segment]:
        """Yields the segments in reading order.

        Rows that end inside a segment go through it apart from those that fill it: nothing is
        written for them, and what stands after their end cannot be seen by a causal backbone. So
        padding never enters a memory.
        """
        shortest, longest = int(self.lengths.min()), int(self.lengths.max())
        for start in range(0, longest, segment_len):
            stop = min(start + segment_len, longest)
            if shortest >= stop:
                yield Segment(start, stop, None, is_whole=stop - start == segment_len)
                continue
            is_whole = self.lengths >= start + segment_len
            is_partial = (self.lengths > start) & ~is_whole
            if bool(is_whole.any()):
                yield Segment(start, stop, is_whole.nonzero()[:, 0], is_whole=True)
            if bool(is_partial.any()):
                rows = is_partial.nonzero()[:, 0]
                stop = min(stop, int(self.lengths[rows].max()))
                yield Segment(start, stop, rows, is_whole=False)

    def remainder(self, state: RecurrentState, recurrence: RecurrenceConfig) -> dict[str, Tensor]:
        """Returns the fields of the next state that tell the position in the text."""
        num_whole = self.lengths // recurrence.segment_len
        num_pending = self.lengths % recurrence.segment_len
        num_new = self.lengths - num_whole * recurrence.overlap_len - state.num_pending
        width = int(num_pending.max())
        position = {
            "num_pending": num_pending,
            "num_tokens": state.num_tokens + num_new,
        }
        if bool((self.lengths == self.lengths[0]).all()):
            stop = int(self.lengths[0])
            return {"pending": self.ids[:, stop - width : stop], **position}
        columns = (self.lengths - num_pending).unsqueeze(1) + torch.arange(width)
        is_pending = torch.arange(width) < num_pending.unsqueeze(1)
        device = self.ids.device
        pending = self.ids.gather(1, (columns * is_pending).to(device))
        return {"pending": pending * is_pending.to(device), **position}


def on_device(columns: Int[Tensor, " N"], device: torch.device) -> Int[Tensor, " N"]:
    """Returns rising `columns` on a device, without a copy from the host if they are a plain run.

    A copy could not be part of a CUDA graph.
    """
    first, last = int(columns[0]), int(columns[-1])
    if last - first + 1 == len(columns):
        return torch.arange(first, last + 1, device=device)
    return columns.to(device)


def pack(
    state: RecurrentState,
    input_ids: Int[Tensor, "B T"],
    attention_mask: Bool[Tensor, "B T"] | Int[Tensor, "B T"] | None = None,
) -> PackedText:
    """Joins each row's pending tokens with its new ones, leaving out padding on either side.

    Raises:
        DataError: the rows of the state and of the input differ, or the mask has another shape.
    """
    if input_ids.dim() != 2 or not len(input_ids):
        raise DataError(
            f"`input_ids` must have rows and columns. Got the shape {tuple(input_ids.shape)}."
        )
    if len(input_ids) != state.batch_size:
        raise DataError(
            f"The input has {len(input_ids)} rows, the state {state.batch_size}. Give one row for "
            "each row of the state."
        )
    num_rows, width = input_ids.shape
    is_even = bool((state.num_pending == state.num_pending[0]).all())
    if attention_mask is None and is_even:
        num_old = int(state.num_pending[0])
        lengths = torch.full((num_rows,), num_old + width)
        if not num_old:
            return PackedText(input_ids, lengths, None)
        old = state.pending[:, :num_old].to(input_ids.device)
        source = torch.arange(-num_old, width).clamp_min(-1).expand(num_rows, -1)
        return PackedText(torch.cat([old, input_ids], dim=1), lengths, source)
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids)
    if attention_mask.shape != input_ids.shape:
        raise DataError(
            f"`attention_mask` must have the shape of `input_ids`, {tuple(input_ids.shape)}. Got "
            f"{tuple(attention_mask.shape)}."
        )
    return _pack_ragged(state, input_ids, attention_mask.bool().cpu())


def _pack_ragged(
    state: RecurrentState, input_ids: Int[Tensor, "B T"], is_text: Bool[Tensor, "B T"]
) -> PackedText:
    lengths = state.num_pending + is_text.sum(1)
    ids = input_ids.new_zeros((len(input_ids), int(lengths.max())))
    source = torch.full(ids.shape, -1)
    for row in range(len(input_ids)):
        num_old, stop = int(state.num_pending[row]), int(lengths[row])
        columns = is_text[row].nonzero()[:, 0]
        ids[row, :num_old] = state.pending[row, :num_old].to(ids.device)
        ids[row, num_old:stop] = input_ids[row, columns.to(ids.device)]
        source[row, num_old:stop] = columns
    return PackedText(ids, lengths, source)
