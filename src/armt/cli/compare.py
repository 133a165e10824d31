"""`armt compare`: one table of what all memories do."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import FAILED_CODE, notices, results, silence_transformers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armt.benchmarking.records import Measurement
    from armt.comparison.run import Progress

TABLE_NAME, CSV_NAME = "table.md", "table.csv"


def compare(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of records, tables and pictures; resumed.")
    ],
    setting: Annotated[
        str, typer.Argument(help="smoke: minutes on a CPU. full: three seeds on a GPU.")
    ] = "smoke",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Setting, such as memories=armt,rmt."),
    ] = None,
) -> None:
    """Compare all memories: state, speed, recall, QA1 by length, language; on and off."""
    from armt.comparison.config import SETTINGS
    from armt.comparison.run import failures_in, run_comparison

    silence_transformers()
    config = SETTINGS[setting].entry().changed(changes or [], "memories=armt,rmt")
    start = time.monotonic()

    def tell(progress: "Progress") -> None:
        number, num_trials, trial = progress
        seconds = time.monotonic() - start
        text = f"{seconds:6.0f} s  {number} of {num_trials}: {trial.title}"
        notices().print(text)

    records = run_comparison(config, out, tell)
    _show(records, out)
    failures = failures_in(records)
    for name, reasons in failures.items():
        for reason in reasons:
            notices().print(f"Failed: {name}, {reason}")
    if failures:
        raise typer.Exit(FAILED_CODE)


def _show(records: "Sequence[Measurement]", out: Path) -> None:
    """Prints the table and writes everything that is drawn from the records."""
    from armt.comparison.pictures import draw_comparison
    from armt.comparison.run import RECORDS_NAME
    from armt.comparison.summary import comparison_csv, comparison_table
    from armt.core.files import write_text

    table = comparison_table(records)
    results().print(table, end="")
    write_text(out / TABLE_NAME, table)
    write_text(out / CSV_NAME, comparison_csv(records))
    pictures = draw_comparison(records, out)
    names = [RECORDS_NAME, TABLE_NAME, CSV_NAME, *(each.name for each in pictures)]
    notices().print(f"Two numbers are memory on / off. In '{out}': {', '.join(names)}.")
