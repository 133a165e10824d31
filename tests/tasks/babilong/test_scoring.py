"""Every trap of the official metric that is known, by both rules."""

import math
import random

import pytest

from armt.core.errors import UnknownNameError
from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babilong.scoring import reference_score, strict_score

WHERE = "Where is Mary? "
HOW_MANY = "How many objects is Mary carrying? "
WHAT = "What is Mary carrying? "
PATH = "How do you go from the kitchen to the garden?"


def scores(task, target, output, question=WHERE):
    return (
        reference_score(task, target, output, question),
        strict_score(task, target, output, question),
    )


RIGHT, WRONG, REFERENCE_ONLY, STRICT_ONLY = (
    (True, True),
    (False, False),
    (True, False),
    (False, True),
)


@pytest.mark.parametrize(
    ("task", "target", "output", "expected"),
    [
        ("qa1", "kitchen", "kitchen", RIGHT),
        ("qa1", "kitchen", "The most recent location of Mary is KITCHEN.", RIGHT),
        ("qa1", "kitchen", "She is in the garden.", WRONG),
        # any second label makes it wrong
        ("qa1", "kitchen", "She left the garden for the kitchen.", WRONG),
        # only what stands before the first full stop counts, good or bad
        ("qa1", "kitchen", "kitchen. She was in the garden before.", RIGHT),
        ("qa1", "kitchen", "1. kitchen", WRONG),
        ("qa1", "kitchen", "Acc. to the text she is in the kitchen", WRONG),
        ("qa1", "kitchen", "She is in the kitchen\n<context>\nJohn is in the garden", RIGHT),
        ("qa1", "kitchen", "kitchen <CONTEXT> garden", RIGHT),
        ("qa1", "kitchen", "kitchen <example> garden", RIGHT),
        ("qa1", "kitchen", "<example> kitchen", WRONG),
        # a split at "Question" has no effect, because the text is in lower case by then
        ("qa1", "kitchen", "kitchen Question: where is the garden", WRONG),
        ("qa1", "kitchen", "kitchen\ngarden", WRONG),
        # a label as a part of a word
        ("qa1", "garden", "the gardens", REFERENCE_ONLY),
        ("qa1", "office", "the post-office", RIGHT),
        ("qa1", "office", "**office**", RIGHT),
        ("qa1", "office", "_office_", RIGHT),
        ("qa1", "kitchen", "kitchen gardening", STRICT_ONLY),
        ("qa15", "cat", "cats", REFERENCE_ONLY),
        ("qa15", "mouse", "mice", WRONG),
        ("qa15", "wolf", "wolves", WRONG),
        ("qa15", "sheep", "sheep", RIGHT),
        # nothing was said
        ("qa1", "kitchen", "", WRONG),
        ("qa1", "kitchen", math.nan, WRONG),
        ("qa1", "kitchen", None, WRONG),
        ("qa1", "kitchen", ".kitchen", WRONG),
    ],
)
def test_places_and_animals(task, target, output, expected):
    assert scores(task, target, output) == expected


@pytest.mark.parametrize(
    ("target", "output", "expected"),
    [
        ("yes", "Yes", RIGHT),
        ("no", "No, she is not", RIGHT),  # two times the one label
        ("no", "She is not there", REFERENCE_ONLY),
        ("yes", "Yes, I know", STRICT_ONLY),
        ("yes", "Yes, she is there now", STRICT_ONLY),
        ("yes", "yes or no", WRONG),
        ("no", "I don't know", REFERENCE_ONLY),
    ],
)
def test_parts_of_words_that_say_no(target, output, expected):
    assert scores("qa6", target, output, "Is Mary in the garden? ") == expected


@pytest.mark.parametrize(
    ("target", "output", "expected"),
    [
        ("none", "none", STRICT_ONLY),  # `one` is a part of `none`
        ("none", "None of them", STRICT_ONLY),
        ("one", "one", RIGHT),
        ("one", "none", WRONG),
        ("two", "two objects", RIGHT),
        ("two", "2", WRONG),
        ("one", "someone has three", WRONG),
        ("three", "someone has three", STRICT_ONLY),
    ],
)
def test_none_can_never_be_right_by_the_reference(target, output, expected):
    assert scores("qa7", target, output, HOW_MANY) == expected


