"""State files: a reading that stops here and goes on elsewhere, bit for bit.

A file holds the layers' states, the pending tokens and the position in the text. Its header says
which model and tokenizer it belongs to, and no other may load it: a state is a message that only
the weights that wrote it can read.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple, cast

import torch

from armt.core.errors import StateError, StateFileError
from armt.core.registry import MEMORIES
from armt.core.shapes import Tensor
from armt.core.state import State
from armt.recurrence.fingerprint import NO_HASH, model_fingerprint, tokenizer_hash
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.recurrence.tensor_file import FileKind, TensorFile, read_tensors, write_tensors
from armt.recurrence.tensor_file import read_header as read_file_header

STATE_FILE = FileKind(noun="state file", format="armt-state", version=1, error=StateFileError)
"""State files, format version 1."""

_POSITION = ("pending", "num_pending", "num_tokens")
_UNUSED = frozenset({"backbone_values"})  # `backbone_weights` is the stricter one


class Source(NamedTuple):
    """A text that was read into a state."""

    name: str
    """What it is called, such as a file name."""

    nbytes: int
    """Bytes of it that were read."""


@dataclass(frozen=True, kw_only=True)
class StateHeader:
    """What a state file says of itself."""

    armt_version: str
    """The library that wrote it."""

    memory: str
    """Name of the memory."""

    memory_options: Mapping[str, Any]
    """Options of the memory."""

    backbone: str
    """Model type of the backbone."""

    fingerprints: Mapping[str, str]
    """Hashes of the model; see `armt.recurrence.fingerprint`."""

    tokenizer: str | None
    """Hash of the tokenizer, if one was given."""

    segment_len: int
    """Text tokens in a segment."""

    overlap_len: int = 0
    """Tokens that a segment begins with again. They are pending, though written already: a model
    without an overlap would write them a second time. Files of before there were overlaps have no
    such field."""

    dtype: str
    """Precision of the model, such as `bfloat16`."""

    num_tokens: tuple[int, ...]
    """Tokens that each row has read, pending ones included."""

    sources: tuple[Source, ...]
    """What was read, if it was told."""

    @property
    def num_rows(self) -> int:
        """Texts that the state is of."""
        return len(self.num_tokens)


def save_state(
    path: str | os.PathLike[str],
    state: RecurrentState,
    model: Recurrent,
    *,
    tokenizer: object | None = None,
    sources: Sequence[Source] | None = None,
) -> None:
    """Writes `state`, a state of `model`, to a file, whole or not at all.

    Args:
        path: where to; a file that is there is replaced when the new one is on the disk.
        state: what was read so far.
        model: the model that read it.
        tokenizer: the tokenizer whose tokens were read; loading then asks for the same.
        sources: what was read, to be found again in the header.

    Raises:
        StateError: the state is not the model's, or holds values that are not finite; a good file
            is not replaced by such a state.
        StorageError: the disk is full or refuses the file.
    """
    if len(state.layers) != len(model.memory.mechanisms):
        raise StateError(
            f"The state has {len(state.layers)} layers, the model {len(model.memory.mechanisms)}. "
            "Save a state with the model that read it."
        )
    state.check_finite()
    header = StateHeader(
        **_describe(model, tokenizer),
        armt_version=library_version(),
        num_tokens=tuple(state.num_tokens.tolist()),
        sources=tuple(sources or ()),
    )
    _ = write_tensors(path, STATE_FILE, dataclasses.asdict(header), _to_tensors(state))


def load_state(
    path: str | os.PathLike[str], model: Recurrent, *, tokenizer: object | None = None
) -> RecurrentState:
    """Returns the state in the file at `path`, on the model's devices.

    Reading on from it gives, bit for bit, what reading without a stop would have given.

    Args:
        path: a file written by `save_state`.
        model: a model with the weights of the one that read the text.
        tokenizer: compared with the one that was given when the file was written, if any.

    Raises:
        StateFileError: the file is missing, damaged, of something else or of another model; the
            message names each field expected and found.
    """
    file = read_tensors(path, STATE_FILE)
    header = _parse(path, file.header)
    _check_model(path, header, model, tokenizer)
    if any(value.shape[:1] != (header.num_rows,) for value in file.tensors.values()):
        raise _unfit(path, f"not every tensor has the {header.num_rows} rows of its header")
    templates = model.memory.init_states(1)
    state = RecurrentState(
        layers=tuple(
            _layer_state(path, file, index, template, mechanism.is_bounded)
            for index, (template, mechanism) in enumerate(
                zip(templates, model.memory.mechanisms, strict=True)
            )
        ),
        **_position(path, file, model),
    )
    try:
        state.check_finite()
    except StateError as error:
        raise StateFileError(f"'{path}': {error}") from error
    return state


def read_header(path: str | os.PathLike[str]) -> StateHeader:
    """Returns what the state file at `path` says of itself; needs no model and reads no state.

    Raises:
        StateFileError: the file is missing, damaged, or no state file.
    """
    return _parse(path, read_file_header(path, STATE_FILE))


def library_version() -> str:
    """Returns the version of armt that runs."""
    try:
        return metadata.version("armt")
    except metadata.PackageNotFoundError:  # run from its sources
        return "unknown"


def _describe(model: Recurrent, tokenizer: object | None) -> dict[str, Any]:
    """Returns the fields of a header that must agree."""
    fingerprints = model_fingerprint(model)
    mechanism = model.memory.mechanisms[0]
    return {
        "memory": MEMORIES.name_of(type(mechanism)),
        "memory_options": model.memory.config.to_dict(),
        "backbone": model.config.model_type,
        "fingerprints": {k: v for k, v in fingerprints.items() if k not in _UNUSED},
        "tokenizer": tokenizer_hash(tokenizer),
        "segment_len": model.recurrence.segment_len,
        "overlap_len": model.recurrence.overlap_len,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def _to_tensors(state: RecurrentState) -> dict[str, Tensor]:
    tensors = {name: cast("Tensor", getattr(state, name)) for name in _POSITION}
    for index, layer in enumerate(state.layers):
        tensors |= {f"layers.{index}.{name}": value for name, value in layer.tensors().items()}
    return tensors


def _parse(path: str | os.PathLike[str], content: Mapping[str, Any]) -> StateHeader:
    try:
        sources = tuple(Source(str(name), int(nbytes)) for name, nbytes in content["sources"])
        num_tokens = tuple(int(number) for number in content["num_tokens"])
        rest: dict[str, Any] = {"sources": sources, "num_tokens": num_tokens}
        return StateHeader(**(dict(content) | rest))
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit(path, f"its header lacks or doubles a field ({error})") from error


def _check_model(
    path: str | os.PathLike[str],
    header: StateHeader,
    model: Recurrent,
    tokenizer: object | None,
) -> None:
    expected = _flat(_describe(model, tokenizer))
    found = _flat(dataclasses.asdict(header))
    if tokenizer is None or header.tokenizer is None:
        _ = expected.pop("tokenizer"), found.pop("tokenizer")
    options = {name for name in found if name.startswith("memory_options.")}
    free = {f"memory_options.{name}" for name in model.memory.config.free_options}
    different = [
        f"{name}: expected {expected.get(name, NO_HASH)}, found {found.get(name, NO_HASH)}"
        for name in sorted((expected.keys() | options) - free)
        if expected.get(name, NO_HASH) != found.get(name, NO_HASH)
    ]
    if different:
        raise StateFileError(
            f"The state file '{path}' belongs to another model or tokenizer; "
            f"{'; '.join(different)}. Load it with what wrote it, or read the text again with this "
            "model."
        )


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with those of nested records under dotted names; hashes by their own."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            prefix = "" if name == "fingerprints" else f"{name}."
            nested = cast("Mapping[str, Any]", value)
            flat |= {f"{prefix}{inner}": entry for inner, entry in nested.items()}
        else:
            flat[name] = value
    return flat


def _layer_state(
    path: str | os.PathLike[str],
    file: TensorFile,
    index: int,
    template: State,
    is_bounded: bool,
) -> State:
    tensors: dict[str, Tensor] = {}
    for field, like in template.tensors().items():
        name = f"layers.{index}.{field}"
        value = file.tensors.get(name)
        if value is None:
            raise _unfit(path, f"it has no tensor '{name}'")
        fits = value.dim() == like.dim() and (not is_bounded or value.shape[1:] == like.shape[1:])
        if not fits or value.dtype != like.dtype:
            raise _unfit(
                path,
                f"tensor '{name}': expected {_spell(like)}, found {_spell(value)}",
            )
        tensors[field] = value.to(like.device)
    return type(template).from_tensors(tensors)


def _position(
    path: str | os.PathLike[str], file: TensorFile, model: Recurrent
) -> dict[str, Tensor]:
    """Returns the pending tokens and counts, checked against each other and the vocabulary."""
    missing = [name for name in _POSITION if name not in file.tensors]
    if missing:
        raise _unfit(path, f"it has no tensor '{missing[0]}'")
    pending, num_pending, num_tokens = (file.tensors[name] for name in _POSITION)
    vocab_size = int(model.config.get_text_config().vocab_size)
    limit = min(pending.shape[-1], model.recurrence.segment_len - 1)
    is_sound = (
        (pending.dim(), num_pending.dim(), num_tokens.dim()) == (2, 1, 1)
        and all(value.dtype == torch.long for value in (pending, num_pending, num_tokens))
        and bool(((num_pending >= 0) & (num_pending <= num_tokens.clamp_max(limit))).all())
        and bool(((pending >= 0) & (pending < vocab_size)).all())
    )
    if not is_sound:
        raise _unfit(path, "its pending tokens and counts contradict each other or the model")
    pending = pending.to(model.device)
    return {"pending": pending, "num_pending": num_pending, "num_tokens": num_tokens}


def _spell(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape[1:])} for each row"


def _unfit(path: str | os.PathLike[str], why: str) -> StateFileError:
    return StateFileError(
        f"The state file '{path}' cannot be used: {why}. Save the state again with the model that "
        "read it."
    )
