"""Task 4, two-argument relations: the office is north of the kitchen; what is north of it?"""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.links import COMPASS, STEPS, Link, draw_order
from armt.tasks.babi.sentences import PLACES
from armt.tasks.babi.story_writer import StoryWriter


def draw_story(dice: Dice) -> Story:
    """Draws three places in a row, the two links between them, and a question about one of these.

    The question names the second place of the sentence it is about, in its words or in the opposite
    ones; the answer is the first place and the support that one line.
    """
    writer = StoryWriter()
    first, middle, last = dice.take(PLACES, 3)
    step = dice.pick(STEPS)
    links = draw_order(dice, [Link(middle, step, first), Link(last, step, middle)])
    lines = [writer.tell(link.text(COMPASS)) for link in links]
    asked = dice.below(len(links))
    link = links[asked]
    if dice.chance(0.5):
        question = f"What is {COMPASS[link.step]} the {link.other}?"
    else:
        question = f"What is the {link.other} {COMPASS[link.reverse().step]}?"
    writer.ask(question, link.thing, (lines[asked],))
    return writer.story()
