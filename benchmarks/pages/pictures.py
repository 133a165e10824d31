"""The pictures of README and report, and the records that each of them shows.

A picture's file says what was drawn, so it is drawn anew only when that is new: delete a file to
have it drawn again all the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from armt.benchmarking.tables import NOT_MEASURED
from armt.evaluation.metrics import Score
from armt.evaluation.record import Record
from armt.evaluation.reports.panels import draw_panels, record_panels
from armt.tasks.babilong.lengths import length_name
from pages.arms import arm_charts
from pages.charts import Chart, Line, charts_digest, draw_charts, said_in, say_in
from pages.learned import PUBLISHED_FORMS, QA1_TO_QA5, Bits, gains_by_segment, task_cells
from pages.runs import (
    BOXED,
    EXACT_MATCH,
    LANGUAGE_RUNS,
    QA1_BEFORE,
    QA1_RUNS,
    QA1_SEEDS,
    QA1_TRAINED,
    RETRIEVAL_RUNS,
    ROOT,
    Measured,
    answers,
    figures,
    files_of,
    has_log,
    load_log,
    pooled,
)

IMAGES = ROOT / "docs" / "images"
HEATMAP = IMAGES / "qa1.png"
FAILED_RUNS = (
    "h100-2026-11-26-qa1-confusers-cut-seed-0",
    "h200-2026-11-25-qa1-seed-1",
    "h200-2026-11-23-qa1-sigmoid",
    "h200-2026-11-23-qa1-penalty-0.03",
)
"""Runs of QA1 that answered far fewer questions than their neighbours."""

_REPORTS_TOGETHER = 10
"""So many lines of a training's log are one point of its curve."""


class Picture(NamedTuple):
    """A picture of the report."""

    alt: str
    charts: Callable[[], list[Chart]]


def qa1_charts() -> list[Chart]:
    """Returns accuracy against length, a line for each seed and arm; and the earlier runs."""
    return [
        _length_chart("the recipe now, memory on and off", QA1_SEEDS, ("on", "off")),
        _length_chart("the runs before, memory on", QA1_TRAINED | QA1_BEFORE, ("on",)),
    ]


def task_charts() -> list[Chart]:
    """Returns accuracy of each task against length; nothing if only QA1 is measured."""
    cells = {task: (task_cells(task), task_cells(task, "off")) for task in QA1_TO_QA5}
    if not any(on for task, (on, _) in cells.items() if task != "qa1"):
        return []
    lines = [
        _share_line(
            task,
            sorted((length, pooled(scores.values())) for length, scores in found.items()),
            is_off=arm == "off",
        )
        for task, arms in cells.items()
        for arm, found in zip(("on", "off"), arms, strict=True)
        if found
    ]
    return [_accuracy_chart("one model for each task, all seeds", lines)]


def training_charts() -> list[Chart]:
    """Returns the accuracy of training by step, of the recipe now and of runs that failed."""
    return [
        _training_chart("the recipe now", [run for run in QA1_TRAINED if has_log(run)]),
        _training_chart("what failed, or nearly", FAILED_RUNS),
    ]


def retrieval_charts() -> list[Chart]:
    """Returns exact match against the number of pairs, a panel for each task."""
    found: dict[str, dict[str, list[Measured]]] = {}
    for each in figures(RETRIEVAL_RUNS, EXACT_MATCH):
        form = PUBLISHED_FORMS[" ".join(each.params["changes"])]
        label = f"{RETRIEVAL_RUNS[each.run]}: {form}"
        found.setdefault(each.params["task"], {}).setdefault(label, []).append(each)
    return [_recall_chart(task, lines) for task, lines in sorted(found.items())]


def language_charts() -> list[Chart]:
    """Returns the bits a byte that a memory gains on none, by segment."""
    lines: dict[str, list[Line]] = {}
    for (run, memory), cells in gains_by_segment().items():
        lines.setdefault(run, []).append(_gain_line(memory, cells))
    return [
        Chart(
            f"{LANGUAGE_RUNS[run].strip('`')}: better than no memory",
            "segment",
            "bits a byte less",
            tuple(own),
        )
        for run, own in lines.items()
    ]


PICTURES = {
    "qa1-length": Picture(
        "QA1 by length of text, by seed, with the memory and without", qa1_charts
    ),
    "tasks-length": Picture("QA1 to QA5 by length of text", task_charts),
    "qa1-training": Picture("Accuracy in training by step, stage after stage", training_charts),
    "retrieval": Picture("Associative retrieval by number of pairs", retrieval_charts),
    "retrieval-arms": Picture("Associative retrieval by arms of equal state", arm_charts),
    "language": Picture("Bits a byte gained on no memory, by segment", language_charts),
}
"""The pictures of the report by name."""


def picture_link(name: str) -> str:
    """Returns what a page in `docs` shows a picture with, or that there is nothing to show."""
    picture = PICTURES[name]
    return f"![{picture.alt}](images/{name}.png)\n" if picture.charts() else NOT_MEASURED


