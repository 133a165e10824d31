"""How a memory of each door is read by itself, outside a model."""

from typing import Any

import torch

from armt.core.contract import Memory
from armt.core.shapes import Tensor
from armt.core.state import State
from tiny import SEGMENT_LEN

D_MODEL = 16


def read_through(memory: Memory[Any], state: State) -> tuple[Tensor, ...]:
    """Returns what a memory tells of its state; the same for the same state."""
    return _READERS[memory.door](memory, state)


def _segment(memory: Memory[Any], num_rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    num_positions = memory.num_prefix_tokens + SEGMENT_LEN + memory.num_memory_tokens
    shape = (num_rows, num_positions, D_MODEL)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def _read_layer(memory: Any, state: Any) -> tuple[Tensor, ...]:
    return (memory.read(_segment(memory, _num_rows(state)), state),)


def _read_tokens(memory: Any, state: Any) -> tuple[Tensor, ...]:
    """The tokens before and after an extra pass whose backbone is a running mean."""
    text = torch.ones(_num_rows(state), SEGMENT_LEN, D_MODEL, dtype=torch.float64)
    queried = memory.query(text, state, lambda embedded: embedded.cumsum(1))
    return (*memory.tokens(state), *memory.tokens(queried))


def _num_rows(state: State) -> int:
    return len(next(iter(state.tensors().values()), torch.zeros(2)))


_READERS = {"residual": _read_layer, "tokens": _read_tokens}
