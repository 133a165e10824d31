"""Facts among natural text: the answer follows from what is told, and texts are whole segments."""

import re

import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.babi.sentences import PEOPLE, PLACES
from armt.tasks.fact_memory import NO_ANSWER, NUM_CLASSES, FactMemoryConfig

KINDS = ["memorise", "detect_and_memorise", "reasoning"]
SEGMENT_LEN = 60
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


@pytest.fixture(params=KINDS)
def task(request, store, encoder):
    return FactMemoryConfig(kind=request.param, segment_len=SEGMENT_LEN).build(store, encoder)


def texts_of(task, encoder, num_segments, *key):
    batch = task.batch(num_segments, *key)
    rows = zip(batch.input_ids, batch.attention_mask, batch.labels.tolist(), strict=True)
    return [(encoder.decode(ids[mask].tolist()), PLACES[label]) for ids, mask, label in rows]


def follows_from(links, question):
    """Answers "DIRECTION of the PLACE?" and "the PLACE DIRECTION of?" from links told."""
    both = [*links, *((b, OPPOSITE[direction], a) for a, direction, b in links)]
    if question.startswith("the "):
        place, direction = re.match(r"the (\w+) (\w+) of\?", question).groups()
        return next(b for a, step, b in both if (a, step) == (place, direction))
    direction, place = re.match(r"(\w+) of the (\w+)\?", question).groups()
    return next(a for a, step, b in both if (b, step) == (place, direction))


def test_rows_are_whole_segments_at_the_right(task):
    batch = task.batch([3, 1, 2], "test", 0)
    assert batch.input_ids.shape == batch.attention_mask.shape == (3, 3 * SEGMENT_LEN)
    assert batch.attention_mask.sum(1).tolist() == [3 * SEGMENT_LEN, SEGMENT_LEN, 2 * SEGMENT_LEN]
    assert all(torch.equal(mask.sort().values, mask) for mask in batch.attention_mask.int())
    assert not batch.input_ids[~batch.attention_mask].any()


def test_the_answer_follows_from_the_facts(task, encoder):
    for text, answer in texts_of(task, encoder, [3] * 40, "test", 1):
        if task.config.kind == "reasoning":
            told, _, question = text.rpartition(" What is ")
            links = re.findall(r"The (\w+) is (\w+) of the (\w+)\.", told)
            assert len(links) == 2
            assert follows_from(links, question) == answer
        else:
            told, _, person = text.rpartition(" Where is ")
            assert person.removesuffix("?") in PEOPLE
            fact = re.search(rf"{person.removesuffix('?')} [a-z ]+ to the (\w+)\.", told)
            assert fact is not None
            assert fact[1] == answer


def test_to_memorise_is_told_before_all_else_and_to_detect_anywhere(store, encoder):
    starts = {}
    for kind in KINDS[:2]:
        task = FactMemoryConfig(kind=kind, segment_len=SEGMENT_LEN).build(store, encoder)
        texts = texts_of(task, encoder, [4] * 40, "test", 2)
        starts[kind] = [text.strip().split(" ")[0] in PEOPLE for text, _ in texts]
    assert all(starts["memorise"])
    assert 0 < sum(starts["detect_and_memorise"]) < 20


def test_the_last_of_more_places_stands_later(store, encoder):
    config = FactMemoryConfig(kind="detect_and_memorise", segment_len=SEGMENT_LEN)

    def mean_place(task):
        texts = texts_of(task, encoder, [4] * 60, "test", 3)
        places = [
            re.search(rf"({'|'.join(PEOPLE)}) [a-z ]+ to the \w+\.", text).start() / len(text)
            for text, _ in texts
        ]
        return sum(places) / len(places)

    plain = config.build(store, encoder)
    assert 0.35 < mean_place(plain) < 0.65
    assert 0.7 < mean_place(plain.changed(lateness=4, blank_share=0)) < 0.95
    assert plain.changed(lateness=1, blank_share=0).config == plain.config


def test_blank_texts_tell_nothing_and_have_no_answer(task, encoder):
    blank = task.changed(lateness=1, blank_share=0.25)
    batch = blank.batch([2] * 400, "train", 0)
    assert batch.attention_mask.all()
    is_blank = batch.labels == NO_ANSWER
    assert 70 < is_blank.sum() < 130
    fact = re.compile(rf"({'|'.join(PEOPLE)}) [a-z ]+ to the \w+\.|The \w+ is \w+ of the \w+\.")
    for ids, told in zip(batch.input_ids, ~is_blank, strict=True):
        text = encoder.decode(ids.tolist())
        assert text.endswith("?")
        assert bool(fact.search(text)) == bool(told)


def test_all_answers_are_drawn(task):
    labels = task.batch([1] * 200, "train", 0).labels.bincount(minlength=NUM_CLASSES)
    assert len(labels) == NUM_CLASSES
    assert labels.min() > 10


def test_equal_keys_give_equal_rows_and_others_do_not(task):
    first, again, other = (task.batch([2, 2], "train", seed) for seed in (0, 0, 1))
    assert torch.equal(first.input_ids, again.input_ids)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.input_ids, other.input_ids)
    assert not torch.equal(first.input_ids[0], first.input_ids[1])


def test_what_cannot_be_is_refused(store, encoder):
    task = FactMemoryConfig(kind="reasoning", segment_len=5).build(store, encoder)
    with pytest.raises(ConfigError, match="do not fit a text of 5 tokens"):
        _ = task.batch([1], 0)
    wrong = (
        {"kind": "guess", "segment_len": 5},
        {"segment_len": 0},
        {"blank_share": 1, "segment_len": 5},
    )
    for options in wrong:
        with pytest.raises(ConfigError, match=next(iter(options))):
            _ = FactMemoryConfig.from_dict(options)
