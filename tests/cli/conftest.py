from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from armt.cli import app
from tiny_boxed import PROSE, save_tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The folder of a tiny random model."""
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def other_model(tmp_path_factory) -> Path:
    """The folder of a model of the same shape with other weights."""
    return save_tiny(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture
def book(tmp_path) -> Path:
    """A text of a few segments."""
    path = tmp_path / "book.txt"
    _ = path.write_text(PROSE * 2)
    return path


@pytest.fixture
def run() -> Callable[..., Any]:
    """Runs a command in this process."""

    def invoke(*args: object, given: bytes | None = None) -> Any:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=given)

    return invoke


@pytest.fixture
def refused(run) -> Callable[..., str]:
    """Runs a command that must end with code 2 and one last line of error; returns the line."""

    def invoke(*args: object, given: bytes | None = None) -> str:
        result = run(*args, given=given)
        assert result.exit_code == 2, f"{result.exit_code}: {result.output}"
        lines = result.stderr.splitlines()
        assert [line.startswith("Error: ") for line in lines[-2:]] == [False, True][-len(lines) :]
        assert lines[-1].endswith((".", "?")), f"No sentence: {lines[-1]}"
        return lines[-1]

    return invoke
