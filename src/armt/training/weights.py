"""Weights of a model as one file, with notes about them."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from armt.core.errors import StateError
from armt.core.files import atomic_path
from armt.training.checkpoint import fill


def save_weights(path: Path, model: nn.Module, notes: Mapping[str, int] | None = None) -> None:
    """Writes the weights of a model and notes about them, whole or not at all.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    told = {name: str(value) for name, value in (notes or {}).items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, told)


def load_weights(path: Path, model: nn.Module, remedy: str) -> None:
    """Writes the weights of a file into a model.

    Args:
        path: what `save_weights` wrote.
        model: of the same make.
        remedy: what to do where the file cannot be read, as a sentence.

    Raises:
        StateError: the file is missing or damaged, or holds the weights of another model.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StateError(f"'{path}' is damaged or missing: {error}. {remedy}") from error
    fill(model, tensors, path)


def load_note(path: Path, name: str, remedy: str) -> int:
    """Returns a note of a file of weights.

    Raises:
        StateError: the file is damaged, or has no such note.
    """
    try:
        with safe_open(path, "pt") as file:
            return int(file.metadata()[name])
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise StateError(f"'{path}' is damaged: {error}. {remedy}") from error
