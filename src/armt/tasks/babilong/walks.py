"""Endless walks through the books of a store."""

from typing import NamedTuple, Protocol, Self, final

import numpy as np

from armt.core.errors import DataError
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.cuts import Kept
from armt.tasks.babilong.splitters import IntArray
from armt.tasks.babilong.store import BackgroundStore, Span
from armt.tasks.contract import Ids

CHARS_PER_TOKEN = 10
"""The reference cuts so many characters out of a book for each token asked for."""

_PATIENCE = 1000
"""Cuts in a row without a sentence of use before they are made twice as long."""


class Background(NamedTuple):
    """Some natural text and the gaps between its sentences.

    `gaps` rises from 0 (before the first sentence) to the number of tokens (after the last one).
    """

    tokens: Ids
    gaps: IntArray


class Walk(Protocol):
    """A source of running text."""

    def take(self, num_tokens: int) -> Background:
        """Returns the next tokens, at least `num_tokens`, and the gaps between their sentences."""
        ...


@final
class BackgroundWalk:
    """An endless walk: a book and a sentence of it at random, to the book's end, then another.

    Differs from the reference sampler, which starts at a random character and reads at most ten
    times what was asked for: here the start is a random sentence and the end that of the book.
    """

    def __init__(self, store: BackgroundStore, rng: np.random.Generator) -> None:
        """Begins a walk through the books of `store` that may be read."""
        self._store = store
        self._rng = rng
        self._book = (0, 0)
        self._next = 0

    @property
    def book(self) -> tuple[int, int]:
        """First sentence of the present book and the one after its last."""
        assert self._book[1] > 0, "the walk has not begun"
        return self._book

    def leap(self) -> Self:
        """Makes the walk go on in another book; returns the walk itself."""
        self._next = self._book[1]
        return self

    def spans(self, num_tokens: int) -> list[Span]:
        """Returns the next spans, `num_tokens` in all.

        The last sentence is cut at its right end and its rest is not read, as in the reference: the
        next call goes on with the sentence after it.
        """
        spans: list[Span] = []
        missing = num_tokens
        while missing > 0:
            if self._next >= self._book[1]:
                self._open_book()
            span = _span_of(self._store, Kept(self._next, self._book[1]), missing)
            spans.append(span)
            missing -= _len_of(self._store, span)
            self._next = span.last
        return spans

    def take(self, num_tokens: int) -> Background:
        """Returns the next `num_tokens` tokens and their gaps, as copies."""
        return _copy(self._store, self.spans(num_tokens))

    def _open_book(self) -> None:
        books = self._store.books
        book = books[int(self._rng.integers(len(books)))]
        first, last = (int(self._store.book_offsets[book + step]) for step in (0, 1))
        self._book = (first, last)
        self._next = int(self._rng.integers(first, last))


