"""Tables of models from reference files, put together by the rules of the reference.

For each configuration of a prompt the accuracy of every task and length; then for each task the
configuration with the best mean over the lengths, in which a missing cell counts as -1, so that an
incomplete configuration can lose to a worse one. Published tables are made like this: each row is a
maximum over prompts.
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from armt.core.files import write_text
from armt.evaluation.record import Metric
from armt.evaluation.reports.panels import Panel, draw_panels
from armt.evaluation.reports.reference_files import ScoredFile, parse_flags
from armt.tasks.babilong.lengths import length_name

MISSING = -1.0
"""What stands for a cell without a file."""

KNOWN_TASKS = tuple(f"qa{number}" for number in range(1, 11))
"""Tasks that the reference puts into its tables."""

KNOWN_LENGTHS = (
    0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_000_000,
    2_000_000, 10_000_000,
)  # fmt: skip
"""Lengths that the reference puts into its tables, in tokens."""

AVERAGE = "avg"
"""Name of the row of means."""

_NUM_AVERAGED = 5
_UNNAMED_FLAGS = ("chat_template", "system_prompt")

Row = tuple[float, ...]


class ModelTable(NamedTuple):
    """The accuracies of one model in per cent; a row has a number for each length."""

    model: str
    lengths: tuple[int, ...]
    by_flags: dict[str, dict[str, Row]]
    """Configuration -> task -> row."""
    best: dict[str, Row]
    """Task -> the row of its best configuration."""
    best_flags: dict[str, str]
    """Task -> its best configuration."""
    average: Row
    """Mean of the first five rows of `best`; -1 where one is missing."""


def collate(
    scored: Iterable[ScoredFile],
    *,
    metric: Metric = "reference",
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
) -> list[ModelTable]:
    """Returns a table for each model, sorted by name.

    Args:
        scored: the scores of files, in any order.
        metric: the rule by which answers were judged.
        tasks: rows; by default those that a model has of `KNOWN_TASKS`.
        lengths: columns; by default those that a model has of `KNOWN_LENGTHS`.
    """
    ordered = sorted(scored, key=_model_of)
    return [
        _model_table(model, list(files), metric, (tuple(tasks), tuple(lengths)))
        for model, files in groupby(ordered, key=_model_of)
    ]


def write_collation(
    tables: Sequence[ModelTable], folder: str | os.PathLike[str], *, kind: str = "pdf"
) -> list[Path]:
    """Writes `<org>/<model>.csv`, heat maps beside it, and `all_results.csv`; returns the paths.

    Raises:
        StorageError: the disk is full or refuses a file.
    """
    root = Path(folder)
    paths: list[Path] = []
    for table in tables:
        table_path = root / f"{table.model}.csv"
        write_text(table_path, _table_text(table))
        paths.append(table_path)
        if table.by_flags:
            paths.append(root / f"{table.model}.{kind}")
            draw_panels(model_panels(table), paths[-1])
    paths.append(root / "all_results.csv")
    write_text(paths[-1], _joined_text(tables))
    return paths


def model_panels(table: ModelTable) -> list[Panel]:
    """Returns a heat map for each configuration, as the reference draws them."""
    columns = tuple(map(length_name, table.lengths))
    return [
        Panel(
            title=table.model.rsplit("/", maxsplit=1)[-1],
            subtitle=_spell_flags(flags),
            rows=tuple(rows),
            columns=columns,
            values=tuple(rows.values()),
        )
        for flags, rows in sorted(table.by_flags.items())
    ]


def _model_of(scored: ScoredFile) -> str:
    return scored.file.model


def _model_table(
    model: str,
    files: list[ScoredFile],
    metric: Metric,
    chosen: tuple[tuple[str, ...], tuple[int, ...]],
) -> ModelTable:
    found_tasks = {each.file.task for each in files}
    found_lengths = {each.file.length for each in files}
    tasks = chosen[0] or tuple(task for task in KNOWN_TASKS if task in found_tasks)
    lengths = chosen[1] or tuple(length for length in KNOWN_LENGTHS if length in found_lengths)
    cells: dict[str, dict[tuple[str, int], float]] = {}
    for each in files:
        if each.file.task in tasks and each.file.length in lengths:
            share = each.reference if metric == "reference" else each.strict
            of_flags = cells.setdefault(each.file.flags, {})
            accuracy = 100 * share.num_correct / share.num_samples if share.num_samples else 0.0
            of_flags[each.file.task, each.file.length] = accuracy
    by_flags = {
        flags: {
            task: tuple(found.get((task, length), MISSING) for length in lengths) for task in tasks
        }
        for flags, found in sorted(cells.items())
    }
    best_flags = {task: _best_of(by_flags, task) for task in tasks} if by_flags else {}
    best = {task: by_flags[flags][task] for task, flags in best_flags.items()}
    return ModelTable(model, lengths, by_flags, best, best_flags, _average(best, len(lengths)))


def _best_of(by_flags: Mapping[str, Mapping[str, Row]], task: str) -> str:
    """Returns the configuration with the best mean; of equal ones the first by name."""

    def mean(flags: str) -> float:
        row = by_flags[flags][task]
        return sum(row) / len(row)

    return max(by_flags, key=mean)


def _average(best: Mapping[str, Row], num_lengths: int) -> Row:
    rows = list(best.values())[:_NUM_AVERAGED]
    if len(rows) < _NUM_AVERAGED:
        return (MISSING,) * num_lengths
    columns = zip(*rows, strict=True)
    return tuple(
        MISSING if any(value == MISSING or math.isnan(value) for value in column) else
        sum(column) / len(column)
        for column in columns
    )  # fmt: skip


def _table_text(table: ModelTable) -> str:
    lines = [["", *map(length_name, table.lengths)]]
    lines += [[task, *map(repr, row)] for task, row in _rows_of(table)]
    return _csv_text(lines)


def _joined_text(tables: Sequence[ModelTable]) -> str:
    """All tables below each other; lengths that a model was not asked at stay empty."""
    lengths = sorted({length for table in tables for length in table.lengths})
    lines = [["model_name", "task", *map(length_name, lengths)]]
    for table in tables:
        for task, row in _rows_of(table):
            cells = dict(zip(table.lengths, map(repr, row), strict=True))
            lines.append([table.model, task, *(cells.get(length, "") for length in lengths)])
    return _csv_text(lines)


def _rows_of(table: ModelTable) -> list[tuple[str, Row]]:
    return [*table.best.items(), (AVERAGE, table.average)]


def _csv_text(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _spell_flags(flags: str) -> str:
    """The parts of the prompt that were there; what chat templates did is not told."""
    if not flags:
        return ""
    return "+".join(
        name for name, is_on in parse_flags(flags).items() if is_on and name not in _UNNAMED_FLAGS
    )
