"""Task 17, positional reasoning: two shapes beside a third; how do they lie to each other?"""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.links import STEPS, Link, Step, draw_order
from armt.tasks.babi.story_writer import StoryWriter

SHAPES = (
    "triangle",
    "blue square",
    "pink rectangle",
    "red square",
    "red sphere",
    "yellow square",
)
"""The shapes of the published data."""

POSITIONS: dict[Step, str] = {
    (0, 1): "above",
    (0, -1): "below",
    (1, 0): "to the right of",
    (-1, 0): "to the left of",
}
"""The steps as they are told."""

NUM_QUESTIONS = 8
"""Questions of a story."""


def draw_story(dice: Dice) -> Story:
    """Draws two facts about three shapes and eight questions about the two outer ones.

    Half of the answers are "yes". The text tells single steps: of shapes that lie level with each
    other neither is above or below. Both lines support the answer, first that of the shape that the
    question begins with.
    """
    writer = StoryWriter()
    middle, *outer = dice.take(SHAPES, 3)
    step_of = dict(zip(outer, dice.take(STEPS, 2), strict=True))
    links = [Link(shape, step, middle) for shape, step in step_of.items()]
    line_of: dict[str, int] = {}
    for link in draw_order(dice, links):
        # Here a sentence is told of the other end, more often of the middle: so in the real data.
        shape = link.other if link.thing == middle else link.thing
        line_of[shape] = writer.tell(link.reverse().text(POSITIONS))
    for _ in range(NUM_QUESTIONS):
        asked, other = dice.shuffle(outer)
        is_so = _true_positions(step_of[asked], step_of[other])
        is_yes = dice.chance(0.5)
        position = dice.pick([step for step in STEPS if (step in is_so) == is_yes])
        question = f"Is the {asked} {POSITIONS[position]} the {other}?"
        writer.ask(question, "yes" if is_yes else "no", (line_of[asked], line_of[other]))
    return writer.story()


def _true_positions(asked: Step, other: Step) -> list[Step]:
    """Returns the steps along which the first of two neighbours of a cell lies from the second."""
    right, up = asked[0] - other[0], asked[1] - other[1]
    return [step for step in STEPS if step[0] * right + step[1] * up > 0]
