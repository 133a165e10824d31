"""Loops that read long texts over fixed places, kept for the next text of the same shape."""

from collections.abc import Callable
from typing import Any, Protocol, final

import torch

from armt.core.shapes import Int, Tensor
from armt.core.state import State
from armt.recurrence.schedule import SequentialSchedule

_NUM_KEPT = 4


class ReadLoop(Protocol):
    """Reads segments of one shape, text after text; only states come out."""

    def begin(self, states: tuple[State, ...]) -> None:
        """Starts a text from the layers' states."""
        ...

    def push(self, segments: Int[Tensor, "S B L"]) -> None:
        """Reads whole segments."""
        ...

    def finish(self) -> tuple[State, ...]:
        """Returns the layers' states after all segments."""
        ...


LoopMaker = Callable[[SequentialSchedule, tuple[State, ...], Int[Tensor, "B L"]], ReadLoop]
"""Makes a loop from a model's parts, states of the shape that all texts have, and a segment."""


@final
class ReadLoops:
    """The loops of one model; not copied with it."""

    def __init__(self) -> None:
        """Keeps none yet."""
        self._kept: dict[tuple[Any, ...], ReadLoop] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReadLoops":
        """A copied model has loops of its own."""
        del memo
        return ReadLoops()

    def get(
        self,
        make: LoopMaker,
        parts: SequentialSchedule,
        states: tuple[State, ...],
        like: Int[Tensor, "B L"],
    ) -> ReadLoop:
        """Returns the loop for texts like this one, started from their states."""
        loop = self._kept.pop(_key(make, parts, like), None) or make(parts, states, like)
        # the key is taken anew: laying the weights side by side may have moved them
        self._kept[_key(make, parts, like)] = loop
        while len(self._kept) > _NUM_KEPT:
            _ = self._kept.pop(next(iter(self._kept)))
        loop.begin(states)
        return loop


def _key(make: LoopMaker, parts: SequentialSchedule, like: Int[Tensor, "B L"]) -> tuple[Any, ...]:
    """What a loop is bound to: a shape, a precision, modes, and where the weights stand."""
    modules = (*parts.layers, parts.memory)
    places = tuple(weight.data_ptr() for module in modules for weight in module.parameters())
    device = like.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    # in inference mode the fixed places are tensors that nothing else may write to
    modes = parts.memory.training, parts.compiler is not None, torch.is_inference_mode_enabled()
    return make, tuple(like.shape), precision, modes, places
