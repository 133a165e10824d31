"""Forward and backward of a training batch as one CUDA graph.

A segment of a small model is hundreds of operations that a GPU finishes faster than Python can ask
for them. A graph asks for all of them at once. It is bound to fixed places in memory: a batch is
copied in, the graph replayed, and what it computed copied out. Nothing waits for the GPU, so that
Python prepares the next step meanwhile.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from armt.core.shapes import Bool, Tensor
from armt.core.state import State
from armt.recurrence.cudagraph import capture
from armt.tasks.contract import Batch
from armt.training.step import EagerStepper, StepResult


@dataclass
class _Graph:
    """One captured shape and the places it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    carried: tuple[State, ...]
    result: StepResult


class GraphedStepper:
    """Computes the same gradients as `EagerStepper`, with one graph for each shape of batch.

    Gradients are accumulated into tensors that stay in place, and are zeroed by the graph itself.
    """

    def __init__(self, eager: EagerStepper) -> None:
        """Takes what is to be captured."""
        self._eager = eager
        self._graphs: dict[tuple[Any, ...], _Graph] = {}
        self._pool: Any = None
        self._parameters = [p for p in eager.model.parameters() if p.requires_grad]

    def __call__(self, batch: Batch, carried: tuple[State, ...] | None) -> StepResult:
        """See `Stepper`."""
        # a graph is bound to where the weights stood when it was captured
        places = tuple(parameter.data_ptr() for parameter in self._parameters)
        shapes = tuple((name, tuple(value.shape)) for name, value in batch.tensors().items())
        key = (shapes, batch.carry_len, batch.label_start, places)
        if key not in self._graphs:
            self._graphs[key] = self._capture(batch)
        held = self._graphs[key]
        _copy_batch(batch, held.batch)
        if carried is not None:
            _copy_states(carried, held.carried)
        held.graph.replay()
        result = held.result
        return result._replace(
            loss=result.loss.clone(),
            num_labels=torch.as_tensor(result.num_labels).clone(),
            num_correct=torch.as_tensor(result.num_correct).clone(),
        )

    def carried_on(
        self, result: StepResult, is_taken: Bool[Tensor, ""]
    ) -> tuple[State, ...] | None:
        """See `Stepper`."""
        if result.carried is None or result.started is None:
            return None
        pairs = zip(result.carried, result.started, strict=True)
        return tuple(new.where(is_taken.view(1), old) for new, old in pairs)

    def _capture(self, batch: Batch) -> _Graph:
        device = self._eager.recurrent.device
        num_rows = len(batch.input_ids)
        resets = torch.ones(num_rows, dtype=torch.bool) if batch.resets is None else batch.resets
        fixed = replace(batch, resets=resets).map(lambda tensor: tensor.to(device).clone())
        # a learned empty state would hold on to a gradient's path outside of the capture
        with torch.no_grad():
            carried = self._eager.recurrent.memory.init_states(num_rows)
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        graph, result = capture(lambda: self._run(fixed, carried), self._pool)
        self._pool = self._pool or graph.pool()
        return _Graph(graph, fixed, carried, result)

    def _run(self, batch: Batch, carried: tuple[State, ...]) -> StepResult:
        gradients = [parameter.grad for parameter in self._parameters]
        cast("Any", torch)._foreach_zero_([each for each in gradients if each is not None])
        start = self._eager.start_states(batch.resets, carried, len(batch.input_ids))
        return self._eager.run(batch, start)


def _copy_batch(source: Batch, target: Batch) -> None:
    places = target.tensors()
    for name, value in source.tensors().items():
        if name in places:
            _ = places[name].copy_(value, non_blocking=True)


def _copy_states(source: tuple[State, ...], target: tuple[State, ...]) -> None:
    for state, place in zip(source, target, strict=True):
        places = place.tensors()
        for name, value in state.tensors().items():
            _ = places[name].copy_(value)
