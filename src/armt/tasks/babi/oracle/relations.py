"""Relations that are followed from thing to thing (tasks 4, 17, 18 and 19)."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from armt.tasks.babi.oracle.grammar import Told
from armt.tasks.babi.oracle.knowledge import Reading, unanswered

_STEPS = {
    "north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0),
    "above": (0, 1), "below": (0, -1), "to the right of": (1, 0), "to the left of": (-1, 0),
}  # fmt: skip
_LETTERS = {step: name[0] for name, step in list(_STEPS.items())[:4]}


class _Edge(NamedTuple):
    """One fact, read in one of its two directions."""

    source: str
    """Where it starts."""

    target: str
    """Where it leads."""

    step: tuple[int, int]
    """East and north from source to target; (1, 0) from smaller to bigger."""

    line: int
    """The fact."""


def neighbor(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "What is north of the X?" and "What is the X north of?"."""
    if asked.form == "what is":
        direction, place = asked.parts
        step = _STEPS[direction]
    else:
        place, direction = asked.parts
        step = _opposite(_STEPS[direction])
    for edge in _edges(facts):
        if edge.source == place and edge.step == step:
            return Reading(edge.target, (edge.line,))
    raise unanswered(f"no place is told to lie there from the {place}")


def is_it(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Is the A above the B?" by counting unit steps from B to A."""
    thing, position, other = asked.parts
    path = _required_path(_edges(facts), thing, other)
    wanted = _opposite(_STEPS[position])
    shift = sum(step[0] * wanted[0] + step[1] * wanted[1] for _, _, step, _ in path)
    return Reading("yes" if shift > 0 else "no", tuple(edge.line for edge in path))


def is_bigger(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Is the X bigger than the Y?" and "Does the X fit in the Y?".

    Official questions follow from two facts even where one tells the same; which of several
    such pairs the official data name is chance.
    """
    big, small = asked.parts if asked.form == "bigger" else reversed(asked.parts)
    edges = _edges(facts)
    for answer, step in (("yes", (-1, 0)), ("no", (1, 0))):
        directed = [edge for edge in edges if edge.step == step]
        chain = _pair(directed, big, small) or _path(directed, big, small)
        if chain:
            return Reading(answer, tuple(edge.line for edge in chain))
    raise unanswered(f"the sizes of the {big} and the {small} are not linked")


def path_between(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "How do you go from the S to the T?" with the first letters of the directions."""
    path = _required_path(_edges(facts), *asked.parts)
    letters = ",".join(_LETTERS[edge.step] for edge in path)
    return Reading(letters, tuple(edge.line for edge in path))


def _edges(facts: Sequence[Told]) -> list[_Edge]:
    edges: list[_Edge] = []
    for line, told in enumerate(facts):
        if told.form == "relation":
            thing, relation, other = told.parts
            step = _STEPS[relation]
        else:
            thing, other = told.parts
            step = (1, 0) if told.form == "bigger" else (-1, 0)
        edges += [
            _Edge(other, thing, step, line),
            _Edge(thing, other, _opposite(step), line),
        ]
    return edges


def _opposite(step: tuple[int, int]) -> tuple[int, int]:
    return -step[0], -step[1]


def _pair(edges: Sequence[_Edge], source: str, target: str) -> list[_Edge]:
    """Returns two edges that lead from source to target; empty if there are none."""
    for last in edges:
        for first in edges:
            if (first.source, first.target, last.target) == (source, last.source, target):
                return [first, last]
    return []


def _required_path(edges: Sequence[_Edge], source: str, target: str) -> list[_Edge]:
    path = _path(edges, source, target)
    if not path:
        raise unanswered(f"no chain of facts leads from the {source} to the {target}")
    return path


def _path(edges: Sequence[_Edge], source: str, target: str) -> list[_Edge]:
    """Returns a shortest path; empty if there is none."""
    leaving: defaultdict[str, list[_Edge]] = defaultdict(list)
    for edge in edges:
        leaving[edge.source].append(edge)
    paths: dict[str, list[_Edge]] = {source: []}
    waiting = deque([source])
    while waiting and target not in paths:
        place = waiting.popleft()
        for edge in leaving[place]:
            if edge.target not in paths:
                paths[edge.target] = [*paths[place], edge]
                waiting.append(edge.target)
    return paths.get(target, [])
