"""How fast texts are read in the long run, by every schedule."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from armt.benchmarking.bench import Bench, Case, flops_of
from armt.benchmarking.clock import MemoryMeter
from armt.benchmarking.config import Schedule
from armt.core.shapes import Int, Tensor
from armt.core.state import State
from armt.recurrence.choose_schedule import choose_loop
from armt.recurrence.model import Recurrent
from armt.recurrence.wave_loop import WaveLoop

Reader = Callable[[Int[Tensor, "B T"]], object]
"""Reads tokens that lie in the host's memory."""

EAGER = "sequential eager"
"""The name in the records of the plain loop."""

AUTO = "auto"
"""The name in the records of the schedule that the library chooses by itself."""

_WARM_UP_SEGMENTS = 64


def set_schedule(model: Recurrent, schedule: str, *, is_compiled: bool) -> None:
    """Makes a model run by a schedule; the plain loop is the sequential one without more ado."""
    own: Any = "sequential" if schedule == EAGER else schedule
    is_compiled = is_compiled and schedule != EAGER
    model.recurrence = replace(model.recurrence, schedule=own, is_compiled=is_compiled)


def reader(model: Recurrent, schedule: Schedule, *, is_compiled: bool) -> Reader:
    """Returns what reads by a schedule."""

    def read(ids: Int[Tensor, "B T"]) -> object:
        set_schedule(model, schedule, is_compiled=is_compiled)
        return read_eagerly(model, ids) if schedule == EAGER else model.read(ids)

    return read


@torch.no_grad()
def read_eagerly(model: Recurrent, ids: Int[Tensor, "B T"]) -> tuple[State, ...]:
    """Reads whole segments in the plainest way: one by one, operation by operation."""
    parts, states = model.schedule(), model.memory.init_states(len(ids))
    for segment in ids.split(model.recurrence.segment_len, dim=1):
        states = parts.run(segment.to(model.device), states, is_whole=True).states
    return states


def measure_read(bench: Bench, case: Case) -> None:
    """Measures reading long after its beginning, all schedules in turns."""
    config, model = bench.config, bench.model(case)
    meter = MemoryMeter(bench.device)
    is_compiled = config.is_compiled
    readers = {name: reader(model, name, is_compiled=is_compiled) for name in config.schedules}
    unit = case.segment_len * case.batch_size
    short = bench.ids(case, warm_up_len(bench, case))
    warm = {name: partial(read, short) for name, read in readers.items()}
    seconds = bench.warm_up(warm, meter, lambda name: case.params | {"schedule": name})
    sizes = {
        name: max(1, int(min(config.num_tokens, short.numel() * config.sample_s / taken) // unit))
        for name, taken in seconds.items()
    }
    ids = bench.ids(case, max(sizes.values(), default=0) * case.segment_len)
    works = {
        name: partial(readers[name], ids[:, : size * case.segment_len])
        for name, size in sizes.items()
    }
    found = bench.alternate(works)
    chosen = auto_choice(model, case.batch_size, is_compiled=is_compiled)
    for name, samples in found.items():
        params = case.params | {"schedule": name, "is_auto": name == chosen}
        num_tokens = sizes[name] * unit
        bench.add_speed("read", samples, num_tokens, flops_of(model, num_tokens), params)
        bench.add_peak("read", meter, name, params | {"tokens": short.numel()})
    nbytes = model.init_state(case.batch_size).nbytes
    _ = bench.book.add("memory.state_bytes", nbytes, "bytes", **case.params)


@torch.no_grad()
def auto_choice(model: Recurrent, num_rows: int, *, is_compiled: bool) -> str:
    """Returns the schedule that the library would take for reading."""
    before = model.recurrence
    set_schedule(model, AUTO, is_compiled=is_compiled)
    chosen = "waves" if choose_loop(model, num_rows) is WaveLoop else "sequential"
    model.recurrence = before
    return chosen


def warm_up_len(bench: Bench, case: Case) -> int:
    """Returns the tokens of a row that are read before anything is measured."""
    wanted = min(_WARM_UP_SEGMENTS, bench.config.num_tokens // case.segment_len)
    return case.segment_len * max(wanted, 1)
