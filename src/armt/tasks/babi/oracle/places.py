"""Where people are: told, denied, told of one of two places, told of "he" and of "they"."""

from collections.abc import Sequence
from typing import NamedTuple

from armt.tasks.babi.oracle.grammar import Told
from armt.tasks.babi.oracle.knowledge import Reading, unanswered


class _Latest(NamedTuple):
    """The latest word about where a person is."""

    places: tuple[str, ...]
    """The place; both if one of two was told."""

    is_there: bool
    """False if it was told that the person is not there."""

    lines: tuple[int, ...]
    """The facts that tell it."""


def where_is(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Where is P?" by the latest place of P (tasks 1 and 11 to 13)."""
    (person,) = asked.parts
    latest = _latest_of(person, facts)
    if not latest.is_there or len(set(latest.places)) > 1:
        raise unanswered(f"the place of {person} is not certain")
    return Reading(latest.places[0], latest.lines)


def is_there(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Is P in the L?" by the latest word about P (tasks 6, 9 and 10).

    One of two places is `maybe` for each of them, even if both are the same, and `no` for others.
    """
    person, place = asked.parts
    latest = _latest_of(person, facts)
    is_named = place in latest.places
    if not latest.is_there:
        if not is_named:
            raise unanswered(f"{person} is only known not to be in the {latest.places[0]}")
        return Reading("no", latest.lines)
    if not is_named:
        return Reading("no", latest.lines)
    return Reading("yes" if len(latest.places) == 1 else "maybe", latest.lines)


def _latest_of(person: str, facts: Sequence[Told]) -> _Latest:
    known: dict[str, _Latest] = {}
    before: tuple[str, ...] = ()
    for line, told in enumerate(facts):
        people, latest = _told_of(told, line)
        if latest is None:
            continue
        if told.form == "then":
            if not before:
                raise unanswered(f"fact {line + 1} does not say who is meant")
            people = before
            latest = latest._replace(lines=(*known[people[0]].lines, line))
        known.update(dict.fromkeys(people, latest))
        before = people
    if person not in known:
        raise unanswered(f"no place of {person} is told")
    return known[person]


def _told_of(told: Told, line: int) -> tuple[tuple[str, ...], _Latest | None]:
    """Returns the people that a fact places, nobody for a pronoun, and where they are."""
    lines = (line,)
    match told:
        case Told("move" | "is in", (person, place)):
            return (person,), _Latest((place,), True, lines)
        case Told("is not in", (person, place)):
            return (person,), _Latest((place,), False, lines)
        case Told("either", (person, *places)):
            return (person,), _Latest(tuple(places), True, lines)
        case Told("both", (person, other, place)):
            return (person, other), _Latest((place,), True, lines)
        case Told("then", (place,)):
            return (), _Latest((place,), True, lines)
        case _:
            return (), None
