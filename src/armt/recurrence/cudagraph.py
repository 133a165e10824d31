"""What runs again and again in the same shape, as one CUDA graph."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import torch

T = TypeVar("T")

_NUM_WARM_UPS = 2


class Captured(NamedTuple, Generic[T]):
    """A graph, and what the captured run returned: the places that every replay writes to."""

    graph: torch.cuda.CUDAGraph
    result: T


def replayed(*runs: Callable[[], object]) -> list[Callable[[], object]]:
    """Returns what replays each run as a graph; they share memory, so that one runs at a time."""
    graphs: list[torch.cuda.CUDAGraph] = []
    for run in runs:
        graphs.append(capture(run, graphs[0].pool() if graphs else None).graph)
    return [graph.replay for graph in graphs]


def capture(run: Callable[[], T], pool: Any = None) -> Captured[T]:
    """Runs something a few times, so that nothing is set up in it any more, then captures it.

    Args:
        run: reads from and writes to tensors that stay in place.
        pool: memory shared with earlier graphs (`graph.pool()`), of which one runs at a time.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_NUM_WARM_UPS):
            _ = run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # other threads go on meanwhile: one that pins memory for a data loader would spoil the capture
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = run()
    return Captured(graph, result)
