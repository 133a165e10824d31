import errno
import os
import stat
from pathlib import Path

import pytest

from armt.core.errors import StorageError
from armt.core.files import atomic_path, write_text


@pytest.fixture
def target(tmp_path) -> Path:
    path = tmp_path / "folder" / "file.txt"
    path.parent.mkdir()
    _ = path.write_text("old")
    return path


def alone(path: Path) -> bool:
    """Whether nothing stands beside the file."""
    return list(path.parent.iterdir()) == [path]


def test_the_new_file_takes_the_place_of_the_old(target):
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        _ = temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert alone(target)


def test_folders_are_made_and_rights_are_those_of_a_new_file(tmp_path):
    path, plain = tmp_path / "a" / "b" / "file.txt", tmp_path / "plain.txt"
    write_text(path, "größer")
    _ = plain.write_text("")
    assert path.read_bytes() == "größer".encode()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def break_off(path, error):
    with atomic_path(path) as temporary:
        _ = temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(target, error):
    with pytest.raises(type(error)):
        break_off(target, error)
    assert target.read_text() == "old"
    assert alone(target)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_leaves_the_old_file(target, code):
    with pytest.raises(StorageError, match=r"No space left to write .*file\.txt.*bytes free"):
        break_off(target, OSError(code, "full"))
    assert target.read_text() == "old"
    assert alone(target)


def write_with_failing(path, name, monkeypatch):
    """Writes a file while a function of `os` says that the disk is full."""

    def fail(*args, **options):
        raise OSError(errno.ENOSPC, "full")

    with atomic_path(path) as temporary:
        _ = temporary.write_text("new")
        monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("name", ["fsync", "open"])
def test_a_disk_that_is_full_at_the_last_moment_is_told(target, name, monkeypatch):
    with pytest.raises(StorageError, match="No space left"):
        write_with_failing(target, name, monkeypatch)
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert alone(target)


def test_other_refusals_are_told_with_their_reason(tmp_path):
    blocked = tmp_path / "file"
    _ = blocked.write_text("a file where a folder is wanted")
    with pytest.raises(StorageError, match=r"Cannot write .*inner.*Check the path"):
        write_text(blocked / "inner", "text")


def test_a_file_system_that_cannot_flush_folders_is_enough(target, monkeypatch):
    def fail(handle):
        raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "fsync", fail)
    write_text(target, "new")
    assert target.read_text() == "new"
