"""Says what the time of a GPU goes into, by kind of kernel: a wave of reading, a training step.

    python benchmarks/kernel_profile.py read:gpt2-small:1 train:small:64:sequential \
        --results benchmarks/results/NAME.jsonl

A case is what is done, a shape and the number of rows, and for training a schedule as well.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from records import open_book
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.config import BenchConfig, Schedule
from armt.benchmarking.reading import set_schedule
from armt.benchmarking.records import RecordBook
from armt.benchmarking.shapes import model_shape
from armt.benchmarking.training import make_batch, stepper

KINDS = {
    "write": ("_solve_kernel", "_update_kernel", "trsm"),
    "attention": ("sdpa", "flash", "fmha"),
    "products of matrices": ("nvjet", "gemm", "cutlass", "cublas"),
    "elementwise": ("triton_", "elementwise", "reduce_kernel"),
    "copies": ("memcpy", "memset"),
}
"""Kinds of kernels by parts of their names; the first that fits counts."""

_NUM_SEGMENTS = 128


def main() -> None:
    """Profiles every case."""
    options = _options()
    book = open_book(options.results, 0, options.commit)
    for case in options.cases:
        what, *about = case.split(":")
        {"read": _profile_read, "train": _profile_train}[what](book, *about)


def _profile_read(book: RecordBook, shape: str, batch: str) -> None:
    """Records what a wave takes, averaged over the reading of a text."""
    bench, case = _bench(book, shape, batch)
    model = bench.model(case)
    set_schedule(model, "waves", is_compiled=True)
    text = bench.ids(case, _NUM_SEGMENTS * case.segment_len)
    num_waves = _NUM_SEGMENTS + len(model.anatomy.layers) - 1
    kernels = _profiled(partial(model.read, text))
    _record(book, "wave.kernel_us", kernels, num_waves, {"shape": shape, "batch": case.batch_size})


def _profile_train(book: RecordBook, shape: str, batch: str, schedule: Schedule) -> None:
    """Records what forward and backward of a training step take, without the optimiser."""
    bench, case = _bench(book, shape, batch)
    model, rows = bench.model(case).train(), make_batch(bench, case)
    set_schedule(model, schedule, is_compiled=True)
    kernels = _profiled(partial(stepper(model, schedule), rows, None))
    params = {"shape": shape, "batch": case.batch_size, "schedule": schedule}
    _record(book, "train.kernel_us", kernels, 1, params)


def _bench(book: RecordBook, shape: str, batch: str) -> tuple[Bench, Case]:
    found = model_shape(shape)
    bench = Bench(BenchConfig(commit=book.commit), torch.device("cuda"), book)
    return bench, Case(found, found.segment_len, int(batch))


def _record(
    book: RecordBook,
    name: str,
    kernels: dict[str, tuple[float, int]],
    num_times: int,
    params: dict[str, Any],
) -> None:
    for kind, (seconds, number) in kernels.items():
        microseconds, mean_number = 1e6 * seconds / num_times, round(number / num_times, 1)
        _ = book.add(name, microseconds, "us", kind=kind, kernels=mean_number, **params)


def _profiled(run: Callable[[], object]) -> dict[str, tuple[float, int]]:
    """Returns seconds and numbers of kernels by kind, once it is compiled and captured."""
    for _ in range(2):
        _ = run()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        _ = run()
        torch.cuda.synchronize()
    return _by_kind(profiled)


def _by_kind(profiled: profile) -> dict[str, tuple[float, int]]:
    """Returns seconds and numbers of kernels by kind."""
    found: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for event in cast("Any", profiled.events()):
        if event.device_type == DeviceType.CUDA:
            name = event.name.lower()
            parts = KINDS.items()
            kind = next((kind for kind, names in parts if any(n in name for n in names)), "other")
            seconds, number = found[kind]
            found[kind] = (seconds + event.time_range.elapsed_us() / 1e6, number + 1)
    return dict(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--commit", default="")
    _ = parser.add_argument("cases", nargs="+", metavar="WHAT:SHAPE:BATCH[:SCHEDULE]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
