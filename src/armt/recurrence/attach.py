"""`attach`: gives a Hugging Face decoder a memory."""

import functools
from typing import Any, Literal, cast

from transformers import PreTrainedModel

from armt.backbones.attach import ResidualPort, TokenPort, close_ports, open_ports
from armt.backbones.huggingface import (
    TESTED_FAMILIES,
    Anatomy,
    accepts_logits_to_keep,
    check_causal_and_cached,
    examine,
)
from armt.backbones.key_value_ports import open_key_value_ports
from armt.core.config import MemoryConfig
from armt.core.contract import KeyValueMemory
from armt.core.errors import BackboneError, ConfigError
from armt.core.registry import MEMORIES
from armt.recurrence.choose_schedule import choose_waves
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.model import Recurrent


def attach(
    model: PreTrainedModel,
    memory: MemoryConfig,
    segment_len: int = 512,
    bptt_depth: int | None = None,
    schedule: Literal["auto", "sequential", "waves"] = "auto",
    is_compiled: bool = False,
    overlap_len: int = 0,
) -> Recurrent:
    """Gives `model` a memory and returns it, changed in place.

    The model keeps its class, weights and parameter names; what is learned for the memory stands
    beside them under `memory.*`. A fresh memory leaves the model as it was on each segment, unless
    its class says otherwise (`is_neutral_when_fresh`).

    Args:
        model: a causal decoder of Hugging Face transformers.
        memory: the options of a memory, such as `ARMTConfig()`.
        segment_len: text tokens in a segment.
        bptt_depth: segments that a gradient goes back through the memory; none for all.
        schedule: whether segments run one after the other or in waves; `auto` takes what is faster.
        is_compiled: whether a GPU runs layers and memories as compiled code.
        overlap_len: tokens of a segment that the next one begins with again.

    Raises:
        BackboneError: the model cannot carry a memory; the message says why.
        ConfigError: `memory` is no config, segment and memory tokens do not fit the model's
            positions, or the model cannot run in waves though it should.
    """
    anatomy = _checked_anatomy(model)
    _check_memory(memory)
    stack = MemoryStack(memory, anatomy)
    recurrence = RecurrenceConfig(
        segment_len=segment_len, overlap_len=overlap_len, bptt_depth=bptt_depth,
        schedule=schedule, is_compiled=is_compiled,
    )  # fmt: skip
    _check_segment_len(anatomy, segment_len, stack)
    return _assembled(model, anatomy, stack, recurrence)


def _assembled(
    model: PreTrainedModel, anatomy: Anatomy, stack: MemoryStack, recurrence: RecurrenceConfig
) -> Recurrent:
    """Returns the model with its memory, which is in the same mode; refused it is as before."""
    kind, attention = type(model), _attention_of(model)
    _open_ports(model, anatomy, stack, recurrence.segment_len)
    model.__class__ = _recurrent_class(type(model))
    recurrent = cast("Recurrent", model)
    recurrent.memory = stack.train(model.training)
    recurrent.recurrence = recurrence
    recurrent.anatomy = anatomy
    try:
        if recurrence.schedule == "waves":
            _ = choose_waves(recurrent)  # looks at layers that have their memories
    except ConfigError:
        _take_apart(recurrent, kind, attention)
        raise
    return recurrent


def _take_apart(model: Recurrent, kind: type[PreTrainedModel], attention: str) -> None:
    """Makes a model what it was before it was assembled."""
    if model.memory.is_layer_local:
        close_ports(model.anatomy.layers)
    for name in ("memory", "recurrence", "anatomy"):
        delattr(model, name)
    model.__class__ = cast("Any", kind)
    if _attention_of(model) != attention:
        model.set_attn_implementation(attention)


def _attention_of(model: PreTrainedModel) -> str:
    return str(getattr(model.config.get_text_config(), "_attn_implementation", ""))


