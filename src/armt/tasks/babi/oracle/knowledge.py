"""What a rule reader hands back, and how it says that the text does not tell."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from armt.core.errors import DataError
from armt.tasks.babi.oracle.grammar import Told


class Reading(NamedTuple):
    """What follows from the facts."""

    answer: str
    """The answer, spelled as in the official files."""

    supporting: tuple[int, ...]
    """Which facts it follows from, counted from 0, in the order of the official files."""


Rule: TypeAlias = Callable[[Sequence[Told], Told], Reading]
"""A reader of one task: from what the facts tell and what is asked to the answer."""


def unanswered(reason: str) -> DataError:
    """Returns the error of a question that the facts do not answer; `reason` says why not."""
    return DataError(f"The facts do not answer the question: {reason}. Give all facts before it.")
