"""Which sentences of a book lie within a cut, told without the book's text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from armt.tasks.babilong.splitters import BoolArray, Edges, IntArray

Counts = npt.NDArray[np.integer]

MAX_BOOK_CHARS = 1 << 32
"""Characters of a book, at most."""


class Kept(NamedTuple):
    """Neighbouring sentences of the store: the first, and the one after the last."""

    first: int
    last: int


@final
@dataclass(frozen=True, kw_only=True)
class CutTable:
    """The sentences of all books as characters, those too short for the store included.

    The reference reads a background text by cutting a piece out of a book at a random character,
    splitting it into sentences, and leaving out the first and the last, which may be partial.
    `kept_within` gives the same sentences from three numbers per sentence (see `Edges`).

    With Punkt they are the same but for starts within a word that holds a period which ends no
    sentence, or more than one mark: a cut there can make a boundary that the whole text has not.
    """

    tails: Counts
    """`Edges.tails` of every book, one after the other."""

    heads: Counts
    """`Edges.heads` of every book, one after the other."""

    is_weak: BoolArray
    """`Edges.is_weak` of every book, one after the other."""

    num_kept: Counts
    """Sentences of the store before each sentence; one more entry for the end."""

    book_offsets: IntArray
    """The number of each book's first sentence; one more entry for the end."""

    book_chars: IntArray
    """Length of each book's text in characters."""

    def kept_within(self, book: int, start: int, num_chars: int) -> Kept:
        """Returns the sentences of the store that a cut shows whole, the first and last left out.

        Args:
            book: number of the book.
            start: first character of the cut.
            num_chars: length of the cut; it may reach beyond the book's end.
        """
        low, high = int(self.book_offsets[book]), int(self.book_offsets[book + 1])
        first = int(np.searchsorted(self.tails[low:high], start, side="right")) + low
        if first < high and self.is_weak[first] and start == int(self.tails[first]) - 2:
            first += 1
        last = int(np.searchsorted(self.heads[low:high], start + num_chars)) + low - 1
        first = min(first + 1, high)
        last = max(first, last)
        return Kept(int(self.num_kept[first]), int(self.num_kept[last]))


class BookCuts(NamedTuple):
    """What one book gives to a `CutTable`."""

    edges: Edges
    is_kept: BoolArray
    num_chars: int


def join_cuts(books: Sequence[BookCuts]) -> CutTable:
    """Puts the sentences of several books end to end."""
    is_kept = np.concatenate([book.is_kept for book in books])
    sizes = [0, *(len(book.is_kept) for book in books)]
    return CutTable(
        tails=np.concatenate([book.edges.tails for book in books]).astype(np.uint32),
        heads=np.concatenate([book.edges.heads for book in books]).astype(np.uint32),
        is_weak=np.concatenate([book.edges.is_weak for book in books]),
        num_kept=np.concatenate([[0], np.cumsum(is_kept)]).astype(np.uint32),
        book_offsets=np.cumsum(np.asarray(sizes, dtype=np.int64)),
        book_chars=np.asarray([book.num_chars for book in books], dtype=np.int64),
    )
