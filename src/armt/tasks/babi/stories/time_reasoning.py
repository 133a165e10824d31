"""Task 14, time reasoning: visits of two days told out of order; where was he before?"""

from typing import NamedTuple

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.sentences import GUESSING_PEOPLE, TOWN_PLACES, move_text
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.telling import FACTS_PER_GAP, NUM_QUESTIONS, NUM_RECENT_FACTS

TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
"""The times of a visit, in order."""


class _Visit(NamedTuple):
    """Someone's visit; `time` indexes `TIMES`."""

    person: str
    time: int
    place: str


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of visits in pairs, with a question after each once one can be asked.

    Everyone's visits fill the times in order, none at the place of the one before. What happens
    between two questions is told in an order in which no visit keeps its position, so that of two
    visits the later is told first, as in the published data. The question names one of the latest
    visits that has one before it, by a place to which its person has not come again; the support
    is the line of that visit and the line of the one before.
    """
    writer = StoryWriter()
    visits: list[_Visit] = []
    line_of: dict[_Visit, int] = {}
    while writer.num_questions < num_questions:
        for _ in range(FACTS_PER_GAP):
            visits.append(_draw_visit(dice, visits))
        askable = [visit for visit in visits[-NUM_RECENT_FACTS:] if _can_ask(visit, visits)]
        if not askable:
            continue
        for visit in _cycled(dice, visits[len(line_of) :]):
            line_of[visit] = writer.tell(_visit_text(dice, visit))
        _ask(writer, dice.pick(askable), line_of)
    return writer.story()


def _draw_visit(dice: Dice, visits: list[_Visit]) -> _Visit:
    latest = {visit.person: visit for visit in visits}
    free = [
        person
        for person in GUESSING_PEOPLE
        if person not in latest or latest[person].time + 1 < len(TIMES)
    ]
    person = dice.pick(free)
    if person not in latest:
        return _Visit(person, 0, dice.pick(TOWN_PLACES))
    _, time, here = latest[person]
    return _Visit(person, time + 1, dice.pick([place for place in TOWN_PLACES if place != here]))


def _can_ask(visit: _Visit, visits: list[_Visit]) -> bool:
    """Whether the visit has one before it and is its person's last at that place."""
    comes_again = any(
        other.person == visit.person and other.place == visit.place and other.time > visit.time
        for other in visits
    )
    return visit.time > 0 and not comes_again


def _ask(writer: StoryWriter, visit: _Visit, line_of: dict[_Visit, int]) -> None:
    before = next(
        each for each in line_of if (each.person, each.time) == (visit.person, visit.time - 1)
    )
    question = f"Where was {visit.person} before the {visit.place}? "
    writer.ask(question, before.place, (line_of[visit], line_of[before]))


def _visit_text(dice: Dice, visit: _Visit) -> str:
    time = TIMES[visit.time]
    if dice.chance(0.5):
        return move_text(dice, f"{time.capitalize()} {visit.person}", visit.place)
    return f"{move_text(dice, visit.person, visit.place).removesuffix('.')} {time}."


def _cycled(dice: Dice, visits: list[_Visit]) -> list[_Visit]:
    """Returns the visits permuted by one random cycle through all of them (Sattolo)."""
    mixed = list(visits)
    for last in range(len(mixed) - 1, 0, -1):
        other = dice.below(last)
        mixed[last], mixed[other] = mixed[other], mixed[last]
    return mixed
