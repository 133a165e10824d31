"""What a reader of a story can know, each piece with the lines that it follows from."""

from collections import defaultdict
from typing import NamedTuple, final

from armt.tasks.babi.carrying_world import Drop, Event, Get, Give, Move


class Known(NamedTuple):
    """A piece of knowledge and the numbers of the lines that tell it."""

    value: str
    lines: tuple[int, ...]


class Visit(NamedTuple):
    """A move to a place, as told."""

    line: int
    place: str


class Handling(NamedTuple):
    """A get, drop or give, as told."""

    line: int
    event: Get | Drop | Give


class Gift(NamedTuple):
    """A give, as told."""

    line: int
    event: Give


@final
class Reader:
    """Reads the events of the carrying world one by one and remembers their lines.

    It never looks into the world: hidden places stay unknown until the text tells them.
    """

    def __init__(self) -> None:
        """Knows nothing."""
        self.handlings: list[Handling] = []
        self._visits: defaultdict[str, list[Visit]] = defaultdict(list)
        self._of_thing: defaultdict[str, list[Handling]] = defaultdict(list)
        self._carriers: dict[str, str] = {}
        self._carried_to: dict[str, list[Visit]] = {}

    def read(self, line: int, event: Event) -> None:
        """Takes in what line number `line` tells."""
        if isinstance(event, Move):
            visit = Visit(line, event.place)
            self._visits[event.actor].append(visit)
            for thing, carrier in self._carriers.items():
                if carrier == event.actor:
                    self._carried_to[thing].append(visit)
            return
        handling = Handling(line, event)
        self.handlings.append(handling)
        self._of_thing[event.thing].append(handling)
        if isinstance(event, Get):
            self._carriers[event.thing] = event.actor
            self._carried_to[event.thing] = []
        elif isinstance(event, Drop):
            _ = self._carriers.pop(event.thing, None)

    def visits(self, person: str) -> list[Visit]:
        """Returns the moves of `person` in order."""
        return self._visits.get(person, [])

    def latest_handling(self, thing: str) -> Handling | None:
        """Returns what was done last with `thing`."""
        found = self._of_thing.get(thing)
        return found[-1] if found else None

    def latest_gift(self, thing: str) -> Gift | None:
        """Returns the latest line in which `thing` was given."""
        for line, event in reversed(self._of_thing.get(thing, [])):
            if isinstance(event, Give):
                return Gift(line, event)
        return None

    def touching(self, person: str) -> list[Handling]:
        """Returns the handlings in which `person` gave, received, got or dropped, in order."""
        return [each for each in self.handlings if person in _who(each.event)]

    def place_of_person(self, person: str) -> Known | None:
        """Returns where `person` went last."""
        visits = self.visits(person)
        return Known(visits[-1].place, (visits[-1].line,)) if visits else None

    def place_of_thing(self, thing: str) -> Known | None:
        """Returns where `thing` is, if two lines in a world without gifts tell it.

        These are the get and the carrier's latest move, which must come after it; or the drop and
        the dropper's latest move before it.
        """
        latest = self.latest_handling(thing)
        if latest is None:
            return None
        if isinstance(latest.event, Get):
            visit = next(reversed(self.carried_to(thing)), None)
        else:
            visits = reversed(self.visits(latest.event.actor))
            visit = next((each for each in visits if each.line < latest.line), None)
        return Known(visit.place, (latest.line, visit.line)) if visit else None

    def carried_to(self, thing: str) -> list[Visit]:
        """Returns the places `thing` was taken to by the one who got it last, in order."""
        return self._carried_to.get(thing, [])


def _who(event: Get | Drop | Give) -> tuple[str, ...]:
    return (event.actor, event.receiver) if isinstance(event, Give) else (event.actor,)
