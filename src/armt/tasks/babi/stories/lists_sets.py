"""Task 8, lists and sets: what is a person carrying?"""

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Get, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Handling, Reader
from armt.tasks.babi.sentences import PEOPLE
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves, gets and drops with `num_questions` questions.

    A question is about the one who got or dropped something in the last five facts. Support are all
    such lines of that person, object by object in the order in which they first came to hand; the
    answer lists what is still held in the same order.
    """
    return tell_carrying(dice, CarryingWorld(dice, PEOPLE), _ask, num_questions)


def _ask(reader: Reader, event: Event) -> Asked | None:
    if isinstance(event, Move):
        return None
    by_thing: dict[str, list[Handling]] = {}
    for each in reader.touching(event.actor):
        by_thing.setdefault(each.event.thing, []).append(each)
    held = [thing for thing, all_of in by_thing.items() if isinstance(all_of[-1].event, Get)]
    lines = tuple(each.line for all_of in by_thing.values() for each in all_of)
    return Asked(f"What is {event.actor} carrying? ", ",".join(held) or "nothing", lines)
