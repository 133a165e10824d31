"""Heat maps: tables of accuracies in per cent, each cell coloured and spelled out."""

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from armt.core.errors import ConfigError
from armt.core.files import atomic_path
from armt.evaluation.record import Metric, Record
from armt.evaluation.reports.text_tables import TableRow, table_rows
from armt.tasks.babilong.lengths import length_name

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

PANEL_INCHES = (5.0, 3.5)
PICTURE_KINDS = ("png", "pdf", "svg")
RED, YELLOW, GREEN, BLANK = "#ff0000", "#ffff00", "#34a853", "#dddddd"
_CELL_INCHES = (0.52, 0.42)
_LOW_INCHES = 2.3
"""Height of panels with a single row, which would be a tower otherwise."""
_PANELS_IN_ROW, _TITLE_NCHARS = 4, 44


class Panel(NamedTuple):
    """One heat map."""

    title: str
    subtitle: str
    rows: tuple[str, ...]
    """Names of the rows, from the top."""
    columns: tuple[str, ...]
    """Names of the columns."""
    values: tuple[tuple[float, ...], ...]
    """Per cent by row and column; negative or NaN where nothing was measured."""
    row_label: str = "Tasks"
    """What the rows are."""
    column_label: str = "Context size"
    """What the columns are."""


def record_panels(records: Sequence[Record], metric: Metric) -> list[Panel]:
    """Returns a heat map for each subject and arm."""
    lengths, rows = table_rows(records, (metric,))
    grouped: dict[tuple[str, str], list[TableRow]] = {}
    for row in rows:
        grouped.setdefault((row.subject, row.arm), []).append(row)
    return [
        Panel(
            title=subject,
            subtitle=", ".join(part for part in (arm, metric) if part),
            rows=tuple(row.task for row in members),
            columns=tuple(map(length_name, lengths)),
            values=tuple(
                tuple(100 * score.accuracy if score else -1.0 for score in row.scores)
                for row in members
            ),
        )
        for (subject, arm), members in grouped.items()
    ]


def accuracy_colours(middle: float = 50.0) -> "LinearSegmentedColormap":
    """Returns colours for 0 to 100 %: red, yellow at `middle`, green."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(0.0, RED), (middle / 100, YELLOW), (1.0, GREEN)]
    return LinearSegmentedColormap.from_list("accuracy", stops)


def draw_panels(panels: Sequence[Panel], path: str | os.PathLike[str]) -> None:
    """Draws panels side by side; cells without a number stay grey.

    Raises:
        ConfigError: there is no panel, or the ending of `path` is none of a picture.
        StorageError: the disk is full or refuses the file.
    """
    if not panels:
        raise ConfigError("There is no result to draw. Evaluate something first.")
    save_figure(panels_figure(panels), path)


def panels_figure(panels: Sequence[Panel]) -> "Figure":
    """Returns the panels side by side, a few in a row."""
    from matplotlib.figure import Figure

    width = max(PANEL_INCHES[0], 1.6 + _CELL_INCHES[0] * max(len(each.columns) for each in panels))
    most_rows = max(len(each.rows) for each in panels)
    least = PANEL_INCHES[1] if most_rows > 1 else _LOW_INCHES
    height = max(least, 1.6 + _CELL_INCHES[1] * most_rows)
    num_columns = min(len(panels), _PANELS_IN_ROW)
    num_rows = math.ceil(len(panels) / num_columns)
    figure = Figure(figsize=(width * num_columns, height * num_rows), layout="constrained")
    for number, panel in enumerate(panels, start=1):
        draw_panel(figure.add_subplot(num_rows, num_columns, number), panel)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Writes a figure, whole or not at all; the ending decides the kind.

    Raises:
        ConfigError: the ending is none of a picture.
        StorageError: the disk is full or refuses the file.
    """
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in PICTURE_KINDS:
        raise ConfigError(f"A picture ends in .png, .pdf or .svg. Got '{path}'.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150)


def draw_panel(axes: Any, panel: Panel) -> None:
    """Draws one heat map into axes of matplotlib."""
    values = np.asarray(panel.values, dtype=float).reshape(len(panel.rows), len(panel.columns))
    values = np.where(values < 0, np.nan, values)
    axes.set_facecolor(BLANK)
    axes.imshow(values, cmap=accuracy_colours(), vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(panel.columns)), labels=panel.columns)
    axes.set_yticks(range(len(panel.rows)), labels=panel.rows)
    axes.set_xticks(np.arange(0.5, len(panel.columns) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(panel.rows) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(panel.column_label)
    axes.set_ylabel(panel.row_label)
    title = textwrap.fill(panel.title, _TITLE_NCHARS)
    axes.set_title(title + ("\n" if panel.subtitle else ""), fontsize=11)
    if panel.subtitle:
        at = {"transform": axes.transAxes, "ha": "center", "va": "bottom", "fontsize": 9}
        _ = axes.text(0.5, 1.02, panel.subtitle, **at)
    for row, column in zip(*np.nonzero(~np.isnan(values)), strict=True):
        text = f"{values[row, column]:.0f}"
        _ = axes.text(column, row, text, ha="center", va="center", color="black", fontsize=9)
