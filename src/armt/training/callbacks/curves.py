"""A picture of a training: loss, accuracy and learning rate over its steps."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import final

from armt.core.files import atomic_path
from armt.recurrence.model import Recurrent
from armt.training.callbacks.log import read_log
from armt.training.trainer import StepReport

CURVES_NAME = "curves.png"
"""The picture within a run's folder."""

_PANELS = (
    ("loss", "loss"),
    ("accuracy", "accuracy of answer tokens"),
    ("learning_rate", "learning rate"),
)


@final
class Curves:
    """Draws the whole log, resumed parts included, when a training ends."""

    def __init__(self, log_path: Path, picture_path: Path) -> None:
        """Names the log to draw and the picture."""
        self._log_path = log_path
        self._picture_path = picture_path

    def on_report(self, report: StepReport) -> None:
        """Does nothing."""

    def on_end(self, model: Recurrent) -> None:
        """Draws the picture, if anything was logged."""
        del model
        reports = read_log(self._log_path)
        if reports:
            draw_curves(reports, self._picture_path)


def draw_curves(reports: Sequence[StepReport], path: Path) -> None:
    """Draws loss, accuracy and learning rate over the steps as a PNG; stages are marked.

    Raises:
        StorageError: the disk is full or refuses the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    steps = [report.step for report in reports]
    starts = [after.step for before, after in pairwise(reports) if after.stage != before.stage]
    for number, (name, title) in enumerate(_PANELS, start=1):
        axes = figure.add_subplot(1, len(_PANELS), number)
        _ = axes.plot(steps, [getattr(report, name) for report in reports], linewidth=1)
        for start in starts:
            _ = axes.axvline(start, color="#bbbbbb", linewidth=0.8)
        _ = axes.set_title(title)
        _ = axes.set_xlabel("step")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
