"""People who walk about, alone or in pairs: the truth, and what a reader knows of it."""

from collections.abc import Sequence
from typing import final

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.knowledge import Known
from armt.tasks.babi.sentences import PEOPLE, PLACES, move_text, pronoun, where_is_person
from armt.tasks.babi.story_writer import StoryWriter
from armt.tasks.babi.telling import NUM_RECENT_FACTS

FOLLOWING = ("Then", "Afterwards", "After that", "Following that")
"""How a sentence begins that goes on with the people of the one before, equally likely."""


@final
class Walkers:
    """The people of one story; tells their moves to `writer` and asks for their places."""

    def __init__(self, dice: Dice, writer: StoryWriter) -> None:
        """Puts everyone somewhere; the reader knows nothing yet."""
        self._dice = dice
        self._writer = writer
        self._truth = {person: dice.pick(PLACES) for person in PEOPLE}
        self._known: dict[str, Known] = {}
        self._mentions: list[str] = []

    def tell_move(self, num_people: int) -> None:
        """Tells that `num_people` people have gone to a place where none of them was."""
        _ = self._tell_move(num_people)

    def tell_two_moves(self, num_people: int) -> None:
        """Tells of a move and, with a pronoun, of the next one of the same people."""
        people, first = self._tell_move(num_people)
        here = self._truth[people[0]]
        place = self._dice.pick([each for each in PLACES if each != here])
        they = "they" if num_people > 1 else pronoun(people[0])
        who = f"{self._dice.pick(FOLLOWING)} {they}"
        second = self._writer.tell(move_text(self._dice, who, place))
        self._move(people, place, (first, second))

    def ask_where(self) -> None:
        """Asks for the place of someone told of a moment ago.

        A sentence about two people tells of one after the other, and no question reaches further
        back than to the fifth of these: the rule of the published data of tasks 11 to 13.
        """
        person = self._dice.pick(self._mentions[-NUM_RECENT_FACTS:])
        place, lines = self._known[person]
        self._writer.ask(where_is_person(person), place, lines)

    def _tell_move(self, num_people: int) -> tuple[Sequence[str], int]:
        """Returns the people and the number of the line."""
        people, place = self._draw_move(num_people)
        line = self._writer.tell(move_text(self._dice, " and ".join(people), place))
        self._move(people, place, (line,))
        return people, line

    def _draw_move(self, num_people: int) -> tuple[Sequence[str], str]:
        while True:
            people = self._dice.take(PEOPLE, num_people)
            place = self._dice.pick(PLACES)
            if all(self._truth[person] != place for person in people):
                return people, place

    def _move(self, people: Sequence[str], place: str, lines: tuple[int, ...]) -> None:
        for person in people:
            self._truth[person] = place
            self._known[person] = Known(place, lines)
        self._mentions.extend(people)


def tell_by_pronouns(dice: Dice, num_people: int, num_questions: int) -> Story:
    """Draws a story of two moves of `num_people` and a question, `num_questions` times.

    The second sentence names nobody; the answer is where it led, and both lines support it.
    """
    writer = StoryWriter()
    walkers = Walkers(dice, writer)
    for _ in range(num_questions):
        walkers.tell_two_moves(num_people)
        walkers.ask_where()
    return writer.story()
