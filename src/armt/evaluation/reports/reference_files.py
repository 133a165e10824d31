"""The result files of the reference: a csv of predictions and a json of settings for each run.

Layout (repository booydar/babilong): `<results>/<org>/<model>/<task>_<length>_<flags>.csv` and
`.json`. Older files carry three or four of the five flags.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from armt.core.config import PlainTree
from armt.core.errors import DataError
from armt.core.files import write_text
from armt.evaluation.metrics import Score
from armt.tasks.babilong.lengths import length_name, parse_length
from armt.tasks.babilong.scoring import reference_score, strict_score

FLAG_NAMES: tuple[str, ...] = (
    "instruction",
    "examples",
    "post_prompt",
    "chat_template",
    "system_prompt",
)
"""What of a prompt may be there or not, in the order of the file names."""

COLUMNS = ("target", "output", "question")
"""The columns of a file, after the unnamed one that counts."""

_MIN_FLAGS = 3
_TASK_FILE = re.compile(r"(qa\d+)_([0-9]+[kKmMbB]?)(?:_(.+))?")
# Outputs that pandas, by which the reference reads its files, takes for nothing at all.
_NOTHING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip


class Prediction(NamedTuple):
    """One row of a file."""

    target: str
    """The right answer."""
    output: str
    """What the model said, as it stands in the file."""
    question: str


class ReferenceFile(NamedTuple):
    """Where the predictions of one model, task, length and configuration are."""

    path: Path
    model: str
    """`org/model`, by the folders."""
    task: str
    length: int
    """Tokens of context by name: 4k is 4,000."""
    flags: str
    """The configuration as it stands in the name, such as `instruction_yes_examples_no_...`."""


class ScoredFile(NamedTuple):
    """The scores of one file by both rules."""

    file: ReferenceFile
    reference: Score
    strict: Score


def spell_flags(flags: Mapping[str, bool]) -> str:
    """Returns the part of a file name that tells the configuration, all five flags in order."""
    return "_".join(f"{name}_{'yes' if flags.get(name) else 'no'}" for name in FLAG_NAMES)


def parse_flags(text: str) -> dict[str, bool]:
    """Returns the three, four or five flags of a file name.

    Raises:
        DataError: they are others, or in another order.
    """
    found = re.findall(r"(\w+?)_(yes|no)(?:_|$)", text)
    flags = {name: value == "yes" for name, value in found}
    is_whole = text == "_".join(f"{name}_{value}" for name, value in found)
    if not is_whole or len(flags) < _MIN_FLAGS or tuple(flags) != FLAG_NAMES[: len(flags)]:
        raise DataError(
            f"'{text}' are no flags of a result file. They look like '{spell_flags({})}'; the last "
            "two may be missing."
        )
    return flags


def find_files(folder: str | os.PathLike[str]) -> list[ReferenceFile]:
    """Returns all result files below `folder`, sorted by model, task, length and configuration.

    The folder is that of all results, of an organisation or of one model.

    Raises:
        DataError: the folder is none or holds no result, or a name cannot be understood.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder. Name the folder that holds the result files.")
    found: list[ReferenceFile] = []
    for path in root.rglob("qa*.csv"):
        inside = path.relative_to(root)
        if not any(part.startswith(".") for part in inside.parts):
            model = inside.parent.as_posix() if len(inside.parts) > 1 else root.resolve().name
            found.append(parse_name(path, model))
    if not found:
        raise DataError(
            f"No result file below '{root}'. They are named like 'org/model/qa1_4k_"
            f"{spell_flags({})}.csv'."
        )
    return sorted(found, key=lambda each: (each.model, int(each.task[2:]), each.length, each.flags))


def parse_name(path: Path, model: str) -> ReferenceFile:
    """Returns what the name of a result file says.

    Raises:
        DataError: the name is not `<task>_<length>_<flags>.csv`.
    """
    match = _TASK_FILE.fullmatch(path.stem)
    if match is None:
        raise DataError(
            f"The name of '{path}' is none of a result file. Name it like "
            f"'qa1_4k_{spell_flags({})}.csv' or move it elsewhere."
        )
    return ReferenceFile(path, model, match[1], parse_length(match[2]), match[3] or "")


def file_stem(task: str, length: int, flags: str) -> str:
    """Returns the name of a result file without its ending."""
    return f"{task}_{length_name(length)}" + (f"_{flags}" if flags else "")


