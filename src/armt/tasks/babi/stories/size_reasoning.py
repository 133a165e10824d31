"""Task 18, size reasoning: what fits in a box that fits in a chest fits in the chest."""

from collections.abc import Sequence
from typing import NamedTuple

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.story_writer import StoryWriter

SMALL_THINGS = ("chocolate", "box of chocolates")
"""The two smallest, the smaller one first."""

LARGE_THINGS = ("chest", "box", "container", "suitcase")
"""The others, larger than these, in an order that each story draws."""

NUM_FACTS = 5
"""Facts told at a time."""

NUM_QUESTIONS = 5
"""Questions asked at a time; the story ends with them."""

NUM_TRIES = 40
"""How often a question is sought before more facts are told; measured on the published data."""


class _Fact(NamedTuple):
    """Two things of which the first is the larger one, as told in a line."""

    large: str
    small: str
    line: int


class _Chain(NamedTuple):
    """Two facts that meet in one thing, larger than one and smaller than the other."""

    near: _Fact
    far: _Fact


def draw_story(dice: Dice) -> Story:
    """Draws five facts, and more by fives until something can be concluded, and five questions.

    Facts are random pairs and may come again. A question compares the ends of a chain of two facts,
    which may have been told directly too. The support is these two lines, first the one about the
    thing that the question takes for the larger one.
    """
    writer = StoryWriter()
    things = [*SMALL_THINGS, *dice.shuffle(LARGE_THINGS)]
    facts: list[_Fact] = []
    while True:
        facts += [_tell(dice, writer, things) for _ in range(NUM_FACTS)]
        for _ in range(NUM_QUESTIONS):
            chain = _find_chain(dice, facts)
            if chain is None:
                break
            _ask(dice, writer, chain)
        else:
            return writer.story()


def _tell(dice: Dice, writer: StoryWriter, things: Sequence[str]) -> _Fact:
    low, high = sorted(dice.take(range(len(things)), 2))
    large, small = things[high], things[low]
    is_bigger = dice.chance(0.5)
    text = (
        f"{large} is bigger than the {small}" if is_bigger else f"{small} fits inside the {large}"
    )
    return _Fact(large, small, writer.tell(f"The {text}."))


def _find_chain(dice: Dice, facts: Sequence[_Fact]) -> _Chain | None:
    tries = (_try_chain(dice, facts) for _ in range(NUM_TRIES))
    return next((chain for chain in tries if chain is not None), None)


def _try_chain(dice: Dice, facts: Sequence[_Fact]) -> _Chain | None:
    """Returns a random fact with the first other one about one of its things, if they are a chain.

    All questions of the published data follow from two facts found in this way.
    """
    near = dice.pick(facts)
    middle = dice.pick((near.large, near.small))
    far = next((each for each in facts if each is not near and middle in each[:2]), None)
    if far is None or (far.large == middle) == (near.large == middle):
        return None
    return _Chain(near, far)


def _ask(dice: Dice, writer: StoryWriter, chain: _Chain) -> None:
    near, far = chain
    is_yes = near.small == far.large
    large, small = (near.large, far.small) if is_yes else (near.small, far.large)
    if dice.chance(0.5):
        question = f"Is the {large} bigger than the {small}?"
    else:
        question = f"Does the {small} fit in the {large}?"
    writer.ask(question, "yes" if is_yes else "no", (near.line, far.line))
