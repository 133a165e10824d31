"""Charts of lines, and pictures that say in their own file what was drawn."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from armt.evaluation.reports.panels import save_figure

CELLS_KEY = "Cells"
"""Name of the text within a picture's file that says what was drawn."""

_MANY_LINES = 5
"""From so many on the legend has two columns."""


class Line(NamedTuple):
    """Points of one curve, and where their intervals end, if they have any.

    Lines of one label have one colour.
    """

    label: str
    places: tuple[float, ...]
    heights: tuple[float, ...]
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()
    is_off: bool = False
    """Whether the memory was off; drawn dotted."""


class Chart(NamedTuple):
    """One panel of a picture."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...] = ()
    """Places on a logarithmic axis and what stands there; without any the axis is even."""

    borders: tuple[float, ...] = ()
    """Where something new begins."""


def charts_digest(charts: Iterable[Chart]) -> str:
    """Returns a hash of everything that is drawn."""
    return hashlib.sha256(repr(list(charts)).encode()).hexdigest()


def said_in(path: Path) -> str | None:
    """Returns what a picture's file says was drawn; nothing without a file."""
    from PIL import Image

    if not path.exists():
        return None
    with Image.open(path) as image:
        return image.info.get(CELLS_KEY)


def say_in(path: Path, what: str) -> None:
    """Writes into a picture's file what was drawn."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    said = PngInfo()
    said.add_text(CELLS_KEY, what)
    with Image.open(path) as image:
        image.load()
        image.save(path, pnginfo=said)


def draw_charts(charts: Sequence[Chart], path: Path) -> None:
    """Draws panels side by side and writes into the file what they show."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(charts), 4.2), layout="constrained")
    for number, chart in enumerate(charts, start=1):
        _draw_chart(figure.add_subplot(1, len(charts), number), chart)
    save_figure(figure, path)
    say_in(path, charts_digest(charts))


def _draw_chart(axes: Any, chart: Chart) -> None:
    from matplotlib import colormaps

    labels = list(dict.fromkeys(line.label for line in chart.lines))
    colours = colormaps["tab10" if len(labels) <= 10 else "tab20"].colors
    for line in chart.lines:
        _draw_line(axes, line, colours[labels.index(line.label)])
    if chart.ticks:
        axes.set_xscale("log")
        axes.set_xticks(*zip(*chart.ticks, strict=True), fontsize=8)
        axes.minorticks_off()
    for border in chart.borders:
        _ = axes.axvline(border, color="grey", linewidth=0.6, linestyle="--")
    _ = axes.set_title(chart.title, fontsize=10)
    _ = axes.set_xlabel(chart.x_label)
    _ = axes.set_ylabel(chart.y_label)
    axes.grid(visible=True, linewidth=0.3)
    ncols = 1 if len(chart.lines) < _MANY_LINES else 2
    _ = axes.legend(fontsize=7, ncols=ncols, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _draw_line(axes: Any, line: Line, colour: tuple[float, ...]) -> None:
    ends = None
    if line.lows:
        ends = [
            [height - low for height, low in zip(line.heights, line.lows, strict=True)],
            [high - height for height, high in zip(line.heights, line.highs, strict=True)],
        ]
    _ = axes.errorbar(
        line.places,
        line.heights,
        yerr=ends,
        color=colour,
        linestyle=":" if line.is_off else "-",
        marker="o" if line.lows else None,
        markersize=3,
        capsize=2,
        linewidth=1.2,
        label=f"{line.label}, memory off" if line.is_off else line.label,
    )
