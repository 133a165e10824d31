"""Task 7, counting: how many objects is a person carrying?"""

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Get, Give, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import PEOPLE
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying

_COUNTS = ("none", "one", "two", "three")


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves, gets, drops and gifts with `num_questions` questions.

    A question is about the one who got, dropped or gave something in the last five facts. Support
    are all lines in which that person got, dropped, gave or received something, in order.
    """
    return tell_carrying(dice, CarryingWorld(dice, PEOPLE, has_gifts=True), _ask, num_questions)


def _ask(reader: Reader, event: Event) -> Asked | None:
    if isinstance(event, Move):
        return None
    touching = reader.touching(event.actor)
    gains = [_is_gain(each.event, event.actor) for each in touching]
    count = 2 * sum(gains) - len(gains)
    text = f"How many objects is {event.actor} carrying? "
    return Asked(text, _COUNTS[count], tuple(each.line for each in touching))


def _is_gain(event: Event, person: str) -> bool:
    return isinstance(event, Get) or (isinstance(event, Give) and event.receiver == person)
