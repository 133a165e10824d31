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

import torch
from torch import nn

from armt.core.contract import Memory, TokenEdges
from armt.core.errors import BackboneError
from armt.core.shapes import Float, Tensor
from armt.core.state import State


class Visit(NamedTuple):
    """Where the memory tokens are in one pass over a segment or a part of it."""

    prefix_len: int
    """Memory tokens before the text."""

    suffix_len: int
    """Memory tokens after the text."""

    is_writing: bool
    """Whether the pass ends the segment, so that the memory is written."""

    def surround(self, text: Float[Tensor, "B T D"], edges: TokenEdges) -> Float[Tensor, "B U D"]:
        """Returns the text between as many memory tokens of `edges` as this pass has."""
        parts = [text]
        if self.prefix_len:
            parts.insert(0, edges.prefix.to(text))
        if self.suffix_len:
            parts.append(edges.suffix.to(text))
        return torch.cat(parts, dim=1) if len(parts) > 1 else text

    def text(self, hidden: Float[Tensor, "B U D"]) -> Float[Tensor, "B T D"]:
        """Returns the positions of the text."""
        return hidden[:, self.prefix_len : hidden.shape[1] - self.suffix_len]

    def source(self, hidden: Float[Tensor, "B U D"]) -> Float[Tensor, "B N D"]:
        """Returns what a memory is written from: the tokens after the text, or the text itself."""
        if not self.suffix_len:
            return self.text(hidden)
        return hidden[:, hidden.shape[1] - self.suffix_len :]


Detour = Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]
"""Takes a layer's place: its input and further arguments in, its output out."""


class Port:
    """Where one layer meets its memory; empty except during a pass."""

    def __init__(self, memory: Memory[Any]) -> None:
        """Holds the memory; a plain object, so that no module is registered twice."""
        self.memory: Any = memory
        self.state: State | None = None
        self.visit = Visit(0, 0, False)
        self.detour: Detour | None = None

    def read(self, hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Returns the layer's input with the memory's reading, or with its tokens put in place."""
        if self.memory.door == "tokens":
            edges = self.memory.tokens(self.state)
            return self.visit.surround(self.visit.text(hidden), edges)
        return self.memory.read(hidden, self.state)

    def write(self, hidden: Float[Tensor, "B T D"]) -> None:
        """Replaces the bound state by the one after this segment."""
        if self.visit.is_writing:
            self.state = self.memory.write(self.visit.source(hidden), self.state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Port":
        """Copies the port with its memory, so that a copied model has its own."""
        return Port(copy.deepcopy(self.memory, memo))


def open_ports(layers: Sequence[nn.Module], memories: Sequence[Memory[Any]]) -> None:
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
