"""How a memory gets around the layers of a model without a copy of the model's code.

Each layer's class gets one dynamic subclass that overrides nothing but `__call__`. The memory thus
runs outside the layer's own checkpointing, hooks and compilation, all parameter names stay, and the
layer still is an instance of its class.
"""

import copy
import functools
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from torch import nn

from armt.core.contract import LayerMemory
from armt.core.errors import BackboneError
from armt.core.shapes import Float, Tensor
from armt.core.state import State


class Visit(NamedTuple):
    """What the layers do with their memories during one pass over a segment."""

    num_memory_positions: int
    """Positions at the end of the segment that hold memory tokens."""

    is_writing: bool
    """Whether the pass ends the segment, so that the memory is written."""


Detour = Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]
"""Takes a layer's place: its input and further arguments in, its output out."""


class Port:
    """Where one layer meets its memory; empty except during a pass."""

    def __init__(self, memory: LayerMemory[Any]) -> None:
        """Holds the memory; a plain object, so that no module is registered twice."""
        self.memory = memory
        self.state: State | None = None
        self.visit = Visit(0, False)
        self.detour: Detour | None = None

    def read(self, hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Returns the layer's input with the memory's reading."""
        return self.memory.read(hidden, self.state)

    def write(self, hidden: Float[Tensor, "B T D"]) -> None:
        """Replaces the bound state by the one after this segment."""
        if not self.visit.is_writing:
            return
        text_len = hidden.shape[1] - self.visit.num_memory_positions
        uses_tokens = self.memory.num_memory_tokens > 0
        source = hidden[:, text_len:] if uses_tokens else hidden[:, :text_len]
        self.state = self.memory.write(source, self.state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Port":
        """Copies the port with its memory, so that a copied model has its own."""
        return Port(copy.deepcopy(self.memory, memo))


def open_ports(layers: Sequence[nn.Module], memories: Sequence[LayerMemory[Any]]) -> None:
    """Puts each memory around its layer.

    Raises:
        BackboneError: a layer has a memory already.
    """
    if any("_port" in layer.__dict__ for layer in layers):
        raise BackboneError(
            "This model carries a memory already. Load the backbone anew before attaching another."
        )
    for layer, memory in zip(layers, memories, strict=True):
        layer.__dict__["_port"] = Port(memory)
        layer.__class__ = _with_port(type(layer))


@contextmanager
def bound(
    layers: Sequence[nn.Module], states: Sequence[State], visit: Visit
) -> Generator[list[Port]]:
    """Binds one state to each layer for the length of one pass.

    Yields the ports; after the pass their `state` is the one handed back. On leaving, whether by an
    error or not, nothing stays bound.
    """
    ports = [cast("Port", layer.__dict__["_port"]) for layer in layers]
    if any(port.state is not None for port in ports):
        raise BackboneError(
            "This model is in the middle of another pass. Use it from one thread at a time."
        )
    for port, state in zip(ports, states, strict=True):
        port.state, port.visit = state, visit
    try:
        yield ports
    finally:
        for port in ports:
            port.state = None


@functools.cache
def _with_port(base: type[nn.Module]) -> type[nn.Module]:
    """Returns the subclass of `base` that reads before and writes after it, under the same name."""

    def call(self: nn.Module, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        port = cast("Port", self.__dict__["_port"])
        if port.detour is not None:
            return port.detour(hidden_states, args, options)
        inner = super(cast("Any", ported), self).__call__
        if port.state is None:  # the plain model, outside a recurrence
            return inner(hidden_states, *args, **options)
        output = inner(port.read(hidden_states), *args, **options)
        port.write(output[0] if isinstance(output, tuple) else output)
        return output

    ported = type(base.__name__, (base,), {"__call__": call, "__module__": base.__module__})
    return ported
