"""Background sentences that a model may take for facts, put in more often than they occur.

A novel says "Mary had not known" or "he went into the kitchen" once in a hundred thousand tokens. A
memory that writes such a sentence loses a fact, so over millions of tokens these few decide; in
training they are too rare to be learned from. The sentences come from the same books as the rest.
"""

from collections.abc import Sequence
from typing import final

import numpy as np

from armt.tasks.babi.world import PEOPLE, PLACES, IntArray
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.walks import Background, BackgroundWalk
from armt.tasks.contract import Ids, TextEncoder

_BOTH_SHARE = 0.3
"""Share of sentences that name a person and a place, the likest to a fact."""


def sentences_with(store: BackgroundStore, words: Sequence[Ids]) -> IntArray:
    """Returns the numbers of the sentences, in books that may be read, that hold one of `words`."""
    is_held = np.zeros(len(store.sentence_offsets) - 1, dtype=np.bool_)
    for word in words:
        starts = np.flatnonzero(store.tokens[: len(store.tokens) - len(word) + 1] == word[0])
        for shift in range(1, len(word)):
            starts = starts[store.tokens[starts + shift] == word[shift]]
        is_held[np.searchsorted(store.sentence_offsets, starts, side="right") - 1] = True
    is_open = np.zeros_like(is_held)
    for book in store.books:
        is_open[store.book_offsets[book] : store.book_offsets[book + 1]] = True
    return np.flatnonzero(is_held & is_open)


@final
class Confusers:
    """The sentences of a store that name people or places of the bAbI world."""

    def __init__(self, store: BackgroundStore, encoder: TextEncoder) -> None:
        """Finds them once."""
        self._store = store
        people, places = (
            sentences_with(store, spellings(names, encoder)) for names in (PEOPLE, PLACES)
        )
        self._both = np.intersect1d(people, places)
        self._either = np.union1d(people, places)

    def draw(self, rng: np.random.Generator, num_sentences: int) -> IntArray:
        """Draws sentence numbers with replacement; none if the store has no such sentence."""
        if not len(self._either):
            return self._either[:0]
        drawn = rng.choice(self._either, num_sentences)
        if len(self._both):
            is_both = rng.random(num_sentences) < _BOTH_SHARE
            drawn[is_both] = rng.choice(self._both, int(is_both.sum()))
        return drawn

    def mix(self, background: Background, rng: np.random.Generator, mean_gap: int) -> Background:
        """Puts sentences into gaps of `background`, one in `mean_gap` tokens on average."""
        numbers = self.draw(rng, rng.poisson(len(background.tokens) / mean_gap))
        if not len(numbers):
            return background
        offsets = self._store.sentence_offsets
        lens = offsets[numbers + 1] - offsets[numbers]
        slots = np.sort(rng.integers(len(background.gaps), size=len(numbers)))
        positions = background.gaps[slots]
        pieces = [self._store.tokens[offsets[each] : offsets[each + 1]] for each in numbers]
        tokens = np.insert(background.tokens, np.repeat(positions, lens), np.concatenate(pieces))
        starts = positions + np.cumsum(lens) - lens
        shift = np.concatenate([[0], np.cumsum(lens)])
        moved = background.gaps + shift[np.searchsorted(positions, background.gaps, side="left")]
        return Background(tokens, np.unique(np.concatenate([moved, starts, starts + lens])))


@final
class ConfusingWalk:
    """A walk through the background that meets confusing sentences more often."""

    def __init__(
        self, walk: BackgroundWalk, confusers: Confusers, rng: np.random.Generator, mean_gap: int
    ) -> None:
        """Takes the walk, the sentences, and their mean distance in tokens."""
        self._walk = walk
        self._confusers = confusers
        self._rng = rng
        self._mean_gap = mean_gap

    def take(self, num_tokens: int) -> Background:
        """Returns the next `num_tokens` of the walk and the sentences put between them."""
        return self._confusers.mix(self._walk.take(num_tokens), self._rng, self._mean_gap)


def spellings(names: Sequence[str], encoder: TextEncoder) -> list[Ids]:
    """Returns each name as tokens at the beginning of a sentence, within one, and in quotes."""
    texts = [form for name in names for form in (name, f" {name}")]
    return [np.asarray(ids, dtype=np.int64) for ids in encoder.encode_batch(texts) if ids]
