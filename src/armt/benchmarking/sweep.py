"""The measurements in the order of their weight, until they are done or the time is up."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.clock import free_memory
from armt.benchmarking.config import BenchConfig
from armt.benchmarking.contexts import measure_latency, measure_long
from armt.benchmarking.decoding import measure_decode
from armt.benchmarking.drift import measure_drift
from armt.benchmarking.reading import measure_read
from armt.benchmarking.shapes import ModelShape
from armt.benchmarking.training import measure_train
from armt.core.errors import ConfigError


def measure_ceiling(bench: Bench, case: Case) -> None:
    """Measures how fast the device multiplies large matrices, and how fast it copies."""
    del case
    _ = bench.ceiling, bench.bandwidth


MEASURES: dict[str, Callable[[Bench, Case], None]] = {
    "ceiling": measure_ceiling,
    "read": measure_read,
    "train": measure_train,
    "latency": measure_latency,
    "decode": measure_decode,
    "long": measure_long,
    "drift": measure_drift,
}
"""What can be measured, the most important first."""


class Cell(NamedTuple):
    """One measurement of a sweep."""

    what: str
    """A name in `MEASURES`."""

    case: Case

    depth: int
    """How far its options stand behind the first ones of their lists."""

    @property
    def title(self) -> str:
        """As a person would call it."""
        shape, segment_len, batch_size = self.case
        return f"{self.what}, {shape.name}, segment {segment_len}, batch {batch_size}"


class Failure(NamedTuple):
    """A cell that broke, and why."""

    cell: Cell
    reason: str


class SweepResult(NamedTuple):
    """What became of the cells."""

    num_done: int
    left: tuple[Cell, ...]
    """Those for which there was no time."""
    failures: tuple[Failure, ...]


def plan(whats: Sequence[str], shapes: Sequence[ModelShape], config: BenchConfig) -> list[Cell]:
    """Returns the cells: first every kind with every shape, then what is swept besides.

    Raises:
        ConfigError: a kind is unknown.
    """
    for what in whats:
        if what not in MEASURES:
            raise ConfigError(f"What to measure is any of {', '.join(MEASURES)}. Got '{what}'.")
    cells = [cell for what in whats for cell in _cells(what, shapes, config)]
    return sorted(cells, key=lambda cell: cell.depth)


def run_sweep(
    bench: Bench, cells: Sequence[Cell], on_cell: Callable[[Cell], None] | None = None
) -> SweepResult:
    """Measures cell after cell; what fails is noted, and the next one begun.

    Args:
        bench: where.
        cells: what, in this order.
        on_cell: is told of each before it begins.
    """
    failures: list[Failure] = []
    for number, cell in enumerate(cells):
        if bench.seconds_left <= 0:
            return SweepResult(number, tuple(cells[number:]), tuple(failures))
        if on_cell is not None:
            on_cell(cell)
        try:
            MEASURES[cell.what](bench, cell.case)
        except RuntimeError as error:  # what torch raises; the other cells may work all the same
            failures.append(Failure(cell, " ".join(str(error).split())))
        free_memory(bench.device)
    return SweepResult(len(cells), (), tuple(failures))


def default_device() -> torch.device:
    """Returns the GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _cells(what: str, shapes: Sequence[ModelShape], config: BenchConfig) -> Iterator[Cell]:
    batch_sizes = config.train_batch_sizes if what == "train" else config.batch_sizes
    if what == "ceiling":
        yield Cell(what, Case(shapes[0], shapes[0].segment_len, 1), 0)
        return
    for shape in shapes:
        segment_lens = config.segment_lens or (shape.segment_len,)
        pairs = itertools.product(enumerate(segment_lens), enumerate(batch_sizes))
        for (far, segment_len), (further, batch_size) in pairs:
            yield Cell(what, Case(shape, segment_len, batch_size), far + further)
