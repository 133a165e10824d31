"""The world of people who walk about and get, drop and give objects.

Events are drawn as in the published data, whose frequencies follow from one rule: a person and an
action are drawn at random, and drawn again if the action is impossible. So moves prevail where
nothing can be done, and one who has just taken something is more likely to act again.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.sentences import OBJECTS, PLACES

GIVE_WEIGHT = 4
"""How many times as often as another action a person tries to give; fitted to tasks 5 and 7."""

RETURN_SHARE = 0.75
"""How often one who may give back what he was given does just that; fitted to tasks 5 and 7."""


class Move(NamedTuple):
    """A person goes to another place."""

    actor: str
    place: str


class Get(NamedTuple):
    """A person takes an object that lies where he is."""

    actor: str
    thing: str


class Drop(NamedTuple):
    """A person leaves an object where he is."""

    actor: str
    thing: str


class Give(NamedTuple):
    """A person hands an object to someone at the same place."""

    actor: str
    thing: str
    receiver: str


Event = Move | Get | Drop | Give


@final
class CarryingWorld:
    """What is true; where people and objects are at the start is told to nobody."""

    def __init__(
        self,
        dice: Dice,
        people: Sequence[str],
        objects: Sequence[str] = OBJECTS,
        *,
        has_gifts: bool = False,
    ) -> None:
        """Draws the hidden start; without `objects` people only walk."""
        self._dice = dice
        self._people = people
        self._objects = objects
        self._place = {person: dice.pick(PLACES) for person in people}
        self._lying: dict[str, list[str]] = {place: [] for place in PLACES}
        for thing in objects:
            self._lying[dice.pick(PLACES)].append(thing)
        self._holder: dict[str, str] = {}
        self._latest: Event | None = None
        self._gift: Give | None = None
        self._actions: list[Callable[[str], Event | None]] = [self._move]
        if objects:
            self._actions += [self._get, self._drop]
        if has_gifts:
            self._actions += [self._give] * GIVE_WEIGHT

    def draw_event(self) -> Event:
        """Draws what happens next and lets it happen."""
        # Most tries fail: this loop takes a third of the time of a story, so `pick` is spelled out.
        draw, actions, people = self._dice.random, self._actions, self._people
        num_actions, num_people = len(actions), len(people)
        while True:
            act = actions[int(draw() * num_actions)]
            event = act(people[int(draw() * num_people)])
            if event is not None:
                self._latest = event
                return event

    def _move(self, actor: str) -> Move | None:
        place = self._dice.pick(PLACES)
        if place == self._place[actor]:
            return None
        self._place[actor] = place
        return Move(actor, place)

    def _get(self, actor: str) -> Get | None:
        lying = self._lying[self._place[actor]]
        if not lying:
            return None
        thing = self._dice.pick(lying)
        lying.remove(thing)
        self._holder[thing] = actor
        return Get(actor, thing)

    def _drop(self, actor: str) -> Drop | None:
        held = self._held_by(actor)
        if not held:
            return None
        thing = self._dice.pick(held)
        del self._holder[thing]
        self._lying[self._place[actor]].append(thing)
        return Drop(actor, thing)

    def _give(self, actor: str) -> Give | None:
        gift = self._choose_gift(actor)
        if gift is not None:
            self._holder[gift.thing] = gift.receiver
            self._gift = gift
        return gift

    def _choose_gift(self, actor: str) -> Give | None:
        """Chooses what to give to whom; right after a gift that object goes on, mostly back."""
        held = self._held_by(actor)
        near = held and self._near(actor)
        if not near:
            return None
        gift = self._gift
        if gift is not None and gift.receiver == actor and gift.thing in held:
            if gift.actor in near and self._dice.chance(RETURN_SHARE):
                return Give(actor, gift.thing, gift.actor)
            held = [gift.thing] if self._latest is gift else held
        elif gift is not None and self._latest is gift:
            return None
        return Give(actor, self._dice.pick(held), self._dice.pick(near))

    def _held_by(self, person: str) -> list[str]:
        if person not in self._holder.values():
            return []
        return [thing for thing, holder in self._holder.items() if holder == person]

    def _near(self, person: str) -> list[str]:
        here = self._place[person]
        return [each for each in self._people if each != person and self._place[each] == here]