def _open_ports(
    model: PreTrainedModel, anatomy: Anatomy, stack: MemoryStack, segment_len: int
) -> None:
    """Puts the memories of the layers where their door leads."""
    mechanisms = stack.mechanisms
    if not stack.is_layer_local:
        return
    if mechanisms[0].door == "key_value":
        memories = cast("list[KeyValueMemory[Any]]", mechanisms)
        num_positions = segment_len + stack.num_tokens
        rotations = open_key_value_ports(model, anatomy, memories, num_positions)
        _ = stack.rotations.extend(rotations)
        return
    port = ResidualPort if mechanisms[0].door == "residual" else TokenPort
    open_ports(anatomy.layers, [port(memory) for memory in mechanisms])


def _checked_anatomy(model: PreTrainedModel) -> Anatomy:
    """Returns the parts of a model that can carry a memory and carries none yet."""
    _check_kind(model)
    if isinstance(model, Recurrent):
        raise BackboneError(
            "This model carries a memory already. Load the backbone anew before attaching another."
        )
    if _is_reentrant(model):
        raise ConfigError(
            "The model checkpoints with `use_reentrant=True`, which loses the memory's gradient. "
            "Enable it again with False."
        )
    anatomy = examine(model)
    if not accepts_logits_to_keep(model):
        raise BackboneError(
            f"The forward of {type(model).__name__} takes no `logits_to_keep`, so that it would "
            "compute logits of memory tokens. Choose another family, or a newer transformers."
        )
    if model.config.get_text_config().model_type not in TESTED_FAMILIES:
        check_causal_and_cached(model)
    return anatomy


def _check_kind(model: object) -> None:
    """Checks that it is a model of transformers, with nothing wrapped around it.

    One into which peft put its adapters without a wrapper, or that it was merged into, is one.
    """
    if isinstance(model, PreTrainedModel):
        return
    if hasattr(model, "peft_config"):
        raise BackboneError(
            f"{type(model).__name__} is a model wrapped by peft. Call armt.attach before "
            "peft.get_peft_model."
        )
    found = f"'{model}'" if isinstance(model, str) else f"a {type(model).__name__}"
    raise BackboneError(
        f"A memory is attached to a model of transformers. Got {found}. Load one with "
        "AutoModelForCausalLM.from_pretrained."
    )


def _check_memory(memory: object) -> None:
    """Checks that it is the config of a memory; told a name or a class, says how to make one.

    Raises:
        UnknownNameError: it is a name, but of no memory.
    """
    if isinstance(memory, MemoryConfig):
        return
    found, remedy = f"a {type(memory).__name__}", "`ARMTConfig()`"
    if isinstance(memory, str):
        kind = MEMORIES[memory].config_class
        found, remedy = f"the name '{memory}'", f"`{kind.__name__}()` of {kind.__module__}"
    elif isinstance(memory, type):
        is_config = issubclass(memory, MemoryConfig)
        found = f"the class {memory.__name__}"
        remedy = f"`{memory.__name__}()`" if is_config else remedy
    raise ConfigError(f"`memory` must be the config of one, such as {remedy}. Got {found}.")


def _check_segment_len(anatomy: Anatomy, segment_len: int, stack: MemoryStack) -> None:
    limit, num_tokens, least = anatomy.max_positions, stack.num_tokens, stack.min_segment_len
    if limit is not None and segment_len + num_tokens > limit:
        raise ConfigError(
            f"A segment of {segment_len} tokens and {num_tokens} memory tokens do not fit the "
            f"model's {limit} positions. Choose `segment_len` of at most {limit - num_tokens}."
        )
    if segment_len < least:
        raise ConfigError(
            f"This memory needs segments of at least {least} tokens. Got `segment_len` of "
            f"{segment_len}."
        )


def _is_reentrant(model: PreTrainedModel) -> bool:
    for module in model.modules():
        function: Any = getattr(module, "_gradient_checkpointing_func", None)
        if function is not None:
            return bool(getattr(function, "keywords", {}).get("use_reentrant", False))
    return False


@functools.cache
def _recurrent_class(base: type[PreTrainedModel]) -> type[Recurrent]:
    """Returns a class that is both `base` and `Recurrent`."""
    members: dict[str, Any] = {
        "__module__": base.__module__,
        # by this name transformers' Trainer knows that it has to shift labels, if it makes the loss
        "_get_name": lambda _: base.__name__,
    }
    name = f"Recurrent{base.__name__}"
    return cast("type[Recurrent]", type(name, (Recurrent, base), members))
