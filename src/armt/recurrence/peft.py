"""Training a memory together with adapters of the library peft.

`peft.get_peft_model` freezes all that is not the adapter's, the memory too. `unfreeze_memory` takes
that back for the memory; the adapter's own files hold the adapter, `save_memory` writes the memory.
`use_adapters` lets one adapter read and another one write.
"""

from typing import cast

from torch import nn

from armt.backbones.adapters import AdapterPair, adapter_parameters
from armt.backbones.cells import is_layer_checkpointed
from armt.core.errors import BackboneError, ConfigError
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.model import Recurrent


def unfreeze_memory(model: nn.Module) -> None:
    """Lets the memory inside `model` be trained, whatever is frozen around it.

    Args:
        model: a recurrent model, or one wrapped by peft.

    Raises:
        BackboneError: there is no memory inside.
        ConfigError: the adapter stands around parts of the memory itself.
    """
    recurrent = find_recurrent(model)
    check_memory_is_bare(recurrent)
    _ = recurrent.memory.requires_grad_(True)


def use_adapters(model: nn.Module, *, read: str, write: str) -> None:
    """Lets one adapter work where text is read, and another one where the memory is written.

    A segment then takes two passes, as the injection of M+ does (arXiv:2502.00592): its text under
    the one, and once more with the memory tokens under the other. Where no logit is wanted, only
    the second is run. Both adapters can be trained from here on.

    Args:
        model: a recurrent model wrapped by peft.
        read: name of the adapter for reading and generating.
        write: name of the adapter for writing.

    Raises:
        BackboneError: there is no memory inside.
        ConfigError: there is no adapter of a name, or one stands around parts of the memory, or the
            model was checkpointed before.
        MissingExtraError: peft is not installed.
    """
    recurrent = find_recurrent(model)
    check_memory_is_bare(recurrent)
    if recurrent.adapters is None and is_layer_checkpointed(recurrent.anatomy.layers[0]):
        raise ConfigError(
            "Checkpointing was enabled before and would run a layer again under another adapter. "
            "Call armt.use_adapters first and gradient_checkpointing_enable after it."
        )
    for name in (read, write):
        for parameter in adapter_parameters(recurrent, name):
            _ = parameter.requires_grad_(True)
    recurrent.adapters = AdapterPair(read, write)


def find_recurrent(model: nn.Module) -> Recurrent:
    """Returns the recurrent model that `model` is or wraps.

    Raises:
        BackboneError: there is none.
    """
    for module in model.modules():
        if isinstance(module, Recurrent):
            return module
    raise BackboneError(
        f"{type(model).__name__} carries no memory. Call armt.attach before peft.get_peft_model."
    )


def check_memory_is_bare(model: Recurrent) -> None:
    """Checks that no adapter stands around the memory, which is trained and saved by itself.

    Raises:
        ConfigError: one does; the message says how to leave the memory out.
    """
    stack = cast("nn.Module", model.memory)
    names = [name for name, _ in stack.named_modules()]
    if not isinstance(stack, MemoryStack) or any(name.endswith(".base_layer") for name in names):
        raise ConfigError(
            "The adapter stands around the memory itself. Leave `memory` out of `modules_to_save`, "
            "give the adapter exclude_modules=r'memory\\..*', and call armt.unfreeze_memory."
        )
