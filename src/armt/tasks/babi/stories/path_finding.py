"""Task 19, path finding: how do you go from the kitchen to the garden, over two links of five?"""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.links import COMPASS, STEPS, Link, draw_order, opposite
from armt.tasks.babi.sentences import PLACES
from armt.tasks.babi.story_writer import StoryWriter

NUM_STRAYS = 3
"""Places off the path, each beside a place on it."""


def draw_story(dice: Dice) -> Story:
    """Draws a path of two links, three more beside it, and the question for the path.

    Two places off the path may come to lie on one cell, as in the published data; all links form a
    tree. The answer is the two directions; the support is the lines in the order of travel.
    """
    writer = StoryWriter()
    places = dice.take(PLACES, 3 + NUM_STRAYS)
    start, middle, end = places[:3]
    there = dice.pick(STEPS)
    onward = dice.pick([step for step in STEPS if step != opposite(there)])
    path = [Link(middle, there, start), Link(end, onward, middle)]
    taken = {(path[0].other, there), (middle, opposite(there))}
    taken |= {(middle, onward), (end, opposite(onward))}
    free = [(place, step) for place in places[:3] for step in STEPS if (place, step) not in taken]
    strays = [
        Link(stray, step, place)
        for stray, (place, step) in zip(places[3:], dice.take(free, NUM_STRAYS), strict=True)
    ]
    line_of: dict[frozenset[str], int] = {}
    for link in draw_order(dice, path + strays):
        line_of[frozenset((link.thing, link.other))] = writer.tell(link.text(COMPASS))
    writer.ask(
        f"How do you go from the {start} to the {end}?",
        ",".join(COMPASS[link.step][0] for link in path),
        [line_of[frozenset((link.thing, link.other))] for link in path],
    )
    return writer.story()
