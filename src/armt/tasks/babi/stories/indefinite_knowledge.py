"""Task 10, indefinite knowledge: the text tells where people are, or names two places."""

from typing import NamedTuple

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.sentences import GUESSING_PEOPLE, TOWN_PLACES, is_in_question, move_text
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_in_pairs


class _Told(NamedTuple):
    """The latest line about a person: the places it names, and which of them is true."""

    line: int
    places: tuple[str, ...]
    truth: str


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of facts with a question after each pair.

    In each fact someone goes to another place. Half of them tell the move, a quarter the new place
    and a quarter two places of which one is the new one; the other may be any, so both may be the
    same, which still makes the answer "maybe". Asked is whether the person of one of the last five
    facts is at the true place or, as often, at another. Support is the latest line about him.
    """
    place = {person: dice.pick(TOWN_PLACES) for person in GUESSING_PEOPLE}
    told: dict[str, _Told] = {}

    def tell(writer: StoryWriter) -> str:
        person = dice.pick(GUESSING_PEOPLE)
        place[person] = new = _elsewhere(dice, place[person])
        told[person] = _tell(dice, writer, person, new)
        return person

    return tell_in_pairs(dice, tell, lambda person: _ask(dice, person, told[person]), num_questions)


def _elsewhere(dice: Dice, place: str) -> str:
    return dice.pick([each for each in TOWN_PLACES if each != place])


def _tell(dice: Dice, writer: StoryWriter, person: str, place: str) -> _Told:
    if dice.chance(0.5):
        return _Told(writer.tell(move_text(dice, person, place)), (place,), place)
    if dice.chance(0.5):
        return _Told(writer.tell(f"{person} is in the {place}."), (place,), place)
    first, second = dice.shuffle((place, dice.pick(TOWN_PLACES)))
    line = writer.tell(f"{person} is either in the {first} or the {second}.")
    return _Told(line, (first, second), place)


def _ask(dice: Dice, person: str, told: _Told) -> Asked:
    place = told.truth if dice.chance(0.5) else _elsewhere(dice, told.truth)
    answer = "no"
    if place in told.places:
        answer = "yes" if len(told.places) == 1 else "maybe"
    return Asked(is_in_question(person, place), answer, (told.line,))
