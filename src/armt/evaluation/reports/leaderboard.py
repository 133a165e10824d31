"""The leaderboard as a picture: models by lengths, one's own beside those that were published.

Models are columns, grouped by the context that their makers claim and sorted by average inside a
group. A cell beyond the claimed context is blank, the cell of the claimed one is bold.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from armt.core.errors import ConfigError
from armt.evaluation.reports.panels import GREEN, RED, YELLOW, save_figure
from armt.evaluation.reports.published import Standing, leaderboard_rows
from armt.tasks.babilong.lengths import length_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIDDLE, TOP = 48.0, 99.0
"""Per cent at which the colours are yellow (the median of the published table) and green."""

UNLIMITED_NAME, OWN_NAME, MEAN_NAME, CLAIM_NAME = "unlimited", "measured here", "mean", "claim"
_GROUPS = (1_000, 8_000, 16_000, 32_000, 64_000, 128_000, 1_000_000)
_CELL = (0.44, 0.34)
_GAP = 0.35
_NAME_SIZE = 8.5
_NAME_NCHARS = 40
_OWN_COLOUR, _OTHER_COLOUR = "#0b57d0", "#1f1f1f"


class StandingGroup(NamedTuple):
    """Models that stand together, best average first."""

    name: str
    """The claimed context, such as `128k`, `unlimited`, or `measured here`."""
    standings: tuple[Standing, ...]


def group_standings(standings: Sequence[Standing]) -> list[StandingGroup]:
    """Returns one's own models first, then the published ones by claimed context.

    A claim between two groups belongs to the lower one: 200k stands with 128k.
    """
    groups: dict[str, list[Standing]] = {OWN_NAME: []}
    groups |= {length_name(length): [] for length in _GROUPS} | {UNLIMITED_NAME: []}
    for standing in standings:
        groups[_group_name(standing)].append(standing)
    return [
        StandingGroup(name, tuple(sorted(members, key=_by_average)))
        for name, members in groups.items()
        if members
    ]


def shown_lengths(standings: Sequence[Standing]) -> list[int]:
    """Returns the lengths at which any of the models was measured, shortest first."""
    return sorted({length for standing in standings for length in standing.accuracies})


def shown_share(standing: Standing, length: int) -> float | None:
    """Returns the per cent to show; None where nothing was measured or beyond the claim."""
    is_beyond = standing.claimed_len is not None and length > standing.claimed_len
    return None if is_beyond else standing.accuracies.get(length)


def claimed_row(standing: Standing) -> int | None:
    """Returns the longest length shown within the claim: the number to print in bold."""
    if standing.claimed_len is None:
        return None
    within = [length for length in standing.accuracies if length <= standing.claimed_len]
    return max(within, default=None)


def draw_leaderboard(
    path: str | os.PathLike[str],
    own: Sequence[Standing] = (),
    *,
    published: Sequence[Standing] | None = None,
    title: str = "BABILong, accuracy in per cent: mean of qa1 to qa5",
) -> None:
    """Draws the leaderboard; the ending of `path` decides the kind (.png, .pdf, .svg).

    Args:
        path: where to.
        own: what was measured here.
        published: what stands beside it; by default the published picture.
        title: stands above.

    Raises:
        ConfigError: there is nothing to draw, or the ending is none of a picture.
        StorageError: the disk is full or refuses the file.
    """
    rows = leaderboard_rows() if published is None else published
    save_figure(leaderboard_figure([*own, *rows], title), path)


def leaderboard_figure(standings: Sequence[Standing], title: str) -> "Figure":
    """Returns the leaderboard as a figure.

    Raises:
        ConfigError: there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not standings:
        raise ConfigError("There is no model to draw. Evaluate something first.")
    groups, lengths = group_standings(standings), shown_lengths(standings)
    num_columns = len(standings) + _GAP * (len(groups) - 1)
    head = max(_name_inches(standing.name) for standing in standings) + 0.55
    grid_height = _CELL[1] * (len(lengths) + 1.3)
    width, height = _CELL[0] * num_columns + 1.3, grid_height + head + 0.8
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.75 / width, 0.8 / height, 1 - 1.0 / width, grid_height / height))
    _ = axes.set_xlim(0, num_columns)
    _ = axes.set_ylim(len(lengths) + 1.3, 0)
    _ = axes.axis("off")
    _draw_row_names(axes, lengths)
    at = 0.0
    for group in groups:
        _draw_group(axes, group, lengths, at)
        at += len(group.standings) + _GAP
    _ = figure.text(0.75 / width, 1 - 0.3 / height, title, fontsize=11, weight="bold")
    _ = figure.text(0.75 / width, 0.12 / height, _footnote(standings), fontsize=8, color="#555555")
    return figure


