"""What the scripts here share: the library's record book, printing every figure, and options."""

import argparse
from pathlib import Path

from armt.benchmarking.records import Measurement, RecordBook, current_commit


def open_book(path: Path, seed: int, commit: str) -> RecordBook:
    """Returns the book at `path`; without a `commit` it is that of the checkout."""
    return RecordBook(path, seed, commit or current_commit(), _print)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds what every script takes that trains a recipe and measures it."""
    _ = parser.add_argument("--folder", type=Path, required=True)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--seed", type=int, default=0)
    _ = parser.add_argument("--commit", default="")
    _ = parser.add_argument("--set", nargs="*", default=[])


def _print(measured: Measurement) -> None:
    print(measured.name, measured.value, measured.unit, dict(measured.params), flush=True)
