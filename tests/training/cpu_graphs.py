"""CUDA graphs without a GPU: what was captured runs again, into the places it was captured in."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from armt.training.graphed import GraphedStepper
from armt.training.step import StepResult


class RerunGraph:
    """Holds the call that was made while it was captured, and the tensors that came of it."""

    captured: tuple[Callable[[], StepResult], StepResult]

    def pool(self) -> None:
        """There is no memory to share."""

    def replay(self) -> None:
        run, places = self.captured
        again = run()
        for place, value in zip(_tensors(places), _tensors(again), strict=True):
            _ = place.copy_(value)


class Stream:
    """Waits for nothing."""

    def wait_stream(self, other: Any) -> None:
        del other


def use_cpu_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a `GraphedStepper` work on a CPU for the length of a test."""
    run, calls = GraphedStepper._run, []

    def noted(self: GraphedStepper, *arguments: Any) -> StepResult:
        result = run(self, *arguments)
        calls.append((lambda: run(self, *arguments), result))
        return result

    @contextmanager
    def capture(graph: RerunGraph, pool: Any, capture_error_mode: str) -> Generator[None]:
        del pool
        assert capture_error_mode == "thread_local", "a data loader's thread pins memory meanwhile"
        yield
        graph.captured = calls[-1]

    monkeypatch.setattr(GraphedStepper, "_run", noted)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", RerunGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())


def _tensors(result: StepResult) -> list[torch.Tensor]:
    layers = (*(result.carried or ()), *(result.started or ()))
    states = [value for state in layers for value in state.tensors().values()]
    return [result.loss, result.num_labels, result.num_correct, *states]