def _draw_row_names(axes: "Axes", lengths: Sequence[int]) -> None:
    for row, length in enumerate(lengths):
        _ = axes.text(-0.15, row + 0.5, length_name(length), ha="right", va="center", fontsize=9)
    text: dict[str, Any] = {"ha": "right", "fontsize": 9}
    _ = axes.text(-0.15, len(lengths) + 0.8, MEAN_NAME, va="center", weight="bold", **text)
    _ = axes.text(-0.15, len(lengths) + 1.57, CLAIM_NAME, va="top", **text)


def _draw_group(axes: "Axes", group: StandingGroup, lengths: Sequence[int], left: float) -> None:
    is_own = group.name == OWN_NAME
    colour = _OWN_COLOUR if is_own else _OTHER_COLOUR
    for column, standing in enumerate(group.standings):
        _draw_column(axes, standing, lengths, left + column)
        weight = "bold" if is_own else "normal"
        named: dict[str, Any] = {"fontsize": _NAME_SIZE, "weight": weight, "rotation": 90}
        at = (left + column + 0.5, -0.15)
        _ = axes.text(
            *at, _shortened(standing.name), ha="center", va="bottom", color=colour, **named
        )
    right, bottom = left + len(group.standings), len(lengths) + 1.45
    _ = axes.plot([left + 0.05, right - 0.05], [bottom] * 2, color=colour, lw=1.5, clip_on=False)
    below: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8.5, "color": colour}
    label = group.name.replace(" ", "\n") if is_own else group.name
    _ = axes.text((left + right) / 2, bottom + 0.12, label, **below)


def _draw_column(axes: "Axes", standing: Standing, lengths: Sequence[int], left: float) -> None:
    bold_row = claimed_row(standing)
    for row, length in enumerate(lengths):
        share = shown_share(standing, length)
        if share is not None:
            _draw_cell(axes, (left, row), share, is_bold=length == bold_row)
    if standing.accuracies:
        _draw_cell(axes, (left, len(lengths) + 0.3), standing.average, is_bold=False)


def _draw_cell(axes: "Axes", corner: tuple[float, float], share: float, *, is_bold: bool) -> None:
    from matplotlib.patches import Rectangle

    left, top = corner
    cell = Rectangle((left, top), 1, 1, facecolor=_colour(share), edgecolor="white", linewidth=1)
    _ = axes.add_patch(cell)
    weight = "bold" if is_bold else "normal"
    text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": "black"}
    _ = axes.text(left + 0.5, top + 0.5, f"{share:.0f}", weight=weight, **text)


def _colour(share: float) -> tuple[float, float, float, float]:
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(0.0, RED), (MIDDLE / TOP, YELLOW), (1.0, GREEN)]
    red, green, blue, alpha = LinearSegmentedColormap.from_list("three", stops)(share / TOP)
    return float(red), float(green), float(blue), float(alpha)


def _shortened(name: str) -> str:
    """A name that leaves room for the table; its end may tell which tasks count."""
    half = _NAME_NCHARS // 2
    return name if len(name) <= _NAME_NCHARS else f"{name[:half]}…{name[-half:]}"


def _name_inches(name: str) -> float:
    """How long a name is in bold."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=_NAME_SIZE, weight="bold")
    return text_to_path.get_text_width_height_descent(_shortened(name), font, ismath=False)[0] / 72


def _footnote(standings: Sequence[Standing]) -> str:
    sources = dict.fromkeys(each.source for each in standings if each.is_published)
    return f"Published, not measured here: {'; '.join(sources)}." if sources else ""


def _group_name(standing: Standing) -> str:
    if not standing.is_published:
        return OWN_NAME
    if standing.claimed_len is None:
        return UNLIMITED_NAME
    return length_name(max((g for g in _GROUPS if g <= standing.claimed_len), default=_GROUPS[0]))


def _by_average(standing: Standing) -> tuple[float, str]:
    return -standing.average, standing.name
