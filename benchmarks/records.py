"""What the scripts here share: the library's record book, printing every figure, and options."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from armt.benchmarking.records import Measurement, RecordBook, current_commit
from armt.core.errors import StoppedError


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


def add_seeds_options(parser: argparse.ArgumentParser) -> None:
    """Adds what every script takes that trains several runs, each in a folder of its own."""
    _ = parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    _ = parser.add_argument("--folder", type=Path, required=True)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--minutes", type=float, default=60.0)
    _ = parser.add_argument("--commit", default="")
    _ = parser.add_argument("--set", nargs="*", default=[])


@contextmanager
def stopped_after(limit_s: float) -> Iterator[None]:
    """Asks for a stop after so many seconds, and ends the process quietly where one was asked for.

    A training has saved itself by then; what was measured is on the disk.
    """
    timer = threading.Timer(limit_s, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)


def _print(measured: Measurement) -> None:
    print(measured.name, measured.value, measured.unit, dict(measured.params), flush=True)
