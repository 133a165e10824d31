import numpy as np
import pytest

from armt.core.errors import ConfigError
from armt.evaluation.passages import SentenceCutter, Span, TokenCutter, split_sentences
from armt.tasks.contract import PlacedFact
from evaluation.told_samples import FACTS, NOISE, told_sample
from tiny_boxed import PROSE, tiny_boxed


def sentences(text: str) -> list[str]:
    return [passage.text for passage in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("  One.\n\nTwo\nlines.  ", ["One.", "Two\nlines."]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Wait... What?! Yes.", ["Wait...", "What?!", "Yes."]),
        ("Mr. Smith met Mrs. Jones and Dr. J. Brown.", None),
        ("They sold fruit, e.g. apples.", None),
        ("It cost 3.50 in all", None),
        ("", []),
        (" \n ", []),
    ],
)
def test_where_sentences_end(text, expected):
    assert sentences(text) == ([text] if expected is None else expected)


def test_places_are_those_of_the_text():
    text = PROSE * 3
    passages = list(split_sentences(text))
    assert len(passages) == 18
    assert all(text[each.start : each.stop] == each.text for each in passages)
    assert "".join(each.text for each in passages).replace(" ", "") == text.replace(" ", "")


def test_every_fact_is_a_sentence_of_its_own():
    cut = SentenceCutter().cut(told_sample())
    assert [each.text for each in cut.passages] == [
        FACTS[0], NOISE[0], FACTS[1], NOISE[1], FACTS[2], NOISE[2]
    ]  # fmt: skip
    assert [cut.facts.index(Span(each.start, each.stop)) for each in cut.passages[::2]] == [0, 1, 2]
    assert cut.holds(2, [4])
    assert cut.holds(2, [0, 4])
    assert not cut.holds(2, [0, 1, 2, 3, 5])


def test_of_equal_facts_each_has_its_own_place():
    twice = ["Mary went home.", "A storm came.", "Mary went home."]
    facts = tuple(PlacedFact(twice[at], 0, 3, at == 2) for at in (0, 2))
    sample = told_sample(text=lambda: iter([" ".join(twice)]), facts=facts)
    cut = SentenceCutter().cut(sample)
    assert cut.holds(0, [0])
    assert not cut.holds(1, [0])
    assert cut.holds(1, [2])


def test_a_fact_that_the_tokenizer_spelled_otherwise_is_not_found():
    cut = SentenceCutter().cut(told_sample(text=lambda: iter(["mary went home."])))
    assert list(cut.facts) == [None, None, None]
    assert not cut.holds(0, [0])


@pytest.fixture(scope="module")
def encoder():
    return tiny_boxed().encoder


@pytest.mark.parametrize(
    ("passage_len", "overlap_len"),
    [(1, 0), (7, 0), (7, 3), (30, 3), (30, 29), (1000, 0), (1000, 3)],
)
def test_passages_of_tokens_cover_the_context(encoder, passage_len, overlap_len):
    sample = told_sample(encode=encoder.encode)
    ids = np.concatenate(list(sample.context()))
    cut = TokenCutter(encoder, passage_len, overlap_len).cut(sample)
    assert cut.passages[0].start == 0
    assert cut.passages[-1].stop == len(ids)
    pairs = list(zip(cut.passages, cut.passages[1:], strict=False))
    assert all(one.stop - two.start == overlap_len for one, two in pairs)
    assert all(each.text == encoder.decode(ids[each.start : each.stop]) for each in cut.passages)
    assert all(each.stop - each.start == passage_len for each in cut.passages[:-1])
    whole = range(len(cut.passages))
    held = [cut.holds(fact, whole) for fact in range(3)]
    assert held == ([True] * 3 if passage_len == 1000 else held)
    if passage_len == 1:
        assert held == [False] * 3


def test_a_fact_across_two_passages_is_held_by_their_overlap_only(encoder):
    sample = told_sample(encode=encoder.encode)
    fact = sample.facts[1]
    middle = fact.start + fact.length // 2
    apart = TokenCutter(encoder, middle).cut(sample)
    assert not apart.holds(1, range(len(apart.passages)))
    shared = TokenCutter(encoder, middle + fact.length, fact.length).cut(sample)
    assert shared.holds(1, range(len(shared.passages)))


def test_an_empty_context_has_no_passage(encoder):
    sample = told_sample(context=lambda: iter([]), text=lambda: iter([]), facts=())
    assert not TokenCutter(encoder).cut(sample).passages
    assert not SentenceCutter().cut(sample).passages


@pytest.mark.parametrize(("passage_len", "overlap_len"), [(0, 0), (5, 5), (5, -1)])
def test_passages_without_anything_new_are_refused(encoder, passage_len, overlap_len):
    with pytest.raises(ConfigError, match="overlap_len"):
        _ = TokenCutter(encoder, passage_len, overlap_len)
