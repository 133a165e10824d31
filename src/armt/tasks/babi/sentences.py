"""The words of bAbI's people, places and objects, and the sentences about them.

Wording and shares are those of the published data. A blank ends the questions, as there.
"""

from armt.tasks.babi.dice import Dice

PEOPLE = ("Mary", "John", "Daniel", "Sandra")
"""The people of tasks 1 to 4, 6 to 9 and 11 to 13."""

GIVING_PEOPLE = ("Mary", "Fred", "Bill", "Jeff")
"""The people of task 5."""

GUESSING_PEOPLE = ("Bill", "Fred", "Julie", "Mary")
"""The people of tasks 10 and 14."""

WOMEN = frozenset({"Mary", "Sandra", "Julie"})
"""Those who are told of as "she"."""

PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
"""The places of most tasks."""

TOWN_PLACES = ("bedroom", "cinema", "kitchen", "office", "park", "school")
"""The places of tasks 10 and 14."""

OBJECTS = ("apple", "football", "milk")
"""What people carry."""

MOVE_VERBS = ("went", "journeyed", "travelled", "moved", "went back")
"""Verbs of moving, equally likely; "went back" means no more than the others."""

GET_VERBS = ("got", "took", "grabbed", "picked up")
"""Verbs of taking an object, equally likely."""

DROP_VERBS = ("dropped", "left", "discarded", "put down")
"""Verbs of leaving an object, equally likely."""

GIVE_VERBS = ("gave", "passed", "handed")
"""Verbs of handing an object over, equally likely."""

THERE_SHARE = 0.2
"""How often "there" ends a sentence that may do without it."""


def pronoun(person: str) -> str:
    """Returns "she" or "he"."""
    return "she" if person in WOMEN else "he"


def move_text(dice: Dice, person: str, place: str) -> str:
    """Returns the sentence that `person` has gone to `place`, with a drawn verb."""
    return f"{person} {dice.pick(MOVE_VERBS)} to the {place}."


def get_text(dice: Dice, person: str, thing: str, *, there_share: float = 1.0) -> str:
    """Returns the sentence that `person` has taken `thing`; only task 3 may leave out "there"."""
    return f"{person} {dice.pick(GET_VERBS)} the {thing}{_there(dice, there_share)}."


def drop_text(dice: Dice, person: str, thing: str) -> str:
    """Returns the sentence that `person` has left `thing` where he is."""
    return f"{person} {dice.pick(DROP_VERBS)} the {thing}{_there(dice, THERE_SHARE)}."


def give_text(dice: Dice, giver: str, thing: str, receiver: str) -> str:
    """Returns the sentence that `giver` has handed `thing` to `receiver`."""
    return f"{giver} {dice.pick(GIVE_VERBS)} the {thing} to {receiver}."


def where_is_person(person: str) -> str:
    """Returns the question for the place of `person`."""
    return f"Where is {person}? "


def where_is_thing(thing: str) -> str:
    """Returns the question for the place of `thing`."""
    return f"Where is the {thing}? "


def where_was_thing(thing: str, place: str) -> str:
    """Returns the question where `thing` was before it came to `place`."""
    return f"Where was the {thing} before the {place}? "


def is_in_question(person: str, place: str) -> str:
    """Returns the question whether `person` is in `place`."""
    return f"Is {person} in the {place}? "


def draw_is_in(dice: Dice, person: str, place: str) -> tuple[str, str]:
    """Returns a question whether `person`, who is in `place`, is there or elsewhere; the answer."""
    if dice.chance(0.5):
        return is_in_question(person, place), "yes"
    elsewhere = dice.pick([each for each in PLACES if each != place])
    return is_in_question(person, elsewhere), "no"


def _there(dice: Dice, share: float) -> str:
    return " there" if dice.chance(share) else ""
