"""Task 13, compound coreference: two people go together, a second sentence goes on with "they"."""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.telling import NUM_QUESTIONS
from armt.tasks.babi.walkers import tell_by_pronouns


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of two people at a time; see `tell_by_pronouns`."""
    return tell_by_pronouns(dice, 2, num_questions)
