"""Task 6, yes/no questions: is a person at a place?"""

from functools import partial

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import PEOPLE, draw_is_in
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves, gets and drops with `num_questions` questions.

    A question is about the person of one of the moves among the last five facts. It names the
    place of that person's latest move or, as often, another one. Support is that move.
    """
    world = CarryingWorld(dice, PEOPLE)
    return tell_carrying(dice, world, partial(_ask, dice), num_questions)


def _ask(dice: Dice, reader: Reader, event: Event) -> Asked | None:
    if not isinstance(event, Move):
        return None
    known = reader.place_of_person(event.actor)
    assert known is not None, "a move that was not told"
    text, answer = draw_is_in(dice, event.actor, known.value)
    return Asked(text, answer, known.lines)
