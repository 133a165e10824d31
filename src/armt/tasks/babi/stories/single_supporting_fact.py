"""Task 1, a single supporting fact: people walk about; where is one of them?"""

from armt.tasks.babi.carrying_world import CarryingWorld, Event
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import PEOPLE, where_is_person
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves with a question after each pair.

    The question is about the person of one of the last five moves; the answer is that person's
    latest place and the support that one line.
    """
    return tell_carrying(dice, CarryingWorld(dice, PEOPLE, objects=()), _ask, num_questions)


def _ask(reader: Reader, event: Event) -> Asked | None:
    known = reader.place_of_person(event.actor)
    assert known is not None, "a person of whom nothing was told"
    return Asked(where_is_person(event.actor), known.value, known.lines)
