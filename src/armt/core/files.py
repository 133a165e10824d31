"""Files that are never half written (beside, flushed, renamed), and locks between processes."""

import errno
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from armt.core.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Generator[Path]:
    """Yields a temporary path beside `path`; renames it onto `path` when the block succeeds.

    The file is flushed to the disk before the rename and its folder after it, so that a reader sees
    the old file or the whole new one. If the block fails, the temporary file is removed and `path`
    is as it was.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
        _open_to_all(Path(name))
    except OSError as error:
        raise _storage_error(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        _ = temporary.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise _storage_error(target, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def hold_lock(path: Path, patience_s: float, advice: str, busy: str = "") -> Generator[None]:
    """Holds a lock; it is free again when the process ends, however it ends.

    Args:
        path: the lock file; its folder is made.
        patience_s: seconds to wait for another process that holds it.
        advice: what to do if it cannot be had, the end of the message.
        busy: the message if another process holds it; by default it says what it waited for.

    Raises:
        StorageError: the lock cannot be had.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=patience_s)
        _ = lock.acquire()
    except (OSError, NotImplementedError, Timeout) as error:
        is_told = busy and isinstance(error, Timeout)
        told = busy if is_told else f"Cannot lock '{path}': {error}. {advice}"
        raise StorageError(told) from error
    try:
        yield
    finally:
        lock.release()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        _ = temporary.write_text(text, encoding="utf-8")


def _open_to_all(path: Path) -> None:
    """Gives a temporary file the rights that an ordinary new file would have."""
    mask = os.umask(0)
    _ = os.umask(mask)
    path.chmod(0o666 & ~mask)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # folders of some file systems
            raise
    finally:
        os.close(handle)


def _storage_error(target: Path, error: OSError) -> StorageError:
    if error.errno in _FULL:
        free = shutil.disk_usage(target.parent).free
        return StorageError(
            f"No space left to write '{target}' ({free:,} bytes free). The file that was there is "
            "untouched. Free some space or choose another folder."
        )
    return StorageError(
        f"Cannot write '{target}': {error.strerror or error}. The file that was there is "
        "untouched. Check the path and its permissions."
    )
