"""What all measurements share: the device, the models, the record book, the time that is left."""

import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple, final

import torch

from armt.benchmarking.clock import (
    MemoryMeter,
    Samples,
    Work,
    alternate,
    free_memory,
    seconds_of,
    total_nbytes,
)
from armt.benchmarking.config import BenchConfig
from armt.benchmarking.records import RecordBook
from armt.benchmarking.shapes import ModelShape, build_model
from armt.core.shapes import Int, Tensor
from armt.recurrence.flops import count_flops
from armt.recurrence.model import Recurrent

_CEILING_SIDES = {"cuda": (4096, 8192, 16384), "cpu": (512, 1024)}
_CEILING_FLOPS = {"cuda": 2e13, "cpu": 2e10}
"""Operations of one sample, about."""
_COPIED_NBYTES = {"cuda": 1 << 32, "cpu": 1 << 26}


class Case(NamedTuple):
    """What is measured, apart from how."""

    shape: ModelShape
    segment_len: int
    batch_size: int

    @property
    def params(self) -> dict[str, Any]:
        """As the records write it."""
        return {
            "shape": self.shape.name,
            "segment_len": self.segment_len,
            "batch": self.batch_size,
        }


@final
class Bench:
    """Measures one thing after the other on one device and writes each figure down at once."""

    def __init__(
        self,
        config: BenchConfig,
        device: torch.device,
        book: RecordBook,
        *,
        deadline: float = math.inf,
    ) -> None:
        """Takes the options; after `deadline`, a moment of `time.monotonic`, nothing new begins."""
        self.config, self.device, self.book, self.deadline = config, device, book, deadline
        self.dtype: torch.dtype = getattr(torch, config.precision)

    @property
    def seconds_left(self) -> float:
        """Time that is left."""
        return self.deadline - time.monotonic()

    @property
    def settings(self) -> dict[str, Any]:
        """What holds for all figures of speed and memory, as the records write it."""
        return {"dtype": self.config.precision, "is_compiled": self.config.is_compiled}

    @cached_property
    def ceiling(self) -> float:
        """Operations a second of large products of matrices, measured when it is first asked."""
        best, kind = 0.0, self.device.type
        for side in _CEILING_SIDES[kind]:
            left = torch.randn(side, side, device=self.device, dtype=self.dtype)
            right, out = torch.randn_like(left), torch.empty_like(left)
            num_products = max(1, round(_CEILING_FLOPS[kind] / (2 * side**3)))

            def multiply(
                left: Tensor = left, right: Tensor = right, out: Tensor = out, n: int = num_products
            ) -> None:
                for _ in range(n):
                    _ = torch.matmul(left, right, out=out)

            _ = seconds_of(multiply, self.device)
            seconds = Samples(tuple(seconds_of(multiply, self.device) for _ in range(5))).median
            best = max(best, 2 * side**3 * num_products / seconds)
        params = {"dtype": self.config.precision, "sides": list(_CEILING_SIDES[kind])}
        _ = self.book.add("ceiling.tflops", best / 1e12, "TFLOP/s", **params)
        return best

    @cached_property
    def bandwidth(self) -> float:
        """Bytes a second of a large copy, read and written, measured when it is first asked."""
        source = torch.ones(_COPIED_NBYTES[self.device.type], dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        copy = partial(target.copy_, source)
        _ = seconds_of(copy, self.device)
        seconds = Samples(tuple(seconds_of(copy, self.device) for _ in range(5))).median
        found = 2 * source.numel() / seconds
        _ = self.book.add("ceiling.bytes_per_s", found, "bytes/s", nbytes=source.numel())
        return found

    def model(self, case: Case, *, max_positions: int = 0) -> Recurrent:
        """Returns the model of a case, random but the same each time."""
        return build_model(
            case.shape,
            self.config.memory,
            case.segment_len,
            max_positions=max(
                max_positions, case.segment_len + self.config.memory.num_memory_tokens
            ),
            dtype=self.dtype,
            device=self.device,
            seed=self.config.seed,
        )

    def ids(self, case: Case, num_tokens: int) -> Int[Tensor, "B T"]:
        """Returns random tokens in the host's memory, `num_tokens` in each row."""
        generator = torch.Generator().manual_seed(self.config.seed)
        size = (case.batch_size, num_tokens)
        return torch.randint(case.shape.vocab_size, size, generator=generator)

    def warm_up(
        self, works: Mapping[str, Work], meter: MemoryMeter, about: Callable[[str], dict[str, Any]]
    ) -> dict[str, float]:
        """Does every work twice, one after the other, and watches its memory.

        The first run may compile, capture graphs and move weights, which can make another work
        capture its own anew; so all are run before any is run again.

        Args:
            works: by name.
            meter: watches the memory.
            about: parameters of the record that says that a work takes more memory than there is.

        Returns:
            The time of the second run by name, of those works that fit into the memory.
        """
        seconds: dict[str, float] = {}
        lost: set[str] = set()
        for name in (*works, *works):
            if name in lost:
                continue
            try:
                with meter.watch(name):
                    seconds[name] = seconds_of(works[name], self.device)
            except torch.OutOfMemoryError:
                lost.add(name)
            free_memory(self.device)
        for name in lost:
            _ = seconds.pop(name, None)
            total = total_nbytes(self.device)
            _ = self.book.add("device.out_of_memory", total, "bytes", **about(name))
        return seconds

    def compare(
        self, works: Mapping[str, Work], meter: MemoryMeter, about: Callable[[str], dict[str, Any]]
    ) -> dict[str, Samples]:
        """Warms all works up and measures those that fit into the memory, in turns."""
        fits = self.warm_up(works, meter, about)
        return self.alternate({name: works[name] for name in fits})

    def alternate(self, works: Mapping[str, Work]) -> dict[str, Samples]:
        """Measures works in turns, as often as the options say and the time allows."""
        return alternate(
            works, self.device, num_repeats=self.config.num_repeats, deadline=self.deadline
        )

    def add_speed(
        self, name: str, samples: Samples, num_tokens: int, flops: float, params: dict[str, Any]
    ) -> None:
        """Writes tokens a second, and operations a second beside the device's ceiling.

        Args:
            name: what was measured, such as `read`.
            samples: how long it took.
            num_tokens: tokens of one sample, all rows together.
            flops: operations of one sample.
            params: of the records.
        """
        sizes = {"tokens": num_tokens, "num_samples": len(samples.seconds)}
        about = params | self.settings | sizes
        speeds = [num_tokens / seconds for seconds in (samples.median, samples.high, samples.low)]
        spread = {"low": speeds[1], "high": speeds[2]}
        _ = self.book.add(f"{name}.tokens_per_s", speeds[0], "tokens/s", **about, **spread)
        per_second = flops / samples.median
        _ = self.book.add(f"{name}.tflops", per_second / 1e12, "TFLOP/s", **about)
        _ = self.book.add(f"{name}.ceiling_share", per_second / self.ceiling, "ratio", **about)

    def add_peak(self, name: str, meter: MemoryMeter, arm: str, params: dict[str, Any]) -> None:
        """Writes the most memory that a work took, where the system tells it."""
        if arm in meter.peaks:
            _ = self.book.add(f"{name}.peak_bytes", meter.peaks[arm], "bytes", **params)


def flops_of(model: Recurrent, num_tokens: int) -> float:
    """Returns the operations of reading whole segments of `num_tokens` tokens in all."""
    return count_flops(model).total * num_tokens / model.recurrence.segment_len
