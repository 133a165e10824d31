"""Pictures of latency and memory against the length of the context."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armt.benchmarking.records import Measurement
from armt.evaluation.reports.panels import save_figure

PICTURES = {
    "latency.png": ("read.seconds", 1.0, "seconds"),
    "memory.png": ("read.peak_bytes", 2.0**30, "peak memory, GiB"),
}
"""File -> the records that it shows, by what they are divided, and the axis."""

_KEYS = ("shape", "segment_len", "batch")


def draw_pictures(records: Sequence[Measurement], folder: Path) -> list[Path]:
    """Draws what the records hold, a panel for each shape; returns the files.

    Of figures for the same thing the last counts. Raises:
        StorageError: the disk is full or refuses a file.
    """
    drawn: list[Path] = []
    for name, (figure, unit, label) in PICTURES.items():
        panels = _panels([each for each in records if each.name == figure], unit)
        if panels:
            _draw(panels, label, folder / name)
            drawn.append(folder / name)
    return drawn


Lines = dict[str, dict[int, float]]
"""By schedule, the figure at each length."""


def _panels(records: Sequence[Measurement], unit: float) -> dict[str, Lines]:
    panels: dict[str, Lines] = {}
    for each in records:
        params: dict[str, Any] = dict(each.params)
        shape, segment_len, batch = (params[key] for key in _KEYS)
        lines = panels.setdefault(f"{shape}, segment {segment_len}, batch {batch}", {})
        lines.setdefault(params["schedule"], {})[params["tokens"]] = each.value / unit
    return panels


def _draw(panels: dict[str, Lines], label: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
    for number, (title, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for schedule, values in lines.items():
            lengths = sorted(values)
            heights = [values[length] for length in lengths]
            _ = axes.plot(lengths, heights, marker="o", markersize=3, label=schedule)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        _ = axes.set_title(title)
        _ = axes.set_xlabel("tokens of context")
        _ = axes.set_ylabel(label)
        axes.grid(visible=True, linewidth=0.3)
        _ = axes.legend(fontsize=7)
    save_figure(figure, path)
