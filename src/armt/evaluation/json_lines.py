"""Files of one JSON object a line that only grow and survive a crash."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast, final

from armt.core.config import PlainTree
from armt.core.errors import DataError, StorageError


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
        try:
            lines = self._whole().split(b"\n")
        except OSError as error:
            raise DataError(
                f"Cannot read '{self.path}': {error.strerror or error}. Check the path."
            ) from error
        return [
            _parse(line, number, self.path)
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]

    def append(self, rows: Iterable[Mapping[str, PlainTree]]) -> None:
        """Writes one line for each row, after removing what a crash left of a last one.

        Raises:
            StorageError: the disk is full or refuses the file; the lines before are untouched.
        """
        text = "".join(json.dumps(_spell(dict(row)), ensure_ascii=False) + "\n" for row in rows)
        try:
            size = len(self._whole())
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                _ = file.truncate(size)
                _ = file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"Cannot append to '{self.path}': {error.strerror or error}. The lines written "
                "before are untouched. Free some space or choose another folder."
            ) from error

    def _whole(self) -> bytes:
        """Returns the bytes up to the last end of a line."""
        if not self.path.exists():
            return b""
        content = self.path.read_bytes()
        return content[: content.rfind(b"\n") + 1]


def _parse(line: bytes, number: int, path: Path) -> dict[str, PlainTree]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"'{path}', line {number}, is damaged ({error}). Remove the line or the file."
        ) from error
    if not isinstance(row, dict):
        raise DataError(f"'{path}', line {number}, is no record. Remove the line or the file.")
    return cast("dict[str, PlainTree]", row)


def _spell(value: PlainTree) -> PlainTree:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {name: _spell(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spell(item) for item in value]
    return value
