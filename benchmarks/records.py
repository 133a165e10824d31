"""The record book of the scripts here: the library's own, and every figure is printed."""

from pathlib import Path

from armt.benchmarking.records import Measurement, RecordBook, current_commit


def open_book(path: Path, seed: int, commit: str) -> RecordBook:
    """Returns the book at `path`; without a `commit` it is that of the checkout."""
    return RecordBook(path, seed, commit or current_commit(), _print)


def _print(measured: Measurement) -> None:
    print(measured.name, measured.value, measured.unit, dict(measured.params), flush=True)
