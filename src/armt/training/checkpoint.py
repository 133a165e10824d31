"""Checkpoints: a folder that is whole or does not count, newest valid one first."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from armt.core.errors import StateError, StorageError
from armt.core.files import atomic_path, hold_lock, write_text
from armt.core.shapes import Tensor
from armt.core.state import State
from armt.recurrence.encoder import RecurrentClassifier
from armt.recurrence.model import Recurrent
from armt.training.optim import MasterAdamW

_MANIFEST = "manifest.json"
_FILES = ("model", "optimizer", "random", "carried")
_NUM_KEPT = 2
_PATIENCE_S = 20.0
"""How long a lock is waited for. With older versions of filelock the processes that draw the
batches of a training share its lock, and look only every few seconds whether it was killed."""

_UNFINISHED, _REPLACED = ".tmp", ".old"
"""Endings of the folders of checkpoints that are being written, and replaced by one of the step."""


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    num_tokens: int = 0
    num_skipped: int = 0
    num_skipped_in_row: int = 0
    seconds: float = 0.0
    num_told: int = 0
    """Answers since the last report, where a training goes by how many of them are right."""
    num_right: int = 0


@contextmanager
def sole_training(folder: Path) -> Generator[None]:
    """Lets no other process train in a folder; it is free when the process ends, however it ends.

    Raises:
        StorageError: another process is training there, or the folder takes no lock.
    """
    busy = (
        f"Another process is training in '{folder}'. Wait until it ends, or choose another folder."
    )
    with hold_lock(folder / "training.lock", _PATIENCE_S, "Choose another folder.", busy):
        yield


def save_checkpoint(
    folder: Path,
    model: Recurrent | RecurrentClassifier,
    optimizer: MasterAdamW,
    progress: Progress,
    carried: tuple[State, ...] | None,
) -> Path:
    """Writes a checkpoint beside the older ones and removes all but the newest two.

    It has its name, and counts, once it is whole, so that one of the same step counts until then.
    The manifest holds the digest of every file.

    Raises:
        StorageError: the disk is full or refuses the checkpoint; those that were there count.
    """
    target = folder / "checkpoints" / f"step-{progress.step:08d}"
    files = {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.tensors(),
        "random": _random_tensors(model.device),
        "carried": _carried_tensors(carried),
    }
    for path in _unfinished(folder):
        shutil.rmtree(path)
    made, digests = target.with_suffix(_UNFINISHED), dict[str, str]()
    for name, tensors in files.items():
        with atomic_path(made / f"{name}.safetensors") as path:
            save_file(_owned(tensors), path)
            digests[name] = _digest(path)
    manifest = {"progress": asdict(progress), "digests": digests}
    write_text(made / _MANIFEST, json.dumps(manifest, indent=2))
    _put(made, target)
    # One of a later step is there only if it is damaged; it must not push out the good ones.
    older = [path for path in _checkpoints(folder) if path.stem < target.name]
    for path in older[_NUM_KEPT - 1 :]:
        shutil.rmtree(path)
    return target


def _put(made: Path, target: Path) -> None:
    """Gives a whole checkpoint its name; one that has it goes, but counts until then."""
    replaced = target.with_suffix(_REPLACED)
    if target.exists():
        if replaced.exists():
            shutil.rmtree(replaced)
        _ = target.rename(replaced)
    _ = made.rename(target)
    if replaced.exists():
        shutil.rmtree(replaced)


def resume_or_begin(
    folder: Path, model: Recurrent | RecurrentClassifier, optimizer: MasterAdamW, seed: int
) -> tuple[Progress, tuple[State, ...] | None]:
    """Loads the newest whole checkpoint; without one begins a run whose noise its seed decides.

    What a model draws in training, dropout and noise on gates, comes from the global generators. A
    run that goes on has their states from its checkpoint. Several processes of one draw apart.

    Raises:
        StateError: it is that of another model, or there are checkpoints but none is whole.
        StorageError: the disk does not give it.
    """
    found = load_newest(folder, model, optimizer)
    if found is not None:
        return found
    processes = PartialState()
    _ = torch.manual_seed(seed * processes.num_processes + processes.process_index)
    return Progress(), None


def load_newest(
    folder: Path, model: Recurrent | RecurrentClassifier, optimizer: MasterAdamW
) -> tuple[Progress, tuple[State, ...] | None] | None:
    """Loads the newest whole checkpoint into model and optimiser; nothing if there is none at all.

    Newer ones that are not whole are named in a warning.

    Raises:
        StateError: it is that of another model, or there are checkpoints but none is whole.
        StorageError: the disk does not give it.
    """
    skipped = [f"'{path}' (its writing was broken off)" for path in _unfinished(folder)]
    paths = _checkpoints(folder)
    for path in paths:
        try:
            found = _read(path)
        except StateError as error:
            skipped.append(f"'{path}' ({error})")
            continue
        _warn(skipped, f"'{path}'")
        fill(model, found.files["model"], path)
        optimizer.load_tensors(found.files["optimizer"])
        _set_random(found.files["random"], model.device)
        return found.progress, _carried_states(model, found.files["carried"])
    if paths:
        raise StateError(
            f"No checkpoint of this training can be read: {', '.join(skipped)}. Remove "
            f"'{folder / 'checkpoints'}' to start anew, or train in a new folder."
        )
    _warn(skipped, "the start")
    return None


def _warn(skipped: list[str], start: str) -> None:
    """Tells which checkpoints a training does not go on from, and from where instead."""
    if skipped:
        told = f"The training goes on from {start}. Not used: {', '.join(skipped)}."
        warnings.warn(told, stacklevel=3)


def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Writes the weights that stand in `path` into a model.

    Raises:
        StateError: they have other names or shapes than the model's.
    """
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in tensors.items()}
    changed = sorted(name for name in own | theirs if own.get(name) != theirs.get(name))
    if changed:
        first = changed[0]
        raise StateError(
            f"'{path}' holds the weights of another model: {len(changed)} differ, such as "
            f"`{first}`, {theirs.get(first, 'not there')} instead of {own.get(first, 'none')}. "
            "Give back the tokenizer that it was trained with, or train in a new folder."
        )
    _ = model.load_state_dict(tensors)


