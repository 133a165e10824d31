"""Asks a subject the questions of a task at every length and keeps a record of each."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from armt.core.config import Config
from armt.core.errors import ConfigError, DataError
from armt.evaluation.judging import judge
from armt.evaluation.record import Record, RecordKey
from armt.evaluation.record_file import RecordFile
from armt.evaluation.subject import Answer, Arm, PartlyAnsweredError, Subject
from armt.tasks.contract import Sample


class SampleTask(Protocol):
    """A task that makes its samples on demand."""

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def seed(self) -> int:
        """Decides the samples."""
        ...

    @property
    def fingerprint(self) -> str:
        """A short hash of all that decides the samples."""
        ...

    def indices(self, length: str | int, num_samples: int) -> Sequence[int]:
        """Returns the numbers of the first `num_samples` samples that there are at `length`."""
        ...

    def sample(self, length: str | int, index: int) -> Sample:
        """Returns sample number `index` with a context of `length` tokens."""
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """What is asked."""

    lengths: tuple[int, ...] = (0, 1000, 2000, 4000, 8000, 16000)
    """Tokens of context."""

    num_samples: int = 100
    """Questions at each length; the first of those that the task has."""

    arms: tuple[str, ...] = ()
    """`on`: with the memory; `off`: without what it read; `none`: of a subject without a memory. By
    default all that the subject has."""

    retry_failures: bool = False
    """Whether questions are asked again whose record tells of a failure."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_samples < 1:
            raise ConfigError(f"`num_samples` must be at least 1. Got {self.num_samples}.")
        if not self.lengths or min(self.lengths) < 0:
            raise ConfigError(f"`lengths` must be numbers of tokens. Got {self.lengths}.")
        if not set(self.arms) <= {"on", "off", "none"}:
            raise ConfigError(f"`arms` must be 'on', 'off' or 'none'. Got {self.arms}.")


class EvaluationProgress(NamedTuple):
    """How far an evaluation has come."""

    num_done: int
    """Questions of this process that are answered, those of an earlier run included."""

    num_samples: int
    """Questions of this process in all."""

    length: int
    """Tokens of context of the last group."""


def evaluate(
    subject: Subject,
    task: SampleTask,
    options: EvaluationConfig,
    *,
    record_path: str | os.PathLike[str] | None = None,
    shard: tuple[int, int] = (0, 1),
    on_progress: Callable[[EvaluationProgress], None] | None = None,
) -> list[Record]:
    """Returns one record for each length, sample and arm that the file holds at the end.

    The longest contexts come first, so that what does not fit shows at once. With `record_path`
    every group is kept as soon as it is answered, and what the file holds is not asked again: a
    killed evaluation goes on where it was, with any number of processes. Each process takes every
    n-th sample; all append to one file. A sample that fails gets a record that tells why.

    Args:
        subject: who is asked.
        task: where the samples come from.
        options: which of them.
        record_path: the file of records; without one they are only returned.
        shard: the number of this process, from 0 on, and how many there are.
        on_progress: told after every group.

    Raises:
        ConfigError: the subject has no such arm, or there is no such process.
        DataError: the record file is damaged or of another version.
        StorageError: the disk is full; what was answered before this or any other error is kept.
    """
    rank, num_processes = shard
    if not 0 <= rank < num_processes:
        raise ConfigError(f"Processes are numbered from 0 to {num_processes - 1}. Got {rank}.")
    run = _Run(subject, task, options, RecordFile(record_path))
    places = run.places()
    mine = places[rank::num_processes]
    for group in run.groups(mine):
        run.ask(group)
        if on_progress is not None:
            on_progress(EvaluationProgress(run.num_done, len(mine), group[0].place.length))
    return run.records(places)


class _Place(NamedTuple):
    """Which sample is meant."""

    length: int
    number: int


class _Placed(NamedTuple):
    """A sample where it was asked for."""

    place: _Place
    sample: Sample


