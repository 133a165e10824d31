"""Contexts that are written down only piece by piece: background with facts between sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from armt.tasks.babilong.splitters import IntArray
from armt.tasks.babilong.store import BackgroundStore, Span
from armt.tasks.contract import Ids

PIECE_LEN = 1 << 14
"""Longest piece of a context, in tokens."""


@final
class RunningText:
    """Spans of background end to end, addressed by the gaps between their sentences.

    Gap 0 stands before the first sentence, the last gap after the last one, which may be cut short.
    Only the ends of the spans are held, a few numbers for each book opened: never the tokens.
    """

    def __init__(self, store: BackgroundStore, spans: Sequence[Span]) -> None:
        """Lays `spans` end to end."""
        table = np.asarray(spans, dtype=np.int64).reshape(-1, 3)
        self._store = store
        self._first, self._last = table[:, 0].copy(), table[:, 1].copy()
        self._starts = store.sentence_offsets[self._first]
        self._lens = table[:, 2] - self._starts
        self._ends = np.cumsum(self._lens)
        self._last_gaps = np.cumsum(self._last - self._first)

    @property
    def num_tokens(self) -> int:
        """Tokens of all spans."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def num_sentences(self) -> int:
        """Sentences of all spans; there is one gap more."""
        return int(self._last_gaps[-1]) if len(self._last_gaps) else 0

    def offsets(self, gaps: IntArray) -> IntArray:
        """Returns the tokens before each gap."""
        if not len(self._ends):
            return np.zeros(len(gaps), dtype=np.int64)
        which = np.searchsorted(self._last_gaps, gaps, side="right")
        span = np.minimum(which, len(self._ends) - 1)
        inner = gaps - (self._last_gaps - (self._last - self._first))[span]
        before = (self._ends - self._lens)[span]
        sentences = np.minimum(self._first[span] + inner, len(self._store.sentence_offsets) - 1)
        found = before + self._store.sentence_offsets[sentences] - self._starts[span]
        return np.where(which == len(self._ends), self.num_tokens, found)

    def gap_from(self, num_tokens: int) -> int:
        """Returns the first gap with at least `num_tokens` before it; one too many if none has."""
        if num_tokens > self.num_tokens:
            return self.num_sentences + 1
        if num_tokens <= 0:
            return 0
        span = int(np.searchsorted(self._ends, num_tokens))
        local = num_tokens - int(self._ends[span] - self._lens[span])
        first, last = int(self._first[span]), int(self._last[span])
        begins = self._store.sentence_offsets[first:last]
        inner = int(np.searchsorted(begins, int(self._starts[span]) + local))
        return int(self._last_gaps[span]) - (last - first) + inner

    def nearest_gap(self, num_tokens: int) -> int:
        """Returns the gap nearest to the place after `num_tokens`; of two the earlier one."""
        above = min(self.gap_from(num_tokens), self.num_sentences)
        below = max(above - 1, 0)
        low, high = self.offsets(np.asarray([below, above], dtype=np.int64)).tolist()
        return below if num_tokens - low <= high - num_tokens else above

    def slices(self) -> Iterator[Ids]:
        """Yields the tokens of each span, views of the store."""
        tokens = self._store.tokens
        for start, length in zip(self._starts, self._lens, strict=True):
            yield tokens[int(start) : int(start) + int(length)]


@final
@dataclass(frozen=True)
class Layout:
    """A context not yet written down."""

    text: RunningText
    """The background."""

    offsets: IntArray
    """Background tokens before each item, rising."""

    items: list[Ids]
    """What stands between the sentences."""

    head: Ids
    """What stands before everything else; may be empty."""

    @cached_property
    def lens(self) -> list[int]:
        """Tokens of each item."""
        return [len(item) for item in self.items]

    @cached_property
    def starts(self) -> list[int]:
        """Tokens of the context before each item."""
        lens = np.asarray(self.lens, dtype=np.int64)
        return (len(self.head) + self.offsets + np.cumsum(lens) - lens).tolist()

    @property
    def num_tokens(self) -> int:
        """Tokens of the context."""
        return len(self.head) + self.text.num_tokens + sum(self.lens)


def pieces_of(layout: Layout) -> Iterator[Ids]:
    """Yields the context in pieces of at most `PIECE_LEN` tokens."""
    for part in _parts_of(layout):
        for start in range(0, len(part), PIECE_LEN):
            yield np.asarray(part[start : start + PIECE_LEN], dtype=np.int64)


def write_layout(layout: Layout, ids: IntArray) -> None:
    """Writes the whole context to the beginning of `ids`."""
    parts = list(_parts_of(layout))  # hundreds, short ones: one call beats as many assignments
    _ = np.concatenate(parts, out=ids[: layout.num_tokens])


def _parts_of(layout: Layout) -> Iterator[Ids]:
    """Yields what the context is made of, as views; some are empty."""
    yield layout.head
    position, pending = 0, 0
    for tokens in layout.text.slices():
        end = position + len(tokens)
        last = int(layout.offsets.searchsorted(end))
        cuts = (layout.offsets[pending:last] - position).tolist()
        cursor = 0
        for cut, item in zip(cuts, layout.items[pending:last], strict=True):
            yield tokens[cursor:cut]
            yield item
            cursor = cut
        yield tokens[cursor:]
        position, pending = end, last
    yield from layout.items[pending:]
