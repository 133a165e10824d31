"""How questions are asked, and what the commands read and write of results."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from armt.cli.babilong_samples import count_bar
from armt.cli.console import notices, results
from armt.core.errors import DataError
from armt.core.files import write_text
from armt.evaluation.harness import EvaluationConfig, EvaluationProgress, SampleTask, evaluate
from armt.evaluation.record import METRICS, Metric, Record
from armt.evaluation.record_file import RecordFile
from armt.evaluation.reports.collate import (
    AVERAGE,
    KNOWN_LENGTHS,
    KNOWN_TASKS,
    ModelTable,
    collate,
    write_collation,
)
from armt.evaluation.reports.depth import curves_by, depth_table, draw_depth
from armt.evaluation.reports.exchange import export_records, records_of
from armt.evaluation.reports.html_page import write_report
from armt.evaluation.reports.leaderboard import draw_leaderboard
from armt.evaluation.reports.panels import draw_panels, record_panels
from armt.evaluation.reports.reference_files import ScoredFile, find_files, score_files
from armt.evaluation.reports.standings import own_standings
from armt.evaluation.reports.text_tables import BOTH, to_csv, to_latex, to_markdown
from armt.evaluation.subject import Subject
from armt.tasks.babilong.lengths import length_name

if TYPE_CHECKING:  # importing rich draws random numbers, which an import should not
    from rich.table import Table

RECORDS_NAME, REPORT_NAME = "records.jsonl", "report.html"
_EXPORT_NAME = "reference_files"
_SHOWN = 300


def find_records(place: Path) -> list[Path]:
    """Returns the record files at or below `place`; none if it holds the reference's files.

    Raises:
        DataError: there is no such file or folder, or it is a single file of the reference.
    """
    if place.suffix == ".csv" and place.is_file():
        raise DataError(
            f"'{place}' is no file of records. Result files are taken by their folder, whose name "
            f"is that of the model: name '{place.parent}'."
        )
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"There is no '{place}'. Name a file of records or a folder of results.")
    return sorted(place.rglob(RECORDS_NAME))


def ask(
    subject: Subject,
    task: SampleTask,
    options: EvaluationConfig,
    out: Path,
    shard: tuple[int, int] = (0, 1),
) -> list[Record]:
    """Asks the questions of one task with a bar, keeping every record in `out`; see `evaluate`."""
    with count_bar() as show:

        def tell(progress: EvaluationProgress) -> None:
            text = f"{task.task}, {length_name(progress.length)}"
            show(text, progress.num_done, progress.num_samples)

        path = out / RECORDS_NAME
        return evaluate(subject, task, options, record_path=path, shard=shard, on_progress=tell)


def tell_failures(records: Sequence[Record]) -> str:
    """Returns how many questions have no output, and the commonest reason, after a blank.

    Nothing if all have one.
    """
    failures = Counter(" ".join(record.failure.split()) for record in records if record.failure)
    if not failures:
        return ""
    num_failures = failures.total()
    [(reason, times)] = failures.most_common(1)
    about = "The reason" if times == num_failures else f"{times:,} of them"
    return (
        f" {num_failures:,} questions failed and count as wrong; the same command asks them again. "
        f"{about}: {_cut(reason)}"
    )


def _cut(reason: str) -> str:
    """Ends the reason as a sentence; a server or a file may have put a page into it."""
    return f"{reason[:_SHOWN]} ..." if len(reason) > _SHOWN else f"{reason.rstrip('.')}."


def load_results(places: Sequence[Path]) -> list[Record]:
    """Returns the records of all places; the reference's result files become records too.

    Raises:
        DataError: a place holds neither, or a file is damaged.
    """
    records: list[Record] = []
    for place in places:
        paths = find_records(place)
        for path in paths:
            records += RecordFile(path).records
        if not paths:
            for file in find_files(place):
                records += records_of(file)
    if not records:
        raise DataError("There is no record there yet. Evaluate something first.")
    return records


def score_tree(folder: Path) -> list[ScoredFile]:
    """Scores the reference's result files below `folder`, with a bar."""
    files = find_files(folder)
    scored: list[ScoredFile] = []
    with count_bar() as show:
        for each in score_files(files):
            scored.append(each)
            show(each.file.model, len(scored), len(files))
    return scored


def show_collation(scored: Sequence[ScoredFile], out: Path | None) -> None:
    """Prints the best rows of each model by both metrics; writes the collations to `out`."""
    num_rows = sum(each.reference.num_samples for each in scored)
    for metric in BOTH:
        tables = collate(scored, metric=metric)
        for table in tables:
            results().print(_model_text(table, metric))
        if out is not None:
            _ = write_collation(tables, out / metric)
    results().print(f"{num_rows:,} predictions in {len(scored):,} files.")
    _tell_odd(scored)


def _tell_odd(scored: Sequence[ScoredFile]) -> None:
    """Says which files the tables of the reference do not show as they are."""
    unknown = [
        each.file.path.name
        for each in scored
        if each.file.task not in KNOWN_TASKS or each.file.length not in KNOWN_LENGTHS
    ]
    if unknown:
        known = ", ".join(map(length_name, KNOWN_LENGTHS))
        notices().print(
            f"Notice: {len(unknown):,} files are not in the tables, such as '{unknown[0]}': those "
            f"of the reference know {KNOWN_TASKS[0]} to {KNOWN_TASKS[-1]} at {known}. `armt "
            "babilong report` shows all."
        )
    for empty in (each.file.path for each in scored if not each.reference.num_samples):
        notices().print(f"Notice: '{empty}' holds no prediction; the reference counts it as 0 %.")


def write_tables(records: Sequence[Record], folder: Path, *metrics: Metric) -> str:
    """Writes the tables as Markdown, LaTeX and CSV; returns the first.

    Without `metrics` they tell those of BABILong, and the CSV tells all.
    """
    table = to_markdown(records, metrics or BOTH)
    write_text(folder / "table.md", table)
    write_text(folder / "table.tex", to_latex(records, metrics or BOTH))
    write_text(folder / "table.csv", to_csv(records, metrics or METRICS))
    return table


def write_everything(records: Sequence[Record], folder: Path, title: str) -> None:
    """Writes page, tables, pictures and the reference's files of records."""
    _ = write_tables(records, folder)
    write_report(records, folder / REPORT_NAME, title=title)
    for metric in BOTH:
        panels = record_panels(records, metric)
        if panels:
            draw_panels(panels, folder / f"heatmap_{metric}.png")
    draw_leaderboard(folder / "leaderboard.png", own_standings(records))
    if curves_by(records, "reference"):
        draw_depth(records, folder / "depth.png")
        write_text(folder / "depth.csv", depth_table(records, "reference"))
    _ = export_records(records, folder / _EXPORT_NAME)


def _model_text(table: ModelTable, metric: Metric) -> "Table":
    from rich.table import Table

    shown = Table(title=f"{table.model}, {metric}", title_justify="left", box=None, pad_edge=False)
    shown.add_column("task")
    for length in table.lengths:
        shown.add_column(length_name(length), justify="right")
    for task, row in [*table.best.items(), (AVERAGE, table.average)]:
        shown.add_row(task, *("" if value < 0 else f"{value:.0f}" for value in row))
    return shown
