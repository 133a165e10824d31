"""Named arrays in a folder: written whole or not at all, checked whenever they are opened."""

import json
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from armt.core.config import PlainTree
from armt.core.errors import DataError, StorageError
from armt.core.files import atomic_path, write_text

Array = npt.NDArray[np.generic]

DESCRIPTION = "store.json"
"""Name of the file that describes the others."""

_READ_NBYTES = 1 << 20

_NUM_TURNS = 10


class ArrayFolder(NamedTuple):
    """What a folder holds."""

    arrays: dict[str, Array]
    """Read-only views of the files: what is not read stays on the disk."""

    notes: dict[str, PlainTree]
    """What was noted along with them."""


def save_arrays(
    folder: str | Path,
    file_format: str,
    arrays: Mapping[str, Array],
    notes: Mapping[str, PlainTree],
) -> None:
    """Writes `arrays` and `notes` beside `folder` and then moves them into its place at once.

    A store that was there before is replaced.

    Raises:
        StorageError: the disk is full, the folder cannot be written or holds something else.
    """
    target = Path(folder)
    if target.exists() and any(not _is_ours(path) for path in target.iterdir()):
        raise StorageError(
            f"'{target}' holds files that are no background store. Choose another folder."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise StorageError(
            f"Cannot write beside '{target}': {error.strerror}. Choose another folder."
        ) from error
    try:
        files = {name: _write_array(made / f"{name}.npy", array) for name, array in arrays.items()}
        described = {"format": file_format, "files": files, "notes": dict(notes)}
        check = _checksum_of_text(described)
        write_text(made / DESCRIPTION, json.dumps({**described, "crc32": check}))
        made.chmod(0o755)
        _put_in_place(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def load_arrays(folder: str | Path, file_format: str) -> ArrayFolder:
    """Opens what `save_arrays` wrote; every byte is checked against its checksum.

    Raises:
        DataError: it is none of ours, of another format, or damaged.
    """
    source = Path(folder)
    try:
        described = json.loads((source / DESCRIPTION).read_text(encoding="utf-8"))
        if described["format"] != file_format:
            found = described["format"]
            raise _unreadable(source, f"its format is '{found}', not '{file_format}'")
        if described.pop("crc32") != _checksum_of_text(described):
            raise _unreadable(source, f"its '{DESCRIPTION}' was changed")
        files, notes = described["files"], cast("dict[str, PlainTree]", described["notes"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _unreadable(source, f"its '{DESCRIPTION}' cannot be read: {error!r}") from error
    sizes = cast("dict[str, dict[str, int]]", files)
    arrays = {name: _read_array(source / f"{name}.npy", sizes[name]) for name in sizes}
    return ArrayFolder(arrays, notes)


def _is_ours(path: Path) -> bool:
    return path.name == DESCRIPTION or path.suffix == ".npy"


def _unreadable(folder: Path, reason: str) -> DataError:
    return DataError(
        f"'{folder}' holds no readable background store: {reason}. Delete it and build anew."
    )


def _write_array(path: Path, array: Array) -> dict[str, PlainTree]:
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        return {"nbytes": temporary.stat().st_size, "crc32": _checksum(temporary)}


def _read_array(path: Path, expected: Mapping[str, int]) -> Array:
    try:
        nbytes = path.stat().st_size
        if nbytes != expected["nbytes"]:
            reason = f"'{path.name}' has {nbytes:,} bytes instead of {expected['nbytes']:,}"
            raise _unreadable(path.parent, reason)
        if _checksum(path) != expected["crc32"]:
            raise _unreadable(path.parent, f"'{path.name}' was changed (its checksum is wrong)")
        # a plain view: slices of a memmap object cost far more
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path.parent, f"'{path.name}' cannot be read: {error}") from error


def _checksum(path: Path) -> int:
    """Reads the file through a small buffer, so that its pages do not count as memory in use."""
    value = 0
    with path.open("rb") as file:
        while piece := file.read(_READ_NBYTES):
            value = zlib.crc32(piece, value)
    return value


def _checksum_of_text(tree: Mapping[str, object]) -> int:
    return zlib.crc32(json.dumps(tree, sort_keys=True).encode())


def _put_in_place(made: Path, target: Path) -> None:
    """Renames `made` to `target`; an older store there steps aside first.

    Others may do the same at the same time: then the place is taken or empty again between the two
    steps, and a few more turns settle it. What stepped aside is removed at the very end only.
    """
    asides = [made.with_suffix(f".old-{turn}") for turn in range(_NUM_TURNS)]
    refusal: OSError | None = None
    for aside in asides:
        refusal = _rename(made, target)
        if refusal is None:
            break
        _ = _rename(target, aside)
    for aside in asides:
        if refusal is not None:
            _ = _rename(aside, target)
        shutil.rmtree(aside, ignore_errors=True)
    if refusal is not None:
        raise StorageError(
            f"Cannot move the store to '{target}': {refusal}. What was there before is untouched. "
            "Check the folder's permissions."
        ) from refusal


def _rename(path: Path, target: Path) -> OSError | None:
    """Returns what prevented it."""
    try:
        _ = path.rename(target)
    except OSError as error:
        return error
    return None
