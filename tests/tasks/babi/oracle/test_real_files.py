"""The rule readers against the official training files."""

from collections.abc import Sequence

import pytest

from armt.tasks.babi.archive import official_questions
from armt.tasks.babi.format import Question
from armt.tasks.babi.oracle import Reading, answer_from, find_facts

TASKS = [f"qa{number}" for number in range(1, 21)]
PROSE = "It was late,\nand nobody in the house spoke of it. "


def reading_of(task: str, question: Question) -> tuple[Reading, tuple[int, ...]]:
    """Answers a question; also returns the line ids of the support."""
    reading = answer_from(task, question.facts, question.question)
    return reading, tuple(question.fact_numbers[index] for index in reading.supporting)


@pytest.fixture(params=TASKS)
def asked(request: pytest.FixtureRequest, shared_data) -> tuple[str, Sequence[Question]]:
    return request.param, official_questions(shared_data / "babi", request.param, "train")


def test_every_answer_and_support_follows_from_the_text(asked):
    task, questions = asked
    assert len(questions) == 1000
    wrong, unlike = [], 0
    for question in questions:
        reading, supporting = reading_of(task, question)
        wrong += [question] * (reading.answer != question.answer)
        unlike += supporting != question.supporting
    assert wrong == []
    # Which of several pairs of facts a question of size follows from, the official data draw.
    assert unlike == 0 if task != "qa18" else unlike < 100


def test_facts_are_found_in_prose(asked):
    task, questions = asked
    for question in questions[::25]:
        text = PROSE + "".join(f"{PROSE}{fact} " for fact in question.facts)
        found = find_facts(task, text)
        assert tuple(fact.text for fact in found) == question.facts
        assert all(text[fact.start :].startswith(fact.text) for fact in found)
