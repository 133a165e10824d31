"""Task 11, basic coreference: a second sentence goes on with "he" or "she"."""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.walkers import tell_by_pronouns


def draw_story(dice: Dice) -> Story:
    """Draws a story of five times two moves of one person; see `tell_by_pronouns`."""
    return tell_by_pronouns(dice, 1)
