"""Task 11, basic coreference: a second sentence goes on with "he" or "she"."""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.telling import NUM_QUESTIONS
from armt.tasks.babi.walkers import Walkers


def draw_story(dice: Dice) -> Story:
    """Draws a story of five times two moves of one person, each with a question after it.

    The answer is where the person's second move led; both lines support it.
    """
    writer = StoryWriter()
    walkers = Walkers(dice, writer)
    for _ in range(NUM_QUESTIONS):
        walkers.tell_two_moves(1)
        walkers.ask_where()
    return writer.story()