def _checkpoints(folder: Path) -> list[Path]:
    """Folders of checkpoints, newest first, whether whole or not.

    One that is being replaced comes after the one that replaces it.
    """
    found = set((folder / "checkpoints").glob("step-*")) - set(_unfinished(folder))
    return sorted(found, key=lambda path: (path.stem, not path.suffix), reverse=True)


def _unfinished(folder: Path) -> list[Path]:
    """Folders of checkpoints that are being written, or whose writing was broken off."""
    return sorted((folder / "checkpoints").glob(f"step-*{_UNFINISHED}"))


class _Checkpoint(NamedTuple):
    """What a whole checkpoint holds."""

    progress: Progress
    files: dict[str, dict[str, Tensor]]


def _read(path: Path) -> _Checkpoint:
    """Reads all files of a checkpoint.

    Raises:
        StateError: one of them is missing or damaged.
        StorageError: the disk does not give one of them.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        progress = Progress(**manifest["progress"])
        digests = {name: manifest["digests"][name] for name in _FILES}
        files = {name: path / f"{name}.safetensors" for name in _FILES}
        for name, file in files.items():
            if _digest(file) != digests[name]:
                raise StateError(f"{file.name} is damaged")
        return _Checkpoint(progress, {name: load_file(file) for name, file in files.items()})
    except FileNotFoundError as error:
        raise StateError(f"{Path(error.filename).name} is missing") from error
    except OSError as error:  # it may be whole: to go on from an older one would lose steps
        raise StorageError(
            f"Cannot read the checkpoint '{path}': {error.strerror or error}. Check the disk and "
            "its permissions, or remove this checkpoint."
        ) from error
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        told = f"{type(error).__name__}: {error}"
        raise StateError(f"{_MANIFEST} is damaged or of another version, {told}") from error


def _random_tensors(device: torch.device) -> dict[str, Tensor]:
    """Returns the states of the generators that a model on `device` draws from."""
    found = {"cpu": torch.get_rng_state()}
    return found | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else found


def _set_random(tensors: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(tensors["cpu"])
    # a run may go on on another kind of device, where there is nothing to go on from
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)


def _owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies to the CPU, so that tied tensors do not share memory, which the format refuses."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _carried_tensors(carried: tuple[State, ...] | None) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": value
        for number, layer in enumerate(carried or ())
        for name, value in layer.tensors().items()
    }


def _carried_states(
    model: Recurrent | RecurrentClassifier, tensors: dict[str, Tensor]
) -> tuple[State, ...] | None:
    """Returns the carried states, each tensor where the memory has it: some stay on the host.

    Raises:
        StateError: they have another shape than the model's memory.
    """
    if not tensors:
        return None
    num_rows = len(next(iter(tensors.values())))
    states: list[State] = []
    for number, layer in enumerate(model.memory.init_states(num_rows)):
        own = layer.tensors()
        held = {name: tensors[f"{number}.{name}"].to(value.device) for name, value in own.items()}
        is_same = all(held[name].shape == value.shape for name, value in own.items())
        if model.memory.is_bounded and not is_same:
            raise StateError(
                "The checkpoint's carried states have another shape than the model's memory. Train "
                "in a new folder."
            )
        states.append(type(layer).from_tensors(held))
    return tuple(states)
