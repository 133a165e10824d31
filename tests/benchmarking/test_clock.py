import time

import pytest
import torch

from armt.benchmarking import clock
from armt.benchmarking.clock import MemoryMeter, Samples, alternate, seconds_of

CPU = torch.device("cpu")


def test_samples_tell_the_middle_and_the_ends():
    samples = Samples((3.0, 1.0, 2.0))
    assert (samples.median, samples.low, samples.high) == (2.0, 1.0, 3.0)


def test_a_work_takes_the_time_it_takes():
    assert 0.02 <= seconds_of(lambda: time.sleep(0.02), CPU) < 1


def test_works_take_turns_forwards_and_backwards():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    found = alternate(works, CPU, num_repeats=3, deadline=time.monotonic() + 60)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(samples.seconds) for name, samples in found.items()} == {"a": 3, "b": 3}


def test_after_the_deadline_only_the_first_round_is_done():
    found = alternate({"a": lambda: None}, CPU, num_repeats=5, deadline=time.monotonic() - 1)
    assert len(found["a"].seconds) == 1


@pytest.mark.skipif(clock._resident_peak() is None, reason="this system tells no peak")
def test_the_peak_of_a_work_on_the_cpu_is_its_own():
    meter = MemoryMeter(CPU)
    with meter.watch("large"):
        _ = torch.ones(100_000_000, dtype=torch.uint8).sum()
    with meter.watch("small"):
        _ = torch.ones(1000).sum()
    assert meter.peaks["large"] - meter.peaks["small"] > 50_000_000


class FakeGpu:
    """Counts bytes as torch's allocator does."""

    def __init__(self, monkeypatch, held):
        self.now = self.most = held
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: self.now)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: self.most)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: self.reset())

    def reset(self):
        self.most = self.now

    def take(self, nbytes):
        self.now += nbytes
        self.most = max(self.most, self.now)


def test_on_a_gpu_a_work_is_charged_as_if_it_were_alone(monkeypatch):
    gpu = FakeGpu(monkeypatch, held=1000)
    meter = MemoryMeter(torch.device("cuda"))
    with meter.watch("a"):  # takes 700 for a while and keeps 200 of it
        gpu.take(700)
        gpu.take(-500)
    with meter.watch("b"):
        gpu.take(30)
        gpu.take(-30)
    with meter.watch("a"):  # what it keeps still counts
        gpu.take(50)
        gpu.take(-50)
    assert meter.peaks == {"a": 1250, "b": 1030}
