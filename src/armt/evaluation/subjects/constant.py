"""A subject that reads nothing: the floor under every score."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import final

from armt.core.errors import DataError
from armt.evaluation.judging import babi_name
from armt.evaluation.reports.reference_files import spell_flags
from armt.evaluation.subject import About, Answer, Arm, Told
from armt.evaluation.subjects.hashing import short_hash
from armt.tasks.contract import Sample


@final
class ConstantSubject:
    """Gives one and the same answer to every question of a task."""

    def __init__(self, answers: Mapping[str, str], *, name: str = "most frequent answer") -> None:
        """Takes the answer of each task and the name it has in tables."""
        self._answers = dict(answers)
        self.about = About(
            name=name,
            category="constant",
            knows_facts=True,
            told={
                task: Told(hash=short_hash(answer), flags=spell_flags({}))
                for task, answer in answers.items()
            },
            batch_size=256,
        )

    @property
    def fingerprint(self) -> str:
        """A hash of its kind; the answer of each task is what it is told for that task."""
        return short_hash(["constant"])

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm]
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Answers without a look at the context.

        Raises:
            DataError: there is no answer for the task.
        """
        return {arm: [Answer(text=self._of(sample.task)) for sample in samples] for arm in arms}

    def _of(self, task: str) -> str:
        name = babi_name(task) or task
        if name not in self._answers:
            raise DataError(
                f"No answer is given for the task '{name}'. Known: {', '.join(self._answers)}."
            )
        return self._answers[name]


def most_frequent(answers: Iterable[str]) -> str:
    """Returns the most frequent of `answers`, the first by the alphabet if there are several.

    Raises:
        DataError: there are none.
    """
    counts = Counter(answers)
    if not counts:
        raise DataError("There are no answers to choose from. Give some questions of the task.")
    return min(counts, key=lambda answer: (-counts[answer], answer))
