import pytest

from armt.core.errors import DataError
from armt.evaluation.subjects.constant import ConstantSubject, most_frequent
from evaluation.text_samples import text_sample


def test_every_question_of_a_task_gets_its_answer():
    subject = ConstantSubject({"qa1": "garden", "qa6": "no"})
    samples = [text_sample("x", "?", "?", task=task) for task in ("qa1", "qa6", "qa1@both")]
    answers = subject.answer(samples, ("none",))["none"]
    assert [answer.text for answer in answers] == ["garden", "no", "garden"]
    with pytest.raises(DataError, match="No answer is given for the task 'qa2'"):
        _ = subject.answer([text_sample("x", "?", "?", task="qa2")], ("none",))


def test_other_answers_make_another_subject():
    first, second = ConstantSubject({"qa1": "garden"}), ConstantSubject({"qa1": "office"})
    assert first.about == ConstantSubject({"qa1": "garden"}).about
    assert first.about.told_for("qa1") != second.about.told_for("qa1")


def test_the_answer_to_another_task_changes_nothing():
    one, both = ConstantSubject({"qa1": "garden"}), ConstantSubject({"qa2": "no", "qa1": "garden"})
    assert one.fingerprint == both.fingerprint
    assert one.about.told_for("qa1") == both.about.told_for("qa1@both")


def test_the_most_frequent_answer_is_chosen():
    assert most_frequent(["b", "a", "b"]) == "b"
    assert most_frequent(["b", "a"]) == "a"
    with pytest.raises(DataError, match="no answers"):
        _ = most_frequent([])
