"""One record for each question asked, kept in a file that an evaluation can be resumed from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

from armt.core.config import Config
from armt.core.errors import ConfigError, DataError
from armt.evaluation.json_lines import JsonLines


class RecordKey(NamedTuple):
    """What makes a record unique: the same key is never measured twice."""

    model: str
    seed: int
    task: str
    length: int
    sample: int
    """Number of the sample within its cell."""
    arm: str


@dataclass(frozen=True, kw_only=True)
class Record(Config):
    """One question and what a model said."""

    task: str
    """Name of the task, such as `qa1`."""

    length: int
    """Tokens of context asked for."""

    index: int
    """Number of the sample within its cell."""

    arm: str
    """`on` or `off`: whether the memory was there when the question came."""

    question: str
    """The question as text."""

    answer: str
    """What the model said, cut before its end token."""

    truth: str
    """The right answer."""

    is_correct: bool
    """Whether the answer is the right one, white space around it aside."""

    model: str
    """Fingerprint of the model."""

    seed: int
    """Seed of the task."""

    seconds: float
    """Time for reading and answering, shared evenly by samples read side by side and arms."""

    @property
    def key(self) -> RecordKey:
        """What makes the record unique."""
        return RecordKey(self.model, self.seed, self.task, self.length, self.index, self.arm)


@final
class RecordFile:
    """Records in a JSONL file; without a path they are held in memory alone."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Reads what is there.

        Raises:
            DataError: a line other than a torn last one is damaged or no record.
        """
        self._lines = None if path is None else JsonLines(path)
        self._records = [] if self._lines is None else _load(self._lines)

    @property
    def records(self) -> list[Record]:
        """All records; of those with one key the last."""
        return list({record.key: record for record in self._records}.values())

    def append(self, records: Sequence[Record]) -> None:
        """Adds a group of records; they are on the disk when this returns.

        Raises:
            StorageError: the disk is full or refuses the file.
        """
        if self._lines is not None:
            self._lines.append([record.to_dict() for record in records])
        self._records.extend(records)


def _load(lines: JsonLines) -> list[Record]:
    records: list[Record] = []
    for number, row in enumerate(lines.read(), start=1):
        try:
            records.append(Record.from_dict(row))
        except (ConfigError, TypeError) as error:
            raise DataError(
                f"'{Path(lines.path)}', line {number}, is no record of an evaluation ({error}). "
                "Choose another file."
            ) from error
    return records
