"""Background sentences that look like facts are found and put in at sentence gaps."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.babilong import BackgroundStore, BackgroundWalk, build_store
from armt.tasks.babilong.confusers import Confusers, ConfusingWalk, sentences_with
from armt.tasks.babilong.corpus import Book
from armt.tasks.babilong.stream import FactStreamConfig
from armt.tasks.encoder import TokenizerEncoder

PLAIN = "The rain had fallen upon the long grey road since the early morning of that day."
NAMED = "Nobody knew why Mary had kept the old letters for so very many years after it."
PLACED = "They sat down in the kitchen and spoke of nothing but the weather until evening."
BOTH = "It was long since John had been seen in the garden with his brother and the dog."


@pytest.fixture(scope="module")
def novel(encoder: TokenizerEncoder) -> BackgroundStore:
    text = " ".join([PLAIN] * 20 + [NAMED, PLACED, BOTH] + [PLAIN] * 20)
    return build_store([Book("a", text), Book("b", " ".join([PLAIN] * 30))], encoder)


def _sentences(store: BackgroundStore, encoder: TokenizerEncoder, numbers: np.ndarray) -> list[str]:
    offsets = store.sentence_offsets
    return [encoder.decode(store.tokens[offsets[n] : offsets[n + 1]]).strip() for n in numbers]


def test_finds_exactly_the_sentences_that_hold_a_word(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    words = [np.asarray(encoder.encode(word)) for word in (" Mary", " kitchen")]
    found = sentences_with(novel, words)
    assert sorted(_sentences(novel, encoder, found)) == sorted([NAMED, PLACED])


def test_leaves_out_books_that_may_not_be_read(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    from dataclasses import replace

    closed = replace(novel, books=(1,))
    assert not len(sentences_with(closed, [np.asarray(encoder.encode(" Mary"))]))
    rng = np.random.default_rng(0)
    background = BackgroundWalk(closed, rng).take(300)
    assert Confusers(closed, encoder).mix(background, rng, 10) is background


def test_draws_sentences_with_person_and_place_more_often(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    drawn = Confusers(novel, encoder).draw(np.random.default_rng(0), 3000)
    counts = Counter(_sentences(novel, encoder, drawn))
    assert set(counts) == {NAMED, PLACED, BOTH}
    assert counts[BOTH] / 3000 == pytest.approx(0.3 + 0.7 / 3, abs=0.03)


def test_mixed_text_is_the_old_one_with_whole_sentences_between(
    novel: BackgroundStore, encoder: TokenizerEncoder
) -> None:
    rng = np.random.default_rng(1)
    walk = ConfusingWalk(
        BackgroundWalk(novel, np.random.default_rng(2)), Confusers(novel, encoder), rng, 60
    )
    mixed = walk.take(2000)
    plain = BackgroundWalk(novel, np.random.default_rng(2)).take(2000)
    assert mixed.gaps[0] == 0
    assert mixed.gaps[-1] == len(mixed.tokens)
    pieces = [mixed.tokens[a:b] for a, b in zip(mixed.gaps[:-1], mixed.gaps[1:], strict=True)]
    confusing = {NAMED, PLACED, BOTH}
    texts = [encoder.decode(piece).strip() for piece in pieces]
    cut = [text for text in texts if text not in {PLAIN, *confusing}]
    assert len(cut) <= 1, "only the sentence at the end of what was taken is cut"
    added = len(mixed.tokens) - len(plain.tokens)
    assert 10 <= sum(text in confusing for text in texts) <= 90
    assert added > 200
    own = [plain.tokens[a:b] for a, b in zip(plain.gaps[:-1], plain.gaps[1:], strict=True)]

    def others(each: list[np.ndarray]) -> np.ndarray:
        kept = [piece for piece in each if encoder.decode(piece).strip() not in confusing]
        return np.concatenate(kept)

    rest, expected = others(pieces), others(own)
    np.testing.assert_array_equal(rest, expected)


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
