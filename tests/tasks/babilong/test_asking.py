import numpy as np
import pytest

from armt.core.errors import DataError
from armt.tasks.babilong import BabilongTaskConfig
from armt.tasks.babilong.asking import ask_for_everyone
from tasks.rule_reader import FACT, latest_place

CONFIG = BabilongTaskConfig(reserve_len=0)


@pytest.fixture(scope="module")
def samples(store, encoder):
    task = CONFIG.build(store.only("test"), encoder)
    return [task.sample("4k", index) for index in range(10)]


def people_in(sample):
    return {fact.text.split()[0] for fact in sample.facts}


def test_everyone_is_asked_for_once_the_own_question_first(samples, encoder):
    assert any(len(people_in(sample)) > 2 for sample in samples)
    for sample in samples:
        asked = ask_for_everyone(sample, encoder)
        assert asked[0].question == sample.question
        assert asked[0].answer == sample.answer
        names = [each.question.rstrip("? ").split()[-1] for each in asked]
        assert len(names) == len(people_in(sample))
        assert set(names) == people_in(sample)


def test_answers_follow_from_the_context(samples, encoder):
    for sample in samples:
        facts = [match[0] for match in FACT.finditer("".join(sample.text()))]
        for each in ask_for_everyone(sample, encoder):
            assert each.answer == latest_place(facts, each.question)[0]


def test_questions_and_answers_are_spelled_as_the_own_ones(samples, encoder):
    sample = samples[-1]
    own, *others = ask_for_everyone(sample, encoder)
    again = {each.question: each for each in ask_for_everyone(others[0], encoder)}
    assert np.array_equal(again[own.question].question_ids, own.question_ids)
    assert np.array_equal(again[own.question].answer_ids, own.answer_ids)
    assert all(each.context is sample.context for each in others)


def test_of_a_text_in_the_middle_only_what_was_told_is_asked(samples, encoder):
    for sample in samples:
        first, end = sample.facts[0], sample.facts[0].start + sample.facts[0].length
        assert ask_for_everyone(sample, encoder, end - 1) == []
        (asked,) = ask_for_everyone(sample, encoder, end)
        assert asked.question == f"Where is {first.text.split()[0]}? "
        assert asked.answer == first.text.rstrip(".").split()[-1]
        whole = ask_for_everyone(sample, encoder, sample.context_len)
        assert [each.question for each in whole] == [
            each.question for each in ask_for_everyone(sample, encoder)
        ]


def test_other_tasks_are_refused(store, encoder):
    task = BabilongTaskConfig(task="qa2", reserve_len=0).build(store.only("test"), encoder)
    with pytest.raises(DataError, match="Only people of task qa1"):
        _ = ask_for_everyone(task.sample("16k", 0), encoder)