@pytest.mark.parametrize(
    ("target", "output", "expected"),
    [
        ("milk,apple", "milk,apple", RIGHT),
        ("milk,apple", "Apple and milk", RIGHT),  # order and form are free
        ("milk,apple", "milk", WRONG),
        ("milk,apple", "milk, apple, football", WRONG),
        ("milk,apple", "milk milk apple", RIGHT),
        ("milk,apple", "nothing, or milk and apple", WRONG),
        ("apple,apple", "apple", STRICT_ONLY),  # two parts, one label
        ("milk, apple", "milk, apple", STRICT_ONLY),  # no label begins with a blank
        ("milk,apples", "milk,apples", WRONG),
        ("football", "football", RIGHT),
        ("football", "football and milk", WRONG),
        ("nothing", "nothing", RIGHT),
        ("milk,apple,football", "the football, the milk and the apple", RIGHT),
    ],
)
def test_lists(target, output, expected):
    assert scores("qa8", target, output, WHAT) == expected


@pytest.mark.parametrize(
    ("target", "output", "expected"),
    [
        ("n,e", "n,e", RIGHT),  # a comma, but too short for a list
        ("n,e", "N,E", RIGHT),
        ("n,e", "n, e", WRONG),
        ("n,e", "e,n", WRONG),
        ("n,e", "n,e,s", WRONG),  # holds `e,s` too
        ("n,e", "north,east", WRONG),
        ("n,e", "green,east", REFERENCE_ONLY),
        ("s,s", "s,s", RIGHT),
        ("s,s", "(s,s)", RIGHT),
    ],
)
def test_paths(target, output, expected):
    assert scores("qa19", target, output, PATH) == expected


def test_labels_of_the_question_do_not_count():
    question = "Who did Bill give the apple to?"
    assert scores("qa5", "Mary", "Bill gave the apple to Mary", question) == RIGHT
    assert scores("qa5", "Mary", "Fred gave the apple to Mary", question) == WRONG
    assert scores("qa5", "Bill", "Bill", question) == WRONG  # whatever is asked about is no answer
    assert (
        scores("qa20", "bored", "he is bored of the garden", "Why did yann go to the garden?")
        == RIGHT
    )
    assert scores("qa1", "kitchen", "garden kitchen", "Is it the GARDEN?") == RIGHT
    # a part of a word in the question takes away the label by the reference alone
    assert scores("qa6", "no", "no", "Do you know it?") == STRICT_ONLY
    assert scores("qa1", "kitchen", "kitchen", math.nan) == RIGHT


def test_capitals_do_not_matter_anywhere():
    assert scores("qa5", "MARY", "mary", "WHO RECEIVED THE MILK?") == RIGHT


def test_feeding_the_answers_is_right_everywhere_but_for_none():
    for name, task in BABI_TASKS.items():
        for label in task.labels:
            expected = STRICT_ONLY if label == "none" else RIGHT
            assert scores(name, label, label, "?") == expected, (name, label)


def test_an_unknown_task_is_told():
    for score in (reference_score, strict_score):
        with pytest.raises(UnknownNameError, match="qa21"):
            _ = score("qa21", "a", "a", "?")


def literal_reference(labels, target, output, question):
    """The rules of the metric, one after the other, as slowly as they are told."""
    if not isinstance(output, str):
        output = ""
    output = output.lower()
    for cut in (".", "<context>", "<example>", "Question"):
        output = output.split(cut)[0]
    labels = {label.lower() for label in labels}
    found = {label for label in labels if label in output}
    found = {label for label in found if label not in question.lower()}
    target = target.lower()
    if "," in target and len(target) > 3:
        parts = target.split(",")
        return all(part in found for part in parts) and len(found) == len(parts)
    return target in found and len(found) == 1


def test_the_reference_agrees_with_its_rules_on_random_outputs():
    chance = random.Random(5)
    fillers = ["the", "is", "know", "not", ".", ",", "<context>", "Question", "someone", "\n", "İß"]
    num_right = 0
    for _ in range(20_000):
        name = chance.choice(list(BABI_TASKS))
        labels = BABI_TASKS[name].labels
        num_parts = chance.randint(1, 3) if name == "qa8" else 1
        target = ",".join(chance.sample(labels, num_parts))
        words = [target] * chance.randint(0, 1)
        words += chance.choices([*labels, *fillers], k=chance.randint(0, 3))
        chance.shuffle(words)
        output = chance.choice([" ", ", ", ""]).join(words)
        output = chance.choice([str.upper, str.lower, str.title, str])(output)
        question = " ".join(chance.choices([*fillers, *labels], k=3))
        found = reference_score(name, target, output, question)
        assert found == literal_reference(labels, target, output, question), (name, target, output)
        num_right += found
    assert 2_000 < num_right < 18_000
