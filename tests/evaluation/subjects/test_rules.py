import pytest

from armt.core.errors import DataError
from armt.evaluation.subjects import rules
from armt.evaluation.subjects.rules import RulesSubject, facts_in
from evaluation.text_samples import text_sample

FACTS = ("Mary went to the garden.", "John moved to the office.", "Mary journeyed to the kitchen.")
PROSE = "The old house stood at the end of the lane, and Mary went to the market. "


def ask(sample):
    (answer,) = RulesSubject().answer([sample], ("none",))["none"]
    return answer


def test_the_text_alone_is_read():
    text = PROSE + FACTS[0] + PROSE + FACTS[1] + " " + FACTS[2] + PROSE
    found = ask(text_sample(text, "Where is Mary? ", "kitchen"))
    assert (found.text, found.failure) == ("kitchen", "")
    assert found.details == {"num_facts_found": 3}


def test_the_name_of_a_task_may_tell_where_the_question_stands():
    sample = text_sample(FACTS[0], "Where is Mary? ", "garden", task="qa1@both")
    assert ask(sample).text == "garden"


def test_what_has_no_answer_is_a_failure():
    found = ask(text_sample(PROSE, "Where is Mary? ", "kitchen"))
    assert found.text == ""
    assert found.failure


def test_a_task_without_rules_is_told():
    with pytest.raises(DataError, match="no rules for the task 'riddles'"):
        _ = ask(text_sample(PROSE, "Where is Mary? ", "kitchen", task="riddles"))


@pytest.mark.parametrize("piece_len", [1, 7, 100, 3000])
def test_a_fact_is_found_once_wherever_the_text_is_cut(piece_len, monkeypatch):
    """Pieces are searched at every length, so that each fact is cut at every place."""
    monkeypatch.setattr(rules, "_PIECE_NCHARS", piece_len)
    text = "".join(PROSE[: 11 * number % 70] + " " + FACTS[number % 3] for number in range(40))
    expected = [FACTS[number % 3] for number in range(40)]
    for first in (0, 3):
        pieces = [text[:first], *(text[at : at + 5] for at in range(first, len(text), 5))]
        assert list(facts_in("qa1", pieces)) == expected


def test_a_sentence_within_a_longer_word_is_none_wherever_the_text_is_cut(monkeypatch):
    text = ("x" * 300 + "RoseMary went to the garden. ") * 5
    for piece_len in (1, 50, 331, 600):
        monkeypatch.setattr(rules, "_PIECE_NCHARS", piece_len)
        assert list(facts_in("qa1", [*text])) == []
