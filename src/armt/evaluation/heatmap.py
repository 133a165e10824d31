"""A picture of the tables: tasks by lengths, one panel for each arm."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from armt.core.errors import ConfigError
from armt.core.files import atomic_path
from armt.evaluation.record import Record
from armt.evaluation.tables import Cell, cell_scores
from armt.tasks.babilong.lengths import length_name

_PANEL_INCHES = (5.0, 3.5)
_TITLES = {"on": "memory on", "off": "memory off"}


def draw_heatmap(
    records: Sequence[Record], path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Draws accuracy in per cent as whole numbers, red at 0, yellow at 50, green at 100.

    Args:
        records: what is drawn; cells without a record stay grey.
        path: where to; its ending decides the kind of picture (.png, .pdf, .svg).
        title: what stands above the panels.

    Raises:
        ConfigError: there is no record, or the ending is unknown.
        StorageError: the disk is full or refuses the file.
    """
    from matplotlib.figure import Figure

    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in ("png", "pdf", "svg"):
        raise ConfigError(f"A picture ends in .png, .pdf or .svg. Got '{path}'.")
    scores = cell_scores(records)
    if not scores:
        raise ConfigError("There is no record to draw. Evaluate something first.")
    arms = list(dict.fromkeys(cell.arm for cell in scores))
    tasks = sorted({cell.task for cell in scores})
    lengths = sorted({cell.length for cell in scores})
    height = max(_PANEL_INCHES[1], 1.5 + 0.4 * len(tasks)) if len(tasks) > 1 else 2.2
    width = max(_PANEL_INCHES[0], 1.5 + 0.5 * len(lengths))
    figure = Figure(figsize=(width * len(arms), height), layout="constrained")
    for number, arm in enumerate(arms, start=1):
        values = [
            [_per_cent(scores.get(Cell(task, arm, length))) for length in lengths] for task in tasks
        ]
        axes = figure.add_subplot(1, len(arms), number)
        _draw_panel(axes, np.asarray(values), tasks, [length_name(each) for each in lengths])
        _ = axes.set_title(_TITLES.get(arm, arm))
    if title:
        _ = figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150)


def _per_cent(score: Any) -> float:
    return float("nan") if score is None else 100 * cast("float", score.accuracy)


def _draw_panel(axes: Any, values: Any, tasks: Sequence[str], lengths: Sequence[str]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("accuracy", ["#ff0000", "#ffff00", "#34a853"])
    axes.set_facecolor("#dddddd")
    axes.imshow(values, cmap=colours, vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(lengths)), labels=lengths)
    axes.set_yticks(range(len(tasks)), labels=tasks)
    axes.set_xticks(np.arange(0.5, len(lengths) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(tasks) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("context, tokens")
    for row, column in zip(*np.nonzero(~np.isnan(values)), strict=True):
        text = f"{values[row, column]:.0f}"
        _ = axes.text(column, row, text, ha="center", va="center", color="black")
