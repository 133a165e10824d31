"""Task 20, agents' motivations: Yann is hungry, so he goes to the kitchen and gets the apple."""

from typing import NamedTuple

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.sentences import get_text, move_text
from armt.tasks.babi.story_writer import StoryWriter

PEOPLE = ("Jason", "Antoine", "Sumit", "Yann")
"""The people of this task; questions write their names small."""


class Remedy(NamedTuple):
    """What one does in a mood."""

    place: str
    thing: str


REMEDIES = {
    "hungry": Remedy("kitchen", "apple"),
    "thirsty": Remedy("kitchen", "milk"),
    "bored": Remedy("garden", "football"),
    "tired": Remedy("bedroom", "pajamas"),
}
"""What is done in each mood."""

MOODS = tuple(REMEDIES)
"""All moods."""


class _Mood(NamedTuple):
    """Someone's mood and the line that tells it."""

    name: str
    line: int


def draw_story(dice: Dice) -> Story:
    """Draws a story in which everyone has a mood, goes to a place and gets a thing if it is left.

    The people act in random order; after each fact comes a question about it. The support is always
    the line that tells the mood.
    """
    writer = StoryWriter()
    moods: dict[str, _Mood] = {}
    at_place: set[str] = set()
    moods_done: set[str] = set()
    waiting = list(PEOPLE)
    while waiting:
        person = dice.pick(waiting)
        if person not in moods:
            moods[person] = _tell_mood(dice, writer, person)
        elif person not in at_place:
            _tell_move(dice, writer, person, moods[person])
            at_place.add(person)
        else:
            _tell_get(dice, writer, person, moods[person])
            moods_done.add(moods[person].name)
        waiting = [
            each for each in PEOPLE if each not in at_place or moods[each].name not in moods_done
        ]
    return writer.story()


def _tell_mood(dice: Dice, writer: StoryWriter, person: str) -> _Mood:
    name = dice.pick(MOODS)
    line = writer.tell(f"{person} is {name}.")
    writer.ask(f"Where will {person.lower()} go?", REMEDIES[name].place, (line,))
    return _Mood(name, line)


def _tell_move(dice: Dice, writer: StoryWriter, person: str, mood: _Mood) -> None:
    place = REMEDIES[mood.name].place
    _ = writer.tell(move_text(dice, person, place))
    writer.ask(f"Why did {person.lower()} go to the {place}?", mood.name, (mood.line,))


def _tell_get(dice: Dice, writer: StoryWriter, person: str, mood: _Mood) -> None:
    thing = REMEDIES[mood.name].thing
    _ = writer.tell(get_text(dice, person, thing))
    writer.ask(f"Why did {person.lower()} get the {thing}?", mood.name, (mood.line,))
