"""The rule readers against the generators: two ways to the same answers."""

import pytest

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Question
from armt.tasks.babi.oracle import answer_from

NUM_FEW, NUM_MANY = 150, 10_000


def drawn(task: str, num_questions: int) -> list[Question]:
    questions: list[Question] = []
    number = 0
    while len(questions) < num_questions:
        questions += BABI_TASKS[task].draw(Dice("oracle", task, number)).questions()
        number += 1
    return questions


def check(task: str, questions: list[Question]) -> None:
    """Answers must agree in full; supports too, but where several pairs of facts tell a size."""
    num_unlike = 0
    for question in questions:
        reading = answer_from(task, question.facts, question.question)
        assert reading.answer == question.answer, question
        supporting = {question.fact_numbers[index] for index in reading.supporting}
        num_unlike += supporting != set(question.supporting)
    assert num_unlike == 0 if task != "qa18" else num_unlike < len(questions) / 5


@pytest.mark.parametrize("task", BABI_TASKS)
def test_some_stories_of_each_task_are_read_as_they_were_meant(task):
    check(task, drawn(task, NUM_FEW))


@pytest.mark.slow
@pytest.mark.parametrize("task", BABI_TASKS)
def test_many_stories_of_each_task_are_read_as_they_were_meant(task):
    check(task, drawn(task, NUM_MANY))


@pytest.mark.parametrize("task", BABI_TASKS)
def test_no_answer_stands_in_its_question(task):
    labels = BABI_TASKS[task].labels
    for question in drawn(task, NUM_FEW):
        parts = question.answer.split(",") if task == "qa8" else [question.answer]
        assert set(parts) <= set(labels)
        assert not [part for part in parts if part.lower() in question.question.lower()]
