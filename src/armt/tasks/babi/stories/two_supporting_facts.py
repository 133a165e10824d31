"""Task 2, two supporting facts: people carry objects about; where is one of them?"""

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import PEOPLE, where_is_thing
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves, gets and drops with `num_questions` questions.

    A question is about an object got or dropped in the last five facts whose place follows from
    two lines: it was carried on after the get, or dropped by someone whose place was told. Support
    is the get or drop, then the move.
    """
    return tell_carrying(dice, CarryingWorld(dice, PEOPLE), _ask, num_questions)


def _ask(reader: Reader, event: Event) -> Asked | None:
    if isinstance(event, Move):
        return None
    known = reader.place_of_thing(event.thing)
    if known is None:
        return None
    return Asked(where_is_thing(event.thing), known.value, known.lines)
