"""The cells of a model, a layer with its memory each, as one stack that runs side by side.

A wave runs many cells at once: the layers' weights are rows of one tensor, and `torch.func.vmap`
runs the first layer's own code over the rows. The layers keep their parameters, whose values become
views of the stack, so that nothing is held twice.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast, final

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from armt.backbones.attach import Port, Visit, bound
from armt.backbones.layer_calls import LayerCalls
from armt.core.shapes import Float, Tensor
from armt.core.state import State

_HARMLESS = frozenset({"layer_idx", "sliding_window", "is_sliding", "attention_type", "layer_type"})
"""Attributes in which layers may differ: what they decide comes with the mask of the call."""

_MASKED_ATTENTION = frozenset({"eager", "sdpa"})
"""Kinds of attention that look at nothing but the mask."""

_CHECKPOINTING = "gradient_checkpointing"

StateRows = dict[str, Tensor]
"""The tensors of a state by name, those of several layers stacked along a first dimension."""


@final
class Cell(nn.Module):
    """A layer with its memory: hidden states and a state in, both out."""

    def __init__(self, layer: nn.Module) -> None:
        """Holds a layer that has a port."""
        super().__init__()
        self.layer = layer
        self.memory = cast("Port", layer.__dict__["_port"]).memory

    def forward(
        self, hidden: Float[Tensor, "B T D"], state: State, visit: Visit, call: Any
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Reads, runs the layer and writes, exactly as in a pass of the whole model."""
        with bound([self.layer], [state], visit) as ports:
            output = self.layer(hidden, *call.args, **call.options)
            after = ports[0].state
        assert after is not None, "the port lost its state during the pass"
        return output[0] if isinstance(output, tuple) else output, after


@final
class CellStack:
    """All cells of a model, run over rows of their weights."""

    def __init__(self, layers: Sequence[nn.Module], visit: Visit, calls: LayerCalls) -> None:
        """Lays the weights of equal layers side by side."""
        self.cells = [Cell(layer) for layer in layers]
        self.visit, self.calls = visit, calls
        tables = [dict(_tensors(cell)) for cell in self.cells]
        self._weights = {name: join_rows([table[name] for table in tables]) for name in tables[0]}
        self._is_on_cpu = next(iter(self._weights.values())).device.type == "cpu"
        # transformers' checkpointing cannot run under vmap; a whole wave is checkpointed instead
        self._checkpointed = _checkpointed(layers[0])

    def run(
        self, first: int, hidden: Float[Tensor, "N B T D"], states: StateRows, kind: type[State]
    ) -> tuple[Float[Tensor, "N B T D"], StateRows]:
        """Runs neighbouring cells, from number `first` on, each on its own hidden states.

        Args:
            first: number of the first cell that runs.
            hidden: what each cell's layer sees.
            states: the states of these cells.
            kind: what the states are.
        """
        last = first + len(hidden) - 1
        weights = {name: rows[first : last + 1] for name, rows in self._weights.items()}

        def run_cell(
            own: dict[str, Tensor],
            hidden: Tensor,
            state: StateRows,
            differing: dict[int, Tensor],
        ) -> tuple[Tensor, StateRows]:
            call = self.calls.call(differing)
            arguments = (hidden, kind.from_tensors(state), self.visit, call)
            output, after = functional_call(self.cells[0], own, arguments)
            return output, after.tensors()

        batched = cast("Any", vmap(run_cell, randomness="different"))
        with self._settings():
            return batched(weights, hidden, states, self.calls.rows(first, last))

    @contextmanager
    def _settings(self) -> Generator[None]:
        """Sets what vmap needs, and puts it back."""
        for module in self._checkpointed:
            setattr(module, _CHECKPOINTING, False)
        try:
            # the fused attention for CPUs has no rule for vmap and would run row by row
            with sdpa_kernel(SDPBackend.MATH) if self._is_on_cpu else nullcontext():
                yield
        finally:
            for module in self._checkpointed:
                setattr(module, _CHECKPOINTING, True)


class _JoinRows(torch.autograd.Function):
    """Tensors that are rows of one stack: the stack itself, with a gradient for each of them."""

    @staticmethod
    def forward(ctx: Any, stack: Tensor, *rows: Tensor) -> Tensor:
        del ctx, rows
        return stack.view_as(stack)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        del ctx
        return (None, *gradients[0].unbind())


def join_rows(rows: Sequence[Tensor]) -> Tensor:
    """Returns tensors of one shape as rows of a stack whose gradient reaches them.

    Their values become views of the stack; if they are so already, nothing is copied.
    """
    stack = _common_stack(rows)
    if stack is None:
        stack = torch.stack([row.detach() for row in rows])
        for row, view in zip(rows, stack, strict=True):
            row.data = view
    if torch.is_grad_enabled() and any(row.requires_grad for row in rows):
        return cast("Tensor", _JoinRows.apply(stack, *rows))
    return stack


def _common_stack(rows: Sequence[Tensor]) -> Tensor | None:
    first = rows[0].detach()
    storage, size = first.untyped_storage().data_ptr(), first.numel()
    for number, row in enumerate(rows):
        is_next = row.storage_offset() == first.storage_offset() + number * size
        if not (is_next and row.is_contiguous() and row.untyped_storage().data_ptr() == storage):
            return None
    shape = (len(rows), *first.shape)
    return first.as_strided(shape, (size, *first.stride()), first.storage_offset())


def is_layer_checkpointed(layer: nn.Module) -> bool:
    """Whether transformers runs the layer, or a part of it, again in the backward pass."""
    return bool(_checkpointed(layer))


def _checkpointed(layer: nn.Module) -> list[nn.Module]:
    return [module for module in layer.modules() if getattr(module, _CHECKPOINTING, False)]


def find_difference(layers: Sequence[nn.Module], attention: str) -> str | None:
    """Returns why layers cannot run as rows of one stack, or none if they look alike.

    Args:
        layers: layers with ports.
        attention: the name of the attention's implementation.
    """
    cells = [Cell(layer) for layer in layers]
    kinds = [[(name, type(module)) for name, module in cell.named_modules()] for cell in cells]
    if any(kind != kinds[0] for kind in kinds):
        return "its layers are built of different parts"
    tables = [dict(_tensors(cell)) for cell in cells]
    for name, tensor in tables[0].items():
        if type(tensor) not in (nn.Parameter, Tensor):
            return f"'{name}' is a {type(tensor).__name__}"
        looks = [_look(table.get(name)) for table in tables]
        if any(look != looks[0] for look in looks):
            return f"its layers differ in shape, dtype, device or training of '{name}'"
    harmless = _HARMLESS if attention in _MASKED_ATTENTION else frozenset({"layer_idx"})
    for modules in zip(*(cell.modules() for cell in cells), strict=True):
        for name, value in _settings(modules[0]).items():
            others = [_settings(module).get(name) for module in modules]
            if name not in harmless and any(other != value for other in others):
                return f"its layers differ in `{type(modules[0]).__name__}.{name}`"
    return None


def _tensors(cell: nn.Module) -> list[tuple[str, Tensor]]:
    return [*cell.named_parameters(), *cell.named_buffers()]


def _look(tensor: Tensor | None) -> object:
    if tensor is None:
        return None
    return tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad


def _settings(module: nn.Module) -> dict[str, object]:
    plain = (bool, int, float, str, type(None))
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, plain) and not name.startswith("_")
    }
