"""Which schedule runs a text: waves where the model allows them and they are faster.

And whether single tokens are decoded as CUDA graphs.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from armt.backbones.attention import PLAIN_KINDS, plain_kind
from armt.backbones.cells import find_difference, is_layer_checkpointed
from armt.backbones.compiled import Compiler
from armt.backbones.hooks import find_hook
from armt.backbones.huggingface import TESTED_FAMILIES
from armt.core.errors import ConfigError
from armt.core.state import State
from armt.recurrence.decode_loop import DecodeLoops
from armt.recurrence.read_loops import LoopMaker
from armt.recurrence.schedule import WaveSchedule
from armt.recurrence.segment_loop import SegmentLoop
from armt.recurrence.wave_loop import WaveLoop

if TYPE_CHECKING:
    from armt.recurrence.model import Recurrent

WaveStarter = Callable[[tuple[State, ...]], WaveSchedule]

_NARROW_SIZE, _WIDE_SIZE = 10**9, 10**10
"""Positions of a segment of all rows times the width squared. On an H100 waves were three to four
times as fast below the first, a tenth or a fifth faster between the two, and slower above the
second, where a layer by itself fills the GPU (docs/design/speed.md)."""

NOT_IN_WAVES = {"mixtral": "which experts run depends on the data"}
"""Why the layers of a model type cannot run side by side."""

NOT_IN_GRAPHS = NOT_IN_WAVES | {"opt": "the host counts its positions"}
"""Why single tokens of a model type cannot be decoded without the host."""

_HOST_ROTATIONS = ("dynamic", "longrope")
"""Kinds of rotation whose angles are chosen by the host, by the length of the text."""


def wave_obstacle(model: "Recurrent") -> str | None:
    """Returns why a model cannot run in waves, or none if it can."""
    mechanisms, layers = model.memory.mechanisms, model.anatomy.layers
    if not all(memory.is_layer_local for memory in mechanisms):
        return f"the state of {type(mechanisms[0]).__name__} does not stay in its layer"
    if not all(memory.is_bounded for memory in mechanisms):
        return f"the state of {type(mechanisms[0]).__name__} grows from segment to segment"
    if any(getattr(memory, "source", None) is not None for memory in mechanisms):
        return f"{type(mechanisms[0]).__name__} reads the state of another layer"
    if model.adapters is not None:
        return "it reads and writes with different adapters"
    config: Any = model.config.get_text_config()
    reason = NOT_IN_WAVES.get(config.model_type)
    return reason or find_difference(layers, str(getattr(config, "_attn_implementation", "")))


def decode_obstacle(model: "Recurrent") -> str | None:
    """Returns why single tokens cannot be decoded as a CUDA graph, or none if they can.

    In the middle of a segment no memory is written. What it does there must look at fixed places
    alone, and so must the backbone.
    """
    memory: Any = model.memory.mechanisms[0]
    name = type(memory).__name__
    if not memory.is_bounded:
        return f"the state of {name} grows from segment to segment"
    if memory.door == "key_value":
        return f"{name} counts the keys of the segment"
    parts = [module for layer in model.anatomy.layers for module in layer.modules()]
    # peft's layers declare the names of their adapters, which may be switched on and off
    if find_hook(parts) or any(hasattr(each, "adapter_layer_names") for each in model.modules()):
        return "its adapters or hooks may change from text to text"
    weights = list(model.parameters())
    if any(type(each) is not torch.nn.Parameter or each.device != model.device for each in weights):
        return "its weights are not plain tensors on one device"
    config: Any = model.config.get_text_config()
    kind = plain_kind(str(getattr(config, "_attn_implementation", "")))
    if kind not in PLAIN_KINDS:
        return f"its attention '{kind}' takes no full mask"
    if any(each in str(getattr(config, "rope_parameters", "")) for each in _HOST_ROTATIONS):
        return "the host chooses the angles of its rotation"
    if config.model_type not in TESTED_FAMILIES:  # nor are caches like that of Mamba
        return f"models of type '{config.model_type}' were not tried"
    return NOT_IN_GRAPHS.get(config.model_type)


def choose_decode_loops(model: "Recurrent") -> DecodeLoops | None:
    """Returns the loops in which a model decodes, or none if it decodes operation by operation.

    It does so on a CPU, in training mode, and where the sequential schedule is asked for without
    compiled code, which is the plain one.
    """
    is_plain = model.recurrence.schedule == "sequential" and not model.recurrence.is_compiled
    if is_plain or model.training or not _may_gain(model) or decode_obstacle(model) is not None:
        return None
    return model.__dict__.setdefault("_decode_loops", DecodeLoops())


def choose_waves(model: "Recurrent") -> WaveStarter | None:
    """Returns what starts waves for a model, or none if it runs segment by segment.

    Raises:
        ConfigError: waves are asked for and the model cannot run in them.
    """
    if not _is_waving(model):
        return None
    is_checkpointed = model.training and is_layer_checkpointed(model.anatomy.layers[0])
    return partial(WaveSchedule, model.schedule(), is_checkpointed=is_checkpointed)


def _is_waving(model: "Recurrent") -> bool:
    """Whether a model runs in waves.

    `auto` chooses waves for reading on a GPU, where a segment of one layer leaves most of it idle.
    On a CPU, and for training, it runs segment by segment.

    Raises:
        ConfigError: waves are asked for and the model cannot run in them.
    """
    wish = model.recurrence.schedule
    if wish == "sequential" or (wish == "auto" and not _may_gain(model)):
        return False
    obstacle = wave_obstacle(model)
    if obstacle is not None and wish == "waves":
        raise ConfigError(
            f"This model cannot run in waves: {obstacle}. Use schedule='auto' or 'sequential'."
        )
    return obstacle is None


def choose_loop(
    model: "Recurrent", num_rows: int, num_segments: int | None = None
) -> LoopMaker | None:
    """Returns what makes the loop by which a model reads `num_rows` texts side by side.

    None if it reads through its own forward. `auto` takes waves where they gain more than the waves
    at the ends of a text lose, in which some layers are idle.

    Args:
        model: the model.
        num_rows: texts side by side.
        num_segments: length of the texts; none if no one knows, which is taken for long.

    Raises:
        ConfigError: waves are asked for and the model cannot run in them.
    """
    is_compiled = model.schedule().compiler is not None
    if not _is_waving(model):
        return SegmentLoop if is_compiled else None
    # what is not compiled waits for the host, and waves wait less often
    is_free = is_compiled and model.recurrence.schedule == "auto"
    return SegmentLoop if is_free and not _pays(model, num_rows, num_segments) else WaveLoop


def _pays(model: "Recurrent", num_rows: int, num_segments: int | None) -> bool:
    """Whether waves are faster than compiled segments, by size and length of what is read."""
    size = num_rows * model.recurrence.segment_len * model.anatomy.d_model**2
    num_idle = len(model.anatomy.layers) - 1
    least = num_idle / 2 if size < _NARROW_SIZE else 6 * num_idle
    return size < _WIDE_SIZE and (num_segments is None or num_segments >= least)


def choose_compiler(model: "Recurrent") -> Compiler | None:
    """Returns what compiles a model's cells, or none if they run operation by operation."""
    if not model.recurrence.is_compiled or model.device.type != "cuda":
        return None
    is_checkpointed = model.training and is_layer_checkpointed(model.anatomy.layers[0])
    if is_checkpointed or wave_obstacle(model) is not None:
        return None
    return model.__dict__.setdefault("_compiler", Compiler())


def _may_gain(model: "Recurrent") -> bool:
    is_tested = model.config.get_text_config().model_type in TESTED_FAMILIES
    return is_tested and model.device.type == "cuda" and not torch.is_grad_enabled()
