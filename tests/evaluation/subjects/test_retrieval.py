import dataclasses

import pytest

from armt.core.errors import ConfigError
from armt.evaluation.passages import SentenceCutter, TokenCutter
from armt.evaluation.retrievers import BM25, hashed_bag_retriever
from armt.evaluation.subject import About, Answer, Told
from armt.evaluation.subjects.retrieval import (
    RetrievalConfig,
    RetrievalOnly,
    RetrievalSubject,
    Search,
)
from evaluation.told_samples import FACTS, told_sample
from tiny_boxed import tiny_boxed

TWO = RetrievalConfig(num_passages=2)


class Reader:
    """Answers with the last word of its context, and notes what it was given."""

    about = About(
        name="last-word",
        category="rules",
        knows_facts=True,
        told={"qa1": Told(hash="p1")},
        batch_size=7,
    )
    fingerprint = "f1"

    def __init__(self) -> None:
        self.groups: list[list] = []

    def answer(self, samples, arms):
        self.groups.append(list(samples))
        texts = ["".join(sample.text()) for sample in samples]
        answers = [
            Answer(text=text.split()[-1].rstrip("."), details={"read": True}) for text in texts
        ]
        return dict.fromkeys(arms, answers)


@pytest.fixture(scope="module")
def encoder():
    return tiny_boxed().encoder


def test_the_reader_sees_the_best_passages_in_the_order_of_the_text(encoder):
    reader = Reader()
    subject = RetrievalSubject(Search(SentenceCutter(), BM25(), TWO), reader, encoder)
    (answer,) = subject.answer([told_sample()], ("none",))["none"]
    (shown,) = reader.groups[0]
    text = f"{FACTS[0]}\n\n{FACTS[2]}"
    assert "".join(shown.text()) == text
    assert next(shown.context()).tolist() == encoder.encode(" " + text)
    assert shown.context_len == len(encoder.encode(" " + text))
    assert shown.question == "Where is Mary? "
    assert answer.text == "hallway"
    assert answer.details["read"] is True
    assert answer.details["support_recall"] == 1.0
    assert answer.details["passages"] == [FACTS[0], FACTS[2]]
    assert answer.details["num_passages"] == 6


def test_the_order_of_the_scores_can_lose_the_order_of_time(encoder):
    sample = told_sample(question="Did Mary go to the hallway? ")
    by_score = dataclasses.replace(TWO, order="score", separator=" ")
    search = Search(SentenceCutter(), BM25(), by_score)
    found = search.find(sample)
    assert found.texts == [FACTS[2], FACTS[0]]
    scores = found.details["passage_scores"]
    assert scores == sorted(scores, reverse=True)
    subject = RetrievalSubject(search, Reader(), encoder)
    (answer,) = subject.answer([sample])["none"]
    assert answer.text == "office"


def test_recall_counts_supporting_facts_only():
    facts = tuple(fact._replace(is_supporting=True) for fact in told_sample().facts)
    one = Search(SentenceCutter(), BM25(), RetrievalConfig(num_passages=1))
    found = one.find(told_sample(facts=facts, question="Where is John?"))
    assert found.texts == [FACTS[1]]
    assert found.details["num_supporting"] == 3
    assert found.details["num_supporting_found"] == 1
    assert found.details["support_recall"] == pytest.approx(1 / 3)
    assert "support_recall" not in one.find(told_sample(facts=())).details


def test_recall_needs_no_reader(encoder):
    samples = [told_sample(encode=encoder.encode), told_sample(1, encode=encoder.encode)]
    subject = RetrievalOnly(Search(TokenCutter(encoder, 40, 20), hashed_bag_retriever(), TWO))
    answers = subject.answer(samples)["none"]
    assert [answer.text for answer in answers] == ["", ""]
    assert all(answer.details["support_recall"] in (0.0, 1.0) for answer in answers)
    everything = RetrievalConfig(num_passages=1000)
    whole = RetrievalOnly(Search(SentenceCutter(), BM25(), everything))
    assert whole.answer(samples)["none"][0].details["support_recall"] == 1.0


def test_readers_side_by_side_get_contexts_of_one_length(encoder):
    samples = [told_sample(index, question=f"Where is {name}? ") for index, name in
               enumerate(["Mary", "John", "Mary"])]  # fmt: skip
    reader = Reader()
    search = Search(SentenceCutter(), BM25(), RetrievalConfig(num_passages=1))
    together = RetrievalSubject(search, reader, encoder).answer(samples)["none"]
    assert [len(group) for group in reader.groups] == [3]
    strict = Reader()
    strict.about = dataclasses.replace(Reader.about, category="causal")
    apart = RetrievalSubject(search, strict, encoder).answer(samples)["none"]
    assert apart == together
    lengths = [{sample.context_len for sample in group} for group in strict.groups]
    assert len(lengths) == 2
    assert all(len(each) == 1 for each in lengths)


def test_an_empty_context_is_shown_as_it_is(encoder):
    class Silent(Reader):
        def answer(self, samples, arms):
            self.groups.append(list(samples))
            return {arm: [Answer(text="") for _ in samples] for arm in arms}

    reader = Silent()
    sample = told_sample(context=lambda: iter([]), text=lambda: iter([]), facts=(), context_len=0)
    search = Search(SentenceCutter(), BM25())
    (answer,) = RetrievalSubject(search, reader, encoder).answer([sample])["none"]
    assert answer.details["passages"] == []
    assert list(reader.groups[0][0].context()) == []


def test_it_is_what_its_parts_are(encoder):
    def made(config=TWO, retriever=None, cutter=None):
        search = Search(cutter or SentenceCutter(), retriever or BM25(), config)
        return RetrievalSubject(search, Reader(), encoder)

    subject = made()
    name = "last-word + bm25(k1=1.2, b=0.75), best 2 of sentences by position"
    assert subject.about == dataclasses.replace(Reader.about, name=name, category="retrieval")
    others = [
        made(RetrievalConfig(num_passages=3)),
        made(dataclasses.replace(TWO, order="score")),
        made(dataclasses.replace(TWO, separator=" ")),
        made(retriever=BM25(b=0.5)),
        made(cutter=TokenCutter(encoder, 8)),
    ]
    assert len({subject.fingerprint, *(other.fingerprint for other in others)}) == 6
    alone = RetrievalOnly(subject.search)
    assert alone.about.name == subject.search.name
    assert alone.fingerprint != subject.fingerprint


@pytest.mark.parametrize("changes", [{"num_passages": 0}, {"order": "random"}])
def test_wrong_options_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        _ = RetrievalConfig(**changes)
