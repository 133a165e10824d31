"""Pictures of a comparison: heat maps of recall and QA1, and state size against recall."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from armt.benchmarking.records import Measurement
from armt.comparison.summary import (
    Place,
    Spread,
    Summary,
    mechanisms_in,
    places_at,
    summarise,
    trained_pairs,
)
from armt.comparison.trials import ARMS, FACTS, RECALL, STATE
from armt.evaluation.reports.panels import Panel, draw_panels, save_figure

HEATMAP_NAME, PARETO_NAME = "heatmap.png", "pareto.png"

_HEATED = {RECALL: ("associative recall", "pairs"), FACTS: ("QA1", "segments")}

_NOTHING_NBYTES = 0.5
"""Where a state without a byte stands on a logarithmic axis."""


def draw_comparison(records: Sequence[Measurement], folder: Path) -> list[Path]:
    """Draws what the records hold; returns the files.

    Raises:
        StorageError: the disk is full or refuses a file.
    """
    drawn: list[Path] = []
    panels = heat_panels(records)
    if panels:
        draw_panels(panels, folder / HEATMAP_NAME)
        drawn.append(folder / HEATMAP_NAME)
    points = pareto_points(records)
    if points:
        _draw_pareto(points, trained_pairs(records), folder / PARETO_NAME)
        drawn.append(folder / PARETO_NAME)
    return drawn


def heat_panels(records: Sequence[Measurement]) -> list[Panel]:
    """Returns the means in per cent of recall and QA1, a panel for each arm, a row a memory."""
    summary, mechanisms = summarise(records), mechanisms_in(records)
    return [
        Panel(
            title=title,
            subtitle=f"memory {arm}",
            rows=tuple(mechanisms),
            columns=tuple(map(str, places_at(summary, figure))),
            values=tuple(
                tuple(
                    _per_cent(summary, Place(name, figure, at, arm))
                    for at in places_at(summary, figure)
                )
                for name in mechanisms
            ),
            row_label="memory",
            column_label=unit,
        )
        for figure, (title, unit) in _HEATED.items()
        for arm in ARMS
        if places_at(summary, figure)
    ]


def pareto_points(records: Sequence[Measurement]) -> dict[str, tuple[float, Spread]]:
    """Returns size of the state in bytes and recall of each memory, as long as it was trained."""
    summary, at = summarise(records), trained_pairs(records)
    return {
        name: (
            summary[Place(name, STATE, at)].mean,
            summary[Place(name, RECALL, at, "on")],
        )
        for name in mechanisms_in(records)
        if {Place(name, STATE, at), Place(name, RECALL, at, "on")} <= summary.keys()
    }


def pareto_front(points: Mapping[str, tuple[float, Spread]]) -> list[str]:
    """Returns the memories that no other beats in size without recalling less, smallest first."""
    front: list[str] = []
    best = -1.0
    for name in sorted(points, key=lambda each: (points[each][0], -points[each][1].mean)):
        if points[name][1].mean > best:
            front.append(name)
            best = points[name][1].mean
    return front


def _per_cent(summary: Summary, place: Place) -> float:
    return 100 * summary[place].mean if place in summary else -1.0


def _draw_pareto(points: Mapping[str, tuple[float, Spread]], num_pairs: int, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axes: Any = figure.add_subplot()
    places = {name: max(nbytes, _NOTHING_NBYTES) for name, (nbytes, _) in points.items()}
    for name, (_, recall) in points.items():
        reach = [[100 * (recall.mean - recall.low)], [100 * (recall.high - recall.mean)]]
        axes.errorbar(places[name], 100 * recall.mean, yerr=reach, fmt="o", markersize=4)
        at = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 7}
        axes.annotate(name, (places[name], 100 * recall.mean), **at)
    front = pareto_front(points)
    heights = [100 * points[name][1].mean for name in front]
    axes.step([places[name] for name in front], heights, where="post", linewidth=0.8, color="grey")
    axes.set_xscale("log", base=2)
    axes.set_xlabel(f"state after {num_pairs} segments, bytes (none at the left edge)")
    axes.set_ylabel(f"recall of {num_pairs} pairs, per cent")
    axes.grid(visible=True, linewidth=0.3)
    save_figure(figure, path)
