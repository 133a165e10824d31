"""Visits at times of the day, told in any order (task 14)."""

from collections.abc import Sequence
from itertools import pairwise

from armt.tasks.babi.oracle.grammar import Told
from armt.tasks.babi.oracle.knowledge import Reading, unanswered

_TIMES = ("yesterday", "this morning", "this afternoon", "this evening")


def where_was(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Where was P before the L?": the stop before the latest visit to L."""
    person, place = asked.parts
    visits = sorted(
        (_TIMES.index(time), visited, line)
        for line, (time, who, visited) in enumerate(map(_visit, facts))
        if who == person
    )
    for (_, before, earlier), (_, visited, line) in reversed(list(pairwise(visits))):
        if visited == place:
            return Reading(before, (line, earlier))
    raise unanswered(f"{person} is not told to come to the {place} from elsewhere")


def _visit(told: Told) -> tuple[str, str, str]:
    """Returns time, person and place."""
    if told.form == "when move":
        when, person, place = told.parts
    else:
        person, place, when = told.parts
    return when.lower(), person, place
