"""`armt bench`: measures speed and memory of this machine, and writes every figure down."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import FAILED_CODE, notices, results, silence_transformers

if TYPE_CHECKING:
    from rich.table import Table

    from armt.benchmarking.records import Measurement
    from armt.benchmarking.sweep import SweepResult

RECORDS_NAME = "records.jsonl"
"""The file of figures within the folder of results."""

_TABLE_WIDTH = 160
"""More than a table needs, so that no column is cut where output goes to a file."""

_GPU_SHAPES, _CPU_SHAPES = "gpt2-small,small,llama-1b", "tiny"
_CASE = {"shape": "", "segment_len": "segment ", "batch": "batch "}
"""Parameters of a figure that decide its table, and how the title calls them."""


def bench(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of records and pictures; it may exist.")
    ],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to measure: ceiling read train latency decode long drift; by default all."
        ),
    ] = None,
    shapes: Annotated[
        str | None,
        typer.Option(
            "--shapes",
            help=f"Models: tiny, boxed, small, gpt2-small, llama-1b. By default {_GPU_SHAPES} on a "
            f"GPU and {_CPU_SHAPES} without one.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Seconds after which nothing new begins; by default none."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Setting, such as batch_sizes=1,8."),
    ] = None,
) -> None:
    """Measure speed and memory: reading, training, decoding, latency beside full attention."""
    from armt.benchmarking.plots import draw_pictures
    from armt.benchmarking.records import load_records

    silence_transformers()
    seconds = math.inf if budget is None else budget
    measured, result = _measure(out / RECORDS_NAME, what or [], shapes, seconds, changes or [])
    _show(measured)
    pictures = draw_pictures(load_records(out / RECORDS_NAME), out)
    names = ", ".join([RECORDS_NAME, *(each.name for each in pictures)])
    notices().print(f"In '{out}': {names}.")
    _tell_shortfall(result)


def _measure(
    path: Path, whats: Sequence[str], shapes: str | None, budget: float, changes: Sequence[str]
) -> "tuple[list[Measurement], SweepResult]":
    """Measures what is asked for, for `budget` seconds, and tells what it is at."""
    from armt.benchmarking.bench import Bench
    from armt.benchmarking.config import changed_config
    from armt.benchmarking.records import RecordBook, current_commit
    from armt.benchmarking.shapes import model_shape
    from armt.benchmarking.sweep import MEASURES, Cell, default_device, plan, run_sweep

    start, device = time.monotonic(), default_device()
    config = changed_config(device.type, changes)
    names = shapes or (_GPU_SHAPES if device.type == "cuda" else _CPU_SHAPES)
    cells = plan(
        whats or list(MEASURES), [model_shape(name.strip()) for name in names.split(",")], config
    )
    measured: list[Measurement] = []
    book = RecordBook(path, config.seed, config.commit or current_commit(), measured.append)

    def tell(cell: Cell) -> None:
        notices().print(f"{time.monotonic() - start:6.0f} s  {cell.title}")

    bench = Bench(config, device, book, deadline=start + budget)
    return measured, run_sweep(bench, cells, tell)


def _show(measured: "Sequence[Measurement]") -> None:
    """Prints a table for each model, segment and batch."""
    groups: dict[str, list[Measurement]] = {}
    for each in measured:
        groups.setdefault(_title(each), []).append(each)
    for title, group in groups.items():
        results().print(_table(title, group), width=_TABLE_WIDTH, crop=False)
        results().print()


def _title(measured: "Measurement") -> str:
    params = measured.params
    return ", ".join(f"{_CASE[name]}{params[name]}" for name in _CASE if name in params) or "device"


def _table(title: str, measured: "Sequence[Measurement]") -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("figure", "schedule"):
        table.add_column(name, no_wrap=True)
    for name in ("tokens", "value", "from", "to"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit")
    for each in measured:
        schedule, *ends = (_spell(each.params.get(name)) for name in ("schedule", "low", "high"))
        tokens = _spell(each.params.get("tokens"))
        table.add_row(each.name, schedule, tokens, _spell(each.value), *ends, each.unit)
    return table


def _spell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _tell_shortfall(result: "SweepResult") -> None:
    """Says what was not measured, and ends with an error if something broke."""
    for cell in result.left:
        notices().print(f"No time was left for: {cell.title}")
    for cell, reason in result.failures:
        notices().print(f"Failed: {cell.title}: {reason}")
    if result.failures:
        raise typer.Exit(FAILED_CODE)
