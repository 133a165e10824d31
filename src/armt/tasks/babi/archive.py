"""The official files, read where they are: in a folder of any nesting or in its zip."""

import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from armt.core.errors import DataError
from armt.tasks.babi.catalogue import babi_task
from armt.tasks.babi.format import Question, Story, parse_stories

Split: TypeAlias = Literal["train", "test"]
"""Which of the official files of a task."""

_MAX_NBYTES = 256 * 2**20
"""The biggest official file has a tenth of this; more is no bAbI file."""

_KEPT_WHOLE = ("qa1", "qa6", "qa7", "qa8", "qa9", "qa10")
"""Tasks whose published `0k` set has its last row."""

_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError
)  # fmt: skip
"""What reading a damaged zip may raise."""

_ROW_NBYTES = 12
"""Three offsets of 32 bits, one for each text of a row."""


def official_questions(
    source: str | Path,
    task: str,
    split: Split,
    *,
    variant: str | None = None,
    reference_compat: bool = False,
) -> list[Question]:
    """Returns the questions of an official file, in its order; see `official_stories`.

    `reference_compat` drops the last one, which the reference loader cannot reach (an off-by-one).

    Raises:
        UnknownNameError: there is no such task.
        DataError: the file is missing, damaged, or one of several.
    """
    stories = official_stories(source, task, split, variant=variant)
    questions = [question for story in stories for question in story.questions()]
    return questions[:-1] if reference_compat else questions


def official_stories(
    source: str | Path, task: str, split: Split, *, variant: str | None = None
) -> list[Story]:
    """Returns the stories of an official file, in its order.

    Args:
        source: a folder, or a zip of it, that holds files such as
            `en-10k/qa1_single-supporting-fact_test.txt`; a zip is not unpacked.
        task: `qa1` to `qa20`.
        split: `train` or `test`.
        variant: the folder of the file, such as `en-10k`; needed where there are several.

    Raises:
        UnknownNameError: there is no such task.
        DataError: the source is missing, damaged or no folder or zip, a zip has paths that lead
            outside of it, the file is missing or there are several of it, or its text is not in
            the format (the line is named).
    """
    path = Path(source)
    name = babi_task(task).name
    if split not in ("train", "test"):
        raise DataError(f"`split` must be 'train' or 'test'. Got {split!r}.")
    if path.is_dir():
        entry, text = _from_folder(path, name, split, variant)
    else:
        entry, text = _from_zip(path, name, split, variant)
    return parse_stories(text, name=f"'{path}', {entry}")


def zero_length_questions(questions: Sequence[Question], task: str) -> list[Question]:
    """Returns the questions of a test file that the published `0k` set of a task has.

    All, but for most tasks the last (the reference loader cannot reach it).

    Raises:
        UnknownNameError: there is no such task.
    """
    is_whole = babi_task(task).name in _KEPT_WHOLE
    return list(questions if is_whole else questions[:-1])


def zero_length_nbytes(questions: Sequence[Question]) -> int:
    """Returns the size of a `0k` set as the published data card counts it.

    The facts of a question joined by blanks, the question as told and the answer, and 12 bytes
    for each row. Equal numbers mean, in all likelihood, equal sets.
    """
    return sum(
        len(" ".join(question.facts).encode())
        + len(question.question.encode())
        + len(question.answer.encode())
        + _ROW_NBYTES
        for question in questions
    )


def _from_folder(
    folder: Path, task: str, split: Split, variant: str | None
) -> tuple[PurePosixPath, str]:
    """Returns the path of the file, seen from the folder's parent, and its text."""
    root = folder.resolve()
    found = [
        PurePosixPath(root.name, Path(place, name).relative_to(root).as_posix())
        for place, _, names in os.walk(root)
        for name in names
        if _is_file_of(name, task, split)
    ]
    entry = _only(found, str(folder), f"{task} {split}", variant)
    try:
        raw = (root.parent / entry).read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read '{folder}', {entry} ({error.strerror}).") from error
    return entry, _decoded(raw, f"'{folder}', {entry}")


def _from_zip(
    path: Path, task: str, split: Split, variant: str | None
) -> tuple[PurePosixPath, str]:
    """Returns the path of the file in the zip and its text."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_paths(entries, path)
            found = [PurePosixPath(entry.filename) for entry in entries]
            found = [each for each in found if _is_file_of(each.name, task, split)]
            entry = _only(found, str(path), f"{task} {split}", variant)
            raw = _unpacked(archive, str(entry), path)
    except _DAMAGED as error:
        raise DataError(
            f"'{path}' is no zip or is damaged ({error}). Give the folder of the bAbI files, or "
            "load the zip again."
        ) from error
    except OSError as error:
        raise DataError(f"Cannot read '{path}' ({error.strerror}). Check the path.") from error
    return entry, _decoded(raw, f"'{path}', {entry}")


def _check_paths(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Refuses names that would lead elsewhere if somebody unpacked the zip."""
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or re.match("[A-Za-z]:", name):
            raise DataError(
                f"'{path}' holds a file with the path {name[:80]!r}, which leads outside of it. "
                "Do not unpack it; load the official zip again."
            )


def _unpacked(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    entry = archive.getinfo(name)
    if entry.flag_bits & 1:
        raise DataError(f"'{path}', {name} is encrypted. Give a zip without a password.")
    with archive.open(entry) as file:
        raw = file.read(_MAX_NBYTES + 1)
    if len(raw) > _MAX_NBYTES:
        raise DataError(f"'{path}', {name} has more than {_MAX_NBYTES} bytes: no bAbI file.")
    return raw


def _is_file_of(name: str, task: str, split: Split) -> bool:
    return re.fullmatch(rf"{task}(_[^_]+)?_{split}\.txt", name) is not None


def _only(
    found: Sequence[PurePosixPath], source: str, wanted: str, variant: str | None
) -> PurePosixPath:
    """Returns the one file that is meant."""
    if not found:
        raise DataError(
            f"'{source}' holds no file of {wanted}. Give a folder or a zip with the official "
            "files, such as en-10k/qa1_single-supporting-fact_test.txt."
        )
    asked = PurePosixPath(variant or "").parts
    fitting = [each for each in found if each.parts[-1 - len(asked) : -1] == asked]
    if len(fitting) == 1:
        return fitting[0]
    choices = ", ".join(sorted(repr(str(each.parent)) for each in found))
    if not fitting:
        raise DataError(
            f"'{source}' holds {wanted} in no folder '{variant}'. Give one of: {choices}."
        )
    raise DataError(
        f"'{source}' holds {len(fitting)} files of {wanted}, in {choices}. Name the folder "
        "meant (`variant`), such as 'en-10k'."
    )


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text ({error}). Give a bAbI text file.") from error
