"""Files of one JSON object a line that only grow and survive a crash."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast, final

from armt.core.config import PlainTree
from armt.core.errors import DataError, StorageError

_TAIL_NBYTES = 1 << 16


class LinesRead(NamedTuple):
    """Some lines of a file and where the next ones begin."""

    rows: list[dict[str, PlainTree]]
    end: int
    """Bytes of the file up to the end of its last whole line."""


@final
class JsonLines:
    """Appends lines that are on the disk when `append` returns; a torn last line does not count.

    Numbers that JSON does not know are written as the strings "NaN", "Infinity" and "-Infinity".
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Names the file; it is made by the first line."""
        self.path = Path(path)

    def read(self) -> list[dict[str, PlainTree]]:
        """Returns all whole lines.

        Raises:
            DataError: the file cannot be read, or a line before the last is damaged.
        """
        return self.read_from(0).rows

    def read_from(self, start: int) -> LinesRead:
        """Returns the whole lines after the first `start` bytes, where a line must begin.

        Raises:
            DataError: the file cannot be read, or a line before the last is damaged.
        """
        try:
            with self.path.open("rb") as file:
                _ = file.seek(start)
                content = file.read()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise DataError(
                f"Cannot read '{self.path}': {error.strerror or error}. Check the path."
            ) from error
        whole = content[: content.rfind(b"\n") + 1]
        where = f"'{self.path}'" if start == 0 else f"'{self.path}', after byte {start}"
        rows = [
            _parse(line, number, where)
            for number, line in enumerate(whole.split(b"\n"), start=1)
            if line.strip()
        ]
        return LinesRead(rows, start + len(whole))

    def append(self, rows: Iterable[Mapping[str, PlainTree]]) -> None:
        """Writes one line for each row, after removing what a crash left of a last one.

        The time does not depend on what the file holds.

        Raises:
            StorageError: the disk is full or refuses the file; the lines before are untouched.
        """
        text = "".join(json.dumps(_spell(dict(row)), ensure_ascii=False) + "\n" for row in rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                _ = file.truncate(_whole_nbytes(file))
                # a server may have escaped half a sign, which is no text and cannot be written
                _ = file.write(text.encode(errors="replace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"Cannot append to '{self.path}': {error.strerror or error}. The lines written "
                "before are untouched. Free some space or choose another folder."
            ) from error


def _whole_nbytes(file: BinaryIO) -> int:
    """Returns the bytes up to the last end of a line, looking at the end of the file alone."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _TAIL_NBYTES)
        _ = file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _parse(line: bytes, number: int, where: str) -> dict[str, PlainTree]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"{where}, line {number}, is damaged ({error}). Remove the line or the file."
        ) from error
    if not isinstance(row, dict):
        raise DataError(f"{where}, line {number}, is no record. Remove the line or the file.")
    return cast("dict[str, PlainTree]", row)


def _spell(value: PlainTree) -> PlainTree:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {name: _spell(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spell(item) for item in value]
    return value
