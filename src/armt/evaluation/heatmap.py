"""A picture of the tables: tasks by lengths, one panel for each arm."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from armt.core.errors import ConfigError
from armt.evaluation.metrics import Score
from armt.evaluation.record import Metric, Record
from armt.evaluation.reports.panels import PANEL_INCHES, Panel, draw_panel, save_figure
from armt.evaluation.tables import Cell, cell_scores
from armt.tasks.babilong.lengths import length_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"on": "memory on", "off": "memory off", "none": "without a memory"}


def draw_heatmap(
    records: Sequence[Record],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    metric: Metric = "exact",
) -> None:
    """Draws accuracy in per cent as whole numbers, red at 0, yellow at 50, green at 100.

    Args:
        records: what is drawn; cells without a record stay grey.
        path: where to; its ending decides the kind of picture (.png, .pdf, .svg).
        title: what stands above the panels.
        metric: by which answers count as right.

    Raises:
        ConfigError: there is no record, or the ending is unknown.
        StorageError: the disk is full or refuses the file.
    """
    scores = cell_scores(records, metric)
    if not scores:
        raise ConfigError("There is no record to draw. Evaluate something first.")
    figure = _draw(scores)
    if title:
        _ = figure.suptitle(title)
    save_figure(figure, path)


def _draw(scores: Mapping[Cell, Score]) -> "Figure":
    """Returns the panels of all arms, side by side."""
    from matplotlib.figure import Figure

    arms = list(dict.fromkeys(cell.arm for cell in scores))
    tasks = sorted({cell.task for cell in scores})
    lengths = sorted({cell.length for cell in scores})
    height = max(PANEL_INCHES[1], 1.5 + 0.4 * len(tasks)) if len(tasks) > 1 else 2.2
    width = max(PANEL_INCHES[0], 1.5 + 0.5 * len(lengths))
    figure = Figure(figsize=(width * len(arms), height), layout="constrained")
    for number, arm in enumerate(arms, start=1):
        panel = Panel(
            title=_TITLES.get(arm, arm),
            subtitle="",
            rows=tuple(tasks),
            columns=tuple(map(length_name, lengths)),
            values=tuple(
                tuple(_per_cent(scores.get(Cell(task, arm, length))) for length in lengths)
                for task in tasks
            ),
        )
        draw_panel(figure.add_subplot(1, len(arms), number), panel)
    return figure


def _per_cent(score: Score | None) -> float:
    return math.nan if score is None else 100 * score.accuracy
