"""Saving of recurrent models: whole, or the memory alone beside a backbone."""

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from transformers import PreTrainedModel

from armt.core.errors import BackboneError, ConfigError, StorageError
from armt.core.files import atomic_path, write_text
from armt.recurrence.auto import (
    WEIGHTS_NAME,
    attach_described,
    backbone_class_of,
    config_of,
    describe_memory,
    load_memory_weights,
)
from armt.recurrence.fingerprint import backbone_fingerprint
from armt.recurrence.model import Recurrent
from armt.recurrence.peft import check_memory_is_bare
from armt.recurrence.tensor_file import FileKind, check_free_space, read_tensors, write_tensors

MEMORY_FILE = FileKind(noun="memory file", format="armt-memory", version=1, error=BackboneError)
"""The weights of a memory, format version 1."""

MEMORY_WEIGHTS_NAME = "memory.safetensors"
MEMORY_CONFIG_NAME = "memory_config.json"

_CONFIG_NAME = "config.json"
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_REFUSED = ("push_to_hub", "distributed_checkpoint", "variant")
_COMPARED = ("backbone_config", "backbone_values")


def save_whole(model: Recurrent, folder: str | os.PathLike[str], **options: Any) -> None:
    """Writes backbone and memory to `folder` for `AutoModelForCausalLM.from_pretrained`.

    The files are written beside, then moved to their places one by one, the config last.

    Args:
        model: the model.
        folder: where to; made if it is not there.
        **options: those of transformers' `save_pretrained`, such as `state_dict`.

    Raises:
        StorageError: the disk is full or refuses a file.
        ConfigError: an option is asked for that cannot be had.
    """
    _refuse(options)
    save = cast("Any", super(Recurrent, model)).save_pretrained
    if getattr(
        model, "_hf_peft_config_loaded", False
    ):  # transformers then writes the adapter alone
        save(folder, **options)
        return
    check_memory_is_bare(model)
    target = Path(folder)
    nbytes = sum(parameter.nbytes for parameter in model.parameters())
    check_free_space(target / WEIGHTS_NAME, nbytes)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=target) as staging:
            save(staging, **options)
            model.config.architectures = [backbone_class_of(model).__name__]
            _publish(model, Path(staging), target)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"Cannot save the model to '{folder}': {error}. What was there is untouched. Free some "
            "space or choose another folder."
        ) from error


def save_memory(model: Recurrent, folder: str | os.PathLike[str]) -> None:
    """Writes the memory alone: `memory.safetensors`, and `memory_config.json` last.

    The config names the backbone and holds hashes of it. An adapter around the backbone is saved by
    its own library.

    Raises:
        StorageError: the disk is full or refuses a file.
    """
    check_memory_is_bare(model)
    fingerprint = backbone_fingerprint(model)
    config = cast("Any", model.config)
    description = {
        "memory": describe_memory(model),
        "recurrence": model.recurrence.to_dict(),
        "base": {
            "name_or_path": config.name_or_path,
            "model_type": config.model_type,
            "dtype": str(model.dtype).removeprefix("torch."),
            **{name: fingerprint[name] for name in _COMPARED},
        },
    }
    path = Path(folder) / MEMORY_WEIGHTS_NAME
    digest = write_tensors(path, MEMORY_FILE, description, model.memory.state_dict())
    text = json.dumps(description | {"weights_digest": digest}, indent=2)
    write_text(Path(folder) / MEMORY_CONFIG_NAME, text + "\n")


def load_memory(model: PreTrainedModel, folder: str | os.PathLike[str]) -> Recurrent:
    """Attaches the memory that `save_memory` wrote to `model` and returns it, changed in place.

    The backbone may have another precision than in training; the memory then takes it over.

    Args:
        model: the backbone that the memory was trained on.
        folder: a folder written by `save_memory`.

    Raises:
        BackboneError: the files are missing or damaged, or `model` is another backbone; the message
            names each field expected and found.
    """
    folder = Path(folder)
    description = _read_description(folder)
    file = read_tensors(folder / MEMORY_WEIGHTS_NAME, MEMORY_FILE)
    if description["weights_digest"] != file.digest:
        raise BackboneError(
            f"'{MEMORY_CONFIG_NAME}' and '{MEMORY_WEIGHTS_NAME}' in '{folder}' come from different "
            f"saves: expected digest {description['weights_digest']}, found {file.digest}. Save "
            "the memory again."
        )
    base = cast("dict[str, str]", description["base"])
    _check_backbone(folder, base, model)
    recurrent = attach_described(model, description["memory"], description["recurrence"])
    is_same_dtype = base["dtype"] == str(model.dtype).removeprefix("torch.")
    load_memory_weights(recurrent.memory, file.tensors, is_dtype_kept=is_same_dtype)
    return recurrent


def _refuse(options: dict[str, Any]) -> None:
    """Takes out options that were not asked for, and refuses those that were and cannot be had."""
    for name in _REFUSED:
        if options.pop(name, None):
            raise ConfigError(
                f"A recurrent model is saved without `{name}`. Leave it out; `model.push_to_hub` "
                "uploads."
            )


def _publish(model: Recurrent, staging: Path, target: Path) -> None:
    """Moves what was written to its place, the config last; removes weights of an earlier save."""
    written = sorted(path for path in staging.iterdir() if path.name != _CONFIG_NAME)
    is_main = (staging / _CONFIG_NAME).exists()
    for path in written:
        with atomic_path(target / path.name) as temporary:
            _ = path.replace(temporary)
    if not is_main:  # another process writes the config
        return
    names = {path.name for path in written}
    for path in target.iterdir():
        if _WEIGHTS.fullmatch(path.name) and path.name not in names:
            path.unlink()
    config_of(model).save_pretrained(staging)
    with atomic_path(target / _CONFIG_NAME) as temporary:
        _ = (staging / _CONFIG_NAME).replace(temporary)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / MEMORY_CONFIG_NAME
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackboneError(
            f"No saved memory in '{folder}': no {path.name}. Check the path."
        ) from error
    except (OSError, ValueError) as error:
        raise BackboneError(f"Cannot read '{path}': {error}. Save the memory again.") from error
    fields = {"memory", "recurrence", "base", "weights_digest"}
    if not isinstance(description, dict) or not fields <= description.keys():
        raise BackboneError(
            f"'{path}' is not what armt saved: expected the fields {', '.join(sorted(fields))}. "
            "Save the memory again."
        )
    return cast("dict[str, Any]", description)


def _check_backbone(folder: Path, base: dict[str, str], model: PreTrainedModel) -> None:
    found = backbone_fingerprint(model) | {"model_type": cast("Any", model.config).model_type}
    different = [
        f"{name}: expected {base.get(name)}, found {found[name]}"
        for name in ("model_type", *_COMPARED)
        if base.get(name) != found[name]
    ]
    if different:
        raise BackboneError(
            f"The memory in '{folder}' was trained on another backbone; {'; '.join(different)}. "
            f"Load the one it was trained on ('{base.get('name_or_path')}', {base.get('dtype')})."
        )
