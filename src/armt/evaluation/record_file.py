"""Records in a file that several processes append to and that a killed evaluation resumes from."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from armt.core.config import PlainTree
from armt.core.errors import DataError
from armt.core.files import hold_lock
from armt.evaluation.json_lines import JsonLines
from armt.evaluation.record import Record, RecordKey

_PATIENCE_S = 120.0
_NO_LOCK = "Check the folder and whether a process hangs that holds the lock."


@final
class RecordFile:
    """Records in a JSONL file; without a path they are held in memory alone.

    Any number of processes may append to one file; a lock beside it (`NAME.lock`) lets one write at
    a time, and a record that another process wrote in the meantime is not written again.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Reads what is there.

        Raises:
            DataError: a line other than a torn last one is damaged, no record, or of another
                version.
        """
        self._lines = None if path is None else JsonLines(path)
        self._records: dict[RecordKey, Record] = {}
        self._end = 0
        self.refresh()

    @property
    def records(self) -> list[Record]:
        """All records; of those with one key the last."""
        return list(self._records.values())

    def find(self, key: RecordKey) -> Record | None:
        """Returns the record with this key, if there is one."""
        return self._records.get(key)

    def refresh(self) -> None:
        """Reads what was appended since the last look.

        Raises:
            DataError: a new line is damaged or no record.
        """
        if self._lines is None:
            return
        found = self._lines.read_from(self._end)
        for number, row in enumerate(found.rows, start=1):
            record = _load(row, self._lines.path, number if self._end == 0 else None)
            self._records[record.key] = record
        self._end = found.end

    def append(self, records: Sequence[Record], *, replaces_failures: bool = False) -> None:
        """Adds those records whose key is new; they are on the disk when this returns.

        Args:
            records: what was measured.
            replaces_failures: whether a record may follow a failed one with its key.

        Raises:
            DataError: the file holds something else by now.
            StorageError: the disk is full or refuses the file, or its lock is never free.
        """
        if self._lines is None:
            self._add(self._new_among(records, replaces_failures))
            return
        with hold_lock(Path(f"{self._lines.path}.lock"), _PATIENCE_S, _NO_LOCK):
            self.refresh()
            new = self._new_among(records, replaces_failures)
            if new:
                self._lines.append([record.to_dict() for record in new])
                self._end = self._lines.path.stat().st_size
        self._add(new)

    def _add(self, records: Sequence[Record]) -> None:
        self._records |= {record.key: record for record in records}

    def _new_among(self, records: Sequence[Record], replaces_failures: bool) -> list[Record]:
        """Returns those that are to be kept, one for each key."""
        new: dict[RecordKey, Record] = {}
        for record in records:
            known = self._records.get(record.key)
            if known is None or (known.failure and replaces_failures):
                _ = new.setdefault(record.key, record)
        return list(new.values())


def _load(row: Mapping[str, PlainTree], path: Path, number: int | None) -> Record:
    try:
        return Record.from_dict(row)
    except DataError as error:
        where = "" if number is None else f", line {number},"
        raise DataError(
            f"'{path}'{where} is no record of an evaluation that can be used ({error}). Choose "
            "another file, or remove this one and evaluate again."
        ) from error