def read_predictions(path: str | os.PathLike[str]) -> list[Prediction]:
    """Returns the rows of a csv file.

    Raises:
        DataError: the file cannot be read, a column is missing, or a row is damaged; the message
            names file and line.
    """
    text = _read_text(Path(path))
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    usual = csv.field_size_limit(max(len(text), 1))  # an output may be longer than csv expects
    try:
        header = next(rows, [])
        places = [header.index(name) for name in COLUMNS if name in header]
        if len(places) < len(COLUMNS):
            raise DataError(
                f"'{path}', line 1: the columns {', '.join(COLUMNS)} are needed. Got "
                f"{', '.join(map(repr, header)) or 'nothing'}."
            )
        return list(_predictions(rows, places, len(header), path))
    except csv.Error as error:
        raise DataError(
            f"'{path}', line {rows.line_num}, is damaged ({error}). Fetch the file anew."
        ) from error
    finally:
        _ = csv.field_size_limit(usual)


def write_predictions(path: str | os.PathLike[str], rows: Iterable[Prediction]) -> None:
    """Writes a csv file as pandas does for the reference: rows numbered from 0, quotes if needed.

    Raises:
        StorageError: the disk is full or refuses the file.
    """
    lines = ["," + ",".join(COLUMNS)]
    lines += [",".join([str(number), *map(_quoted, row)]) for number, row in enumerate(rows)]
    write_text(path, "\n".join(lines) + "\n")


def read_settings(path: str | os.PathLike[str]) -> dict[str, PlainTree]:
    """Returns the json file of a run: `prompt` and `generate_kwargs`.

    Raises:
        DataError: the file cannot be read or is no object of JSON.
    """
    try:
        settings: object = json.loads(_read_text(Path(path)))
    except ValueError as error:
        raise DataError(f"'{path}' is damaged ({error}). Fetch the file anew.") from error
    if not isinstance(settings, dict):
        raise DataError(f"'{path}' holds no settings of a run. Fetch the file anew.")
    return cast("dict[str, PlainTree]", settings)


def write_settings(
    path: str | os.PathLike[str],
    prompt: Mapping[str, PlainTree],
    generation: Mapping[str, PlainTree],
) -> None:
    """Writes the json file of a run with the layout of the reference."""
    settings = {"prompt": dict(prompt), "generate_kwargs": dict(generation)}
    write_text(path, json.dumps(settings, indent=4))


def as_reference_reads(output: str) -> str:
    """Returns an output as it comes back from a csv file by pandas: `None`, `NaN` ... are empty."""
    return "" if output in _NOTHING else output


def score_predictions(task: str, rows: Sequence[Prediction]) -> tuple[Score, Score]:
    """Returns the scores of rows of one task by the reference rule and by the strict one.

    Raises:
        UnknownNameError: there is no such task.
    """
    reference = sum(
        reference_score(task, row.target, as_reference_reads(row.output), row.question)
        for row in rows
    )
    strict = sum(strict_score(task, row.target, row.output, row.question) for row in rows)
    return Score(reference, len(rows)), Score(strict, len(rows))


def score_files(files: Iterable[ReferenceFile]) -> Iterator[ScoredFile]:
    """Yields the scores of files one by one, so that a caller can show how far it has come.

    Raises:
        DataError: a file is damaged.
        UnknownNameError: a file belongs to no known task.
    """
    for file in files:
        yield ScoredFile(file, *score_predictions(file.task, read_predictions(file.path)))


def _predictions(
    rows: Iterator[list[str]], places: Sequence[int], width: int, path: object
) -> Iterator[Prediction]:
    """Yields the rows; `width` is the number of cells that each must have."""
    target, output, question = places
    for number, row in enumerate(rows):
        if len(row) == width:
            yield Prediction(row[target], row[output], row[question])
        elif row:
            line = cast("int", getattr(rows, "line_num", number + 2))
            raise DataError(
                f"'{path}', line {line}, has {len(row)} cells instead of {width}. Fetch the file "
                "anew, or mend the line."
            )


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read '{path}': {error.strerror or error}. Check the path."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"'{path}', line {line}, is no UTF-8 text. Fetch the file anew.") from error


def _quoted(cell: str) -> str:
    if any(mark in cell for mark in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell
