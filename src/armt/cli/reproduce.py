"""`armt reproduce`: runs a recorded row again and sets both side by side."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armt.cli.console import FAILED_CODE, notices, results, silence_transformers
from armt.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armt.benchmarking.records import Measurement
    from armt.reproduction.row import Row
    from armt.reproduction.work import Work
    from armt.training.config import RunConfig

_NO_RECORD = "no record here"


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Name of a row; without one all rows are listed.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run; resumed if it exists.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Decides weights, data and the record compared with.")
    ] = 0,
    is_tiny: Annotated[
        bool, typer.Option("--tiny", help="The row in small, in minutes on a laptop.")
    ] = False,
    background: Annotated[
        list[str] | None,
        typer.Option("--background", help="Folder of books to train on; may be given again."),
    ] = None,
) -> None:
    """Run a recorded row again, and print what it measures beside what is recorded."""
    from armt.reproduction.row import ROWS

    if name is None:
        _list(seed)
        return
    row = ROWS[name].entry()
    if out is None:
        raise ConfigError(f"Say where the run goes, such as --out runs/{name}.")
    failures = _run(row.tiny if is_tiny else row.work, out, seed, tuple(background or ()))
    _show(row, out, seed, [] if is_tiny else row.recorded(seed))
    for failure in failures:
        notices().print(f"Failed: {failure}")
    if failures:
        raise typer.Exit(FAILED_CODE)


def _run(work: "Work", out: Path, seed: int, background: tuple[str, ...]) -> list[str]:
    """Runs in `out`, telling what it is at; returns what failed."""
    from armt.benchmarking.records import current_commit
    from armt.reproduction.work import Job, check_texts
    from armt.training.callbacks import TrainingProgress

    silence_transformers()
    check_texts(work, background)
    start = time.monotonic()

    def tell(text: str) -> None:
        notices().print(f"{time.monotonic() - start:6.0f} s  {text}")

    tell(work.told)
    with ExitStack() as stack:

        def listen(config: "RunConfig") -> TrainingProgress:
            shown = TrainingProgress(notices(), num_stages=len(config.stages))
            return stack.enter_context(shown)

        job = Job(
            out=out,
            seed=seed,
            commit=current_commit(),
            background=background,
            tell=tell,
            listen=listen,
        )
        return work.run(job)


def _list(seed: int) -> None:
    """Prints what each row makes and runs, and what the record says it took."""
    from armt.reproduction.row import ROWS

    for card in ROWS:
        row = card.entry()
        recorded = row.recorded(seed)
        lines = (f"{card.name}: {card.summary}", f"    runs: {row.work.told}", _took(row, recorded))
        results().print("\n".join(lines))


def _took(row: "Row", recorded: "Sequence[Measurement]") -> str:
    if not recorded:
        return f"    recorded: {_NO_RECORD}"
    seconds = row.seconds(recorded)
    time_told = "time not kept" if seconds is None else f"{seconds / 60:.1f} minutes"
    return f"    recorded: {recorded[0].hardware}, {time_told}, {recorded[0].date}"


def _show(row: "Row", out: Path, seed: int, recorded: "Sequence[Measurement]") -> None:
    """Prints the figures of now beside those of before, a line each."""
    from armt.benchmarking.records import load_records
    from armt.comparison.run import RECORDS_NAME

    measured = [each for each in load_records(out / RECORDS_NAME) if each.seed == seed]
    for figure, about, before in row.beside(measured, recorded):
        known = _NO_RECORD if before is None else f"recorded {_spell(before.value)}"
        told = f"{figure.name}{about and f' ({about})'}"
        line = f"{told}: measured {_spell(figure.value)} {figure.unit}, {known}"
        results().print(line)
    if row.note:
        notices().print(row.note)


def _spell(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
