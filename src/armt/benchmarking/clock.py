"""Times and peak memory of pieces of work, on a GPU or without one."""

import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, final

import torch

Work = Callable[[], object]
"""Something to measure; what it returns is dropped."""

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Samples(NamedTuple):
    """How long the same work took, each time that it was done."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one, in seconds."""
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        """The shortest, in seconds."""
        return min(self.seconds)

    @property
    def high(self) -> float:
        """The longest, in seconds."""
        return max(self.seconds)


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> None:
    """Gives back what nothing holds any more."""
    _ = gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def seconds_of(work: Work, device: torch.device) -> float:
    """Returns the time from asking for `work` until the device has done it.

    This is the time that a user waits: it covers the host's share and the copies to the device.
    """
    synchronize(device)
    start = time.perf_counter()
    _ = work()
    synchronize(device)
    return time.perf_counter() - start


def alternate(
    works: Mapping[str, Work], device: torch.device, *, num_repeats: int, deadline: float
) -> dict[str, Samples]:
    """Does all works in turn, again and again, so that what disturbs one disturbs all.

    Every other round goes backwards. After `deadline`, a moment of `time.monotonic`, no new round
    begins; the first is always done.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(num_repeats):
        if number and time.monotonic() > deadline:
            break
        for name in list(works) if number % 2 == 0 else list(works)[::-1]:
            seconds[name].append(seconds_of(works[name], device))
    return {name: Samples(tuple(values)) for name, values in seconds.items()}


@final
class MemoryMeter:
    """Peak memory of works that live side by side on one device, each as if it were alone.

    On a GPU this is what was there at the beginning, what the work holds, and the most that it
    takes for a while. On a CPU it is the most that the process held meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        """Takes what the device holds now, such as a model, as common to all works."""
        self.device = device
        self.peaks: dict[str, int] = {}
        """Bytes by name, of the last time that each work was watched."""
        self._start = self._allocated()
        self._held: dict[str, int] = {}

    @contextmanager
    def watch(self, name: str) -> Generator[None]:
        """Watches one work; where a system tells no peak, there is none."""
        before = self._allocated()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            _reset_resident_peak()
        yield
        held = self._held.get(name, 0)
        peak = self._peak()
        if peak is not None:
            self.peaks[name] = self._start + held + peak - before
        self._held[name] = held + self._allocated() - before

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0

    def _peak(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _resident_peak()


def _reset_resident_peak() -> None:
    """Makes Linux forget the most that the process has held so far."""
    with suppress(OSError):
        _ = _RESET.write_text("5", encoding="ascii")


def _resident_peak() -> int | None:
    """Returns the most that the process has held, in bytes, or none where no one counts it."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def resident_nbytes() -> int:
    """Returns the memory that the process holds now; where that cannot be known, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def total_nbytes(device: torch.device) -> int:
    """Returns the memory that a device has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
