"""Functions of tensors compiled for a GPU: traced once for a shape, then fused into few kernels.

A cell is Python code of transformers, of a memory and of ours, with states that are bound and
handed back. The compiler of torch need not understand any of it: the function runs once under a
tracer that notes the operations on tensors, and only these are compiled.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar, final

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from armt.core.shapes import Tensor

Kept = TypeVar("Kept")


@final
class Compiler:
    """Keeps the compiled forms of a model's functions; not copied with the model."""

    def __init__(self) -> None:
        """Keeps none yet."""
        self._made: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Compiler":
        """A copied model compiles anew: what was traced may be bound to the other's weights."""
        del memo
        return Compiler()

    def keep(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """Returns what `make` returned when it was first asked for under `key`.

        During the capture of a CUDA graph transformers writes out masks that it leaves out
        otherwise: what was seen before the capture holds for it too.
        """
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def run(self, key: tuple[Any, ...], function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns `function(*arguments)`, compiled at the first call with arguments of this form.

        Args:
            key: tells this function from others, together with all that it uses besides its
                arguments.
            function: a function of trees of tensors to trees of tensors.
            *arguments: trees of tensors; what else they hold is taken to be constant.
        """
        leaves, spec = pytree.tree_flatten(arguments)
        form = (key, spec, torch.is_grad_enabled(), *(_form(leaf) for leaf in leaves))
        made = self._made.get(form)
        if made is None:
            made = self._made[form] = compile_traced(function, *arguments)
        return made(*arguments)


def compile_traced(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """Returns the compiled form of `function` for trees of tensors like the arguments.

    The function runs once on copies of them. Other tensors that it uses, such as weights, are held
    by the compiled form, as they stand in memory; a gradient reaches the arguments only.
    """
    copies = pytree.tree_map_only(Tensor, _copy, arguments)

    def run(given: tuple[Any, ...]) -> Any:
        with _GradientCuts() if torch.is_grad_enabled() else nullcontext():
            return function(*given)

    # what a mask looks like may be asked of its values, which are the same in every call
    traced = make_fx(run, _error_on_data_dependent_ops=False)(copies)
    for node in reversed(traced.graph.nodes):
        if node.target is torch.ops.aten._local_scalar_dense.default and not node.users:
            traced.graph.erase_node(node)
    _ = traced.graph.eliminate_dead_code()
    _ = traced.recompile()
    compiled = torch.compile(traced, dynamic=False)
    return lambda *given: compiled(given)


@final
class _GradientCuts(TorchDispatchMode):
    """Cuts gradients by operations where `torch.no_grad` does: a trace holds no modes."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs one operation; outside gradients, on what no gradient goes back from."""
        del types
        if not torch.is_grad_enabled():
            num_written = int(func._schema.is_mutable)  # an operation in place writes its first one
            rest = pytree.tree_map_only(Tensor, torch.ops.aten.detach.default, args[num_written:])
            args = (*args[:num_written], *rest)
        return func(*args, **(kwargs or {}))


def _copy(leaf: Tensor) -> Tensor:
    """Returns a copy that wants a gradient if `leaf` does: what attention keeps depends on it."""
    return leaf.detach().clone().requires_grad_(leaf.requires_grad and torch.is_grad_enabled())


def _form(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.device, leaf.requires_grad
    return leaf
