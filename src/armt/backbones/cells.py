"""The cells of a model, a layer with its memory each, as one stack that runs side by side.

A wave runs many cells at once: the layers' weights are rows of one tensor, and `torch.func.vmap`
runs the first layer's own code over the rows. The layers keep their parameters, whose values become
views of the stack, so that nothing is held twice.
"""

from collections.abc import Callable, Generator, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast, final

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from armt.backbones.attach import Port, Visit, bound
from armt.backbones.attention import PLAIN_KINDS, plain_kind
from armt.backbones.compiled import Compiler
from armt.backbones.hooks import find_hook
from armt.backbones.layer_calls import LayerCalls
from armt.core.shapes import Float, Tensor
from armt.core.state import State

_HARMLESS = frozenset({"layer_idx", "sliding_window", "is_sliding", "attention_type", "layer_type"})
"""Attributes in which layers may differ: what they decide comes with the mask of the call."""

_ADAPTERS = frozenset(
    {"adalora", "boft", "ia3", "ln_tuning", "lokr", "lora", "miss", "road", "vblora", "vera"}
)
"""Kinds of peft's adapters that run under vmap; others write in place or look at values."""

_CHECKPOINTING = "gradient_checkpointing"

StateRows = dict[str, Tensor]
"""The tensors of a state by name, those of several layers stacked along a first dimension."""

Leaves = dict[int, Tensor]
"""Tensors of a layer's call by their place in it."""


@final
class Cell(nn.Module):
    """A layer with its memory: hidden states and a state in, both out."""

    def __init__(self, layer: nn.Module) -> None:
        """Holds a layer that has a port."""
        super().__init__()
        self.layer = layer
        self.parts = nn.ModuleList(cast("Port", layer.__dict__["_port"]).parts)

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
class Cells:
    """All cells of a model, run one at a time or side by side over rows of their weights."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        visit: Visit,
        calls: LayerCalls,
        compiler: Compiler | None = None,
    ) -> None:
        """Takes equal layers that have ports.

        Args:
            layers: the layers.
            visit: what the pass does with the memories.
            calls: how the decoder calls the layers.
            compiler: compiles what runs; none to run operation by operation.
        """
        self.cells = [Cell(layer) for layer in layers]
        self.visit, self.calls, self.compiler = visit, calls, compiler
        # transformers' checkpointing cannot run under vmap; a whole wave is checkpointed instead
        self._checkpointed = _checkpointed(layers[0])
        self._weights: dict[str, Tensor] | None = None

    def run_one(
        self, layer: int, hidden: Float[Tensor, "B T D"], state: State
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Runs one cell."""
        weights = dict(_tensors(self.cells[layer]))
        leaves = self.calls.tensors | {
            place: rows[layer] for place, rows in self.calls.stacked.items()
        }
        arguments = (weights, hidden, state.tensors(), leaves)
        kind = type(state)
        with self._settings(hidden.device):
            output, after = self._call(("one", kind), self._runner(kind), *arguments)
        return output, kind.from_tensors(after)

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
        weights = self.lay_side_by_side()
        if len(hidden) < len(self.cells):  # a slice of all would cost its backward pass a copy
            weights = {name: rows[first : last + 1] for name, rows in weights.items()}
        run_cell = self._runner(kind)

        def run_rows(
            weights: StateRows,
            hidden: Tensor,
            states: StateRows,
            differing: Leaves,
            shared: Leaves,
        ) -> tuple[Tensor, StateRows]:
            def run_row(
                own: StateRows, hidden: Tensor, state: StateRows, own_leaves: Leaves
            ) -> Any:
                return run_cell(own, hidden, state, shared | own_leaves)

            batched = cast("Any", vmap(run_row, randomness="different"))
            return batched(weights, hidden, states, differing)

        differing, shared = self.calls.rows(first, last), self.calls.tensors
        with self._settings(hidden.device):
            return self._call(("rows", kind), run_rows, weights, hidden, states, differing, shared)

    def _runner(self, kind: type[State]) -> Callable[..., tuple[Tensor, StateRows]]:
        """Returns the function of weights, hidden states, state and call that a cell is."""

        def run_cell(
            own: StateRows, hidden: Tensor, state: StateRows, leaves: Leaves
        ) -> tuple[Tensor, StateRows]:
            arguments = (hidden, kind.from_tensors(state), self.visit, self.calls.call(leaves))
            output, after = functional_call(self.cells[0], own, arguments)
            return output, after.tensors()

        return run_cell

    def _call(self, key: tuple[Any, ...], run: Callable[..., Any], *arguments: Any) -> Any:
        if self.compiler is None:
            return run(*arguments)
        memory = self.cells[0].parts[0]
        constants = tuple(leaf for leaf in self.calls.shared if not isinstance(leaf, Tensor))
        mode = (self.visit, memory.training, _autocast_dtype(arguments[1].device.type))
        return self.compiler.run((*key, *mode, str(constants)), run, *arguments)

    def lay_side_by_side(self) -> StateRows:
        """Returns the layers' weights as rows of one stack each, laid out at the first call."""
        if self._weights is None:
            tables = [dict(_tensors(cell)) for cell in self.cells]
            self._weights = {
                name: join_rows([table[name] for table in tables]) for name in tables[0]
            }
        return self._weights

    @contextmanager
    def _settings(self, device: torch.device) -> Generator[None]:
        """Sets what vmap and tracing need, and puts it back."""
        dtype = _autocast_dtype(device.type)
        for module in self._checkpointed:
            setattr(module, _CHECKPOINTING, False)
        try:
            with (
                sdpa_kernel(_attention_kinds(device)),
                nullcontext() if dtype is None else _CastAttention(device, dtype),
            ):
                yield
        finally:
            for module in self._checkpointed:
                setattr(module, _CHECKPOINTING, True)


