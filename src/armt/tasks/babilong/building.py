"""Makes stores: splits and encodes the texts of a corpus, once."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from armt.core.errors import DataError
from armt.tasks.babilong.array_folder import DESCRIPTION
from armt.tasks.babilong.corpus import Book
from armt.tasks.babilong.cuts import BookCuts, CutTable, join_cuts
from armt.tasks.babilong.splitters import IntArray, Splitter, splitter_named
from armt.tasks.babilong.store import MIN_SENTENCE_LEN, BackgroundStore
from armt.tasks.contract import Ids, TextEncoder

Progress = Callable[[int, int], None]
"""Is told the bytes of text done and those in all; 0 in all if that is not known."""

_BATCH_SIZE = 4096
"""Sentences encoded at once."""

_NEEDED = ("encode_batch", "vocab_size", "digest")


class _Encoded(NamedTuple):
    """One book's part of a store."""

    name: str
    nbytes: int
    tokens: Ids
    lens: IntArray
    cuts: BookCuts


def build_store(
    books: Iterable[Book],
    encoder: TextEncoder,
    *,
    splitter: str = "plain",
    num_workers: int | None = None,
    on_progress: Progress | None = None,
) -> BackgroundStore:
    """Encodes the sentences of `books`, a few books in memory at a time.

    Args:
        books: the texts.
        encoder: turns each sentence, with a leading blank, into tokens on its own.
        splitter: `plain`, or `punkt` for the reference's sentences (see `splitters`).
        num_workers: books at work at once, by default one a core. They are threads: the encoding,
            most of the work, runs beside the splitting. An encoder that cannot be used by several
            threads needs 1.
        on_progress: is called after each book.

    Raises:
        DataError: there is no book, none has a sentence of `MIN_SENTENCE_LEN` tokens, or the
            encoder lacks a method.
        UnknownNameError: there is no such splitter.
    """
    return _build(books, encoder, splitter, num_workers, partial(_tell, on_progress, 0))


def cached_store(
    books: Iterable[Book],
    encoder: TextEncoder,
    cache_folder: str | Path,
    *,
    splitter: str = "plain",
    num_workers: int | None = None,
    on_progress: Progress | None = None,
) -> BackgroundStore:
    """Returns the store of `books` from `cache_folder`, building and saving it the first time.

    The key is a hash of all texts, of the tokenizer and of the splitter; a damaged entry or one of
    an older form is built anew. A corpus that can be read twice is not held in memory.

    Raises:
        DataError: see `build_store`.
        StorageError: the store cannot be written.
    """
    _require(encoder)
    held = list(books) if iter(books) is books else books
    source, nbytes = _source(held, encoder, splitter_named(splitter))
    folder = Path(cache_folder) / f"background-{source[:16]}"
    found = _find(folder, source)
    if found is None:
        tell = partial(_tell, on_progress, nbytes)
        made = _build(held, encoder, splitter, num_workers, tell, source)
        if _find(folder, source) is None:  # another process may have been faster
            made.save(folder)
        found = _find(folder, source) or made
    return found


def _find(folder: Path, source: str) -> BackgroundStore | None:
    if not (folder / DESCRIPTION).exists():
        return None
    try:
        found = BackgroundStore.load(folder)
    except DataError:
        return None
    return found if found.source == source else None


def _build(
    books: Iterable[Book],
    encoder: TextEncoder,
    splitter: str,
    num_workers: int | None,
    tell: Callable[[int], None],
    source: str = "",
) -> BackgroundStore:
    _require(encoder)
    found = splitter_named(splitter)
    parts: list[_Encoded] = []
    num_books = done = 0
    for part in _in_order(books, partial(_encode, encoder, found), num_workers):
        num_books += 1
        done += part.nbytes
        if len(part.lens):
            parts.append(part)
        tell(done)
    if not parts:
        raise DataError(
            f"No sentence of at least {MIN_SENTENCE_LEN} tokens in the texts of {num_books} books. "
            "Give longer ones."
            if num_books
            else "The corpus is empty: there is no book in it. Name another folder or data set."
        )
    return _join(parts, encoder, found, source)


