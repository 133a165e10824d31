"""Tensors with a header in one safetensors file that is never half written and shows every damage.

safetensors checks the layout of a file but not its contents: a flipped bit loads silently. So the
header holds a digest of each tensor, and beside it stands a digest of the header.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from armt.core.errors import ArmtError, StorageError
from armt.core.files import atomic_path
from armt.core.shapes import Tensor

_HEADER_KEY = "armt"
_DIGEST_KEY = "armt_digest"
_MAX_HEADER_NBYTES = 100_000_000
_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """One of the kinds of files that the library writes."""

    noun: str
    """What a person calls it, such as "state file"."""

    format: str
    """What the file calls itself."""

    version: int
    """The newest version that this library reads; also the one it writes."""

    error: type[ArmtError]
    """Raised for a file that is missing, damaged or of another kind."""


class TensorFile(NamedTuple):
    """What such a file holds."""

    header: dict[str, Any]
    """Plain data, as it was given when the file was written."""

    tensors: dict[str, Tensor]
    """The tensors by name, on the CPU."""

    digest: str
    """Digest of the header, and so of everything."""


def write_tensors(
    path: str | os.PathLike[str],
    kind: FileKind,
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> str:
    """Writes a file of `kind`, whole or not at all; returns the digest of its header.

    Raises:
        StorageError: the disk is full or refuses the file; what was there before is untouched.
        ArmtError: the name ends like that of a pickle (the kind's own error).
    """
    _check_name(Path(path), kind)
    # The format refuses tensors that share their storage, so each is copied.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps(
        {
            "format": kind.format,
            "format_version": kind.version,
            "digests": {name: _tensor_digest(value) for name, value in plain.items()},
            "content": dict(header),
        },
        sort_keys=True,
    )
    data = save(plain, metadata={_HEADER_KEY: text, _DIGEST_KEY: _digest(text.encode())})
    check_free_space(path, len(data))
    with atomic_path(path) as temporary:
        _ = temporary.write_bytes(data)
    return _digest(text.encode())


def read_header(path: str | os.PathLike[str], kind: FileKind) -> dict[str, Any]:
    """Returns the header of a file of `kind`; reads nothing else of it.

    Raises:
        ArmtError: the file is missing, damaged, foreign or too new (the kind's own error).
    """
    with _open(Path(path), kind) as stream:
        return _read_header(stream, Path(path), kind)["content"]


def read_tensors(path: str | os.PathLike[str], kind: FileKind) -> TensorFile:
    """Returns header and tensors of a file of `kind`, every tensor checked against its digest.

    Raises:
        ArmtError: the file is missing, damaged, foreign or too new (the kind's own error).
    """
    path = Path(path)
    with _open(path, kind) as stream:
        header = _read_header(stream, path, kind)
        _ = stream.seek(0)
        data = stream.read()
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise _damaged(path, kind, f"its layout does not hold ({error})") from error
    digests = cast("dict[str, str]", header["digests"])
    if digests.keys() != tensors.keys():
        raise _damaged(path, kind, "the names of its tensors are not those it was written with")
    for name, value in tensors.items():
        found = _tensor_digest(value)
        if found != digests[name]:
            raise _damaged(
                path, kind, f"tensor '{name}': expected digest {digests[name]}, found {found}"
            )
    return TensorFile(header["content"], tensors, header["digest"])


def check_free_space(path: str | os.PathLike[str], nbytes: int) -> None:
    """Checks that `nbytes` fit on the disk of `path`.

    Raises:
        StorageError: they do not; nothing was written.
    """
    folder = Path(path).absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise StorageError(
            f"No space left to write '{path}': it needs {nbytes:,} bytes and {free:,} are free. "
            "Nothing was written. Free some space or choose another folder."
        )


def _open(path: Path, kind: FileKind) -> BinaryIO:
    _check_name(path, kind)
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise kind.error(f"No {kind.noun} at '{path}'. Check the path.") from error
    except OSError as error:
        raise kind.error(
            f"Cannot read the {kind.noun} '{path}': {error.strerror or error}. Check the path and "
            "its permissions."
        ) from error


def _read_header(stream: BinaryIO, path: Path, kind: FileKind) -> dict[str, Any]:
    metadata = _read_metadata(stream, path, kind)
    if _HEADER_KEY not in metadata or _DIGEST_KEY not in metadata:
        raise _foreign(path, kind, "is a safetensors file of something else")
    text, expected = metadata[_HEADER_KEY], metadata[_DIGEST_KEY]
    found = _digest(str(text).encode(errors="surrogatepass"))
    if found != expected:
        raise _damaged(path, kind, f"its header: expected digest {expected}, found {found}")
    header = cast("dict[str, Any]", json.loads(text))
    if header.get("format") != kind.format:
        raise _foreign(path, kind, f"calls itself '{header.get('format')}'")
    version = header.get("format_version")
    if not isinstance(version, int) or version > kind.version:
        raise kind.error(
            f"'{path}' has format version {version}, and this armt reads versions up to "
            f"{kind.version}. Install a newer armt."
        )
    return header | {"digest": found}


def _read_metadata(stream: BinaryIO, path: Path, kind: FileKind) -> dict[str, Any]:
    """Returns the metadata of a safetensors file without believing anything of it."""
    start = stream.read(9)
    size = os.fstat(stream.fileno()).st_size
    if not start:
        raise _damaged(path, kind, "it is empty")
    header_len = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or header_len > _MAX_HEADER_NBYTES:
        if start[:1] == b"\x80" or start[:2] == b"PK":
            raise _foreign(path, kind, "is a pickle or an archive, which could run code,")
        raise _foreign(path, kind, "is no safetensors file")
    if header_len + 8 > size:
        raise _damaged(path, kind, "it is cut off inside its header")
    try:
        layout = json.loads(start[8:] + stream.read(header_len - 1))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, kind, "its header cannot be parsed") from error
    metadata = layout.get("__metadata__") if isinstance(layout, dict) else None
    return cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}


def _check_name(path: Path, kind: FileKind) -> None:
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise kind.error(
            f"'{path}' has the name of a pickle, which could run code; a {kind.noun} is none. Give "
            "it the ending .safetensors."
        )


def _tensor_digest(value: Tensor) -> str:
    spelled = f"{value.dtype} {tuple(value.shape)} ".encode()
    return _digest(spelled, tensor_bytes(value))


def tensor_bytes(value: Tensor) -> memoryview:
    """Returns the bytes of a tensor, row by row."""
    if not value.numel():
        return memoryview(b"")
    flat = value.detach().reshape(-1).contiguous().view(torch.uint8).cpu()
    return flat.numpy().data


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _damaged(path: Path, kind: FileKind, why: str) -> ArmtError:
    return kind.error(
        f"The {kind.noun} '{path}' is damaged: {why}. Use an earlier copy, or make it anew."
    )


def _foreign(path: Path, kind: FileKind, what: str) -> ArmtError:
    return kind.error(f"'{path}' {what} and no {kind.noun}. Give a file that armt wrote as one.")