class _CastAttention(TorchFunctionMode):
    """Does for attention what autocast does, which under vmap comes too late for it.

    Positions are turned in single precision, so that queries and keys arrive in it, values not.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self._device_type, self._dtype = device.type, dtype

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        options = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **options)
        args = tuple(self._cast(each) for each in args)
        options = {name: self._cast(each) for name, each in options.items()}
        with torch.autocast(self._device_type, enabled=False):
            return func(*args, **options)

    def _cast(self, value: Any) -> Any:
        is_cast = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(self._dtype) if is_cast else value


def _attention_kinds(device: torch.device) -> list[SDPBackend]:
    """Returns the kinds of attention that run under vmap, or traced.

    The fused one for CPUs has no rule for vmap and would run row by row. Of those for GPUs the
    memory-efficient one refuses what its own forward left for the backward pass, and that of cuDNN
    leaves nothing for it when it is traced.
    """
    if device.type == "cpu":
        return [SDPBackend.MATH]
    if torch.is_grad_enabled():
        return [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    return [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]


def _autocast_dtype(device_type: str) -> torch.dtype | None:
    is_on = torch.is_autocast_enabled(device_type)
    return torch.get_autocast_dtype(device_type) if is_on else None


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
        with torch.inference_mode(False):  # else the weights could never be trained again
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


def copy_rows(weights: MutableMapping[str, Any], num_rows: int) -> None:
    """Puts copies in the place of tensors that are rows of a stack.

    Who saves weights takes tensors of one storage for one tensor of many names, and keeps the
    first. Parameters that are handed out as such stay.
    """
    for name, value in list(weights.items()):
        if type(value) is not Tensor or value.device.type == "meta" or num_rows < 2:
            continue
        if value.untyped_storage().nbytes() == num_rows * value.nbytes:
            weights[name] = value.clone()


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
    hooked = find_hook(module for cell in cells for module in cell.modules())
    if hooked is not None:
        return f"a {hooked} has a hook or a forward of its own, which one layer cannot run for all"
    kinds = [[(name, type(module)) for name, module in cell.named_modules()] for cell in cells]
    if any(kind != kinds[0] for kind in kinds):
        return "its layers are built of different parts"
    untried = {_adapter_kind(kind) for _, kind in kinds[0]} - _ADAPTERS - {None}
    if untried:
        return f"adapters of the kind '{untried.pop()}' do not run side by side"
    tables = [dict(_tensors(cell)) for cell in cells]
    for name, tensor in tables[0].items():
        if type(tensor) not in (nn.Parameter, Tensor):
            return f"'{name}' is a {type(tensor).__name__}"
        looks = [_look(table.get(name)) for table in tables]
        if any(look != looks[0] for look in looks):
            return f"its layers differ in shape, dtype, device or training of '{name}'"
    harmless = _HARMLESS if plain_kind(attention) in PLAIN_KINDS else frozenset({"layer_idx"})
    for modules in zip(*(cell.modules() for cell in cells), strict=True):
        settings = [_settings(module) for module in modules]
        for name, value in settings[0].items():
            if name not in harmless and any(other.get(name) != value for other in settings):
                return f"its layers differ in `{type(modules[0]).__name__}.{name}`"
    return None


def _adapter_kind(module_type: type) -> str | None:
    """Returns which of peft's adapters a module belongs to; none if it is no layer of one."""
    parts = module_type.__module__.split(".")
    is_adapter = hasattr(module_type, "adapter_layer_names") and parts[:2] == ["peft", "tuners"]
    return parts[2] if is_adapter else None


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
