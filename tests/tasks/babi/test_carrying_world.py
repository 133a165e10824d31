from collections import Counter
from itertools import pairwise

import pytest

from armt.tasks.babi.carrying_world import CarryingWorld, Drop, Event, Get, Give, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.sentences import PEOPLE


class Witness:
    """Follows events from outside and refuses the impossible; a place is unknown until told."""

    def __init__(self) -> None:
        self.rooms: dict[str, int] = {}  # person or object -> number of an as yet unnamed place
        self.names: dict[int, str] = {}
        self.holder: dict[str, str] = {}

    def room(self, who: str) -> int:
        return self.rooms.setdefault(who, len(self.rooms) + 1000)

    def meet(self, one: str, other: str) -> None:
        """Learns that two are at one place."""
        kept, gone = sorted((self.room(one), self.room(other)))
        names = {self.names[room] for room in (kept, gone) if room in self.names}
        assert len(names) <= 1, f"{one} and {other} are at two places: {names}"
        self.rooms = {who: kept if room == gone else room for who, room in self.rooms.items()}
        if names:
            self.names[kept] = names.pop()

    def see(self, event: Event) -> None:
        match event:
            case Move(actor, place):
                assert self.names.get(self.room(actor)) != place, event
                self.rooms[actor] = place_number(place)
                self.names[place_number(place)] = place
            case Get(actor, thing):
                assert thing not in self.holder, event
                self.meet(actor, thing)
                self.holder[thing] = actor
            case Drop(actor, thing):
                assert self.holder.pop(thing) == actor, event
                self.rooms[thing] = self.room(actor)
            case Give(actor, thing, receiver):
                assert self.holder[thing] == actor != receiver, event
                self.meet(actor, receiver)
                self.holder[thing] = receiver


def place_number(place: str) -> int:
    return ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office").index(place)


def draw_events(key: int, count: int, **options: bool) -> list[Event]:
    world = CarryingWorld(Dice("world", key), PEOPLE, **options)
    return [world.draw_event() for _ in range(count)]


@pytest.mark.parametrize("has_gifts", [False, True])
def test_nothing_impossible_happens(has_gifts):
    for key in range(200):
        witness = Witness()
        for event in draw_events(key, 60, has_gifts=has_gifts):
            witness.see(event)


def test_a_witness_refuses_the_impossible():
    for events in (
        [Move("Mary", "office"), Move("Mary", "office")],
        [Get("Mary", "milk"), Get("John", "milk")],
        [Get("Mary", "milk"), Drop("John", "milk")],
        [
            Move("Mary", "office"),
            Get("Mary", "milk"),
            Move("Mary", "garden"),
            Drop("Mary", "milk"),
            Move("John", "office"),
            Get("John", "milk"),
        ],
        [
            Move("Mary", "office"),
            Move("John", "garden"),
            Get("Mary", "milk"),
            Give("Mary", "milk", "John"),
        ],
    ):
        witness = Witness()
        for event in events[:-1]:
            witness.see(event)
        with pytest.raises(AssertionError):
            witness.see(events[-1])


def test_people_only_walk_without_objects():
    world = CarryingWorld(Dice("walk"), PEOPLE, objects=())
    assert all(isinstance(world.draw_event(), Move) for _ in range(300))


def test_kinds_of_events():
    without = {type(event) for event in draw_events(1, 500)}
    assert without == {Move, Get, Drop}
    assert {type(event) for event in draw_events(1, 500, has_gifts=True)} == {*without, Give}


def test_a_gift_mostly_comes_back_and_only_its_receiver_gives_next():
    next_gifts = Counter()
    for key in range(300):
        events = draw_events(key, 40, has_gifts=True)
        for before, after in pairwise(events):
            if isinstance(before, Give) and isinstance(after, Give):
                assert (after.actor, after.thing) == (before.receiver, before.thing)
                next_gifts[after.receiver == before.actor] += 1
    assert next_gifts[True] > 9 * next_gifts[False] > 0
