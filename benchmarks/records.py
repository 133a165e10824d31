"""Measured figures as lines of JSON: what, how much, of what, where, with which versions."""

import datetime
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

import armt


@dataclass(frozen=True)
class RecordBook:
    """Appends records of one run to a file."""

    path: Path
    seed: int
    commit: str

    def add(self, name: str, value: float, unit: str, **params: object) -> None:
        """Writes one figure; what varies between figures of one name is in `params`."""
        record = {
            "name": name,
            "value": value,
            "unit": unit,
            "params": params,
            "seed": self.seed,
            "hardware": hardware(),
            "versions": versions(),
            "commit": self.commit,
            "command": " ".join(["python", *sys.argv]),
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        }
        with self.path.open("a", encoding="utf-8") as file:
            _ = file.write(json.dumps(record) + "\n")
        print(name, value, unit, params, flush=True)


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
    """Returns the commit of the checkout, or `unknown` outside of one."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
