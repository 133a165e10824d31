"""Asks a model the questions of a task at every length, with its memory and without."""

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.evaluation.answers import Arm, answer_samples
from armt.evaluation.record import Record, RecordFile, RecordKey
from armt.recurrence.fingerprint import model_fingerprint
from armt.recurrence.model import Recurrent
from armt.tasks.contract import Sample, TextEncoder
from armt.tasks.scorers import decode_answer, exact_match


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

    def sample(self, length: str | int, index: int) -> Sample:
        """Returns sample number `index` with a context of `length` tokens."""
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """What is asked, and how many at a time."""

    lengths: tuple[int, ...] = (0, 1000, 2000, 4000, 8000, 16000)
    """Tokens of context."""

    num_samples: int = 100
    """Questions at each length."""

    arms: tuple[str, ...] = ("on", "off")
    """With the memory, without what it read, or both."""

    batch_size: int = 16
    """Contexts read side by side."""

    max_answer_len: int = 10
    """Tokens of an answer."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_samples", "batch_size", "max_answer_len"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if not self.lengths or min(self.lengths) < 0:
            raise ConfigError(f"`lengths` must be numbers of tokens. Got {self.lengths}.")
        if not self.arms or not set(self.arms) <= {"on", "off"}:
            raise ConfigError(f"`arms` must be 'on', 'off' or both. Got {self.arms}.")


class EvaluationProgress(NamedTuple):
    """How far an evaluation has come."""

    num_done: int
    """Questions answered, those of an earlier run included."""

    num_samples: int
    """Questions in all."""

    length: int
    """Tokens of context of the last group."""


def evaluate(
    model: Recurrent,
    encoder: TextEncoder,
    task: SampleTask,
    options: EvaluationConfig,
    *,
    record_path: str | os.PathLike[str] | None = None,
    on_progress: Callable[[EvaluationProgress], None] | None = None,
) -> list[Record]:
    """Returns one record for each length, sample and arm.

    The longest contexts come first, so that what does not fit shows at once. With `record_path`
    every group is kept as soon as it is answered, and what the file holds is not asked again.

    Raises:
        DataError: the record file is damaged.
        StorageError: the disk is full; what was recorded before is untouched.
    """
    file = RecordFile(record_path)
    name = fingerprint_text(model)
    known = {record.key for record in file.records}
    wanted = _wanted(task, options, name)
    num_all = len(wanted) // len(options.arms)
    num_done = num_all - len(_open_samples(wanted, known))
    for group in _groups(task, options.batch_size, _open_samples(wanted, known)):
        file.append(_ask(model, encoder, group, options, (name, task.seed)))
        num_done += len(group)
        if on_progress is not None:
            on_progress(EvaluationProgress(num_done, num_all, group[0].length))
    chosen = set(wanted)
    return sorted((record for record in file.records if record.key in chosen), key=_by_key)


def fingerprint_text(model: Recurrent) -> str:
    """Returns one short hash of everything that decides what a model says."""
    text = json.dumps(model_fingerprint(model), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _by_key(record: Record) -> RecordKey:
    return record.key


def _wanted(task: SampleTask, options: EvaluationConfig, model: str) -> list[RecordKey]:
    """Keys of all records asked for, longest first."""
    return [
        RecordKey(model, task.seed, task.task, length, index, arm)
        for length in sorted(set(options.lengths), reverse=True)
        for index in range(options.num_samples)
        for arm in options.arms
    ]


def _open_samples(wanted: list[RecordKey], known: set[RecordKey]) -> list[tuple[int, int]]:
    """Length and index of the samples of which an arm is missing, in order."""
    missing = [(key.length, key.sample) for key in wanted if key not in known]
    return list(dict.fromkeys(missing))


def _groups(
    task: SampleTask, batch_size: int, samples: Sequence[tuple[int, int]]
) -> Iterator[list[Sample]]:
    """Yields samples of one length of context, at most `batch_size` together, longest first."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for length, index in samples:
        by_length[length].append(index)
    for length, indices in by_length.items():
        by_context: dict[int, list[Sample]] = defaultdict(list)
        for index in indices:
            sample = task.sample(length, index)
            by_context[sample.context_len].append(sample)
        for context_len in sorted(by_context, reverse=True):
            alike = by_context[context_len]
            starts = range(0, len(alike), batch_size)
            yield from (alike[start : start + batch_size] for start in starts)


def _ask(
    model: Recurrent,
    encoder: TextEncoder,
    samples: Sequence[Sample],
    options: EvaluationConfig,
    origin: tuple[str, int],
) -> list[Record]:
    """Reads a group side by side, asks in every arm; `origin`: the model's name and the seed."""
    started = time.monotonic()
    arms: list[Arm] = ["on" if arm == "on" else "off" for arm in options.arms]
    found = answer_samples(
        model, samples, arms=arms, end_id=encoder.end_id, max_answer_len=options.max_answer_len
    )
    seconds = (time.monotonic() - started) / (len(samples) * len(arms))
    records: list[Record] = []
    for arm in arms:
        for sample, ids in zip(samples, found[arm], strict=True):
            answer = decode_answer(encoder, ids)
            records.append(
                Record(
                    task=sample.task,
                    length=sample.length,
                    index=sample.index,
                    arm=arm,
                    question=str(sample.metadata.get("question", "")),
                    answer=answer,
                    truth=sample.answer,
                    is_correct=exact_match(answer, sample.answer),
                    model=origin[0],
                    seed=origin[1],
                    seconds=round(seconds, 6),
                )
            )
    return records
