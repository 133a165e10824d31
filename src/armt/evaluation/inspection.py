"""What a memory does while a text is read: by segment, by layer, for every memory alike.

A segment is passed twice, with what the memory knows and with an empty one. Where the two differ is
what comes from the memory.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn.functional import normalize

from armt.backbones.attach import Visit
from armt.core.contract import Memory
from armt.core.errors import DataError
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.evaluation.answers import evaluating
from armt.recurrence.model import Recurrent
from armt.recurrence.schedule import SequentialSchedule

SHARE, NORM, COSINE = "memory_share", "state_norm", "token_cosine"
"""Figures that every memory has; `Memory.diagnose` tells of others.

`memory_share`: by how much the outputs of a layer at the text change when the memory is empty, as
a length beside that of the outputs. `state_norm`: the length of the state before the segment.
`token_cosine`: the mean cosine between the memory tokens after the text, as a layer leaves them; at
1 they are all alike.
"""

WHOLE_MODEL = -1
"""Stands for the layer in figures of a memory that serves the whole model."""


class Finding(NamedTuple):
    """One figure of one layer in one segment."""

    segment: int
    """From 1 on."""

    layer: int
    """From 0 on at the bottom, or `WHOLE_MODEL`."""

    figure: str
    value: float


class Inspection(NamedTuple):
    """What was found in a text."""

    findings: list[Finding]

    states: tuple[State, ...]
    """What the memories know after it."""


class _Pass(NamedTuple):
    """What was seen of one segment."""

    outputs: list[Float[Tensor, "B U D"]]
    """What each layer put out, memory tokens included."""

    told: list[dict[str, Float[Tensor, " B"]]]
    """What each memory told of its write."""

    states: tuple[State, ...]


@torch.no_grad()
def inspect_text(model: Recurrent, ids: Int[Tensor, "B T"]) -> Inspection:
    """Reads the whole segments of a text and tells what the memory did; means over rows.

    Raises:
        DataError: the text does not fill a segment.
    """
    length = model.recurrence.segment_len
    num_segments = ids.shape[1] // length
    if not num_segments:
        raise DataError(
            f"A memory is written segment by segment, {length} tokens each. Got a text of "
            f"{ids.shape[1]} tokens: give a longer one."
        )
    schedule = model.schedule(may_compile=False)
    empty = states = model.memory.init_states(len(ids))
    findings: list[Finding] = []
    with evaluating(model):
        segments = ids[:, : num_segments * length].to(model.device).split(length, dim=1)
        for number, segment in enumerate(segments, start=1):
            on = _pass(schedule, segment, states)
            off = _pass(schedule, segment, empty)
            findings += _compare(number, on, off, model.memory.visit())
            findings += _tell(number, on, states, is_local=model.memory.is_layer_local)
            states = on.states
    return Inspection(findings, states)


def _pass(
    schedule: SequentialSchedule, ids: Int[Tensor, "B T"], states: tuple[State, ...]
) -> _Pass:
    memories = schedule.memory.mechanisms
    with _noted_outputs(schedule.layers) as outputs, _noted_writes(memories) as writes:
        result = schedule.run(ids, states, is_whole=True)
    told = [memory.diagnose(*each) for memory, each in zip(memories, writes, strict=True)]
    # a memory that looks at a text before it is read runs the layers once more, before or after
    return _Pass([each[_main_pass(schedule)] for each in outputs], told, result.states)


def _main_pass(schedule: SequentialSchedule) -> int:
    """Returns which of a segment's passes is the one through the memory."""
    return 0 if schedule.memory.is_causal else -1


def _compare(number: int, on: _Pass, off: _Pass, visit: Visit) -> Iterator[Finding]:
    """Yields what the layers' outputs tell."""
    for layer, (with_memory, without) in enumerate(zip(on.outputs, off.outputs, strict=True)):
        text, plain = visit.text(with_memory).float(), visit.text(without).float()
        change = (text - plain).flatten(1).norm(dim=1) / text.flatten(1).norm(dim=1)
        yield Finding(number, layer, SHARE, float(change.mean()))
        if visit.suffix_len > 1:
            cosine = _mean_cosine(visit.source(with_memory).float())
            yield Finding(number, layer, COSINE, float(cosine.mean()))


def _tell(
    number: int, on: _Pass, states: tuple[State, ...], *, is_local: bool
) -> Iterator[Finding]:
    """Yields what the memories and their states tell."""
    for index, (told, state) in enumerate(zip(on.told, states, strict=True)):
        layer = index if is_local else WHOLE_MODEL
        norm = _norm(state)
        if norm is not None:
            yield Finding(number, layer, NORM, float(norm.mean()))
        for figure, values in told.items():
            yield Finding(number, layer, figure, float(values.float().mean()))


def _norm(state: State) -> Float[Tensor, " B"] | None:
    """Returns the length of all that a state holds in each row; none if it never holds anything."""
    squares = [
        value.float().flatten(1).square().sum(1).cpu()
        for value in state.tensors().values()
        if value.is_floating_point()
    ]
    return torch.stack(squares).sum(0).sqrt() if squares else None


def _mean_cosine(tokens: Float[Tensor, "B M D"]) -> Float[Tensor, " B"]:
    """Returns the mean cosine between two different tokens of a row."""
    directions, number = normalize(tokens, dim=-1), tokens.shape[1]
    cosines = directions @ directions.mT
    return (cosines.sum((1, 2)) - number) / (number * (number - 1))


@contextmanager
def _noted_outputs(layers: Sequence[nn.Module]) -> Generator[list[list[Tensor]]]:
    """Yields lists to which each layer's outputs are added, pass after pass."""
    outputs: list[list[Tensor]] = [[] for _ in layers]

    def noter(own: list[Tensor]) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            del module, args
            own.append(output[0] if isinstance(output, tuple) else output)

        return note

    handles = [
        layer.register_forward_hook(noter(own)) for layer, own in zip(layers, outputs, strict=True)
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _noted_writes(memories: Sequence[Memory[Any]]) -> Generator[list[tuple[Any, Any]]]:
    """Yields a list that holds, after a pass, what each memory was written from, and its state.

    All doors write with the same two arguments, so that a write is seen where it is called.
    """
    writes: list[tuple[Any, Any]] = []

    def noting(write: Any) -> Any:
        def note(source: Any, state: Any) -> Any:
            writes.append((source, state))
            return write(source, state)

        return note

    for memory in memories:
        object.__setattr__(memory, "write", noting(cast("Any", memory).write))
    try:
        yield writes
    finally:
        for memory in memories:
            object.__delattr__(memory, "write")
