"""Saving of recurrent models: whole, or the memory alone beside a backbone."""

import json
import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

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
from armt.recurrence.tensor_file import (
    FileKind,
    TensorFile,
    check_free_space,
    read_tensors,
    write_tensors,
)

MEMORY_FILE = FileKind(noun="memory file", format="armt-memory", version=1, error=BackboneError)
"""The weights of a memory, format version 1."""

MEMORY_WEIGHTS_NAME = "memory.safetensors"
MEMORY_CONFIG_NAME = "memory_config.json"

_CONFIG_NAME = "config.json"
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_REFUSED = ("push_to_hub", "distributed_checkpoint", "variant")
_COMPARED = ("backbone_config", "backbone_values")


class _Description(NamedTuple):
    """What is said of a saved memory."""

    memory: dict[str, Any]
    recurrence: dict[str, Any]
    base: dict[str, Any]


def save_whole(model: Recurrent, folder: str | os.PathLike[str], **options: Any) -> None:
    """Writes backbone and memory to `folder` for `AutoModelForCausalLM.from_pretrained`.

    The files are written beside, then moved to their places one by one, the config last.

    Args:
        model: the model.
        folder: where to; made if it is not there.
        **options: those of transformers' `save_pretrained`, such as `state_dict`.

    Raises:
        StorageError: the disk is full or refuses a file; the message says whether what was there is
            untouched, or a move failed and the folder may hold files of both saves.
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
        with _staging_in(target) as staging:
            save(staging, **options)
            model.config.architectures = [backbone_class_of(model).__name__]
            if (staging / _CONFIG_NAME).exists():  # else another process writes it
                config_of(model).save_pretrained(staging)
            _publish(staging, target)
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
        BackboneError: the files are missing or damaged or do not agree, or `model` is another
            backbone; the message names each field expected and found.
        ConfigError: the options of memory or recurrence cannot be used.
    """
    folder = Path(folder)
    config = _read_config(folder)
    file = read_tensors(folder / MEMORY_WEIGHTS_NAME, MEMORY_FILE)
    _check_config(folder, config, file)
    description = _parse(folder, file.header)
    _check_backbone(folder, description.base, model)
    recurrent = attach_described(model, description.memory, description.recurrence)
    is_same_dtype = description.base["dtype"] == str(model.dtype).removeprefix("torch.")
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


@contextmanager
def _staging_in(target: Path) -> Generator[Path]:
    """Makes `target` and, for a while, a hidden folder in it."""
    target.mkdir(parents=True, exist_ok=True)
    # What cannot be cleaned up does not make a save fail that is done.
    made = tempfile.TemporaryDirectory(prefix=".saving-", dir=target, ignore_cleanup_errors=True)
    with made as staging:
        yield Path(staging)


def _publish(staging: Path, target: Path) -> None:
    """Moves all that was written to its place; says so if it may be there in part only."""
    try:
        _move(staging, target)
    except (OSError, StorageError) as error:
        # The error of a single file says that the old one is untouched, which is not the whole.
        raise StorageError(
            f"Cannot move the model to '{target}': {error.__cause__ or error}. Some files there "
            "may be of this save and others of the one before. Save the model again before you "
            "load it from there."
        ) from error


def _move(staging: Path, target: Path) -> None:
    """Moves files to their places, the config last; removes weights of an earlier save."""
    config = staging / _CONFIG_NAME
    written = sorted(path for path in staging.iterdir() if path != config)
    for path in written:
        with atomic_path(target / path.name) as temporary:
            _ = path.replace(temporary)
    if not config.exists():  # another process writes the config
        return
    names = {path.name for path in written}
    for path in target.iterdir():
        if _WEIGHTS.fullmatch(path.name) and path.name not in names:
            path.unlink()
    with atomic_path(target / _CONFIG_NAME) as temporary:
        _ = config.replace(temporary)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / MEMORY_CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackboneError(
            f"No saved memory in '{folder}': no {path.name}. Check the path."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"Cannot read '{path}': {error}. Save the memory again.") from error
    fields = {*_Description._fields, "weights_digest"}
    if not isinstance(config, dict) or not fields <= config.keys():
        raise BackboneError(
            f"'{path}' is not what armt saved: expected the fields {', '.join(sorted(fields))}. "
            "Save the memory again."
        )
    return cast("dict[str, Any]", config)


def _check_config(folder: Path, config: dict[str, Any], file: TensorFile) -> None:
    """Checks that the config says what the header of the weights says, which has a digest."""
    where = f"'{MEMORY_CONFIG_NAME}' and '{MEMORY_WEIGHTS_NAME}' in '{folder}'"
    digest = config["weights_digest"]
    if digest != file.digest:
        raise BackboneError(
            f"{where} come from different saves: expected digest {digest}, found {file.digest}. "
            "Save the memory again."
        )
    told = {name: value for name, value in config.items() if name != "weights_digest"}
    if told != file.header:
        different = "; ".join(_differences(file.header, told))
        raise BackboneError(
            f"{where} do not agree; {different}. Put the config back as it was saved, or save the "
            "memory again."
        )


def _differences(expected: object, found: object, name: str = "") -> list[str]:
    """Returns a line for each value that differs in plain data, under its dotted name."""
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return [] if expected == found else [f"{name}: expected {expected}, found {found}"]
    left, right = cast("dict[str, object]", expected), cast("dict[str, object]", found)
    return [
        line
        for key in sorted(left.keys() | right.keys())
        for line in _differences(
            left.get(key, "nothing"), right.get(key, "nothing"), f"{name}.{key}".lstrip(".")
        )
    ]


def _parse(folder: Path, header: dict[str, Any]) -> _Description:
    parts = [header.get(name) for name in _Description._fields]
    needed = {"model_type", "dtype", *_COMPARED}
    if not all(isinstance(part, dict) for part in parts) or not needed <= header["base"].keys():
        raise BackboneError(
            f"'{folder / MEMORY_WEIGHTS_NAME}' cannot be used: its header lacks what describes the "
            "memory, the recurrence or the base. Save the memory again."
        )
    return _Description(*cast("list[dict[str, Any]]", parts))


def _check_backbone(folder: Path, base: dict[str, Any], model: PreTrainedModel) -> None:
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
