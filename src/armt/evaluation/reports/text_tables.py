"""Tables of records as text: Markdown, LaTeX and CSV, by several metrics at once."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

from armt.evaluation.metrics import Score, chance
from armt.evaluation.record import METRICS, Metric, Record
from armt.evaluation.reports.series import (
    ARM_NAMES,
    Series,
    into_series,
    lengths_of,
    score_of,
    subject_names,
    support_recall,
    task_names,
)
from armt.tasks.babilong.lengths import length_name

BOTH: tuple[Metric, ...] = ("reference", "strict")
"""The metrics of BABILong, which are always told together."""

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


class TableRow(NamedTuple):
    """A row as it is told to a reader."""

    subject: str
    task: str
    arm: str
    metric: Metric
    scores: tuple[Score | None, ...]
    """One for each length of the table; None where nothing was asked."""


def table_rows(
    records: Sequence[Record], metrics: Sequence[Metric] = BOTH
) -> tuple[list[int], list[TableRow]]:
    """Returns the lengths of a table and its rows: each subject, task and arm by each metric.

    Rows for a metric that a task has not are left out.
    """
    found = into_series(records)
    lengths, subjects, tasks = lengths_of(found), subject_names(found), task_names(found)
    rows: list[TableRow] = []
    for series, by_length in found.items():
        for metric in metrics:
            scores = tuple(score_of(by_length.get(length, ()), metric) for length in lengths)
            if any(scores):
                arm = ARM_NAMES.get(series.arm, series.arm)
                named = (subjects[series.asked], tasks[series], arm)
                rows.append(TableRow(*named, metric, scores))
    return lengths, rows


def to_markdown(records: Sequence[Record], metrics: Sequence[Metric] = BOTH) -> str:
    """Returns a Markdown table: accuracy in per cent and, in brackets, its 95 % interval."""
    lengths, rows = table_rows(records, metrics)
    head = ["subject", "task", "arm", "metric", *map(length_name, lengths)]
    lines = [head, ["---"] * 4 + ["---:"] * len(lengths)]
    lines += [_cells(row, _spell, _plain_markdown) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(records: Sequence[Record], metrics: Sequence[Metric] = BOTH) -> str:
    """Returns a LaTeX table for the package `booktabs`: per cent, the 95 % interval beside it."""
    lengths, rows = table_rows(records, metrics)
    head = ["subject", "task", "arm", "metric", *map(length_name, lengths)]
    body = [" & ".join(_cells(row, _spell_latex, escape_latex)) + r" \\" for row in rows]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{llll{'r' * len(lengths)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def to_csv(records: Sequence[Record], metrics: Sequence[Metric] = METRICS) -> str:
    """Returns a line for each cell and metric: counts, accuracy, interval, chance, failures.

    Shares are in [0, 1]; `chance` is the accuracy of always giving the cell's most frequent answer;
    `support_recall` is there for searches alone.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["accuracy", "low", "high", "chance", "num_failures", "num_truncated", "support_recall"]
    writer.writerow([*Series._fields, "length", "metric", *Score._fields, *names])
    for series, by_length in into_series(records).items():
        for length, cell in by_length.items():
            scores = [(metric, score_of(cell, metric)) for metric in metrics]
            writer.writerows(
                [*series, length, metric, *_counted(score, cell)]
                for metric, score in scores
                if score
            )
    return text.getvalue()


def escape_latex(text: str) -> str:
    """Returns `text` with every sign that LaTeX would take for a command spelled out."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _counted(score: Score, cell: Sequence[Record]) -> list[object]:
    shares = (score.accuracy, *score.interval, chance([record.truth for record in cell]))
    failures = sum(bool(record.failure) for record in cell)
    truncated = sum(record.num_dropped > 0 for record in cell)
    recall = support_recall(cell)
    found = "" if recall is None else f"{recall:.4f}"
    return [*score, *(f"{share:.4f}" for share in shares), failures, truncated, found]


def _cells(
    row: TableRow, spell: Callable[[Score | None], str], escape: Callable[[str], str]
) -> list[str]:
    return [*map(escape, (row.subject, row.task, row.arm, row.metric)), *map(spell, row.scores)]


def _plain_markdown(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _spell(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = score.interval
    return f"{100 * score.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _spell_latex(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = score.interval
    return rf"{100 * score.accuracy:.1f} {{\scriptsize [{100 * low:.0f}, {100 * high:.0f}]}}"
