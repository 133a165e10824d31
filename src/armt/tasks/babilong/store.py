"""Natural text as one flat row of tokens, split into sentences and books."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, final

import numpy as np

from armt.core.config import PlainTree
from armt.core.errors import DataError
from armt.tasks.babilong.array_folder import load_arrays, save_arrays
from armt.tasks.babilong.corpus import is_test_book
from armt.tasks.babilong.cuts import CutTable
from armt.tasks.babilong.splitters import IntArray
from armt.tasks.contract import Ids

Split = Literal["train", "test", "all"]

MIN_SENTENCE_LEN = 10
"""Shorter sentences are left out."""

FORMAT = "armt-background-2"
"""Name of the files' form; a store of another form is built anew."""

_CUT_ARRAYS = ("tails", "heads", "is_weak", "num_kept", "book_offsets", "book_chars")


class Span(NamedTuple):
    """Neighbouring sentences of one book; `end` may cut the last of them."""

    first: int
    last: int
    end: int


@final
@dataclass(frozen=True, kw_only=True)
class BackgroundStore:
    """The sentences of a library of books, encoded."""

    tokens: Ids
    """All sentences end to end, each encoded with a leading space; uint16 if it fits."""

    sentence_offsets: IntArray
    """Where each sentence begins; one more entry for the end."""

    book_offsets: IntArray
    """The number of each book's first sentence; one more entry for the end."""

    book_names: tuple[str, ...]
    """Names of the books; books without a usable sentence are left out."""

    books: tuple[int, ...]
    """The books that may be read, as numbers: a split restricts them."""

    cuts: CutTable
    """All sentences, the short ones included, as characters of their books."""

    splitter: str
    """Name and version of what found the sentences."""

    digest: str
    """Hash of all that is above, and of the tokenizer."""

    source: str = ""
    """Hash of what the store was made of: texts, tokenizer and splitter; empty if not known."""

    @cached_property
    def num_tokens(self) -> int:
        """Tokens of the books that may be read."""
        lens = np.diff(self.sentence_offsets[self.book_offsets])
        return int(lens[np.asarray(self.books, dtype=np.int64)].sum())

    def only(self, split: Split) -> "BackgroundStore":
        """Returns the same store restricted to the training or the test books.

        Raises:
            DataError: the split has no book.
        """
        is_test = [is_test_book(name) for name in self.book_names]
        numbers = range(len(is_test))
        chosen = tuple(
            book for book in numbers if split == "all" or is_test[book] == (split == "test")
        )
        if not chosen:
            raise DataError(
                f"No book of {len(self.book_names)} falls into the split '{split}'. "
                "Give more books, or use the split 'all'."
            )
        return replace(self, books=chosen)

    def slice(self, span: Span) -> Ids:
        """Returns the tokens of `span`, without a copy."""
        return self.tokens[int(self.sentence_offsets[span.first]) : span.end]

    def save(self, folder: str | Path) -> None:
        """Writes the store into `folder`, whole or not at all.

        Raises:
            StorageError: the disk is full, or the folder holds something else.
        """
        arrays = {name: getattr(self.cuts, name) for name in _CUT_ARRAYS}
        notes: dict[str, PlainTree] = {
            "digest": self.digest,
            "source": self.source,
            "splitter": self.splitter,
            "book_names": list(self.book_names),
        }
        own = {
            "tokens": self.tokens,
            "sentence_offsets": self.sentence_offsets,
            "kept_offsets": self.book_offsets,
        }
        save_arrays(folder, FORMAT, {**own, **arrays}, notes)

    @classmethod
    def load(cls, folder: str | Path) -> "BackgroundStore":
        """Opens a saved store; its tokens stay on the disk until they are read.

        Every byte is checked: 0.05 s for the 30 MB of fifteen million tokens.

        Raises:
            DataError: the folder holds no store, one of another version, or a damaged one.
        """
        arrays, notes = load_arrays(folder, FORMAT)
        try:
            names = tuple(cast("list[str]", notes["book_names"]))
            return cls(
                tokens=cast("Ids", arrays["tokens"]),
                sentence_offsets=cast("IntArray", arrays["sentence_offsets"]),
                book_offsets=cast("IntArray", arrays["kept_offsets"]),
                book_names=names,
                books=tuple(range(len(names))),
                cuts=CutTable(
                    **cast("dict[str, Any]", {name: arrays[name] for name in _CUT_ARRAYS})
                ),
                splitter=str(notes["splitter"]),
                digest=str(notes["digest"]),
                source=str(notes["source"]),
            )
        except KeyError as error:
            raise DataError(
                f"The store '{folder}' has no {error}. Delete it and build anew."
            ) from error