@final
class ReferenceWalk:
    """A walk by the rules of BABILong's own sampler, the same on every machine.

    To refill: a book uniformly with replacement, a character of it uniformly, the text from there
    for at most ten characters per token asked for, without the first and the last sentence; another
    cut if nothing is left. To serve: sentences of at least ten tokens (and at most
    `max_sentence_len`) until there are enough tokens, the last one trimmed at its right end; unread
    ones wait for the next call. See `CutTable` for how a cut's sentences are told without its text.

    Differs from the reference where that never ends: cuts too short to hold a whole sentence become
    longer after a thousand fruitless ones, and what holds no sentence of use at all is an error.
    """

    def __init__(
        self,
        store: BackgroundStore,
        dice: Dice,
        *,
        max_sentence_len: int | None = None,
        left_out: IntArray | None = None,
        is_shuffled: bool = True,
    ) -> None:
        """Begins a walk through the books of `store` that may be read.

        Args:
            store: the sentences, of the splitter `punkt` if they are to be the reference's.
            dice: decides books and characters.
            max_sentence_len: longer sentences are skipped.
            left_out: numbers of sentences to skip, rising (see `contamination`).
            is_shuffled: if not, the books are read in order from their start, all sentences, and
                again from the first book when there are no more.
        """
        self._store = store
        self._dice = dice
        self._is_shuffled = is_shuffled
        self._skipped = _skipped(store, max_sentence_len, left_out)
        self._pending: list[Kept] = []
        self._turn = 0

    def spans(self, num_tokens: int) -> list[Span]:
        """Returns the next spans, `num_tokens` in all; none if that is not positive.

        Raises:
            DataError: no book has a sentence of use between two others.
        """
        spans: list[Span] = []
        missing = num_tokens
        while missing > 0:
            if not self._pending:
                self._refill(num_tokens)
            run = self._pending.pop(0)
            span = _span_of(self._store, run, missing)
            spans.append(span)
            missing -= _len_of(self._store, span)
            if span.last < run.last:
                self._pending.insert(0, Kept(span.last, run.last))
        return spans

    def take(self, num_tokens: int) -> Background:
        """Returns the next `num_tokens` tokens and their gaps, as copies."""
        return _copy(self._store, self.spans(num_tokens))

    def _refill(self, num_tokens: int) -> None:
        books = self._store.books
        num_chars = CHARS_PER_TOKEN * num_tokens
        while not self._pending:
            for _ in range(_PATIENCE):
                self._pending = self._usable(self._next_cut(num_chars))
                if self._pending:
                    return
            if num_chars >= int(self._store.cuts.book_chars[list(books)].max()):
                raise DataError(
                    f"No sentence to read was found in {_PATIENCE} cuts of up to {num_chars:,} "
                    f"characters from {len(books)} books. Give longer texts, or skip fewer "
                    "sentences."
                )
            num_chars *= 2

    def _next_cut(self, num_chars: int) -> Kept:
        store = self._store
        if self._is_shuffled:
            book = self._dice.pick(store.books)
            start = self._dice.below(int(store.cuts.book_chars[book]))
            return store.cuts.kept_within(book, start, num_chars)
        book = store.books[self._turn % len(store.books)]
        self._turn += 1
        return Kept(*(int(store.book_offsets[book + step]) for step in (0, 1)))

    def _usable(self, kept: Kept) -> list[Kept]:
        """Returns what is left of the sentences `kept` without those that are skipped."""
        low, high = (int(np.searchsorted(self._skipped, each)) for each in kept)
        stops = [*self._skipped[low:high].tolist(), kept.last]
        runs: list[Kept] = []
        first = kept.first
        for stop in stops:
            if stop > first:
                runs.append(Kept(first, stop))
            first = stop + 1
        return runs


def _skipped(
    store: BackgroundStore, max_sentence_len: int | None, left_out: IntArray | None
) -> IntArray:
    none = np.zeros(0, dtype=np.int64)
    if max_sentence_len is None:
        return none if left_out is None else left_out
    too_long = np.flatnonzero(np.diff(store.sentence_offsets) > max_sentence_len)
    return np.union1d(too_long, none if left_out is None else left_out)


def _span_of(store: BackgroundStore, run: Kept, most: int) -> Span:
    """Returns the beginning of a run of sentences, at most `most` tokens of it."""
    offsets = store.sentence_offsets
    end = int(offsets[run.first]) + most
    last = min(int(np.searchsorted(offsets, end)), run.last)
    return Span(run.first, last, min(end, int(offsets[last])))


def _len_of(store: BackgroundStore, span: Span) -> int:
    return span.end - int(store.sentence_offsets[span.first])


def _copy(store: BackgroundStore, spans: list[Span]) -> Background:
    """Returns the tokens of `spans` and the gaps between their sentences."""
    if not spans:
        return Background(store.tokens[:0], np.zeros(1, dtype=np.int64))
    offsets = store.sentence_offsets
    gaps = [np.zeros(1, dtype=np.int64)]
    position = 0
    for span in spans:
        start = int(offsets[span.first])
        ends = offsets[span.first + 1 : span.last + 1] - start + position
        position += span.end - start
        ends[-1] = position
        gaps.append(ends)
    return Background(np.concatenate([store.slice(span) for span in spans]), np.concatenate(gaps))
