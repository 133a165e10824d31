"""The rhythm of bAbI stories: two facts, then a question about one of the last five.

So it is in the published data: a gap without a question is one in which none of the last five facts
is of the kind that the task asks about.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from armt.tasks.babi.carrying_world import CarryingWorld, Drop, Event, Get, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Reader
from armt.tasks.babi.sentences import drop_text, get_text, give_text, move_text
from armt.tasks.babi.story_writer import StoryWriter

NUM_QUESTIONS = 5
"""Questions of a story."""

FACTS_PER_GAP = 2
"""Facts between two chances to ask."""

NUM_RECENT_FACTS = 5
"""How far back the fact may lie that a question is about."""

Fact = TypeVar("Fact")


class Asked(NamedTuple):
    """A question with its answer."""

    text: str
    answer: str
    supporting: tuple[int, ...]


def tell_in_pairs(
    dice: Dice,
    tell: Callable[[StoryWriter], Fact],
    ask: Callable[[Fact], Asked | None],
    num_questions: int,
) -> Story:
    """Tells facts until `num_questions` questions are asked.

    Args:
        dice: source of chance.
        tell: makes the next fact happen, writes its line and returns it.
        ask: returns a question that `fact` gives rise to, or `None`; each of the recent facts is
            offered in random order until one gives a question.
        num_questions: questions of the story; with fewer it is the beginning of the same one.
    """
    writer = StoryWriter()
    recent: list[Fact] = []
    while writer.num_questions < num_questions:
        recent += [tell(writer) for _ in range(FACTS_PER_GAP)]
        recent = recent[-NUM_RECENT_FACTS:]
        for fact in dice.shuffle(recent):
            asked = ask(fact)
            if asked is not None:
                writer.ask(asked.text, asked.answer, asked.supporting)
                break
    return writer.story()


def tell_carrying(
    dice: Dice,
    world: CarryingWorld,
    ask: Callable[[Reader, Event], Asked | None],
    num_questions: int,
    *,
    get_there_share: float = 1.0,
) -> Story:
    """Tells what happens in `world`; `ask` is given what the reader knows and a recent event.

    `get_there_share` is how often "there" ends the sentence that someone took something.
    """
    reader = Reader()

    def tell(writer: StoryWriter) -> Event:
        event = world.draw_event()
        reader.read(writer.tell(event_text(dice, event, get_there_share)), event)
        return event

    return tell_in_pairs(dice, tell, partial(ask, reader), num_questions)


def event_text(dice: Dice, event: Event, get_there_share: float = 1.0) -> str:
    """Returns a sentence that tells `event`."""
    if isinstance(event, Move):
        return move_text(dice, event.actor, event.place)
    if isinstance(event, Get):
        return get_text(dice, event.actor, event.thing, there_share=get_there_share)
    if isinstance(event, Drop):
        return drop_text(dice, event.actor, event.thing)
    return give_text(dice, event.actor, event.thing, event.receiver)
