"""Task 11, basic coreference: a second sentence goes on with "he" or "she"."""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.telling import NUM_QUESTIONS
from armt.tasks.babi.walkers import tell_by_pronouns


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of one person at a time; see `tell_by_pronouns`."""
    return tell_by_pronouns(dice, 1, num_questions)
