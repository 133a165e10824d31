"""Facts in long texts."""

import time

import pytest

from armt.core.errors import UnknownNameError
from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.oracle import find_facts


def test_only_whole_sentences_of_the_task_are_facts():
    text = (
        "Rosemary moved to the garden. Mary moved to the garden and sat. Mary got the milk there. "
        "Mary moved to the library. “Mary moved to the garden.” Mary moved to the\nkitchen."
    )
    found = find_facts("qa1", text)
    assert [fact.text for fact in found] == ["Mary moved to the garden."]
    assert text[found[0].start - 1] == "“"
    assert "Mary got the milk there." in [fact.text for fact in find_facts("qa2", text)]


def test_a_fact_after_a_sentence_that_was_cut_is_found():
    assert len(find_facts("qa1", "and then the old man of Mary went to the garden. The")) == 1


def test_no_text_has_no_facts():
    assert [find_facts(task, "") for task in BABI_TASKS] == [[]] * 20


def test_an_unknown_task_is_told():
    with pytest.raises(UnknownNameError, match="Known: qa1 to qa20"):
        _ = find_facts("1", "")


def test_a_megabyte_is_read_in_a_blink():
    text = "Mary, who was in the garden, moved on. The box was Bill's. " * 18_000
    assert len(text) > 10**6
    for task in ("qa1", "qa5", "qa18", "qa20"):
        start = time.process_time()
        assert find_facts(task, text) == []
        assert time.process_time() - start < 1.5, task
