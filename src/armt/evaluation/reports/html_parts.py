"""Pieces of an HTML page: escaped text, tables that scroll inside their box, charts."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from armt.evaluation.metrics import Score

_NUM_COLOURS = 6
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 270, 40, 14, 12, 62
_STEP, _MIN_WIDTH, _LONG_NAME = 46, 520, 7
_LARGEST = 1.35


class Curve(NamedTuple):
    """What is drawn with one colour."""

    name: str
    points: tuple[Score | None, ...]
    """One for each place of the axis; None where there is nothing."""


def said(text: object) -> str:
    """Returns any text so that a browser shows it and takes nothing of it for a command."""
    return escape(str(text), quote=True)


def code(text: object) -> str:
    """Returns a hash or a name as it would be typed; a dash for nothing."""
    return f"<code>{said(text)}</code>" if str(text) else "–"


def section(anchor: str, title: str, *parts: str) -> str:
    """Returns a part of the page; `parts` are HTML."""
    return f'<section id="{said(anchor)}"><h2>{said(title)}</h2>\n{"".join(parts)}</section>\n'


def note(text: str) -> str:
    """Returns a remark; `text` is no HTML."""
    return f'<p class="note">{said(text)}</p>\n'


def table(head: Sequence[str], rows: Iterable[str], *, num_names: int = 1) -> str:
    """Returns a table in a box of its own.

    Args:
        head: titles of the columns.
        rows: HTML of whole rows, from `row`.
        num_names: columns of text before those with numbers.
    """
    titles = "".join(
        f'<th scope="col"{_class("share" if number >= num_names else "")}>{said(title)}</th>'
        for number, title in enumerate(head)
    )
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n'
        "</tbody></table></div>\n"
    )


def row(name: str, cells: Iterable[str], *, kind: str = "", remark: str = "") -> str:
    """Returns a row; `cells` are HTML, `name` and the remark below it are not."""
    small = f"<small>{said(remark)}</small>" if remark else ""
    return f'<tr{_class(kind)}><th scope="row">{said(name)}{small}</th>{"".join(cells)}</tr>'


def group_row(name: str, num_columns: int) -> str:
    """Returns a row over all columns that names those below it."""
    return (
        f'<tr class="group"><th scope="rowgroup" colspan="{num_columns}">'
        f"<span>{said(name)}</span></th></tr>"
    )


def text_cell(text: object, *, kind: str = "") -> str:
    """Returns a cell; `text` is no HTML."""
    return f"<td{_class(kind)}>{said(text)}</td>"


def score_cell(score: Score | None) -> str:
    """Returns a coloured cell: per cent, below it the 95 % interval; empty without a score."""
    if score is None:
        return '<td class="gap"></td>'
    low, high = score.interval
    spelled = f"{100 * score.accuracy:.1f}<small>{100 * low:.0f}–{100 * high:.0f}</small>"
    title = f"{score.num_correct} of {score.num_samples}"
    return _share_cell(100 * score.accuracy, spelled, title=title)


def share_cell(share: float | None, *, is_claimed: bool = False) -> str:
    """Returns a coloured cell with a whole number; empty without a share."""
    if share is None:
        return '<td class="gap"></td>'
    return _share_cell(share, f"{share:.0f}", kind="slim claimed" if is_claimed else "slim")


def chart(names: Sequence[str], curves: Sequence[Curve], *, axis: str) -> str:
    """Returns a picture of shares in per cent with 95 % intervals; `legend` tells its colours.

    Args:
        names: places of the horizontal axis.
        curves: at least one.
        axis: what the horizontal axis is.
    """
    width = max(_MIN_WIDTH, _LEFT + _RIGHT + _STEP * len(names))
    step = (width - _LEFT - _RIGHT) / len(names)
    parts = [_grid_line(share, width) for share in (0, 25, 50, 75, 100)]
    is_turned = max(map(len, names)) >= _LONG_NAME
    for number, name in enumerate(names):
        parts.append(_place_name(name, _LEFT + step * (number + 0.5), is_turned=is_turned))
    parts.append(
        f'<text x="{(_LEFT + width) / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{said(axis)}</text>"
    )
    for number, curve in enumerate(curves):
        shift = min(7.0, step / (len(curves) + 1)) * (number - (len(curves) - 1) / 2)
        places = [_LEFT + step * (n + 0.5) + shift for n in range(len(names))]
        parts.append(_draw_curve(curve, places, number))
    drawn = "".join(parts)
    style = f"min-width:{width}px;max-width:{_LARGEST * width:.0f}px"
    return (
        f'<div class="scroll chartbox"><svg class="chart" style="{style}" '
        f'viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label="{said(axis)}">'
        f"{drawn}</svg></div>\n"
    )


def legend(curves: Sequence[Curve]) -> str:
    """Returns which curve has which colour."""
    items = "".join(
        f'<li><svg viewBox="0 0 26 10"><line x1="0" x2="26" y1="5" y2="5" stroke-width="2.5" '
        f'stroke="{_colour(number)}"{_dashes(number)}/></svg>{said(curve.name)}</li>'
        for number, curve in enumerate(curves)
    )
    return f'<ul class="legend">{items}</ul>\n'


def _class(kind: str) -> str:
    return f' class="{said(kind)}"' if kind else ""


def _share_cell(share: float, spelled: str, *, kind: str = "", title: str = "") -> str:
    told = f' title="{said(title)}"' if title else ""
    return f'<td class="share {kind}" style="--a:{share:.0f}"{told}>{spelled}</td>'


def _height(share: float) -> float:
    """Where a share in [0, 1] stands."""
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _grid_line(share: int, width: int) -> str:
    y = _height(share / 100)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share}</text>'
    )


def _place_name(name: str, x: float, *, is_turned: bool) -> str:
    y = _HEIGHT - _BOTTOM + 16
    turn = f' transform="rotate(-28 {x:.1f} {y})"' if is_turned else ""
    anchor = "end" if is_turned else "middle"
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{turn}>{said(name)}</text>'


def _draw_curve(curve: Curve, places: Sequence[float], number: int) -> str:
    found = [(x, score) for x, score in zip(places, curve.points, strict=True) if score]
    points = " ".join(f"{x:.1f},{_height(score.accuracy):.1f}" for x, score in found)
    marks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_height(score.interval.high):.1f}" '
        f'y2="{_height(score.interval.low):.1f}" stroke-width="1.3"/>'
        f'<circle cx="{x:.1f}" cy="{_height(score.accuracy):.1f}" r="3.2" fill="{_colour(number)}">'
        f"<title>{said(curve.name)}: {100 * score.accuracy:.1f} % of {score.num_samples}</title>"
        "</circle>"
        for x, score in found
    )
    return (
        f'<g stroke="{_colour(number)}" fill="none"><polyline points="{points}" stroke-width="2"'
        f"{_dashes(number)}/>{marks}</g>"
    )


def _colour(number: int) -> str:
    return f"var(--c{number % _NUM_COLOURS + 1})"


def _dashes(number: int) -> str:
    """Curves beyond the colours are told apart by dashes."""
    lines = number // _NUM_COLOURS
    return f' stroke-dasharray="{8 - 2 * min(lines, 3)} 4"' if lines else ""
