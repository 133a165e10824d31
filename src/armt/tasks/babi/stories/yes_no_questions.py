"""Task 6, yes/no questions: is a person at a place?"""

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import PEOPLE, draw_is_in
from armt.tasks.babi.telling import Asked, tell_carrying


def draw_story(dice: Dice) -> Story:
    """Draws a story of moves, gets and drops with five questions.

    A question is about the person of one of the moves among the last five facts. It names the
    place of that person's latest move or, as often, another one. Support is that move.
    """
    world = CarryingWorld(dice, PEOPLE)
    return tell_carrying(dice, world, lambda reader, event: _ask(dice, reader, event))


def _ask(dice: Dice, reader: Reader, event: Event) -> Asked | None:
    if not isinstance(event, Move):
        return None
    known = reader.place_of_person(event.actor)
    assert known is not None, "a move that was not told"
    text, answer = draw_is_in(dice, event.actor, known.value)
    return Asked(text, answer, known.lines)