def draw_all() -> list[Path]:
    """Draws what is new; returns its files."""
    drawn: list[Path] = []
    for name, picture in PICTURES.items():
        charts, path = picture.charts(), IMAGES / f"{name}.png"
        if charts and said_in(path) != charts_digest(charts):
            draw_charts(charts, path)
            drawn.append(path)
    if said_in(HEATMAP) != heatmap_cells():
        draw_heatmap(HEATMAP)
        drawn.append(HEATMAP)
    return drawn


def draw_heatmap(path: Path) -> None:
    """Draws the heat map and writes into the file what it shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_panels(record_panels(heatmap_records(), "exact"), path)
    say_in(path, heatmap_cells())


def heatmap_records() -> list[Record]:
    """Returns the boxed model's shares as single questions, which is what a heat map counts."""
    return [
        Record(
            subject=each.cell.model,
            category="recurrent",
            knows_facts=True,
            subject_fingerprint=each.cell.model,
            prompt_hash="",
            task=each.cell.task,
            task_fingerprint="",
            seed=0,
            length=each.cell.num_tokens,
            index=index,
            arm=each.cell.arm,
            question="",
            answer="",
            truth="",
            scores={"exact": index < each.score.num_correct},
        )
        for each in answers(files_of(BOXED))
        for index in range(each.score.num_samples)
    ]


def heatmap_cells() -> str:
    """Returns the shares of the heat map as one line; it stands in the picture's file."""
    return "; ".join(
        f"{each.cell.arm} {length_name(each.cell.num_tokens)} {each.score.accuracy}"
        for each in answers(files_of(BOXED))
    )


def _length_chart(title: str, runs: Mapping[str, str], arms: Sequence[str]) -> Chart:
    points: dict[tuple[str, str], list[tuple[int, Score]]] = {}
    for each in answers(runs):
        line = points.setdefault((runs[each.run], each.cell.arm), [])
        line.append((each.cell.num_tokens, each.score))
    lines = [
        _share_line(label, sorted(own), is_off=arm == "off")
        for (label, arm), own in points.items()
        if arm in arms
    ]
    return _accuracy_chart(title, lines)


def _accuracy_chart(title: str, lines: Sequence[Line]) -> Chart:
    places = sorted({place for line in lines for place in line.places})
    ticks = tuple((place, length_name(int(place))) for place in places)
    return Chart(title, "tokens of text", "right answers, per cent", tuple(lines), ticks)


def _share_line(label: str, points: Sequence[tuple[int, Score]], *, is_off: bool) -> Line:
    """Returns shares in per cent with their intervals."""
    return Line(
        label,
        tuple(place for place, _ in points),
        tuple(100 * score.accuracy for _, score in points),
        tuple(100 * score.interval.low for _, score in points),
        tuple(100 * score.interval.high for _, score in points),
        is_off,
    )


def _gain_line(label: str, cells: Bits) -> Line:
    """Returns means over seeds, from the least to the greatest."""
    found = [(at, list(seeds.values())) for at, seeds in sorted(cells.items()) if seeds]
    return Line(
        label,
        tuple(at for at, _ in found),
        tuple(mean(values) for _, values in found),
        tuple(min(values) for _, values in found),
        tuple(max(values) for _, values in found),
    )


def _recall_chart(task: str, found: Mapping[str, Sequence[Measured]]) -> Chart:
    every = [each for measured in found.values() for each in measured]
    places = sorted({each.params["tested"] for each in every})
    trained = ", ".join(map(str, sorted({each.params["trained"] for each in every})))
    return Chart(
        f"{task}, trained on {trained} pairs",
        "pairs",
        "exact match, per cent",
        tuple(_recall_line(label, measured) for label, measured in found.items()),
        ticks=tuple((place, f"{place:,}") for place in places),
    )


def _recall_line(label: str, measured: Iterable[Measured]) -> Line:
    points: dict[int, list[Score]] = {}
    for each in measured:
        points.setdefault(each.params["tested"], []).append(each.score)
    counted = [(place, pooled(scores)) for place, scores in sorted(points.items())]
    return _share_line(label, counted, is_off=False)


def _training_chart(title: str, runs: Sequence[str]) -> Chart:
    """Returns a curve for each run; dashed borders are those of the first one's stages."""
    logs = {run: load_log(run) for run in runs}
    return Chart(
        title,
        "step",
        "accuracy in training, per cent",
        tuple(_training_line(QA1_RUNS[run], log) for run, log in logs.items()),
        borders=_stage_borders(logs[runs[0]]),
    )


def _training_line(label: str, log: Sequence[Mapping[str, Any]]) -> Line:
    parts = [log[at : at + _REPORTS_TOGETHER] for at in range(0, len(log), _REPORTS_TOGETHER)]
    return Line(
        label,
        tuple(part[-1]["step"] for part in parts),
        tuple(100 * mean(each["accuracy"] for each in part) for part in parts),
    )


def _stage_borders(log: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Returns the last step of every stage but the last."""
    return tuple(one["step"] for one, two in pairwise(log) if one["stage"] != two["stage"])
