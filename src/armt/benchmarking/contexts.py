"""How long whole texts take, and how much memory: beside full attention, and far beyond it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.clock import MemoryMeter, resident_nbytes, seconds_of
from armt.benchmarking.reading import AUTO, Reader, auto_choice, reader, set_schedule, warm_up_len
from armt.core.shapes import Int, Tensor
from armt.recurrence.model import Recurrent

FULL_ATTENTION = "full attention"
"""The name in the records of the backbone that sees a whole text at once."""

_PIECE_LEN = 1 << 20


def measure_latency(bench: Bench, case: Case) -> None:
    """Measures reading a whole text beside full attention over it; the longest comes first."""
    lengths = sorted(bench.config.context_lens, reverse=True)
    is_compiled = bench.config.is_compiled
    model = bench.model(case, max_positions=max(lengths, default=0))
    meter = MemoryMeter(bench.device)
    readers: dict[str, Reader] = {
        **{name: reader(model, name, is_compiled=is_compiled) for name in bench.config.schedules},
        FULL_ATTENTION: partial(attend_to_all, model),
    }
    for length in lengths:
        if bench.seconds_left > 0:
            _measure_context(bench, case, readers, meter, length)


def _measure_context(
    bench: Bench, case: Case, readers: dict[str, Reader], meter: MemoryMeter, length: int
) -> None:
    """Measures one text by every reader that has the memory for it."""
    ids = bench.ids(case, length)

    def about(name: str) -> dict[str, Any]:
        return case.params | bench.settings | {"tokens": length, "schedule": name}

    works = {name: partial(read, ids) for name, read in readers.items()}
    for name, samples in bench.compare(works, meter, about).items():
        params = about(name) | {"num_samples": len(samples.seconds)}
        spread = {"low": samples.low, "high": samples.high}
        _ = bench.book.add("read.seconds", samples.median, "s", **params, **spread)
        bench.add_peak("read", meter, name, about(name))


def measure_long(bench: Bench, case: Case) -> None:
    """Reads ever longer texts once each, for the memory of the device and of the host."""
    model = bench.model(case)
    set_schedule(model, AUTO, is_compiled=bench.config.is_compiled)
    lengths = sorted(bench.config.long_lens)
    held = bench.ids(case, min(_PIECE_LEN // case.batch_size, lengths[-1]))
    short = held[:, : warm_up_len(bench, case)]
    # in pieces, as below: of a text handed whole it is known that it is short
    warm_up = [
        seconds_of(partial(model.read, pieces(short, short.shape[1])), bench.device)
        for _ in range(2)
    ]
    per_token = warm_up[-1] / short.numel()
    meter = MemoryMeter(bench.device)
    for length in lengths:
        num_tokens = length * case.batch_size
        if per_token * num_tokens > bench.seconds_left:
            return
        before = resident_nbytes()
        with meter.watch(AUTO):
            seconds = seconds_of(partial(model.read, pieces(held, length)), bench.device)
        per_token = seconds / num_tokens
        params = case.params | {
            "tokens": length,
            "schedule": AUTO,
            "chosen": auto_choice(model, case.batch_size, is_compiled=bench.config.is_compiled),
            **bench.settings,
        }
        _ = bench.book.add("read.seconds", seconds, "s", **params)
        bench.add_peak("read", meter, AUTO, params)
        growth = resident_nbytes() - before
        _ = bench.book.add("read.host_growth_bytes", growth, "bytes", **params)


def pieces(held: Int[Tensor, "B P"], num_tokens: int) -> Iterator[Int[Tensor, "B T"]]:
    """Yields `num_tokens` tokens of each row, the same ones again and again."""
    while num_tokens > 0:
        yield held[:, :num_tokens]
        num_tokens -= held.shape[1]


@torch.no_grad()
def attend_to_all(model: Recurrent, ids: Int[Tensor, "B T"]) -> object:
    """Lets the backbone, with its own weights and no memory, see a whole text at once.

    Keys and values are kept, from which it could go on, and the logits of the last token made.
    """
    parts = model.schedule()
    return parts.forward(input_ids=ids.to(model.device), use_cache=True, logits_to_keep=1)
