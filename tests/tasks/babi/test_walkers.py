"""People who walk about alone or in pairs."""

import re

import pytest

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.walkers import Walkers


@pytest.fixture
def writer():
    return StoryWriter()


@pytest.fixture
def walkers(writer):
    return Walkers(Dice("walkers"), writer)


def texts(writer):
    return [line.text for line in writer.story().lines]


def test_two_people_move_together(walkers, writer):
    walkers.tell_move(2)
    walkers.ask_where()
    fact, question = writer.story().lines
    first, second, place = re.match(r"(\w+) and (\w+) .+ to the (\w+)\.$", fact.text).groups()
    assert first != second
    assert question.text in (f"Where is {first}? ", f"Where is {second}? ")
    assert (question.answer, question.supporting) == (place, (1,))


@pytest.mark.parametrize(("num_people", "pronouns"), [(1, "he|she"), (2, "they")])
def test_a_second_move_goes_on_with_a_pronoun(walkers, writer, num_people, pronouns):
    walkers.tell_two_moves(num_people)
    walkers.ask_where()
    first, second, question = writer.story().lines
    assert first.text.split()[-1] != second.text.split()[-1]
    assert re.match(rf"(Then|Afterwards|After that|Following that) ({pronouns}) \w+", second.text)
    assert question.answer == second.text.rstrip(".").split()[-1]
    assert question.supporting == (1, 2)


def test_nobody_is_asked_for_after_five_other_mentions(walkers, writer):
    for _ in range(60):
        walkers.tell_move(2)
    people = [re.findall(r"Mary|John|Daniel|Sandra", text) for text in texts(writer)]
    recent = [person for pair in people for person in pair][-5:]
    for _ in range(60):
        walkers.ask_where()
    asked = {re.match(r"Where is (\w+)", text)[1] for text in texts(writer)[60:]}
    assert asked == set(recent)
