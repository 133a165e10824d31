"""Task 12, conjunction: two people go together; where is one of them?"""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.telling import FACTS_PER_GAP, NUM_QUESTIONS
from armt.tasks.babi.walkers import Walkers


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of moves of two people, with a question after every second.

    The answer is the person's latest place; that one line supports it.
    """
    writer = StoryWriter()
    walkers = Walkers(dice, writer)
    for _ in range(num_questions):
        for _ in range(FACTS_PER_GAP):
            walkers.tell_move(2)
        walkers.ask_where()
    return writer.story()
