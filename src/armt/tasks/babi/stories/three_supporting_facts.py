"""Task 3, three supporting facts: where was an object before it came to a place?"""

from functools import partial

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import PEOPLE, THERE_SHARE, where_was_thing
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying

_RECENCY = 0.8
"""How much rarer each earlier place of one carrying is asked for; fitted to the real data."""


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a long story of moves, gets and drops with `num_questions` questions.

    A question is about an object got or dropped in the last five facts that was carried over two
    or more moves. It names the place one of them led to, by its latest visit, and asks for the one
    before. Support is the get or drop, the move to the named place and the move before it.
    """
    return tell_carrying(
        dice,
        CarryingWorld(dice, PEOPLE),
        partial(_ask, dice),
        num_questions,
        get_there_share=THERE_SHARE,
    )


def _ask(dice: Dice, reader: Reader, event: Event) -> Asked | None:
    if isinstance(event, Move):
        return None
    visits = reader.carried_to(event.thing)
    if len(visits) < 2:
        return None
    latest = reader.latest_handling(event.thing)
    assert latest is not None, "an object that nobody took"
    index_of = {visit.place: index for index, visit in enumerate(visits)}
    choices = sorted(index for index in index_of.values() if index > 0)
    after = dice.weigh(choices, [_RECENCY ** (len(visits) - index) for index in choices])
    lines = (latest.line, visits[after].line, visits[after - 1].line)
    text = where_was_thing(event.thing, visits[after].place)
    return Asked(text, visits[after - 1].place, lines)
