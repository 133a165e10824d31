"""Hands the reports to experiment trackers that Accelerate knows, such as tensorboard or wandb."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, final

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from armt.core.errors import ArmtError, UnknownNameError, suggestion
from armt.recurrence.model import Recurrent
from armt.training.config import RunConfig
from armt.training.trainer import StepReport


@final
class Trackers:
    """Opens the trackers at the first report and closes them at the end."""

    def __init__(self, names: Sequence[str], config: RunConfig, folder: Path) -> None:
        """Checks the names.

        Raises:
            UnknownNameError: Accelerate knows no such tracker.
            ArmtError: the tracker's own package is not installed.
        """
        available = {str(getattr(name, "value", name)) for name in get_available_trackers()}
        for name in names:
            _check(name, available)
        self._names = tuple(names)
        self._config = config
        self._folder = folder
        self._open: list[Any] = []

    def on_report(self, report: StepReport) -> None:
        """Logs the numbers that are finite."""
        if not self._open:
            self._open = [self._start(name) for name in self._names]
        values = {name: value for name, value in asdict(report).items() if math.isfinite(value)}
        for tracker in self._open:
            tracker.log(values, step=report.step)

    def on_end(self, model: Recurrent) -> None:
        """Closes the trackers."""
        del model
        for tracker in self._open:
            tracker.finish()
        self._open = []

    def _start(self, name: str) -> Any:
        _ = PartialState()
        kind = cast("Any", LOGGER_TYPE_TO_CLASS[name])
        options = {"logging_dir": str(self._folder)} if kind.requires_logging_directory else {}
        tracker = kind(self._config.name, **options)
        if hasattr(tracker, "start"):
            tracker.start()
        tracker.store_init_configuration({"config": str(self._config.to_dict())})
        return tracker


def _check(name: str, available: set[str]) -> None:
    known = sorted(str(getattr(each, "value", each)) for each in LOGGER_TYPE_TO_CLASS)
    if name not in known:
        hint = suggestion(name, known)
        raise UnknownNameError(f"Unknown tracker '{name}'.{hint} Known: {', '.join(known)}.")
    if name not in available:
        raise ArmtError(
            f"The tracker '{name}' is not installed. Install its package with pip, or leave it out."
        )
