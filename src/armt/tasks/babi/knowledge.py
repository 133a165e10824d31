"""What a reader of a story can know, each piece with the lines that it follows from."""

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
        self._visits: dict[str, list[Visit]] = {}
        self._of_thing: dict[str, list[Handling]] = {}

    def read(self, line: int, event: Event) -> None:
        """Takes in what line number `line` tells."""
        if isinstance(event, Move):
            self._visits.setdefault(event.actor, []).append(Visit(line, event.place))
            return
        handling = Handling(line, event)
        self.handlings.append(handling)
        self._of_thing.setdefault(event.thing, []).append(handling)

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
            visits = self.carried_to(thing)
        else:
            visits = [each for each in self.visits(latest.event.actor) if each.line < latest.line]
        return Known(visits[-1].place, (latest.line, visits[-1].line)) if visits else None

    def carried_to(self, thing: str) -> list[Visit]:
        """Returns the places `thing` was taken to by the one who got it last, in order."""
        found = self._of_thing.get(thing, [])
        got = next((each for each in reversed(found) if isinstance(each.event, Get)), None)
        if got is None:
            return []
        since = [each for each in self.visits(got.event.actor) if each.line > got.line]
        latest = found[-1]
        if isinstance(latest.event, Drop):
            return [each for each in since if each.line < latest.line]
        return since


def _who(event: Get | Drop | Give) -> tuple[str, ...]:
    return (event.actor, event.receiver) if isinstance(event, Give) else (event.actor,)
