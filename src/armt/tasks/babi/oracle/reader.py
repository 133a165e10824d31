"""Reads a task: the facts in a text, and the answer that follows from them."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from armt.tasks.babi.catalogue import babi_task
from armt.tasks.babi.oracle import carrying, kinds, places, relations, times
from armt.tasks.babi.oracle.forms import GRAMMARS
from armt.tasks.babi.oracle.grammar import Told
from armt.tasks.babi.oracle.knowledge import Reading, Rule

_RULES: Mapping[str, Rule] = {
    "qa1": places.where_is,
    "qa2": carrying.where_is_thing,
    "qa3": carrying.where_was_thing,
    "qa4": relations.neighbor,
    "qa5": carrying.who_gave_what,
    "qa6": places.is_there,
    "qa7": carrying.how_many,
    "qa8": carrying.what_carried,
    "qa9": places.is_there,
    "qa10": places.is_there,
    "qa11": places.where_is,
    "qa12": places.where_is,
    "qa13": places.where_is,
    "qa14": times.where_was,
    "qa15": kinds.afraid_of,
    "qa16": kinds.color_of,
    "qa17": relations.is_it,
    "qa18": relations.is_bigger,
    "qa19": relations.path_between,
    "qa20": kinds.mood_of,
}


class FoundFact(NamedTuple):
    """A sentence of a task's grammar in a text."""

    text: str
    """The sentence."""

    start: int
    """The characters before it."""


def answer_from(task: str, facts: Sequence[str], question: str) -> Reading:
    """Returns the answer to a question of a task and the facts it follows from.

    Raises:
        UnknownNameError: there is no such task.
        DataError: a fact or the question has no form of the task (it is named), or the facts do
            not answer the question.
    """
    read_fact, read_question = _readers(babi_task(task).name)
    return _RULES[task]([read_fact(fact) for fact in facts], read_question(question))


def find_facts(task: str, text: str) -> list[FoundFact]:
    """Returns the sentences of a task's grammar in a text of any length, in its order.

    A sentence inside a longer word or inside of another found sentence is none; prose that
    happens to be such a sentence is found too.

    Raises:
        UnknownNameError: there is no such task.
    """
    found = _finder(babi_task(task).name).finditer(text)
    return [
        FoundFact(match[0], match.start())
        for match in found
        if match.start() == 0 or not text[match.start() - 1].isalnum()
    ]


@cache
def _finder(task: str) -> re.Pattern[str]:
    return GRAMMARS[task].fact_finder()


@cache
def _readers(task: str) -> tuple[Callable[[str], Told], Callable[[str], Told]]:
    return GRAMMARS[task].fact_reader(), GRAMMARS[task].question_reader()