def _encode(encoder: TextEncoder, splitter: Splitter, book: Book) -> _Encoded:
    """Splits and encodes one book."""
    text = book.text
    spans = splitter.spans(text)
    bounds = cast("list[list[int]]", spans.tolist())
    sentences = [" " + splitter.clean(text[start:end]) for start, end in bounds]
    kind = np.uint16 if encoder.vocab_size <= 1 << 16 else np.uint32
    tokens: list[Ids] = [np.zeros(0, dtype=kind)]
    is_kept: list[bool] = []
    lens: list[int] = []
    for first in range(0, len(sentences), _BATCH_SIZE):
        encoded = encoder.encode_batch(sentences[first : first + _BATCH_SIZE])
        kept = [ids for ids in encoded if len(ids) >= MIN_SENTENCE_LEN]
        is_kept.extend(len(ids) >= MIN_SENTENCE_LEN for ids in encoded)
        lens.extend(len(ids) for ids in kept)
        tokens.append(np.fromiter(chain.from_iterable(kept), dtype=kind))
    cuts = BookCuts(splitter.edges(text, spans), np.asarray(is_kept, dtype=np.bool_), len(text))
    nbytes = len(text.encode(errors="surrogatepass"))
    lens_array = np.asarray(lens, dtype=np.int64)
    return _Encoded(book.name, nbytes, np.concatenate(tokens), lens_array, cuts)


def _in_order(
    books: Iterable[Book], encode: Callable[[Book], _Encoded], num_workers: int | None
) -> Iterator[_Encoded]:
    """Encodes several books at once and yields them in order."""
    most = num_workers or os.cpu_count() or 1
    if most == 1:
        yield from map(encode, books)
        return
    with ThreadPoolExecutor(most) as pool:
        waiting: deque[Future[_Encoded]] = deque()
        for book in books:
            waiting.append(pool.submit(encode, book))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _join(
    parts: list[_Encoded], encoder: TextEncoder, splitter: Splitter, source: str
) -> BackgroundStore:
    counts = [0, *(len(part.lens) for part in parts)]
    ends = np.cumsum(np.concatenate([part.lens for part in parts]))
    tokens = np.concatenate([part.tokens for part in parts])
    sentence_offsets = np.concatenate([[0], ends]).astype(np.int64)
    cuts = join_cuts([part.cuts for part in parts])
    names = tuple(part.name for part in parts)
    hashed = (tokens, sentence_offsets, cuts.tails, cuts.heads, cuts.is_weak, cuts.num_kept)
    return BackgroundStore(
        tokens=tokens,
        sentence_offsets=sentence_offsets,
        book_offsets=np.cumsum(np.asarray(counts, dtype=np.int64)),
        book_names=names,
        books=tuple(range(len(names))),
        cuts=cuts,
        splitter=f"{splitter.name} {splitter.version}",
        digest=_digest([encoder.digest, splitter.name, *names], [*hashed, *_book_arrays(cuts)]),
        source=source,
    )


def _book_arrays(cuts: CutTable) -> list[IntArray]:
    return [cuts.book_offsets, cuts.book_chars]


def _digest(texts: list[str], arrays: Iterable[npt.NDArray[np.generic]]) -> str:
    """Hashes what a store says, not what it was made with: an equal store has an equal digest."""
    found = hashlib.sha256("\0".join(texts).encode())
    for array in arrays:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(hashlib.sha256(np.ascontiguousarray(little).data).digest())
    return found.hexdigest()


def _source(books: Iterable[Book], encoder: TextEncoder, splitter: Splitter) -> tuple[str, int]:
    """Returns the hash of what a store is made of, and the bytes of the texts."""
    digest = hashlib.sha256(f"{encoder.digest} {splitter.name} {splitter.version}".encode())
    nbytes = 0
    for book in books:
        text = book.text.encode(errors="surrogatepass")
        nbytes += len(text)
        name = hashlib.sha256(book.name.encode(errors="surrogatepass")).digest()
        digest.update(name + hashlib.sha256(text).digest())
    return digest.hexdigest(), nbytes


def _tell(on_progress: Progress | None, nbytes: int, done: int) -> None:
    if on_progress is not None:
        on_progress(done, nbytes)


def _require(encoder: TextEncoder) -> None:
    """Refuses an encoder that lacks what a store needs, before any work is done."""
    missing = [name for name in _NEEDED if not hasattr(encoder, name)]
    if missing:
        raise DataError(
            f"{type(encoder).__name__} cannot encode a corpus: it has no {', '.join(missing)}. "
            "Wrap a fast tokenizer in `armt.tasks.encoder.TokenizerEncoder`."
        )
