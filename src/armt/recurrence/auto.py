"""Recurrent models for the Auto classes of transformers, which find them by their model type.

A saved model is the backbone's own checkpoint with the memory's weights beside it under `memory.*`
and a config of model type "armt" around the backbone's. Loading gives the backbone to its own
class, which knows its shards, precisions and devices, and attaches the memory to what comes back.
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast, final

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors import safe_open
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from armt.core.config import MemoryConfig
from armt.core.errors import BackboneError
from armt.core.registry import MEMORIES
from armt.core.shapes import Tensor
from armt.recurrence.attach import attach
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.fingerprint import MEMORY_PREFIX
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.model import Recurrent

WEIGHTS_NAME = "model.safetensors"
"""The weights of a saved model, if they stand in one file."""

INDEX_NAME = "model.safetensors.index.json"
"""Says which file holds which weight, if they stand in several."""

_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


@final
class ArmtConfig(PreTrainedConfig):
    """The config of a saved recurrent model; a model in use keeps the backbone's own."""

    model_type = "armt"
    sub_configs: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleMethodOverride]
        "backbone": AutoConfig
    }

    backbone: PreTrainedConfig | dict[str, Any] | None = None
    """The backbone's config."""

    memory: dict[str, Any] | None = None
    """`name` and `options` of the memory."""

    recurrence: dict[str, Any] | None = None
    """Options of the recurrence."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Makes the backbone's config from plain data."""
        if isinstance(self.backbone, Mapping):
            options = dict(self.backbone)
            kind = str(options.get("model_type"))
            if kind not in CONFIG_MAPPING:
                raise BackboneError(
                    f"This transformers knows no model type '{kind}', the backbone of the saved "
                    "model. Install a newer one."
                )
            self.backbone = CONFIG_MAPPING[kind].from_dict(options)
        cast("Any", super()).__post_init__(**kwargs)

    def get_text_config(
        self, decoder: bool | None = None, encoder: bool | None = None
    ) -> PreTrainedConfig:
        """Returns the config of the backbone's text model."""
        if not isinstance(self.backbone, PreTrainedConfig):
            return self
        return self.backbone.get_text_config(decoder=decoder, encoder=encoder)


@final
class ArmtForCausalLM:
    """What the Auto classes call for model type "armt"; the models themselves are `Recurrent`."""

    config_class = ArmtConfig

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *model_args: Any,
        config: ArmtConfig | None = None,
        **options: Any,
    ) -> Any:
        """Loads a model that `Recurrent.save_pretrained` wrote.

        Args:
            folder: a folder, or the name of a repository of the Hub.
            *model_args: for the backbone's class.
            config: the saved config, if it was read already.
            **options: those of transformers' `from_pretrained`, for the backbone.

        Raises:
            BackboneError: the weights of the memory are missing or do not fit.
        """
        hub = {name: options[name] for name in _HUB_OPTIONS if options.get(name) is not None}
        if config is None:
            config = ArmtConfig.from_pretrained(folder, **hub)
        dtype = _asked_dtype(config, options)
        loaded = _load_backbone(folder, *model_args, config=config, **(options | {"dtype": dtype}))
        model, *rest = loaded if isinstance(loaded, tuple) else (loaded,)
        recurrent = attach_described(model, config.memory or {}, config.recurrence or {})
        load_memory_weights(
            recurrent.memory, _read_memory(folder, hub), is_dtype_kept=dtype == "auto"
        )
        return (recurrent, *rest) if rest else recurrent

    @classmethod
    def _from_config(cls, config: ArmtConfig, **options: Any) -> Recurrent:
        """Makes an untrained model; called by `AutoModelForCausalLM.from_config`."""
        backbone = cast("Any", _backbone_class(config))
        model = backbone._from_config(copy.deepcopy(config.backbone), **options)
        return attach_described(model, config.memory or {}, config.recurrence or {})


def register_auto_classes() -> None:
    """Adds model type "armt" to the tables of transformers' Auto classes; does nothing else."""
    AutoConfig.register(ArmtConfig.model_type, ArmtConfig, exist_ok=True)
    AutoModelForCausalLM.register(ArmtConfig, cast("Any", ArmtForCausalLM), exist_ok=True)


def load_recurrent(folder: str | os.PathLike[str], *args: Any, **options: Any) -> Any:
    """Loads a saved recurrent model as `AutoModelForCausalLM.from_pretrained` does.

    Raises:
        BackboneError: there is a model, but it has no memory.
    """
    register_auto_classes()
    hub = {name: options[name] for name in _HUB_OPTIONS if options.get(name) is not None}
    config = options.get("config") or AutoConfig.from_pretrained(folder, **hub)
    if not isinstance(config, ArmtConfig):
        raise BackboneError(
            f"The model in '{folder}' is of type '{config.model_type}' and has no memory. Load it "
            "with AutoModelForCausalLM and call armt.attach."
        )
    return AutoModelForCausalLM.from_pretrained(folder, *args, **options)


def config_of(model: Recurrent) -> ArmtConfig:
    """Returns the config that is saved with `model`."""
    backbone = copy.deepcopy(model.config)
    backbone.architectures = [backbone_class_of(model).__name__]
    backbone.name_or_path = ""  # the folder it came from is of no use elsewhere
    return ArmtConfig(
        backbone=backbone,
        memory=describe_memory(model),
        recurrence=model.recurrence.to_dict(),
        architectures=[ArmtForCausalLM.__name__],
        dtype=model.dtype,
    )


def describe_memory(model: Recurrent) -> dict[str, Any]:
    """Returns name and options of the memory as plain data.

    Raises:
        UnknownNameError: the memory is not registered, so that no one could load it.
    """
    name = MEMORIES.name_of(type(model.memory.mechanisms[0]))
    return {"name": name, "options": model.memory.config.to_dict()}


