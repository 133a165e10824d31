"""Natural text as one flat row of tokens, and endless walks through it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self, cast, final

import numpy as np
import numpy.typing as npt

from armt.core.errors import DataError
from armt.core.files import atomic_path, write_text
from armt.tasks.babilong.corpus import Book, is_test_book, split_sentences
from armt.tasks.contract import Ids, TextEncoder

Split = Literal["train", "test", "all"]
IntArray = npt.NDArray[np.int64]

MIN_SENTENCE_LEN = 10
"""Shorter sentences are left out."""

_FORMAT = "armt-background-1"


class Span(NamedTuple):
    """Neighbouring sentences of one book; `end` may cut the last of them."""

    first: int
    last: int
    end: int


class Background(NamedTuple):
    """Some natural text and the gaps between its sentences.

    `gaps` rises from 0 (before the first sentence) to the number of tokens (after the last one).
    """

    tokens: Ids
    gaps: IntArray


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

    digest: str
    """Hash of the texts and the tokenizer."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the books that may be read."""
        starts = self.sentence_offsets[self.book_offsets]
        return int(sum(starts[book + 1] - starts[book] for book in self.books))

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
        """Writes the store into `folder`; its description comes last and makes it valid."""
        target = Path(folder)
        arrays = {"tokens": self.tokens, "sentences": self.sentence_offsets}
        for name, array in arrays.items():
            with atomic_path(target / f"{name}.npy") as path, path.open("wb") as file:
                np.save(file, array)
        meta = {
            "format": _FORMAT,
            "digest": self.digest,
            "num_tokens": len(self.tokens),
            "book_names": list(self.book_names),
            "book_offsets": self.book_offsets.tolist(),
        }
        write_text(target / "store.json", json.dumps(meta))

    @classmethod
    def load(cls, folder: str | Path) -> "BackgroundStore":
        """Opens a saved store; its tokens stay on the disk until they are read.

        Raises:
            DataError: the folder holds no store, or a damaged one.
        """
        source = Path(folder)
        try:
            meta = json.loads((source / "store.json").read_text(encoding="utf-8"))
            # a plain view: slices of a memmap object cost far more
            tokens = np.asarray(np.load(source / "tokens.npy", mmap_mode="r"))
            sentences = np.load(source / "sentences.npy")
            names = tuple(cast("list[str]", meta["book_names"]))
            offsets = np.asarray(meta["book_offsets"], dtype=np.int64)
            is_whole = meta["format"] == _FORMAT and len(tokens) == meta["num_tokens"]
            is_whole = is_whole and int(sentences[-1]) == len(tokens)
            digest = str(meta["digest"])
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"'{folder}' holds no readable background store ({error}). "
                "Delete it and build anew."
            ) from error
        if not is_whole:
            raise DataError(f"The store '{folder}' is damaged. Delete it and build anew.")
        return cls(
            tokens=tokens,
            sentence_offsets=sentences,
            book_offsets=offsets,
            book_names=names,
            books=tuple(range(len(names))),
            digest=digest,
        )


def build_store(books: Iterable[Book], encoder: TextEncoder) -> BackgroundStore:
    """Encodes the sentences of `books`, one book in memory at a time.

    Raises:
        DataError: no book has a sentence of `MIN_SENTENCE_LEN` tokens.
    """
    kind = np.uint16 if encoder.vocab_size <= 1 << 16 else np.uint32
    tokens: list[Ids] = []
    lens: list[IntArray] = []
    names: list[str] = []
    digest = hashlib.sha256(encoder.digest.encode())
    for book in books:
        digest.update(_book_digest(book))
        sentences = [" " + sentence for sentence in split_sentences(book.text)]
        encoded = [ids for ids in encoder.encode_batch(sentences) if len(ids) >= MIN_SENTENCE_LEN]
        if encoded:
            lens.append(np.asarray([len(ids) for ids in encoded], dtype=np.int64))
            tokens.append(np.concatenate([np.asarray(ids, dtype=kind) for ids in encoded]))
            names.append(book.name)
    if not names:
        raise DataError(
            f"No sentence of at least {MIN_SENTENCE_LEN} tokens in the texts. Give longer ones."
        )
    counts = [0, *(len(each) for each in lens)]
    return BackgroundStore(
        tokens=np.concatenate(tokens),
        sentence_offsets=np.concatenate([[0], np.cumsum(np.concatenate(lens))]).astype(np.int64),
        book_offsets=np.cumsum(np.asarray(counts, dtype=np.int64)),
        book_names=tuple(names),
        books=tuple(range(len(names))),
        digest=digest.hexdigest(),
    )


def cached_store(
    books: Iterable[Book], encoder: TextEncoder, cache_folder: str | Path
) -> BackgroundStore:
    """Returns the store of `books` from `cache_folder`, building and saving it the first time.

    The key is a hash of all texts and of the tokenizer; a damaged entry is built anew.
    """
    held = list(books)
    digest = hashlib.sha256(encoder.digest.encode())
    for book in held:
        digest.update(_book_digest(book))
    folder = Path(cache_folder) / f"background-{digest.hexdigest()[:16]}"
    if (folder / "store.json").exists():
        try:
            found = BackgroundStore.load(folder)
        except DataError:
            found = None
        if found is not None and found.digest == digest.hexdigest():
            return found
    build_store(held, encoder).save(folder)
    return BackgroundStore.load(folder)


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
        offsets = self._store.sentence_offsets
        spans: list[Span] = []
        missing = num_tokens
        while missing > 0:
            if self._next >= self._book[1]:
                self._open_book()
            first = self._next
            end = int(offsets[first]) + missing
            last = min(int(np.searchsorted(offsets, end)), self._book[1])
            end = min(end, int(offsets[last]))
            spans.append(Span(first, last, end))
            missing -= end - int(offsets[first])
            self._next = last
        return spans

    def take(self, num_tokens: int) -> Background:
        """Returns the next `num_tokens` tokens and their gaps, as copies."""
        spans = self.spans(num_tokens)
        if not spans:
            return Background(self._store.tokens[:0], np.zeros(1, dtype=np.int64))
        offsets = self._store.sentence_offsets
        gaps = [np.zeros(1, dtype=np.int64)]
        position = 0
        for span in spans:
            start = int(offsets[span.first])
            ends = offsets[span.first + 1 : span.last + 1] - start + position
            position += span.end - start
            ends[-1] = position
            gaps.append(ends)
        return Background(
            np.concatenate([self._store.slice(span) for span in spans]), np.concatenate(gaps)
        )

    def _open_book(self) -> None:
        books = self._store.books
        book = books[int(self._rng.integers(len(books)))]
        first, last = (int(self._store.book_offsets[book + step]) for step in (0, 1))
        self._book = (first, last)
        self._next = int(self._rng.integers(first, last))


def _book_digest(book: Book) -> bytes:
    return hashlib.sha256(f"{book.name}\0{book.text}".encode()).digest()
