"""The twenty tasks."""

import pytest

from armt.core.errors import UnknownNameError
from armt.tasks.babi.archive import official_questions
from armt.tasks.babi.catalogue import BABI_TASKS, babi_task


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


@pytest.mark.parametrize(("name", "hint"), [("qa21", "qa2"), ("QA7x", "")])
def test_an_unknown_task_is_told(name, hint):
    with pytest.raises(UnknownNameError, match=rf"Unknown bAbI task '{name}'.*{hint}"):
        _ = babi_task(name)