def memory_config(description: Mapping[str, Any]) -> MemoryConfig:
    """Returns the config of a memory described by `describe_memory`.

    Raises:
        UnknownNameError: no memory has this name.
        ConfigError: the options are not those of the memory.
    """
    card = MEMORIES[str(description.get("name"))]
    return card.config_class.from_dict(description.get("options", {}))


def backbone_class_of(model: Recurrent) -> type[PreTrainedModel]:
    """Returns the class that the model had before a memory was attached."""
    return next(cls for cls in type(model).__mro__ if not issubclass(cls, Recurrent))


def attach_described(
    model: PreTrainedModel, memory: Mapping[str, Any], recurrence: Mapping[str, Any]
) -> Recurrent:
    """Attaches the memory that plain data describes; the model stays in its mode.

    Raises:
        ConfigError: options are unknown or cannot work.
        BackboneError: the model cannot carry the memory.
    """
    options, is_training = RecurrenceConfig.from_dict(recurrence), model.training
    recurrent = attach(model, memory_config(memory), options.segment_len)
    recurrent.recurrence = options
    return recurrent.train(is_training)


def load_memory_weights(
    stack: MemoryStack, tensors: Mapping[str, Tensor], *, is_dtype_kept: bool
) -> None:
    """Gives a memory the weights `tensors`, on the devices it stands on.

    Args:
        stack: the memory.
        tensors: every weight of it by name.
        is_dtype_kept: whether the weights keep their own precision or take that of the backbone.

    Raises:
        BackboneError: names or shapes are not those of the memory.
    """
    own = cast("dict[str, Tensor]", stack.state_dict())
    for name in sorted(own.keys() | tensors.keys()):
        expected, found = own.get(name), tensors.get(name)
        if expected is None or found is None or expected.shape != found.shape:
            raise BackboneError(
                f"The saved memory does not fit: '{name}' expected {_shape(expected)}, found "
                f"{_shape(found)}. Take the config that it was saved with."
            )
    moved = {
        name: value.to(own[name].device, value.dtype if is_dtype_kept else own[name].dtype)
        for name, value in tensors.items()
    }
    _ = stack.load_state_dict(moved, assign=True)


def _asked_dtype(config: ArmtConfig, options: dict[str, Any]) -> Any:
    """Takes the precision that was asked for out of `options`; "auto" for that of the files.

    The Auto classes of some releases keep it back and leave it in the outer config alone.
    """
    asked = [options.pop(name, None) for name in ("dtype", "torch_dtype")]
    outer, inner = config.dtype, cast("PreTrainedConfig", config.backbone).dtype
    left = outer if str(outer) != str(inner) else None
    return next((dtype for dtype in (*asked, left) if dtype is not None), "auto")


def _load_backbone(
    folder: str | os.PathLike[str], *model_args: Any, config: ArmtConfig, **options: Any
) -> Any:
    """Loads the backbone by its own class, to which the memory's weights are nothing unexpected."""
    backbone = _backbone_class(config)
    known = getattr(backbone, "_keys_to_ignore_on_load_unexpected", None) or []
    attributes = {
        "_keys_to_ignore_on_load_unexpected": [*known, rf"^{MEMORY_PREFIX}"],
        "__module__": backbone.__module__,
    }
    loader = cast("Any", type(backbone.__name__, (backbone,), attributes))
    loaded = loader.from_pretrained(
        folder, *model_args, config=copy.deepcopy(config.backbone), **options
    )
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    model.__class__ = backbone
    return loaded


def _backbone_class(config: ArmtConfig) -> type[PreTrainedModel]:
    """Returns the backbone's class: the one it had when it was saved, if there is a choice."""
    backbone = cast("PreTrainedConfig", config.backbone)
    if type(backbone) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise BackboneError(
            f"transformers has no causal language model for {type(backbone).__name__}, the config "
            "of the backbone. Register its class with AutoModelForCausalLM."
        )
    found: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(backbone)]
    classes = cast(
        "tuple[type[PreTrainedModel], ...]", found if isinstance(found, tuple) else (found,)
    )
    names = cast("Any", backbone).architectures or []
    return next((cls for cls in classes if cls.__name__ in names), classes[0])


def _read_memory(folder: str | os.PathLike[str], hub: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the memory's weights in a saved model, by their names in the memory."""
    path = _find(folder, WEIGHTS_NAME, hub)
    index = None if path is not None else _find(folder, INDEX_NAME, hub)
    paths = [path]
    if index is not None:
        places = cast("dict[str, str]", json.loads(index.read_text())["weight_map"])
        names = {file for name, file in places.items() if name.startswith(MEMORY_PREFIX)}
        paths = [_find(folder, name, hub) for name in sorted(names)]
    tensors: dict[str, Tensor] = {}
    for path in paths:
        if path is None:
            raise BackboneError(f"A file of weights is missing in '{folder}'. Copy it anew.")
        tensors |= _memory_in(path)
    return tensors


def _memory_in(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(MEMORY_PREFIX)]  # noqa: SIM118
        return {name.removeprefix(MEMORY_PREFIX): file.get_tensor(name).clone() for name in names}


def _find(folder: str | os.PathLike[str], name: str, hub: Mapping[str, Any]) -> Path | None:
    if Path(folder).is_dir():
        path = Path(folder) / str(hub.get("subfolder", "")) / name
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(str(folder), name, **hub))
    except EntryNotFoundError:
        return None


def _shape(value: torch.Tensor | None) -> str:
    return "nothing" if value is None else str(tuple(value.shape))
