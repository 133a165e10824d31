"""Background sentences that a model may take for facts, put in more often than they occur.

A novel says "Mary had not known" or "he went into the kitchen" once in a hundred thousand tokens. A
memory that writes such a sentence loses a fact, so over millions of tokens these few decide; in
training they are too rare to be learned from. Half of those put in stand in the same books as the
rest; the other half are made from sentences about others: a capitalised word, a name or the first
of the sentence, becomes a person of the world, or the noun after a "the" one of its places or
objects. What is made never holds a fact word for word.
"""

import re
from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from armt.core.errors import DataError
from armt.tasks.babi.world import IntArray
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.walks import Background, BackgroundWalk
from armt.tasks.babilong.worlds import World, all_words
from armt.tasks.contract import Ids, TextEncoder

_BOTH_SHARE = 0.3
"""Share of natural sentences that name a person and a place, the likest to a fact."""

_MADE_SHARE = 0.5
"""Share of sentences that are made by putting in a name."""

_MOVING_SHARE = 0.4
"""Share of the made ones whose sentence has a verb of the world's moves."""

_CUT_REACH = 3
"""Tokens from the beginning of a name within which a cut sentence is cut."""

_NAME = re.compile(r" [A-Z][a-z]+")
_NOUN = re.compile(r" [a-z]{3,}")
_LEAST_COUNT = 20
"""A token that stands in the books less often is no name or noun to be replaced."""

_MOST_TRIES = 1000
"""Sentences tried for one that does not become a fact."""


def sentences_with(store: BackgroundStore, words: Sequence[Ids]) -> IntArray:
    """Returns the numbers of the sentences, in books that may be read, that hold one of `words`."""
    return _sentences_of(store, _begin(store.tokens, words))


def _begin(tokens: Ids, words: Sequence[Ids]) -> npt.NDArray[np.bool_]:
    """Marks the tokens with which one of `words` begins."""
    is_start = np.zeros(len(tokens), dtype=np.bool_)
    for word in words:
        starts = np.flatnonzero(tokens[: max(0, len(tokens) - len(word) + 1)] == word[0])
        for shift in range(1, len(word)):
            starts = starts[tokens[starts + shift] == word[shift]]
        is_start[starts] = True
    return is_start


def _sentences_of(store: BackgroundStore, is_held: npt.NDArray[np.bool_]) -> IntArray:
    """Returns the numbers of the sentences, in books that may be read, of marked tokens."""
    numbers = np.searchsorted(store.sentence_offsets, np.flatnonzero(is_held), side="right") - 1
    is_open = np.zeros(len(store.sentence_offsets) - 1, dtype=np.bool_)
    for book in store.books:
        is_open[store.book_offsets[book] : store.book_offsets[book + 1]] = True
    numbers = np.unique(numbers)
    return numbers[is_open[numbers]]


@final
class Confusers:
    """The sentences of a store that name people or things of bAbI worlds, and more such."""

    def __init__(
        self, store: BackgroundStore, encoder: TextEncoder, worlds: Sequence[World]
    ) -> None:
        """Finds them once, for the words of all `worlds`."""
        self._store = store
        words = all_words(worlds)
        people, things = (
            sentences_with(store, spellings(names, encoder))
            for names in (words.people, words.things)
        )
        self._both = np.intersect1d(people, things)
        self._either = np.union1d(people, things)
        self._swaps = NameSwaps(store, encoder, worlds)
        self._names = spellings((*words.people, *words.things), encoder)
        facts = [f" {fact}" for world in worlds for fact in world.sentences.facts]
        self._facts = [np.asarray(ids) for ids in encoder.encode_batch(facts)]

    def draw(self, rng: np.random.Generator, num_sentences: int) -> list[Ids]:
        """Draws sentences with replacement; none if the store has no such sentence."""
        num_made = rng.binomial(num_sentences, _MADE_SHARE)
        made = [self._swaps.draw(rng) for _ in range(num_made)] if len(self._swaps) else []
        if not len(self._either):
            return made
        numbers = rng.choice(self._either, num_sentences - num_made)
        if len(self._both):
            is_both = rng.random(len(numbers)) < _BOTH_SHARE
            numbers[is_both] = rng.choice(self._both, int(is_both.sum()))
        return made + [_sentence(self._store, int(number)) for number in numbers]

    def draw_cut(self, rng: np.random.Generator) -> tuple[Ids, int]:
        """Draws a sentence and a place within it, a few tokens from one of the world's names.

        Raises:
            DataError: the store has no sentence with such a name, nor one to put a name in.
        """
        for _ in range(_MOST_TRIES):
            for sentence in self.draw(rng, 1):
                starts = np.flatnonzero(_begin(sentence, self._names))
                if len(starts) and len(sentence) > 1:
                    near = int(rng.choice(starts)) + int(rng.integers(-_CUT_REACH, _CUT_REACH + 1))
                    return sentence, min(max(near, 1), len(sentence) - 1)
        raise DataError(
            "No sentence of the background names a person or a place of the world "
            f"({_MOST_TRIES:,} were drawn). Give more text, or set `border_share` to 0."
        )

    def draw_half(self, rng: np.random.Generator) -> tuple[Ids, bool]:
        """Draws a part of a fact, cut anywhere; says whether it is the first one."""
        fact = self._facts[int(rng.integers(len(self._facts)))]
        cut = int(rng.integers(1, len(fact)))
        is_first = bool(rng.random() < 0.5)
        return (fact[:cut] if is_first else fact[cut:]), is_first

    def holds_fact(self, tokens: Ids) -> bool:
        """Whether a fact stands in a text word for word."""
        return self._swaps.holds_fact(tokens)

    def mix(self, background: Background, rng: np.random.Generator, mean_gap: int) -> Background:
        """Puts sentences into gaps of `background`, one in `mean_gap` tokens on average."""
        pieces = self.draw(rng, int(rng.poisson(len(background.tokens) / mean_gap)))
        if not pieces:
            return background
        order = rng.permutation(len(pieces))
        pieces = [pieces[each] for each in order]
        lens = np.asarray([len(piece) for piece in pieces])
        slots = np.sort(rng.integers(len(background.gaps), size=len(pieces)))
        positions = background.gaps[slots]
        tokens = np.insert(background.tokens, np.repeat(positions, lens), np.concatenate(pieces))
        starts = positions + np.cumsum(lens) - lens
        shift = np.concatenate([[0], np.cumsum(lens)])
        moved = background.gaps + shift[np.searchsorted(positions, background.gaps, side="left")]
        return Background(tokens, np.unique(np.concatenate([moved, starts, starts + lens])))


