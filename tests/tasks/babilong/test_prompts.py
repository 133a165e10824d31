import dataclasses
import re

import pytest

from armt.core.errors import ConfigError, UnknownNameError
from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babilong.prompts import Prompt, PromptBook, own_prompt, own_prompts

TASK_PEOPLE = set(
    re.findall(
        r"\w+",
        "Mary John Daniel Sandra Fred Bill Jeff Julie Gertrude Winona Jessica Emily Lily Bernhard "
        "Greg Julius Brian Jason Antoine Sumit Yann",
    )
)
EXAMPLE = re.compile(r"<example>\n([^\n]+)\nAnswer: ([^\n]+)\n</example>")
SMALL = Prompt(
    instruction="Find it.",
    examples="<example>\nA is b. What is A?\nAnswer: b\n</example>",
    post_prompt="One word.",
)


def test_the_parts_are_joined_by_blank_lines():
    assert SMALL.text("  The text.\n", "What is C? ") == (
        "Find it.\n\n"
        "<example>\nA is b. What is A?\nAnswer: b\n</example>\n\n"
        "One word.\n\n"
        "<context>\nThe text.\n</context>\n\n"
        "Question: What is C?"
    )


def test_a_part_that_is_off_is_an_empty_text():
    assert SMALL.without("examples").text("t", "q") == (
        "Find it.\n\n\n\nOne word.\n\n<context>\nt\n</context>\n\nQuestion: q"
    )
    bare = SMALL.without("instruction", "examples", "post_prompt")
    assert bare.text("t", "q") == "<context>\nt\n</context>\n\nQuestion: q"


def test_braces_of_a_text_are_no_fields():
    assert "<context>\n{question} {0}\n</context>" in SMALL.text("{question} {0}", "q")


def test_one_message_of_the_user_and_a_system_line():
    assert SMALL.messages("t", "q") == [{"role": "user", "content": SMALL.text("t", "q")}]
    told = dataclasses.replace(SMALL, system="Be brief.")
    assert told.messages("t", "q")[0] == {"role": "system", "content": "Be brief."}
    assert told.messages("t", "q")[1:] == SMALL.messages("t", "q")


def test_examples_can_be_turns():
    turns = dataclasses.replace(SMALL, system="Be brief.", form="turns")
    assert turns.messages("t", "q ") == [
        {"role": "system", "content": "Be brief.\n\nFind it."},
        {"role": "user", "content": "A is b. What is A?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "<context>\nt\n</context>\n\nQuestion: q\n\nOne word."},
    ]
    bare = dataclasses.replace(turns, system="").without("instruction", "examples", "post_prompt")
    assert bare.messages("t", "q") == [
        {"role": "user", "content": "<context>\nt\n</context>\n\nQuestion: q"}
    ]


def test_the_hash_follows_every_part():
    changes = [
        {"instruction": "x"},
        {"examples": "x"},
        {"post_prompt": "x"},
        {"template": "{context} {question}"},
        {"system": "x"},
        {"form": "turns"},
        # Moving a text from one part to another one is a change too.
        {"instruction": "One word.", "post_prompt": "Find it."},
    ]
    hashes = {SMALL.hash, *(dataclasses.replace(SMALL, **each).hash for each in changes)}
    assert len(hashes) == 8
    assert all(re.fullmatch("[0-9a-f]{12}", found) for found in hashes)
    assert dataclasses.replace(SMALL).hash == SMALL.hash


def test_our_wording_does_not_change_unnoticed():
    # Results are kept with these hashes; a new wording needs new numbers here and a new record.
    assert own_prompt("qa1").hash == "433908edc9c1"
    assert own_prompts().hash == "56e696899094"


def test_all_twenty_tasks_have_a_prompt():
    assert own_prompts().tasks == tuple(BABI_TASKS)
    with pytest.raises(UnknownNameError, match="Did you mean 'qa2'"):
        _ = own_prompt("qa02")


@pytest.mark.parametrize("task", BABI_TASKS)
def test_our_examples_are_fit_to_be_shown(task):
    prompt = own_prompt(task)
    examples = EXAMPLE.findall(prompt.examples)
    assert len(examples) in (2, 3)
    assert prompt.examples.count("<example>") == len(examples)
    # A name of the task in an example could be taken for a fact.
    assert not TASK_PEOPLE & set(re.findall(r"\w+", prompt.examples))
    assert all(shown.endswith("?") and answer.strip() for shown, answer in examples)
    turns = dataclasses.replace(prompt, form="turns").messages("t", "q")
    assert [message["content"] for message in turns[1:-1]] == [
        text for example in examples for text in example
    ]


@pytest.mark.parametrize("task", ["qa6", "qa7", "qa9", "qa10", "qa17", "qa18", "qa19"])
def test_our_examples_answer_with_the_labels(task):
    answers = {answer for _, answer in EXAMPLE.findall(own_prompt(task).examples)}
    assert answers <= set(BABI_TASKS[task].labels)
    assert len(answers) > 1


def test_a_book_has_one_hash():
    book = own_prompts()
    assert book.only("qa3").hash == own_prompt("qa3").hash
    assert book.only("qa3", "qa4").hash not in {own_prompt("qa3").hash, own_prompt("qa4").hash}
    assert PromptBook({"qa3": SMALL, "qa4": SMALL}).hash != SMALL.hash
    assert book.only("qa4", "qa3").hash == book.only("qa3", "qa4").hash


def test_a_book_can_be_changed_as_a_whole():
    changed = own_prompts().changed(without=["examples"], system="Be brief.", form="turns")
    assert changed.tasks == own_prompts().tasks
    assert [message["role"] for message in changed["qa5"].messages("t", "q")] == ["system", "user"]
    assert own_prompts().changed().hash == own_prompts().hash


@pytest.mark.parametrize("template", ["{context}", "{question}", "{context} {question} {x}", "{c"])
def test_templates_need_their_fields(template):
    with pytest.raises(ConfigError, match="template"):
        _ = Prompt(template=template)


def test_an_unknown_form_is_refused():
    with pytest.raises(ConfigError, match="form"):
        _ = Prompt(form="letter")
