"""How a memory of each door is read and written by itself, outside a model."""

from typing import Any, cast

import torch

from armt.core.contract import Lookup, Memory, Written
from armt.core.shapes import Tensor
from armt.core.state import State
from tiny import SEGMENT_LEN, random_ids

D_MODEL = 16


def read_through(memory: Memory[Any], state: State) -> tuple[Tensor, ...]:
    """Returns what a memory tells of its state; the same for the same state."""
    return _READERS[memory.door](memory, state)


def write_through(memory: Memory[Any], state: State, seed: int) -> State:
    """Returns the state after two rows of a segment that the seed draws, which must stay as is."""
    generator = torch.Generator().manual_seed(seed)
    length = memory.num_memory_tokens or SEGMENT_LEN
    if memory.door == "key_value":
        given = _heads(2, length, generator)
        source: Any = Written(given[0], given[1], given[2], _ids(2))
    else:
        source = torch.randn(2, length, D_MODEL, dtype=torch.float64, generator=generator)
        given = (source,)
    before = [each.clone() for each in given]
    after = cast("Any", memory).write(source, state)
    assert all(torch.equal(*pair) for pair in zip(given, before, strict=True))
    return after


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


def _read_keys_and_values(memory: Any, state: Any) -> tuple[Tensor, ...]:
    num_rows, length = _num_rows(state), SEGMENT_LEN + memory.num_memory_tokens
    queries, keys, _ = _heads(num_rows, length, torch.Generator().manual_seed(3))
    is_visible = torch.ones(num_rows, length, length).tril().bool()
    lookup = Lookup(queries, keys, is_visible, memory.num_memory_tokens, _ids(num_rows))
    found = memory.extend(lookup, state)
    return tuple(each for each in found or () if each is not None)


def _heads(num_rows: int, length: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Queries of two heads, keys and values of one."""
    shape = (num_rows, 2, length, D_MODEL // 2)
    drawn = [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3)]
    return drawn[0], drawn[1][:, :1], drawn[2][:, :1]


def _ids(num_rows: int) -> Tensor:
    return random_ids(num_rows, SEGMENT_LEN)


def _num_rows(state: State) -> int:
    return len(next(iter(state.tensors().values()), torch.zeros(2)))


_READERS = {
    "residual": _read_layer,
    "tokens": _read_tokens,
    "key_value": _read_keys_and_values,
}
