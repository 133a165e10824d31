"""What an inspection found: a table by layer, and pictures by layer and segment."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from armt.evaluation.inspection import WHOLE_MODEL, Finding
from armt.evaluation.reports.panels import save_figure

_PANEL_INCHES = (4.2, 3.0)
_PANELS_IN_ROW = 3


def figure_names(findings: Sequence[Finding]) -> list[str]:
    """Returns the figures that were found, in the order in which they come first."""
    return list(dict.fromkeys(each.figure for each in findings))


def layer_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """Returns a row for each layer: its name, and the mean of each figure over the segments."""
    values: dict[tuple[int, str], list[float]] = {}
    for each in findings:
        values.setdefault((each.layer, each.figure), []).append(each.value)
    return [
        [
            layer_name(layer),
            *(
                f"{mean(values[layer, figure]):.4g}" if (layer, figure) in values else ""
                for figure in figure_names(findings)
            ),
        ]
        for layer in sorted({each.layer for each in findings})
    ]


def layer_name(layer: int) -> str:
    """Returns what a layer is called in tables."""
    return "model" if layer == WHOLE_MODEL else str(layer)


def draw_inspection(findings: Sequence[Finding], path: Path) -> None:
    """Draws a panel for each figure: segments from left to right, layers from the bottom up.

    Raises:
        StorageError: the disk is full or refuses the file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = figure_names(findings)
    num_columns = min(len(names), _PANELS_IN_ROW)
    num_rows = -(-len(names) // num_columns)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * num_columns, height * num_rows), layout="constrained")
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(num_rows, num_columns, number)
        own = [each for each in findings if each.figure == name]
        layers = sorted({each.layer for each in own})
        values = np.full((len(layers), max(each.segment for each in own)), np.nan)
        for each in own:
            values[layers.index(each.layer), each.segment - 1] = each.value
        extent = (0.5, values.shape[1] + 0.5, -0.5, len(layers) - 0.5)
        image = axes.imshow(values, aspect="auto", origin="lower", extent=extent)
        _ = figure.colorbar(image, ax=axes)
        _ = axes.set_yticks(range(len(layers)), labels=[layer_name(each) for each in layers])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _ = axes.set_title(name)
        _ = axes.set_xlabel("segment")
        _ = axes.set_ylabel("layer")
    save_figure(figure, path)
