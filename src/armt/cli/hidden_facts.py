"""A long text of real prose with a few facts hidden in it, for the demo."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from armt.core.files import write_text
from armt.tasks.babi.world import PEOPLE, PLACES, draw_moves, known_places, move_text
from armt.tasks.babilong.corpus import embedded_books
from armt.tasks.babilong.splitters import split_sentences
from armt.tasks.babilong.store import MIN_SENTENCE_LEN
from armt.tasks.contract import TextEncoder

NUM_FACTS = 24
_PARAGRAPH_LEN = 6


class HiddenFacts(NamedTuple):
    """What was hidden where."""

    facts: tuple[str, ...]
    """The facts in their order."""

    num_tokens: int
    """Tokens of the whole text, about."""

    places: dict[str, str]
    """Where each person is at the end."""


def hide_facts(path: Path, encoder: TextEncoder, num_tokens: int, seed: int = 0) -> HiddenFacts:
    """Writes at least `num_tokens` tokens of prose with facts at random places to `path`.

    The prose comes with Python and is repeated as often as needed; every person moves once or more.
    """
    rng = np.random.default_rng(seed)
    sentences, num_found = _take(_prose(encoder, rng), num_tokens)
    moves = draw_moves(rng, NUM_FACTS)
    while len(set(moves.people.tolist())) < len(PEOPLE):
        moves = draw_moves(rng, NUM_FACTS)
    facts = [move_text(*(int(array[index]) for array in moves)) for index in range(NUM_FACTS)]
    gaps = np.sort(rng.integers(len(sentences) + 1, size=NUM_FACTS))
    for gap, fact in zip(reversed(gaps.tolist()), reversed(facts), strict=True):
        sentences.insert(gap, fact)
    starts = range(0, len(sentences), _PARAGRAPH_LEN)
    paragraphs = [" ".join(sentences[start : start + _PARAGRAPH_LEN]) for start in starts]
    write_text(path, "\n\n".join(paragraphs) + "\n")
    num_found += sum(len(ids) for ids in encoder.encode_batch([f" {fact}" for fact in facts]))
    last = known_places(moves)[-1]
    places = {name: PLACES[int(place)] for name, place in zip(PEOPLE, last, strict=True)}
    return HiddenFacts(tuple(facts), num_found, places)


def _prose(encoder: TextEncoder, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """Yields sentences and their lengths in tokens, book after book in random order, for ever."""
    books = [split_sentences(book.text) for book in embedded_books()]
    counted = [
        [
            (sentence, len(ids))
            for sentence, ids in zip(
                book, encoder.encode_batch([f" {each}" for each in book]), strict=True
            )
            if len(ids) >= MIN_SENTENCE_LEN
        ]
        for book in books
    ]
    while True:
        for number in rng.permutation(len(counted)):
            yield from counted[int(number)]


def _take(sentences: Iterator[tuple[str, int]], num_tokens: int) -> tuple[list[str], int]:
    taken: list[str] = []
    num_taken = 0
    for sentence, length in sentences:
        if num_taken >= num_tokens:
            break
        taken.append(sentence)
        num_taken += length
    return taken, num_taken
