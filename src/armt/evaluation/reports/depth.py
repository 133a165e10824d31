"""Accuracy by depth of the last supporting fact, and by its distance to the question."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from armt.core.errors import ConfigError
from armt.evaluation.metrics import Score
from armt.evaluation.record import Metric, Record
from armt.evaluation.reports.panels import save_figure
from armt.evaluation.reports.series import ARM_NAMES, into_series, subject_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_DEPTHS = 10
_FIRST_DISTANCE, _DISTANCE_FACTOR = 128, 4


class Bin(NamedTuple):
    """Samples whose last supporting fact stands in one range."""

    name: str
    score: Score


def by_depth(records: Iterable[Record], metric: Metric) -> list[Bin]:
    """Returns the accuracy by depth of the last supporting fact, in per cent of the context.

    Contexts of facts alone (length 0) and records without a place of a supporting fact or without
    the metric are left out.
    """
    counts = [[0, 0] for _ in range(NUM_DEPTHS)]
    for record in _placed(records, metric):
        depth = NUM_DEPTHS * max(record.supporting_starts) // record.context_len
        _count(counts[min(depth, NUM_DEPTHS - 1)], record, metric)
    names = [f"{100 * n // NUM_DEPTHS}–{100 * (n + 1) // NUM_DEPTHS}" for n in range(NUM_DEPTHS)]
    return [Bin(name, Score(*count)) for name, count in zip(names, counts, strict=True)]


def by_distance(records: Iterable[Record], metric: Metric) -> list[Bin]:
    """Returns the accuracy by tokens from the last supporting fact to the end of the context.

    Each range is four times as long as the one before; the same records as in `by_depth` count.
    """
    placed = list(_placed(records, metric))
    edges = [0, _FIRST_DISTANCE]
    longest = max((record.context_len for record in placed), default=0)
    while edges[-1] <= longest:
        edges.append(edges[-1] * _DISTANCE_FACTOR)
    counts = [[0, 0] for _ in edges[1:]]
    for record in placed:
        distance = record.context_len - max(record.supporting_starts)
        place = next(n for n, (_, end) in enumerate(pairwise(edges)) if distance < end)
        _count(counts[place], record, metric)
    names = [f"{_short(low)}–{_short(high)}" for low, high in pairwise(edges)]
    return [Bin(name, Score(*count)) for name, count in zip(names, counts, strict=True)]


def curves_by(records: Sequence[Record], metric: Metric) -> dict[str, tuple[list[Bin], list[Bin]]]:
    """Returns depths and distances for each subject and arm, all tasks and lengths together.

    Those without a record that counts are left out.
    """
    pooled: dict[str, list[Record]] = {}
    found = into_series(records)
    names = subject_names(found)
    for series, by_length in found.items():
        arm = ARM_NAMES.get(series.arm, series.arm)
        name = f"{names[series.asked]}, {arm}" if arm else names[series.asked]
        pooled.setdefault(name, []).extend(each for cell in by_length.values() for each in cell)
    return {
        name: (by_depth(every, metric), by_distance(every, metric))
        for name, every in pooled.items()
        if any(True for _ in _placed(every, metric))
    }


def depth_table(records: Sequence[Record], metric: Metric) -> str:
    """Returns a CSV table: subject, `depth` or `distance`, range, counts, accuracy, interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["subject", "by", "range", *Score._fields, "accuracy", "low", "high"])
    for name, both in curves_by(records, metric).items():
        for kind, bins in zip(("depth", "distance"), both, strict=True):
            for each in bins:
                shares = (each.score.accuracy, *each.score.interval)
                numbers = [f"{share:.4f}" for share in shares] if each.score.num_samples else []
                writer.writerow([name, kind, each.name, *each.score, *numbers])
    return text.getvalue()


def draw_depth(
    records: Sequence[Record], path: str | os.PathLike[str], *, metric: Metric = "reference"
) -> None:
    """Draws accuracy by depth and by distance, with 95 % intervals.

    Raises:
        ConfigError: no record tells where its supporting facts stand, or the ending is none of a
            picture.
        StorageError: the disk is full or refuses the file.
    """
    from matplotlib.figure import Figure

    curves = curves_by(records, metric)
    if not curves:
        raise ConfigError(
            "No record tells where the supporting facts stand. Evaluate at a length above 0k."
        )
    figure = Figure(figsize=(12, 4.2 + 0.2 * len(curves)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_bins(left, {name: both[0] for name, both in curves.items()})
    _draw_bins(right, {name: both[1] for name, both in curves.items()})
    _ = left.set_xlabel("depth of the last supporting fact, per cent of the context")
    _ = right.set_xlabel("tokens from the last supporting fact to the question")
    _ = left.set_ylabel(f"accuracy, per cent ({metric})")
    _ = figure.legend(*left.get_legend_handles_labels(), fontsize=9, loc="outside upper left")
    save_figure(figure, path)


def _draw_bins(axes: "Axes", curves: Mapping[str, Sequence[Bin]]) -> None:
    names = list(dict.fromkeys(each.name for bins in curves.values() for each in bins))
    for number, (name, bins) in enumerate(curves.items()):
        filled = [each for each in bins if each.score.num_samples]
        shift = 0.12 * (number - (len(curves) - 1) / 2)
        places = [names.index(each.name) + shift for each in filled]
        shares = [100 * each.score.accuracy for each in filled]
        low = [
            max(0.0, share - 100 * each.score.interval.low)
            for each, share in zip(filled, shares, strict=True)
        ]
        high = [
            max(0.0, 100 * each.score.interval.high - share)
            for each, share in zip(filled, shares, strict=True)
        ]
        _ = axes.errorbar(places, shares, yerr=(low, high), marker="o", capsize=2, label=name)
    _ = axes.set_xticks(range(len(names)), labels=names, rotation=45, ha="right", fontsize=8)
    _ = axes.set_ylim(-3, 103)
    axes.grid(axis="y", alpha=0.3)


def _placed(records: Iterable[Record], metric: Metric) -> Iterable[Record]:
    return (
        record
        for record in records
        if record.length and record.context_len and record.supporting_starts
        if metric in record.scores
    )


def _count(counts: list[int], record: Record, metric: Metric) -> None:
    counts[0] += record.scores[metric]
    counts[1] += 1


def _short(num_tokens: int) -> str:
    """128, 2k, 131k, 2.1M."""
    if num_tokens < 1000:
        return str(num_tokens)
    if num_tokens < 1_000_000:
        return f"{num_tokens / 1000:.0f}k"
    return f"{num_tokens / 1_000_000:.3g}M"