@final
class NameSwaps:
    """Sentences about others, with names of bAbI worlds put in."""

    def __init__(
        self, store: BackgroundStore, encoder: TextEncoder, worlds: Sequence[World]
    ) -> None:
        """Finds the tokens that are names, and those that are nouns after a "the"."""
        self._store = store
        named = all_words(worlds)
        self._people, self._things = (
            [np.asarray(encoder.encode(f" {name}")) for name in names]
            for names in (named.people, named.things)
        )
        facts = [fact.removesuffix(".") for world in worlds for fact in world.sentences.facts]
        self._facts = list(dict.fromkeys(facts))
        self._decode = encoder.decode
        counts = np.bincount(store.tokens, minlength=encoder.vocab_size)
        words = [encoder.decode([token]) for token in range(encoder.vocab_size)]
        self._is_inside = np.asarray([word[:1].isalpha() for word in words])
        self._is_name, self._is_noun = (
            np.asarray([form.fullmatch(word) is not None for word in words])
            & (counts >= _LEAST_COUNT)
            for form in (_NAME, _NOUN)
        )
        self._article = encoder.encode(" the")[0]
        names, nouns = self._find(store.tokens)
        self._numbers = _sentences_of(store, names | nouns)
        verbs = sentences_with(store, spellings(named.verbs, encoder))
        self._moving = np.intersect1d(_sentences_of(store, names), verbs)

    def __len__(self) -> int:
        """Sentences to choose from."""
        return len(self._numbers)

    def draw(self, rng: np.random.Generator) -> Ids:
        """Returns a random sentence with a person, a place or both put in.

        Raises:
            DataError: the sentences become facts.
        """
        for _ in range(_MOST_TRIES):
            is_moving = len(self._moving) and rng.random() < _MOVING_SHARE
            number = rng.choice(self._moving if is_moving else self._numbers)
            sentence = _sentence(self._store, int(number))
            swapped = self._swap(sentence, rng)
            if not self.holds_fact(swapped):
                return swapped
        raise DataError(
            "With the world's names put in, the sentences of the background become facts of the "
            f"world ({_MOST_TRIES:,} were tried). Give more text, or set `confuser_gap` to 0."
        )

    def holds_fact(self, tokens: Ids) -> bool:
        """Whether a fact stands in a text word for word."""
        text = self._decode(tokens)
        return any(fact in text for fact in self._facts)

    def _find(self, tokens: Ids) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Marks the tokens that are a whole name, and those that are a whole noun after "the"."""
        is_whole = ~np.append(self._is_inside[tokens[1:]], False)
        follows = np.append(False, tokens[:-1] == self._article)
        return self._is_name[tokens] & is_whole, self._is_noun[tokens] & is_whole & follows

    def _swap(self, sentence: Ids, rng: np.random.Generator) -> Ids:
        """Puts a person in the place of a name, a thing in that of a noun, or both."""
        names, nouns = (np.flatnonzero(found) for found in self._find(sentence))
        is_both = bool(rng.random() < 0.5)
        put: dict[int, Ids] = {}
        if len(nouns) and (is_both or not len(names)):
            put[int(rng.choice(nouns))] = self._things[int(rng.integers(len(self._things)))]
        if len(names) and (is_both or not put):
            name = sentence[rng.choice(names)]
            person = self._people[rng.integers(len(self._people))]
            put |= {int(place): person for place in names if sentence[place] == name}
        parts = [put.get(place, sentence[place : place + 1]) for place in range(len(sentence))]
        return np.concatenate(parts)


def _sentence(store: BackgroundStore, number: int) -> Ids:
    return store.tokens[store.sentence_offsets[number] : store.sentence_offsets[number + 1]]


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
