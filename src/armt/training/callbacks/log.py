"""The log of a training: one JSON line for each report."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from armt.core.config import PlainTree
from armt.evaluation.json_lines import JsonLines
from armt.recurrence.model import Recurrent
from armt.training.trainer import StepReport

LOG_NAME = "log.jsonl"
"""The log within a run's folder."""


@final
class TrainingLog:
    """Appends every report to a file; a resumed run goes on where it stands.

    A run that was killed after its last checkpoint repeats some steps, so a step may stand in the
    file twice; `read_log` keeps the later line. A loss that is no number is written as "NaN".
    """

    def __init__(self, path: Path) -> None:
        """Names the file."""
        self._lines = JsonLines(path)

    def on_report(self, report: StepReport) -> None:
        """Writes one line."""
        self._lines.append([asdict(report)])

    def on_end(self, model: Recurrent) -> None:
        """Does nothing."""
        del model


def read_log(path: Path) -> list[StepReport]:
    """Returns the reports of a log, one for each step, in order.

    Raises:
        DataError: a line other than a torn last one is damaged.
    """
    reports = [StepReport(**_numbers(row)) for row in JsonLines(path).read()]
    by_step = {report.step: report for report in reports}
    return [by_step[step] for step in sorted(by_step)]


def _numbers(row: dict[str, PlainTree]) -> dict[str, Any]:
    """Returns the fields as numbers; "NaN" and the infinities are spelled as strings."""
    spelled = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return {
        name: spelled[value] if isinstance(value, str) else value for name, value in row.items()
    }
