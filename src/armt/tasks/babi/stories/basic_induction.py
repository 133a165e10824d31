"""Task 16, basic induction: Lily is a frog, Lily is gray, Brian is a frog; what color is Brian?"""

from dataclasses import dataclass, field

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.story_writer import StoryWriter

ANIMALS = ("Lily", "Bernhard", "Greg", "Julius", "Brian")
"""The animals of a story."""

KINDS = ("swan", "lion", "frog", "rhino")
"""Their kinds."""

COLORS = ("gray", "white", "yellow", "green")
"""The colors of the kinds."""

_NEVER_ASKED_COUNTS = (1, 3)
"""How many animals the kind of the one asked for never has: with one nothing can be concluded;
three do not occur in the published data."""


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What was told of the animals, and where."""

    kinds: dict[str, str] = field(default_factory=dict[str, str])
    kind_lines: dict[str, int] = field(default_factory=dict[str, int])
    colors: dict[str, str] = field(default_factory=dict[str, str])
    color_lines: dict[str, int] = field(default_factory=dict[str, int])

    def peers(self, animal: str) -> list[str]:
        """The others of the animal's kind, in the order in which their kinds were told."""
        return [
            other
            for other in self.kinds
            if other != animal and self.kinds[other] == self.kinds[animal]
        ]


def draw_story(dice: Dice) -> Story:
    """Draws nine facts and a question for the animal whose color was not told.

    The kind of an animal is told before its color. A kind has one color at a time and gets another
    with each animal of it, so animals of one kind may differ. The answer is the color of that peer
    whose kind was told last. The support is the asked one's kind, the peer's kind, its color.
    """
    while True:
        writer = StoryWriter()
        told = _tell(dice, writer)
        asked = next(animal for animal in ANIMALS if animal not in told.colors)
        peers = told.peers(asked)
        if 1 + len(peers) in _NEVER_ASKED_COUNTS:
            continue
        peer = peers[-1]
        lines = (told.kind_lines[asked], told.kind_lines[peer], told.color_lines[peer])
        writer.ask(f"What color is {asked}?", told.colors[peer], lines)
        return writer.story()


def _tell(dice: Dice, writer: StoryWriter) -> _Told:
    """Tells the kinds of all and the colors of all but one, any that can be told next."""
    told = _Told()
    color_of: dict[str, str] = {}
    while len(told.kinds) < len(ANIMALS) or len(told.colors) < len(ANIMALS) - 1:
        animal = dice.pick(ANIMALS)
        if dice.chance(0.5):
            if animal not in told.kinds:
                kind = told.kinds[animal] = dice.pick(KINDS)
                told.kind_lines[animal] = writer.tell(f"{animal} is a {kind}.")
                color_of[kind] = dice.pick(COLORS)
        elif animal in told.kinds and animal not in told.colors:
            color = told.colors[animal] = color_of[told.kinds[animal]]
            told.color_lines[animal] = writer.tell(f"{animal} is {color}.")
    return told
