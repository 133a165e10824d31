"""Measured figures as lines of JSON: what, how much, of what, where, with which versions."""

import datetime
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
import transformers

import armt
from armt.core.config import PlainTree
from armt.evaluation.json_lines import JsonLines


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured figure."""

    name: str
    """What was measured; dotted, and the same for ever."""

    value: float
    unit: str

    params: Mapping[str, PlainTree]
    """What varies between figures of one name."""

    seed: int
    hardware: str
    versions: Mapping[str, str]
    commit: str
    command: str
    date: str

    def number(self, name: str) -> float:
        """Returns the parameter `name`, which is a number."""
        value = self.params[name]
        assert isinstance(value, int | float), f"{name} is {value!r}, no number"
        return float(value)


@final
@dataclass(frozen=True)
class RecordBook:
    """Appends the figures of one run to a file; each is on the disk before the next is measured."""

    path: Path
    seed: int
    commit: str

    on_record: Callable[[Measurement], None] | None = None
    """Is told of every figure, for example to show it."""

    def add(self, name: str, value: float, unit: str, **params: Any) -> Measurement:
        """Writes one figure and returns it.

        Raises:
            StorageError: the disk is full or refuses the file.
        """
        measured = Measurement(
            name=name,
            value=value,
            unit=unit,
            params=params,
            seed=self.seed,
            hardware=hardware(),
            versions=versions(),
            commit=self.commit,
            command=_command(),
            date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        )
        JsonLines(self.path).append([asdict(measured)])
        if self.on_record is not None:
            self.on_record(measured)
        return measured

    def holds(self, name: str, **params: Any) -> bool:
        """Returns whether the file has such a figure of this seed, among others these parameters.

        Raises:
            DataError: the file cannot be read, or a line is damaged.
        """
        if not self.path.exists():
            return False
        return any(
            each.name == name and each.seed == self.seed and params.items() <= each.params.items()
            for each in load_records(self.path)
        )


def load_records(path: Path) -> list[Measurement]:
    """Returns the figures in a file.

    Raises:
        DataError: the file cannot be read, or a line is damaged.
    """
    rows: list[dict[str, Any]] = list(JsonLines(path).read())
    return [Measurement(**row) for row in rows]


def hardware() -> str:
    """Returns the name of the GPU, or of the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Returns the versions that a figure may depend on."""
    return {
        "armt": armt.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def current_commit() -> str:
    """Returns the commit of the checkout that the library runs from; `unknown` outside of one."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _command() -> str:
    """Returns what the process was started with; of an installed program the name alone."""
    program, *options = sys.argv
    is_script = program.endswith(".py")
    return " ".join([*(["python", program] if is_script else [Path(program).name]), *options])
