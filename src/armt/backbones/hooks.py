"""What is hung onto single modules and would not be run where another module's code stands in."""

from collections.abc import Iterable

from torch import nn

_KINDS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def find_hook(modules: Iterable[nn.Module]) -> str | None:
    """Returns the class name of the first module with a hook or another `forward` of its own.

    The hooks by which transformers hands out hidden states do nothing here and do not count.
    """
    for module in modules:
        hooks = [hook for kind in _KINDS for hook in getattr(module, kind).values()]
        is_foreign = any(not _is_of_transformers(hook) for hook in hooks)
        if is_foreign or "forward" in vars(module):
            return type(module).__name__
    return None


def _is_of_transformers(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("transformers.")
