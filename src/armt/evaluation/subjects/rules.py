"""The rule reader of a task as a subject: the ceiling, if the sentences of the task are known."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import final

from armt.core.errors import DataError
from armt.evaluation.judging import babi_name
from armt.evaluation.subject import About, Answer, Arm
from armt.evaluation.subjects.hashing import short_hash
from armt.tasks.babi.oracle import answer_from, find_facts
from armt.tasks.contract import Sample

_VERSION = 1
_PIECE_NCHARS = 1 << 20
_MARGIN = 256
"""No fact has so many characters."""


@final
class RulesSubject:
    """Finds the facts in the text by their grammar and answers by the rules of the task.

    It sees the text and the question alone.
    """

    def __init__(self, *, name: str = "rule reader") -> None:
        """Takes the name it has in tables."""
        self.about = About(name=name, category="rules", knows_facts=True)

    @property
    def fingerprint(self) -> str:
        """A hash of the version of the rules."""
        return short_hash(["rules", _VERSION])

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm]
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Answers each sample; what the rules cannot read is a failure.

        Raises:
            DataError: there are no rules for the task.
        """
        return {arm: [_answer(sample) for sample in samples] for arm in arms}


def facts_in(task: str, pieces: Iterable[str]) -> Iterator[str]:
    """Yields the sentences of a bAbI task in a text of any length, in constant memory.

    Args:
        task: such as `qa1`.
        pieces: the text, cut anywhere.
    """
    seen, num_seen = "", 0  # the text held, and how much of it was searched already
    for piece, is_last in _large_pieces(pieces):
        seen += piece
        end = len(seen) if is_last else max(num_seen, len(seen) - _MARGIN)
        for fact in find_facts(task, seen):
            if num_seen <= fact.start < end:
                yield fact.text
        kept = max(0, end - _MARGIN)
        seen, num_seen = seen[kept:], end - kept


def _large_pieces(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yields the text in pieces that are worth a search, and whether a piece is the last."""
    held: list[str] = []
    num_held = 0
    for piece in pieces:
        held.append(piece)
        num_held += len(piece)
        if num_held >= _PIECE_NCHARS:
            yield "".join(held), False
            held, num_held = [], 0
    yield "".join(held), True


def _answer(sample: Sample) -> Answer:
    task = babi_name(sample.task)
    if task is None:
        raise DataError(f"There are no rules for the task '{sample.task}'. Ask qa1 to qa20.")
    facts = list(facts_in(task, sample.text()))
    details = {"num_facts_found": len(facts)}
    try:
        return Answer(text=answer_from(task, facts, sample.question).answer, details=details)
    except DataError as error:
        return Answer(text="", failure=str(error), details=details)
