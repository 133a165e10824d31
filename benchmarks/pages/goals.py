"""Goals that were set, what was measured, and what is known of a miss.

What is measured and by how much it misses comes from the records. `why` and `tried` are written by
hand and shown where a goal is missed or not measured: a test asks for them there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from armt.benchmarking.tables import to_markdown

UNKNOWN = "not measured yet"


class Found(NamedTuple):
    """What was measured for a goal."""

    value: float
    told: str = ""
    """What a reader should know besides, such as an interval."""

    is_whole: bool = True
    """Whether it is measured with as many seeds as the goal asks for."""


class Target(NamedTuple):
    """A goal and how far it is reached."""

    name: str
    goal: float
    find: Callable[[], Found | None]
    unit: str = "%"
    is_upper: bool = False
    """Whether the goal is not to be exceeded."""

    why: str = ""
    """What the evidence says of the miss, with its place."""

    tried: str = ""
    digits: int = 1
    """How many are shown behind the point."""

    def missed_by(self, found: Found) -> float:
        """Returns how far the value falls short; not above zero if the goal is met."""
        return found.value - self.goal if self.is_upper else self.goal - found.value


def goals_table(targets: Sequence[Target]) -> str:
    """Returns a row for each goal."""
    return to_markdown(
        ["target", "goal", "measured", "missed by", "why", "tried"],
        [goal_row(target) for target in targets],
    )


def unexplained(targets: Sequence[Target]) -> list[str]:
    """Returns the goals that are missed or open without a word of why or of what was tried."""
    return [
        target.name
        for target in targets
        if _is_open(target, target.find()) and not (target.why and target.tried)
    ]


def _is_open(target: Target, found: Found | None) -> bool:
    return found is None or not found.is_whole or target.missed_by(found) > 0


def goal_row(target: Target) -> list[str]:
    """Returns what a table shows of a goal."""
    found = target.find()
    bound = "at most" if target.is_upper else "at least"
    goal = f"{bound} {target.goal:g} {target.unit}"
    words = [target.why, target.tried] if _is_open(target, found) else ["", ""]
    if found is None:
        return [target.name, goal, UNKNOWN, "", *words]
    missed = target.missed_by(found)
    digits = target.digits
    measured = f"{found.value:.{digits}f} {target.unit}{found.told and f', {found.told}'}"
    met = "met" if found.is_whole else "met so far"
    return [target.name, goal, measured, f"{missed:.{digits}f}" if missed > 0 else met, *words]
