"""The twenty tasks."""

import hashlib

import pytest

from armt.core.errors import UnknownNameError
from armt.tasks.babi.archive import official_questions
from armt.tasks.babi.catalogue import BABI_TASKS, babi_task
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import format_stories


def test_tasks_are_numbered_as_they_are_named():
    assert list(BABI_TASKS) == [f"qa{number}" for number in range(1, 21)]
    assert all(task.name == name for name, task in BABI_TASKS.items())
    assert BABI_TASKS["qa6"].title == "yes-no-questions"
    assert BABI_TASKS["qa19"].labels[-1] == "w,w"


def test_titles_and_labels_are_those_of_the_official_files(shared_data):
    for task in BABI_TASKS.values():
        assert (shared_data / "babi" / "en" / f"{task.name}_{task.title}_train.txt").exists()
        questions = official_questions(shared_data / "babi", task.name, "train")
        answers = {question.answer for question in questions}
        if task.name == "qa8":
            answers = {part for answer in answers for part in answer.split(",")}
        assert answers == set(task.labels), task.name


@pytest.mark.parametrize("name", BABI_TASKS)
def test_a_story_told_as_far_as_a_question_is_the_beginning_of_the_whole_one(name):
    task = BABI_TASKS[name]
    for key in range(20):
        whole = task.draw(Dice("until", key)).lines
        asked = [number for number, line in enumerate(whole) if line.is_question]
        assert task.num_questions in (None, len(asked))
        assert asked[-1] == len(whole) - 1
        for question in range(len(asked) + 2):
            told = task.draw_until(Dice("until", key), question).lines
            assert told == whole[: asked[question % len(asked)] + 1]


def test_nothing_is_drawn_after_the_question():
    drawn = [Dice("until", 5) for _ in range(5)]
    for question, dice in enumerate(drawn):
        _ = BABI_TASKS["qa3"].draw_until(dice, question)
    assert len({dice.random() for dice in drawn}) == 5


@pytest.mark.parametrize(("name", "hint"), [("qa21", "qa2"), ("QA7x", "")])
def test_an_unknown_task_is_told(name, hint):
    with pytest.raises(UnknownNameError, match=rf"Unknown bAbI task '{name}'.*{hint}"):
        _ = babi_task(name)


def test_the_stories_are_the_same_on_every_machine():
    """A change of these digits is a change of `GENERATOR_VERSION`."""
    told = [format_stories([task.draw(Dice("machine", 0))]) for task in BABI_TASKS.values()]
    assert hashlib.sha256("".join(told).encode()).hexdigest()[:16] == "ffeaea68e4b02ac2"