class _Run:
    """One evaluation of a subject on a task."""

    def __init__(
        self, subject: Subject, task: SampleTask, options: EvaluationConfig, file: RecordFile
    ) -> None:
        self.arms = _chosen_arms(subject, options)
        self.file = file
        self.num_done = 0
        self._subject, self._task, self._options = subject, task, options
        self._told = subject.about.told_for(task.task)
        self._origin = (subject.fingerprint, self._told.hash, task.fingerprint, task.task)

    def places(self) -> list[_Place]:
        """All samples that are wanted, longest first."""
        return [
            _Place(length, index)
            for length in sorted(set(self._options.lengths), reverse=True)
            for index in self._task.indices(length, self._options.num_samples)
        ]

    def records(self, places: Sequence[_Place]) -> list[Record]:
        """Returns what the file holds of the samples by now, shortest first."""
        self.file.refresh()
        found = (
            self.file.find(self.key(place, arm)) for place in sorted(places) for arm in self.arms
        )
        return [record for record in found if record is not None]

    def key(self, place: _Place, arm: Arm) -> RecordKey:
        return RecordKey(*self._origin, place.length, place.number, arm)

    def _is_open(self, place: _Place) -> bool:
        records = [self.file.find(self.key(place, arm)) for arm in self.arms]
        return any(
            record is None or (self._options.retry_failures and record.failure != "")
            for record in records
        )

    def groups(self, places: Sequence[_Place]) -> Iterator[list[_Placed]]:
        """Yields samples whose contexts are of one length, as many as the subject wants to see.

        What cannot be made is recorded as a failure and left out.
        """
        open_places = [place for place in places if self._is_open(place)]
        self.num_done = len(places) - len(open_places)
        for length in dict.fromkeys(place.length for place in open_places):
            waiting: dict[int, list[_Placed]] = defaultdict(list)
            for place in (place for place in open_places if place.length == length):
                made = self._make(place)
                if made is None:
                    continue
                alike = waiting[made.sample.context_len]
                alike.append(made)
                if len(alike) == self._subject.about.batch_size:
                    yield waiting.pop(made.sample.context_len)
            yield from (waiting[context_len] for context_len in sorted(waiting, reverse=True))

    def _make(self, place: _Place) -> _Placed | None:
        try:
            return _Placed(place, self._task.sample(place.length, place.number))
        except DataError as error:
            failed = Answer(text="", failure=f"The sample cannot be made: {error}")
            self._keep([self._record(place, None, arm, failed, 0.0) for arm in self.arms])
            self.num_done += 1
            return None

    def ask(self, group: Sequence[_Placed]) -> None:
        """Asks the samples of a group that no other process answered in the meantime."""
        self.num_done += len(group)
        self.file.refresh()
        group = [each for each in group if self._is_open(each.place)]
        if not group:
            return
        started = time.monotonic()
        try:
            given = self._subject.answer([each.sample for each in group], self.arms)
        except PartlyAnsweredError as stopped:
            self._keep_answers(group, stopped.answers, time.monotonic() - started)
            raise stopped.error from None
        found: dict[Arm, dict[int, Answer]] = {
            arm: dict(enumerate(answers)) for arm, answers in given.items()
        }
        self._keep_answers(group, found, time.monotonic() - started)

    def _keep_answers(
        self,
        group: Sequence[_Placed],
        found: Mapping[Arm, Mapping[int, Answer]],
        seconds: float,
    ) -> None:
        """Records the answers to the samples of a group, by their numbers in it."""
        of_each = seconds / (len(group) * len(self.arms))
        self._keep(
            [
                self._record(group[number].place, group[number].sample, arm, answer, of_each)
                for arm in self.arms
                for number, answer in found[arm].items()
            ]
        )

    def _keep(self, records: Sequence[Record]) -> None:
        self.file.append(records, replaces_failures=self._options.retry_failures)

    def _record(
        self, place: _Place, sample: Sample | None, arm: Arm, answer: Answer, seconds: float
    ) -> Record:
        """Returns the record of an answer; without a sample that of a sample that is none."""
        question, truth = ("", "") if sample is None else (sample.question, sample.answer)
        facts = () if sample is None else sample.facts
        return Record(
            subject=self._subject.about.name,
            category=self._subject.about.category,
            knows_facts=self._subject.about.knows_facts,
            subject_fingerprint=self._origin[0],
            prompt_hash=self._origin[1],
            prompt_set=self._subject.about.prompt_set,
            prompt_flags=self._told.flags,
            task_fingerprint=self._origin[2],
            task=self._origin[3],
            seed=self._task.seed,
            length=place.length,
            index=place.number,
            arm=arm,
            question=question,
            answer=answer.text,
            truth=truth,
            scores=self._scores(truth, answer, question),
            failure=answer.failure,
            context_len=0 if sample is None else sample.context_len,
            num_dropped=answer.num_dropped,
            num_facts=len(facts),
            supporting_starts=tuple(fact.start for fact in facts if fact.is_supporting),
            seconds=round(seconds, 6),
            details=dict(answer.details),
            metadata={} if sample is None else dict(sample.metadata),
        )

    def _scores(self, truth: str, answer: Answer, question: str) -> dict[str, bool]:
        """Returns the scores of an answer; a failure is wrong by all."""
        scores = judge(self._task.task, truth, answer.text, question)
        return {name: is_right and not answer.failure for name, is_right in scores.items()}


def _chosen_arms(subject: Subject, options: EvaluationConfig) -> tuple[Arm, ...]:
    """Returns the arms that are asked, in the subject's order.

    Raises:
        ConfigError: the subject has no such arm.
    """
    missing = set(options.arms) - set(subject.about.arms)
    if missing:
        raise ConfigError(
            f"'{subject.about.name}' cannot be asked in the arm '{min(missing)}'. It has "
            f"{', '.join(subject.about.arms)}."
        )
    return tuple(arm for arm in subject.about.arms if not options.arms or arm in options.arms)
