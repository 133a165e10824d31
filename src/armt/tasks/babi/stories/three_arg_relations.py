"""Task 5, three-argument relations: who gave what to whom?"""

from functools import partial

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Give
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import GIVING_PEOPLE, OBJECTS
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_carrying

_NUM_PERSON_FORMS = 4
"""Wordings that ask for a person; each as likely."""

_WHAT_WEIGHT = 2
"""How many times as often as one of them the object is asked for."""


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves, gets, drops and gifts with `num_questions` questions.

    A question is about the latest gift of an object given in the last five facts. Support is the
    line of that gift. Unlike in two of the thousand published questions, "What did A give to B?" is
    not asked when the latest gifts of two objects fit it.
    """
    world = CarryingWorld(dice, GIVING_PEOPLE, has_gifts=True)
    return tell_carrying(dice, world, partial(_ask, dice), num_questions)


def _ask(dice: Dice, reader: Reader, event: Event) -> Asked | None:
    if not isinstance(event, Give):
        return None
    latest = reader.latest_gift(event.thing)
    assert latest is not None, "a gift that was not told"
    text, answer = _question(dice, latest.event, is_only=_is_only(reader, latest.event))
    return Asked(text, answer, (latest.line,))


def _question(dice: Dice, gift: Give, *, is_only: bool) -> tuple[str, str]:
    """Draws a wording and returns it with its answer."""
    giver, thing, receiver = gift
    form = dice.below(_NUM_PERSON_FORMS + (_WHAT_WEIGHT if is_only else 0))
    if form >= _NUM_PERSON_FORMS:
        return f"What did {giver} give to {receiver}? ", thing
    forms = (
        (f"Who gave the {thing} to {receiver}? ", giver),
        (f"Who gave the {thing}? ", giver),
        (f"Who received the {thing}? ", receiver),
        (f"Who did {giver} give the {thing} to? ", receiver),
    )
    return forms[form]


def _is_only(reader: Reader, gift: Give) -> bool:
    """Whether no other object was given last by the same giver to the same receiver."""
    others = [reader.latest_gift(thing) for thing in OBJECTS if thing != gift.thing]
    ends = [(each.event.actor, each.event.receiver) for each in others if each is not None]
    return (gift.actor, gift.receiver) not in ends
