"""Stores whose tokens are made up: only the lengths of their sentences matter."""

import numpy as np

from armt.tasks.babilong.cuts import BookCuts, join_cuts
from armt.tasks.babilong.splitters import Edges
from armt.tasks.babilong.store import BackgroundStore

CHARS_PER_TOKEN = 4


def made_up_store(books):
    """A store of books given as lists of sentence lengths; token t has the id t % 1000."""
    lens = [length for book in books for length in book]
    return BackgroundStore(
        tokens=(np.arange(sum(lens)) % 1000).astype(np.uint16),
        sentence_offsets=np.cumsum([0, *lens]).astype(np.int64),
        book_offsets=np.cumsum([0, *(len(book) for book in books)]).astype(np.int64),
        book_names=tuple(f"book-{number}" for number in range(len(books))),
        books=tuple(range(len(books))),
        cuts=join_cuts([_cuts(np.asarray(book)) for book in books]),
        splitter="made-up 1",
        digest="made-up",
    )


def _cuts(lens):
    """A book without a blank between its sentences, none of them too short."""
    ends = np.cumsum(lens * CHARS_PER_TOKEN)
    nothing = np.zeros(len(lens), dtype=np.bool_)
    edges = Edges(ends, ends - lens * CHARS_PER_TOKEN, nothing)
    return BookCuts(edges, ~nothing, int(ends[-1]))
