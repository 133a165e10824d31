"""Things on a grid, linked to their neighbours, and the order in which the links are told."""

from collections.abc import Mapping
from typing import NamedTuple

from armt.tasks.babi.dice import Dice

Step = tuple[int, int]
"""One cell to the right or left, or one up or down."""

COMPASS: dict[Step, str] = {
    (0, 1): "north of",
    (0, -1): "south of",
    (1, 0): "east of",
    (-1, 0): "west of",
}
"""The steps on a map, as they are told."""

STEPS = tuple(COMPASS)
"""All steps."""


def opposite(step: Step) -> Step:
    """Returns the step back."""
    return (-step[0], -step[1])


class Link(NamedTuple):
    """Two neighbours: `thing` lies one `step` from `other`."""

    thing: str
    step: Step
    other: str

    def reverse(self) -> "Link":
        """Returns the same link told of the other thing."""
        return Link(self.other, opposite(self.step), self.thing)

    def text(self, wording: Mapping[Step, str]) -> str:
        """Returns the sentence that tells it, such as "The office is north of the kitchen."."""
        return f"The {self.thing} is {wording[self.step]} the {self.other}."


def draw_order(dice: Dice, links: list[Link]) -> list[Link]:
    """Returns the links in an order of telling, each from one of its ends.

    A thing and one of its links are drawn again and again, and told if the link is new. So links of
    things that have few come early and from that end, as in the published data of task 19.
    """
    of_thing: dict[str, list[int]] = {}
    for index, link in enumerate(links):
        of_thing.setdefault(link.thing, []).append(index)
        of_thing.setdefault(link.other, []).append(index)
    things = tuple(of_thing)
    told: dict[int, Link] = {}
    while len(told) < len(links):
        thing = dice.pick(things)
        index = dice.pick(of_thing[thing])
        if index not in told:
            told[index] = links[index] if links[index].thing == thing else links[index].reverse()
    return list(told.values())
