"""Measures how often a model writes a segment that holds no fact, on held-out books.

    python benchmarks/false_writes.py --books FOLDER --results benchmarks/results/NAME.jsonl

Each segment is ordinary prose with one sentence of a kind put in at a random gap: none, one that
names a person of the bAbI world, a place, both, or a fact. A segment is written if the memory,
empty before it, is not empty after it; gates that reach zero make the difference exact.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from records import open_book

from armt.serving.boxed_model import BoxedModel, load_boxed
from armt.serving.folders import boxed_folder
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES, move_text
from armt.tasks.babilong import BackgroundStore, BackgroundWalk, build_store, folder_books
from armt.tasks.babilong.confusers import sentences_with
from armt.tasks.babilong.corpus import is_test_book
from armt.tasks.contract import Ids

_NUM_ROWS = 8


def main() -> None:
    """Measures every kind of segment."""
    options = _options()
    boxed = load_boxed(boxed_folder())
    books = (book for book in folder_books(options.books) if is_test_book(book.name))
    store = build_store(books, boxed.encoder)
    book = open_book(options.results, options.seed, options.commit)
    rng = np.random.default_rng(options.seed)
    for kind, pieces in _pieces(boxed, store).items():
        num_written = 0
        for start in range(0, options.num_segments, _NUM_ROWS):
            num_rows = min(_NUM_ROWS, options.num_segments - start)
            rows = [_segment(boxed, store, pieces, rng) for _ in range(num_rows)]
            state = boxed.model.read(torch.from_numpy(np.stack(rows)))
            layers = [next(iter(layer.tensors().values())) for layer in state.layers]
            is_written = torch.stack([layer.flatten(1).any(1) for layer in layers]).any(0)
            num_written += int(is_written.sum())
        book.add(
            "memory.written_share", num_written / options.num_segments, "share", kind=kind,
            num_samples=options.num_segments, num_sentences=len(pieces), model="boxed qa1",
        )  # fmt: skip


def _pieces(boxed: BoxedModel, store: BackgroundStore) -> dict[str, list[Ids]]:
    """Returns the sentences of each kind as tokens; none for ordinary prose."""
    encode, offsets = boxed.encoder.encode, store.sentence_offsets

    def named(names: tuple[str, ...]) -> set[int]:
        words = [np.asarray(encode(f" {name}")) for name in names]
        return set(sentences_with(store, words).tolist())

    def tokens(numbers: set[int]) -> list[Ids]:
        return [store.tokens[offsets[each] : offsets[each + 1]] for each in sorted(numbers)]

    people, places = named(PEOPLE), named(PLACES)
    facts = [
        np.asarray(encode(" " + move_text(person, verb, place)))
        for person in range(len(PEOPLE))
        for verb in range(len(MOVE_VERBS))
        for place in range(len(PLACES))
    ]
    return {
        "ordinary prose": [],
        "names a person": tokens(people - places),
        "names a place": tokens(places - people),
        "names both": tokens(people & places),
        "a fact": facts,
    }


def _segment(
    boxed: BoxedModel, store: BackgroundStore, pieces: list[Ids], rng: np.random.Generator
) -> Ids:
    """Returns one segment of prose with one of `pieces` in it."""
    size = boxed.model.recurrence.segment_len
    background = BackgroundWalk(store, rng).take(size)
    tokens = background.tokens
    if pieces:
        piece = pieces[int(rng.integers(len(pieces)))][: size // 2]
        gaps = background.gaps[background.gaps + len(piece) <= size]
        gap = int(gaps[int(rng.integers(len(gaps)))])
        tokens = np.concatenate([tokens[:gap], piece, tokens[gap:]])
    return tokens[:size].astype(np.int64)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--books", type=Path, required=True)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--num-segments", type=int, default=160)
    _ = parser.add_argument("--seed", type=int, default=0)
    _ = parser.add_argument("--commit", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()
