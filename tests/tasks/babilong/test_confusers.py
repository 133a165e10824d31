"""Background sentences that look like facts are found and put in at sentence gaps."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError, DataError
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES
from armt.tasks.babilong import BackgroundStore, BackgroundWalk, build_store
from armt.tasks.babilong.borders import confuse_borders
from armt.tasks.babilong.confusers import Confusers, ConfusingWalk, NameSwaps, sentences_with
from armt.tasks.babilong.corpus import Book
from armt.tasks.babilong.row_text import BorderCuts, RowText
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.babilong.task_worlds import WalkingWorld
from armt.tasks.contract import Ids
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer

PLAIN = "The rain had fallen upon the long grey road since the early morning of that day."
NAMED = "Nobody knew why Mary had kept the old letters for so very many years after it."
PLACED = "They sat down in the kitchen and spoke of nothing but the weather until evening."
BOTH = "It was long since John had been seen in the garden with his brother and the dog."
BARE = "Xylographers went on and on for years upon years until it was over at last for them."
WORLDS = [WalkingWorld()]
NATURAL = {NAMED, PLACED, BOTH}


@pytest.fixture(scope="module")
def novel(encoder: TokenizerEncoder) -> BackgroundStore:
    text = " ".join([PLAIN] * 20 + [NAMED, PLACED, BOTH] + [PLAIN] * 20)
    return build_store([Book("a", text), Book("b", " ".join([BARE] * 30))], encoder)


def _texts(encoder: TokenizerEncoder, sentences: Iterable[Ids]) -> list[str]:
    return [encoder.decode(sentence).strip() for sentence in sentences]


def _numbered(store: BackgroundStore, encoder: TokenizerEncoder, numbers: Ids) -> list[str]:
    offsets = store.sentence_offsets
    return _texts(encoder, (store.tokens[offsets[n] : offsets[n + 1]] for n in numbers))


def _is_swap(text: str, source: str) -> bool:
    """Whether `text` is `source` with names replaced by people, nouns after "the" by places."""
    new, old = (re.split(r"(\W+)", each) for each in (text, source))
    if len(new) != len(old):
        return False

    def is_right(place: int) -> bool:
        if new[place] in PEOPLE:
            return re.fullmatch("[A-Z][a-z]+", old[place]) is not None
        is_noun = re.fullmatch("[a-z]{3,}", old[place]) is not None
        return new[place] in PLACES and is_noun and old[place - 2 : place] == ["the", " "]

    return all(is_right(place) for place in range(len(new)) if new[place] != old[place])


def test_finds_exactly_the_sentences_that_hold_a_word(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    words = [np.asarray(encoder.encode(word)) for word in (" Mary", " kitchen")]
    found = sentences_with(novel, words)
    assert sorted(_numbered(novel, encoder, found)) == sorted([NAMED, PLACED])


def test_leaves_out_books_that_may_not_be_read(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    closed = replace(novel, books=(1,))
    assert not len(sentences_with(closed, [np.asarray(encoder.encode(" Mary"))]))
    assert len(NameSwaps(novel, encoder, WORLDS))
    assert not len(NameSwaps(closed, encoder, WORLDS))
    rng = np.random.default_rng(0)
    background = BackgroundWalk(closed, rng).take(300)
    assert Confusers(closed, encoder, WORLDS).mix(background, rng, 10) is background


def test_draws_sentences_with_person_and_place_more_often(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    drawn = Confusers(novel, encoder, WORLDS).draw(np.random.default_rng(0), 6000)
    counts = Counter(_texts(encoder, drawn))
    natural = {text: count for text, count in counts.items() if text in NATURAL}
    num_natural = sum(natural.values())
    assert set(natural) == NATURAL
    assert num_natural / 6000 == pytest.approx(0.5, abs=0.03)
    assert counts[BOTH] / num_natural == pytest.approx(0.3 + 0.7 / 3, abs=0.03)
    made = set(counts) - NATURAL
    assert all(any(_is_swap(text, source) for source in (PLAIN, *NATURAL)) for text in made)
    assert all(any(name in text for name in (*PEOPLE, *PLACES)) for text in made)


def test_mixed_text_is_the_old_one_with_whole_sentences_between(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    rng = np.random.default_rng(1)
    walk = ConfusingWalk(
        BackgroundWalk(novel, np.random.default_rng(2)),
        Confusers(novel, encoder, WORLDS),
        rng,
        60,
    )
    mixed = walk.take(2000)
    plain = BackgroundWalk(novel, np.random.default_rng(2)).take(2000)
    assert mixed.gaps[0] == 0
    assert mixed.gaps[-1] == len(mixed.tokens)
    pieces = [mixed.tokens[a:b] for a, b in zip(mixed.gaps[:-1], mixed.gaps[1:], strict=True)]
    texts = _texts(encoder, pieces)

    def is_confusing(text: str) -> bool:
        return text in NATURAL or (text != PLAIN and _is_swap(text, PLAIN))

    cut = [text for text in texts if text not in (PLAIN, BARE) and not is_confusing(text)]
    assert len(cut) <= 1, "only the sentence at the end of what was taken is cut"
    added = len(mixed.tokens) - len(plain.tokens)
    assert 10 <= sum(map(is_confusing, texts)) <= 90
    assert sum(is_confusing(text) and text not in NATURAL for text in texts) >= 5
    assert added > 200
    own = [plain.tokens[a:b] for a, b in zip(plain.gaps[:-1], plain.gaps[1:], strict=True)]

    def others(each: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [
                piece
                for piece, text in zip(each, _texts(encoder, each), strict=True)
                if not is_confusing(text)
            ]
        )

    np.testing.assert_array_equal(others(pieces), others(own))


def test_only_whole_words_are_replaced(store: BackgroundStore, encoder: TokenizerEncoder) -> None:
    half = replace(store, books=store.books[::2])
    swaps, rng = NameSwaps(half, encoder, WORLDS), np.random.default_rng(3)
    made = _texts(encoder, (swaps.draw(rng) for _ in range(400)))
    sources: dict[int, list[str]] = defaultdict(list)
    ranges = [np.arange(*half.book_offsets[book : book + 2]) for book in half.books]
    for source in _numbered(half, encoder, np.concatenate(ranges)):
        sources[len(re.split(r"\W+", source))].append(source)
    for text in made:
        assert any(_is_swap(text, source) for source in sources[len(re.split(r"\W+", text))]), text
    assert len(set(made)) > 250
    holds = [
        tuple(any(name in text for name in names) for names in (PEOPLE, PLACES)) for text in made
    ]
    assert min(holds.count(each) for each in ((True, False), (False, True), (True, True))) > 40


def test_what_is_drawn_depends_on_the_chance_alone(
    store: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    runs = [
        _texts(
            encoder,
            Confusers(store, encoder, WORLDS).draw(np.random.default_rng(seed), 50),
        )
        for seed in (5, 5, 6)
    ]
    assert runs[0] == runs[1] != runs[2]


def _facts_of(text: str) -> list[str]:
    people, verbs, places = ("|".join(names) for names in (PEOPLE, MOVE_VERBS, PLACES))
    return re.findall(f"(?:{people}) (?:{verbs}) to the (?:{places})", text)


def _own_store(sentences: Iterable[str]) -> tuple[BackgroundStore, TokenizerEncoder]:
    """A store of each sentence thirty times, and an encoder to which its words are tokens."""
    text = " ".join(sentence for sentence in sentences for _ in range(30))
    names = " ".join(f"{name}. {name}" for name in (*PEOPLE, *PLACES))
    encoder = TokenizerEncoder(train_tokenizer([text, names], vocab_size=600))
    return build_store([Book("a", text)], encoder), encoder


def test_no_sentence_becomes_a_fact() -> None:
    tail = "went back to the kitchen with the dog of the house that evening."
    store, encoder = _own_store([f"Tom {tail}", f"Tom saw how Bob {tail}"])
    swaps, rng = NameSwaps(store, encoder, WORLDS), np.random.default_rng(0)
    made = _texts(encoder, (swaps.draw(rng) for _ in range(300)))
    assert not [text for text in made if _facts_of(text)]
    assert {text.split()[0] for text in made} == set(PEOPLE)
    assert all("saw how Bob went back to the" in text for text in made)
    assert any("to the bedroom" in text for text in made)


def test_a_background_of_nothing_but_facts_is_told() -> None:
    store, encoder = _own_store(["Mary went to the kitchen and it was dark all over that place."])
    assert len(NameSwaps(store, encoder, WORLDS))
    with pytest.raises(DataError, match="become facts of the world"):
        _ = NameSwaps(store, encoder, WORLDS).draw(np.random.default_rng(0))


def test_stream_with_confusers_is_deterministic_and_differs_from_one_without(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    config = FactStreamConfig(
        batch_size=2,
        segment_len=64,
        carry_len=64,
        tail_len=(32, 32),
        confuser_gap=50,
        epoch_steps=8,
    )
    first, again = (
        [b.input_ids for b in islice(config.build(novel, encoder, 3).batches(start), 4)]
        for start in (0, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first[2:], again[:2], strict=True))
    plain = config.replaced("confuser_gap", 0).build(novel, encoder, 3)
    assert not torch.equal(next(plain.batches()).input_ids, first[0])


def test_refuses_a_negative_distance() -> None:
    with pytest.raises(ConfigError, match="confuser_gap"):
        _ = FactStreamConfig(confuser_gap=-1)


def test_a_sentence_is_cut_near_a_name(novel: BackgroundStore, encoder: TokenizerEncoder) -> None:
    confusers, rng = Confusers(novel, encoder, WORLDS), np.random.default_rng(0)
    distances: Counter[int] = Counter()
    for _ in range(300):
        sentence, cut = confusers.draw_cut(rng)
        assert 0 < cut < len(sentence)
        starts = [
            place
            for place in range(len(sentence))
            if encoder.decode(sentence[place:]).lstrip().startswith((*PEOPLE, *PLACES))
        ]
        distances[min((cut - start for start in starts), key=abs)] += 1
    assert set(distances) >= set(range(-2, 3))
    assert max(map(abs, distances)) <= 4  # a leading blank may be a token of its own


def test_what_is_written_over_borders_touches_no_fact(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    rng, before = np.random.default_rng(1), np.full(100_000, 3)
    ends = np.sort(rng.choice(np.arange(20, len(before)), 500, replace=False))
    after = before.copy()
    known = np.zeros((len(ends) + 1, 4))
    text = RowText(after, ends - 8, ends, known, known)
    confuse_borders(text, rng, BorderCuts(0.5, 100), Confusers(novel, encoder, WORLDS))
    for start, end in zip(text.fact_starts, ends, strict=True):
        assert (after[start:end] == 3).all()
    is_new = after != before
    is_over = is_new[99:-1:100] & is_new[100::100]
    assert 0.2 < is_over.mean() < 0.5
    # no sentence stands where no border is
    runs = np.flatnonzero(np.diff(np.concatenate([[0], is_new.astype(np.int8), [0]]))).reshape(
        -1, 2
    )
    assert all(start // 100 < (end - 1) // 100 for start, end in runs)
