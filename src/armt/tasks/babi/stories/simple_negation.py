"""Task 9, simple negation: the text tells where people are and where they are not."""

from typing import NamedTuple

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.sentences import PEOPLE, PLACES, draw_is_in, is_in_question, move_text
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.telling import NUM_QUESTIONS, Asked, tell_in_pairs


class _Told(NamedTuple):
    """The latest line about a person."""

    line: int
    place: str
    is_there: bool


def draw_story(dice: Dice, num_questions: int = NUM_QUESTIONS) -> Story:
    """Draws a story of facts with a question after each pair.

    In each fact someone goes to another place. Half of them tell the move, a quarter the new place
    and a quarter that the old one is left, which hides the new one. Asked is whether the person of
    one of the last five facts is at the known place or, as often, at another; after a negation only
    the negated place is asked for. Support is the latest line about that person.
    """
    place = {person: dice.pick(PLACES) for person in PEOPLE}
    told: dict[str, _Told] = {}

    def tell(writer: StoryWriter) -> str:
        person = dice.pick(PEOPLE)
        old = place[person]
        place[person] = new = dice.pick([each for each in PLACES if each != old])
        if dice.chance(0.5):
            told[person] = _Told(writer.tell(move_text(dice, person, new)), new, is_there=True)
        elif dice.chance(0.5):
            told[person] = _Told(writer.tell(f"{person} is in the {new}."), new, is_there=True)
        else:
            no = dice.pick(("not", "no longer"))
            told[person] = _Told(writer.tell(f"{person} is {no} in the {old}."), old, False)
        return person

    return tell_in_pairs(dice, tell, lambda person: _ask(dice, person, told[person]), num_questions)


def _ask(dice: Dice, person: str, told: _Told) -> Asked:
    if not told.is_there:
        return Asked(is_in_question(person, told.place), "no", (told.line,))
    text, answer = draw_is_in(dice, person, told.place)
    return Asked(text, answer, (told.line,))
