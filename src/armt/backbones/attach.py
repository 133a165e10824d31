"""How a memory gets around the layers of a model without a copy of the model's code.

Each layer's class gets one dynamic subclass that overrides nothing but `__call__`. The memory thus
runs outside the layer's own checkpointing, hooks and compilation, all parameter names stay, and the
layer still is an instance of its class.
"""

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast, final

import torch
from torch import nn

from armt.core.contract import LayerMemory, Memory, TokenEdges, TokenMemory
from armt.core.errors import BackboneError
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State


class Visit(NamedTuple):
    """Where the memory tokens are in one pass over a segment or a part of it."""

    prefix_len: int
    """Memory tokens before the text."""

    suffix_len: int
    """Memory tokens after the text."""

    is_writing: bool
    """Whether the pass ends the segment, so that the memory is written."""

    start: int = 0
    """Tokens of the segment that were passed before and whose keys are in a cache."""

    ids: Int[Tensor, "B T"] | None = None
    """The text of the pass, where it is at hand."""

    def surround(self, text: Float[Tensor, "B T D"], edges: TokenEdges) -> Float[Tensor, "B U D"]:
        """Returns the text between as many memory tokens of `edges` as this pass has."""
        parts = [text]
        if self.prefix_len:
            parts.insert(0, edges.prefix.to(text))
        if self.suffix_len:
            parts.append(edges.suffix.to(text))
        return torch.cat(parts, dim=1) if len(parts) > 1 else text

    def text(self, values: Tensor, dim: int = 1) -> Tensor:
        """Returns the positions of the text, along dimension `dim`."""
        num_tokens = self.prefix_len + self.suffix_len
        return values.narrow(dim, self.prefix_len, values.shape[dim] - num_tokens)

    def source(self, values: Tensor, dim: int = 1) -> Tensor:
        """Returns what a memory is written from: the tokens after the text, or the text itself."""
        if not self.suffix_len:
            return self.text(values, dim)
        return values.narrow(dim, values.shape[dim] - self.suffix_len, self.suffix_len)


Detour = Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]
"""Takes a layer's place: its input and further arguments in, its output out."""


class Port(ABC):
    """Where one layer meets its memory; empty except during a pass.

    A plain object, so that no module is registered twice.
    """

    def __init__(self, memory: Memory[Any]) -> None:
        """Holds the memory."""
        self.memory = memory
        self.state: State | None = None
        self.visit = Visit(0, 0, False)
        self.detour: Detour | None = None

    @abstractmethod
    def pass_through(
        self,
        layer: Callable[..., Any],
        hidden: Float[Tensor, "B T D"],
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Runs the layer with its memory and returns what the layer does.

        The bound state is replaced by the one after this segment, if the pass ends it.
        """

    def bind(self, states: Sequence[State], index: int, visit: Visit) -> None:
        """Binds the state at `index`, and what is known of the pass, to this port."""
        self.state, self.visit = states[index], visit

    def release(self) -> None:
        """Lets go of whatever a pass has bound."""
        self.state, self.visit = None, Visit(0, 0, False)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """The modules that the layer's pass needs besides the layer."""
        return (self.memory,)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Port":
        """Copies the port with its memory, so that a copied model has its own."""
        return cast("Any", type(self))(*copy.deepcopy(self.parts, memo))


@final
class ResidualPort(Port):
    """A port before and after the layer, for memories of the residual stream."""

    def pass_through(
        self,
        layer: Callable[..., Any],
        hidden: Float[Tensor, "B T D"],
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Reads into the layer's input and writes from its output."""
        memory = cast("LayerMemory[Any]", self.memory)
        output = layer(memory.read(hidden, self.state), *args, **options)
        _write_output(self, output)
        return output


@final
class TokenPort(Port):
    """A port around the layer for memory tokens of its own, which take their places before it."""

    def pass_through(
        self,
        layer: Callable[..., Any],
        hidden: Float[Tensor, "B T D"],
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Puts the tokens in place and writes from the layer's output."""
        memory, visit = cast("TokenMemory[Any]", self.memory), self.visit
        surrounded = visit.surround(visit.text(hidden), memory.tokens(self.state))
        output = layer(surrounded, *args, **options)
        _write_output(self, output)
        return output


def _write_output(port: ResidualPort | TokenPort, output: Any) -> None:
    """Writes a port's memory from what its layer put out, if the pass ends the segment."""
    if port.visit.is_writing:
        above = output[0] if isinstance(output, tuple) else output
        memory = cast("LayerMemory[Any] | TokenMemory[Any]", port.memory)
        port.state = memory.write(port.visit.source(above), port.state)


def open_ports(layers: Sequence[nn.Module], ports: Sequence[Port]) -> None:
    """Puts each port around its layer.

    Raises:
        BackboneError: a layer has a memory already.
    """
    if any("_port" in layer.__dict__ for layer in layers):
        raise BackboneError(
            "This model carries a memory already. Load the backbone anew before attaching another."
        )
    for layer, port in zip(layers, ports, strict=True):
        layer.__dict__["_port"] = port
        layer.__class__ = _with_port(type(layer))


def close_ports(layers: Sequence[nn.Module]) -> None:
    """Takes the ports off again, so that the layers are what they were."""
    for layer in layers:
        del layer.__dict__["_port"]
        layer.__class__ = type(layer).__bases__[0]


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
    assert len(ports) == len(states), "one state for each layer"
    try:
        for index, port in enumerate(ports):
            port.bind(states, index, visit)
        yield ports
    finally:
        for port in ports:
            port.release()


def _refuse_training_without_memory(layer: nn.Module) -> None:
    """Refuses what trainers do that call the decoder in the model and make the loss themselves."""
    if layer.training and torch.is_grad_enabled():
        raise BackboneError(
            "The decoder was called without the memory around it, which would train the plain "
            "model. Call the whole model, with `labels` for the loss; a trainer that computes the "
            "loss from the decoder's hidden states, such as a chunked one, cannot train a memory."
        )


@functools.cache
def _with_port(base: type[nn.Module]) -> type[nn.Module]:
    """Returns the subclass of `base` that reads before and writes after it, under the same name."""

    def call(self: nn.Module, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
        port = cast("Port", self.__dict__["_port"])
        if port.detour is not None:
            return port.detour(hidden_states, args, options)
        inner = super(cast("Any", ported), self).__call__
        if port.state is None:  # the plain model, outside a recurrence
            _refuse_training_without_memory(self)
            return inner(hidden_states, *args, **options)
        return port.pass_through(inner, hidden_states, args, options)

    ported = type(base.__name__, (base,), {"__call__": call, "__module__": base.__module__})
    return ported
