"""The sentences and questions of a world, encoded once."""

from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from armt.tasks.babi.world import IntArray
from armt.tasks.babilong.worlds import FloatArray, World
from armt.tasks.contract import TextEncoder


class Items(NamedTuple):
    """Token rows laid end to end."""

    ids: IntArray
    """All tokens, item after item."""

    is_answer: npt.NDArray[np.bool_]
    """Which of them are an answer or the end token after it."""

    lens: IntArray
    """Tokens of each item."""


@final
class WorldTable:
    """Facts and answered questions of a world as tokens, addressed by number.

    A fact is encoded with a leading space. An answered question is the question, the token that
    asks, the answer (neither with a leading space) and the end token.
    """

    def __init__(self, encoder: TextEncoder, world: World) -> None:
        """Encodes every fact, and every question with every answer."""
        self.world = world
        told = world.sentences
        facts = [encoder.encode(" " + fact) for fact in told.facts]
        questions = [[*encoder.encode(question), encoder.gen_id] for question in told.questions]
        answers = [[*encoder.encode(answer), encoder.end_id] for answer in told.answers]
        answered = [question + answer for question in questions for answer in answers]
        rows = facts + answered
        self._num_answers = len(answers)
        self._weights = np.asarray(told.weights)
        self._first_question = len(facts)
        self._ids = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        self._lens = np.asarray([len(row) for row in rows], dtype=np.int64)
        self._starts = np.cumsum(self._lens) - self._lens
        unlabelled = [len(fact) for fact in facts]
        unlabelled += [len(question) for question in questions for _ in answers]
        self._is_answer = _after(self._lens, np.asarray(unlabelled, dtype=np.int64))

    @property
    def max_question_len(self) -> int:
        """Tokens of the longest answered question."""
        return int(self._lens[self._first_question :].max())

    @property
    def max_fact_len(self) -> int:
        """Tokens of the longest fact."""
        return int(self._lens[: self._first_question].max())

    def questions(self, questions: IntArray, answers: IntArray) -> IntArray:
        """Returns the item numbers of `questions` with `answers`; a fact's is its own number."""
        return self._first_question + questions * self._num_answers + answers

    def priorities(self, drawn: FloatArray) -> FloatArray:
        """Makes of numbers drawn from [0, 1) those by which questions come first, (..., questions).

        In the order that rises, each comes first with a chance in proportion to its weight.
        """
        return -np.log1p(-drawn) / self._weights

    def lens(self, numbers: IntArray) -> IntArray:
        """Returns the tokens of each item."""
        return self._lens[numbers]

    def items(self, numbers: IntArray) -> Items:
        """Returns the tokens of the items `numbers`, end to end."""
        lens = self._lens[numbers]
        ends = np.cumsum(lens)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(self._starts[numbers] - (ends - lens), lens) + np.arange(total)
        return Items(self._ids[where], self._is_answer[where], lens)


def _after(lens: IntArray, skipped: IntArray) -> npt.NDArray[np.bool_]:
    """Marks within rows of `lens` laid end to end all but the first `skipped` entries of each."""
    inside = np.arange(int(lens.sum())) - np.repeat(np.cumsum(lens) - lens, lens)
    # a fact is skipped whole, a question up to and including the token that asks
    return inside >= np.repeat(skipped, lens)
