"""Who carries what, and where things come to lie (tasks 2, 3, 5, 7 and 8)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from armt.tasks.babi.oracle.grammar import Told
from armt.tasks.babi.oracle.knowledge import Reading, unanswered

_GIFT_RECALL = 5
_COUNTS = ("none", "one", "two", "three")


class _Stop(NamedTuple):
    """A place where a thing was."""

    place: str
    """Its name."""

    line: int
    """The move that tells it."""


class _Dealings(NamedTuple):
    """What a person had to do with a thing."""

    is_held: bool
    """Whether the person has it now."""

    lines: tuple[int, ...]
    """The facts that tell of it."""


def where_is_thing(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Where is the O?": with its carrier, or where it was left."""
    (thing,) = asked.parts
    event = _latest_event(thing, facts)
    person = facts[event].parts[0]
    until = len(facts) if facts[event].form == "get" else event
    for line in reversed(range(until)):
        match facts[line]:
            case Told("move", (mover, place)) if mover == person:
                return Reading(place, (event, line))
            case _:
                continue
    raise unanswered(f"no place of {person} is told")


def where_was_thing(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "Where was the O before the L?" of the latest time that O came to L."""
    thing, place = asked.parts
    stops = list(_stops(thing, facts))
    for before, stop in reversed(list(pairwise(stops))):
        if stop.place == place:
            return Reading(before.place, (_latest_event(thing, facts), stop.line, before.line))
    raise unanswered(f"the {thing} is not told to come to the {place} from elsewhere")


def who_gave_what(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers a question about a gift.

    It means the latest gift of a thing, and follows it within four facts. If gifts of two things
    fit, the official data mean the earlier in two of three cases, which the text cannot tell.
    """
    gifts = {line: told.parts for line, told in enumerate(facts) if told.form == "give"}
    latest = {thing: line for line, (_, thing, _) in gifts.items()}
    fitting = {
        line: answer
        for line, gift in gifts.items()
        for meant, answer in [_gift_asked(asked.form, *gift)]
        if meant == asked.parts
    }
    if not fitting:
        raise unanswered(f"no such gift is told ({', '.join(asked.parts)})")
    current = [line for line in fitting if line in latest.values()]
    recent = [line for line in current if line >= len(facts) - _GIFT_RECALL]
    line = min(recent) if recent else max(current or fitting)
    return Reading(fitting[line], (line,))


def how_many(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "How many objects is P carrying?"; all that P did with objects supports it."""
    carried = _carried_by(asked.parts[0], facts)
    things = [thing for thing, dealings in carried.items() if dealings.is_held]
    return Reading(_COUNTS[len(things)], tuple(sorted(_lines(carried))))


def what_carried(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "What is P carrying?", thing by thing in the order in which P first had them."""
    carried = _carried_by(asked.parts[0], facts)
    things = [thing for thing, dealings in carried.items() if dealings.is_held]
    return Reading(",".join(things) or "nothing", tuple(_lines(carried)))


def _latest_event(thing: str, facts: Sequence[Told]) -> int:
    for line in reversed(range(len(facts))):
        if facts[line].form in ("get", "drop") and facts[line].parts[1] == thing:
            return line
    raise unanswered(f"nobody is told to have the {thing}")


def _stops(thing: str, facts: Sequence[Told]) -> Iterator[_Stop]:
    """Yields the places of a thing in the order of time."""
    people: dict[str, _Stop] = {}
    carrier, place = "", ""
    for line, told in enumerate(facts):
        person, named = told.parts
        if told.form == "move":
            people[person] = _Stop(named, line)
        elif named == thing:
            carrier = person if told.form == "get" else ""
        stop = people.get(carrier)
        if stop is not None and stop.place != place:
            place = stop.place
            yield stop


def _gift_asked(form: str, giver: str, thing: str, receiver: str) -> tuple[tuple[str, ...], str]:
    """Returns the words by which a question of a form means this gift, and its answer."""
    match form:
        case "what":
            return (giver, receiver), thing
        case "giver to":
            return (thing, receiver), giver
        case "giver":
            return (thing,), giver
        case "receiver":
            return (thing,), receiver
        case _:
            return (giver, thing), receiver


def _carried_by(person: str, facts: Sequence[Told]) -> dict[str, _Dealings]:
    """Returns what a person had to do with things, in the order of their first mention."""
    carried: dict[str, _Dealings] = {}
    for line, told in enumerate(facts):
        if told.form == "move" or person not in (told.parts[0], told.parts[-1]):
            continue
        thing = told.parts[1]
        is_held = told.form == "get" or (told.form == "give" and told.parts[2] == person)
        before = carried[thing].lines if thing in carried else ()
        carried[thing] = _Dealings(is_held, (*before, line))
    if not carried:
        raise unanswered(f"nothing is told of what {person} does with objects")
    return carried


def _lines(carried: Mapping[str, _Dealings]) -> list[int]:
    return [line for dealings in carried.values() for line in dealings.lines]
