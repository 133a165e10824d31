"""Stories of people who carry objects and give them away, told step by step with what is known.

Beside each fact stand the answers that it changes, by the rules of tasks 1, 2, 3 and 5. The text
alone is known, as to a reader: what was true before the story begins is not.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import final

from armt.tasks.babi.carrying_world import CarryingWorld, Event, Get, Give, Move
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.sentences import (
    DROP_VERBS,
    GET_VERBS,
    GIVE_VERBS,
    GIVING_PEOPLE,
    MOVE_VERBS,
    OBJECTS,
    PEOPLE,
    PLACES,
    where_is_person,
    where_is_thing,
    where_was_thing,
)
from armt.tasks.babi.telling import event_text
from armt.tasks.babilong.worlds import Sentences, Step, Words

_WHAT_WEIGHT = 2.0
"""How many times as often as about a person task 5 asks about an object."""

Answers = dict[str, str | None]


def carrying_sentences(easier_weight: float, *, has_before: bool) -> Sentences:
    """Returns the sentences of task 2, or of task 3, which asks where an object was before.

    Args:
        easier_weight: weight of the questions that are easier than the task's own; 0 for none.
        has_before: whether task 3 is meant.
    """
    before = [where_was_thing(*each) for each in product(OBJECTS, PLACES)]
    things = [where_is_thing(thing) for thing in OBJECTS]
    people = [where_is_person(person) for person in PEOPLE]
    own = before if has_before else things
    easier = ([*things, *people] if has_before else people) if easier_weight else []
    return Sentences(
        facts=_facts(PEOPLE),
        questions=(*own, *easier),
        answers=PLACES,
        weights=(*[1.0] * len(own), *[easier_weight] * len(easier)),
    )


def carrying_words() -> Words:
    """Returns the words of tasks 2 and 3."""
    return Words(PEOPLE, (*PLACES, *OBJECTS), (*MOVE_VERBS, *GET_VERBS, *DROP_VERBS))


def carrying_steps(dice: Dice, get_there_share: float) -> Iterator[Step]:
    """Tells a story of tasks 2 and 3 without end; `get_there_share` as in `event_text`."""
    world, known = CarryingWorld(dice, PEOPLE), _Whereabouts()
    while True:
        event = world.draw_event()
        yield Step(event_text(dice, event, get_there_share), known.read(event))


def giving_sentences() -> Sentences:
    """Returns the sentences of task 5."""
    gifts = [Give(*each) for each in product(GIVING_PEOPLE, OBJECTS, GIVING_PEOPLE)]
    gifts = [gift for gift in gifts if gift.actor != gift.receiver]
    about_people = dict.fromkeys(text for gift in gifts for text in _asked_about_people(gift))
    about_things = dict.fromkeys(_asked_about_thing(gift) for gift in gifts)
    given = [
        f"{gift.actor} {verb} the {gift.thing} to {gift.receiver}."
        for gift, verb in product(gifts, GIVE_VERBS)
    ]
    return Sentences(
        facts=(*_facts(GIVING_PEOPLE), *given),
        questions=(*about_people, *about_things),
        answers=(*GIVING_PEOPLE, *OBJECTS),
        weights=(*[1.0] * len(about_people), *[_WHAT_WEIGHT] * len(about_things)),
    )


def giving_words() -> Words:
    """Returns the words of task 5."""
    verbs = (*MOVE_VERBS, *GET_VERBS, *DROP_VERBS, *GIVE_VERBS)
    return Words(GIVING_PEOPLE, (*PLACES, *OBJECTS), verbs)


def giving_steps(dice: Dice) -> Iterator[Step]:
    """Tells a story of task 5 without end."""
    world, known = CarryingWorld(dice, GIVING_PEOPLE, has_gifts=True), _Gifts()
    while True:
        event = world.draw_event()
        yield Step(event_text(dice, event), known.read(event), known.sources)


@final
class _Whereabouts:
    """Where people and objects are, and where objects came from, as far as told."""

    def __init__(self) -> None:
        self._place: dict[str, str | None] = {}
        self._carrier: dict[str, str] = {}
        self._stop: dict[str, str | None] = {}

    def read(self, event: Event) -> Answers:
        """Takes in what happens; returns the answers that it changes."""
        if isinstance(event, Move):
            return self._move(event)
        place = self._place.get(event.actor)
        answers: Answers = {}
        # where it was told to be, no fact about who takes or leaves it tells anew
        if place != self._place.get(event.thing):
            answers[where_is_thing(event.thing)] = self._place[event.thing] = place
        if isinstance(event, Get):
            self._carrier[event.thing] = event.actor
            self._stop[event.thing] = place
            answers |= {where_was_thing(event.thing, each): None for each in PLACES}
        else:
            del self._carrier[event.thing]
        return answers

    def _move(self, event: Move) -> Answers:
        self._place[event.actor] = event.place
        answers: Answers = {where_is_person(event.actor): event.place}
        for thing, carrier in self._carrier.items():
            if carrier == event.actor:
                before, self._stop[thing] = self._stop[thing], event.place
                answers[where_is_thing(thing)] = self._place[thing] = event.place
                answers[where_was_thing(thing, event.place)] = before
        return answers


@final
class _Gifts:
    """The latest gift of each object."""

    def __init__(self) -> None:
        self._latest: dict[str, Give] = {}
        self._between: dict[tuple[str, str], tuple[Give, int]] = {}
        """The latest gift of each giver to each receiver, and its number among what was told."""
        self._num_told = 0
        self.sources: dict[str, int] = {}
        """Of the event read last, as `Step.sources`."""

    def read(self, event: Event) -> Answers:
        """Takes in what happens; returns the answers that it changes."""
        self._num_told += 1
        self.sources = {}
        if not isinstance(event, Give):
            return {}
        former = self._latest.get(event.thing)
        self._latest[event.thing] = event
        self._between[event.actor, event.receiver] = event, self._num_told
        answers: Answers = {}
        if former is not None:
            answers |= dict.fromkeys(_asked_about_people(former))
            answers |= self._what(former)
        return answers | _asked_about_people(event) | self._what(event)

    def _what(self, gift: Give) -> Answers:
        """Answers what was given by one to another; nothing if there is more than one reading.

        That is so if two objects were last given by the one to the other, or if only an older gift
        of theirs still stands.
        """
        question, ends = _asked_about_thing(gift), (gift.actor, gift.receiver)
        fitting = [each for each in self._latest.values() if (each.actor, each.receiver) == ends]
        last, number = self._between[ends]
        if fitting != [last]:
            return {question: None}
        # where one of two that fitted was given on, the other was told long ago
        self.sources[question] = number
        return {question: last.thing}


def _asked_about_people(gift: Give) -> Answers:
    """Returns the questions about the people of a gift, with their answers."""
    giver, thing, receiver = gift
    return {
        f"Who gave the {thing} to {receiver}? ": giver,
        f"Who gave the {thing}? ": giver,
        f"Who received the {thing}? ": receiver,
        f"Who did {giver} give the {thing} to? ": receiver,
    }


def _asked_about_thing(gift: Give) -> str:
    return f"What did {gift.actor} give to {gift.receiver}? "


def _facts(people: Sequence[str]) -> tuple[str, ...]:
    """Returns the sentences in which `people` move, get and drop."""
    moves = [
        f"{who} {verb} to the {place}." for who, verb, place in product(people, MOVE_VERBS, PLACES)
    ]
    handled = [
        f"{who} {verb} the {thing}{there}."
        for who, verb, thing, there in product(
            people, (*GET_VERBS, *DROP_VERBS), OBJECTS, ("", " there")
        )
    ]
    return (*moves, *handled)
