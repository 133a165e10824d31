"""Tables drawn from records: accuracy by task, arm and length."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from armt.evaluation.metrics import Score, chance
from armt.evaluation.record import Metric, Record
from armt.tasks.babilong.lengths import length_name


class Cell(NamedTuple):
    """Where a number stands in a table."""

    task: str
    arm: str
    length: int


def cell_scores(records: Sequence[Record], metric: Metric = "exact") -> dict[Cell, Score]:
    """Returns the score of every cell that has a record, sorted by task, arm and length.

    Arm `on` comes before `off`.
    """
    found: dict[Cell, list[bool]] = defaultdict(list)
    for record in records:
        found[Cell(record.task, record.arm, record.length)].append(record.is_right(metric))
    ordered = sorted(found, key=lambda cell: (cell.task, cell.arm != "on", cell.length))
    return {cell: Score(sum(found[cell]), len(found[cell])) for cell in ordered}


def to_markdown(records: Sequence[Record], metric: Metric = "exact") -> str:
    """Returns a table with a row for each task and arm and a column for each length.

    Cells hold the accuracy in per cent and, in brackets, its 95 % interval.
    """
    scores = cell_scores(records, metric)
    lengths = sorted({cell.length for cell in scores})
    header = ["task", "memory", *(length_name(length) for length in lengths)]
    lines = [header, ["---", "---", *["---:"] * len(lengths)]]
    for task, arm in dict.fromkeys((cell.task, cell.arm) for cell in scores):
        cells = [scores.get(Cell(task, arm, length)) for length in lengths]
        lines.append([task, arm, *(_spell(score) for score in cells)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(records: Sequence[Record], metric: Metric = "exact") -> str:
    """Returns a table with a line for each cell: counts, accuracy, 95 % interval, chance.

    Shares are in [0, 1]; `chance` is the accuracy of always giving the cell's most frequent answer.
    """
    truths: dict[Cell, list[str]] = defaultdict(list)
    for record in records:
        truths[Cell(record.task, record.arm, record.length)].append(record.truth)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Cell._fields, *Score._fields, "accuracy", "low", "high", "chance"])
    for cell, score in cell_scores(records, metric).items():
        shares = (score.accuracy, *score.interval, chance(truths[cell]))
        writer.writerow([*cell, *score, *(f"{share:.4f}" for share in shares)])
    return text.getvalue()


def _spell(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = score.interval
    return f"{100 * score.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
