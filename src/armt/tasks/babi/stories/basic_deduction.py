"""Task 15, basic deduction: mice are afraid of wolves, Gertrude is a mouse."""

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.story_writer import StoryWriter

PLURALS = {"mouse": "mice", "wolf": "wolves", "sheep": "sheep", "cat": "cats"}
"""The kinds of animals, and how many of them are called."""

KINDS = tuple(PLURALS)
"""The kinds, in the singular of the answers."""

ANIMALS = ("Gertrude", "Winona", "Jessica", "Emily")
"""The animals that are asked for; questions write their names small."""

NUM_QUESTIONS = 4
"""Questions of a story."""


def draw_story(dice: Dice) -> Story:
    """Draws eight facts and four questions, like the published data.

    Each kind is afraid of another one; each animal is of a kind of which that has been told. The
    next fact is any that is not told yet and can be told, which puts the fears early. The support
    is the animal's line and its kind's.
    """
    writer = StoryWriter()
    fears: dict[str, tuple[str, int]] = {}
    kinds: dict[str, tuple[str, int]] = {}
    while len(fears) + len(kinds) < len(KINDS) + len(ANIMALS):
        kind = dice.pick(KINDS)
        if dice.chance(0.5):
            if kind not in fears:
                feared = dice.pick([other for other in KINDS if other != kind])
                text = f"{PLURALS[kind].capitalize()} are afraid of {PLURALS[feared]}."
                fears[kind] = (feared, writer.tell(text))
            continue
        animal = dice.pick(ANIMALS)
        if animal not in kinds and kind in fears:
            kinds[animal] = (kind, writer.tell(f"{animal} is a {kind}."))
    for _ in range(NUM_QUESTIONS):
        animal = dice.pick(ANIMALS)
        kind, kind_line = kinds[animal]
        feared, fear_line = fears[kind]
        question = f"What is {animal.lower()} afraid of?"
        writer.ask(question, feared, (kind_line, fear_line))
    return writer.story()
