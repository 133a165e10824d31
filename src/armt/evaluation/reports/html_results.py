"""The results on the page of an evaluation: tables, curves, leaderboard, what went wrong."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from armt.evaluation.record import Metric, Record
from armt.evaluation.reports.depth import Bin, curves_by
from armt.evaluation.reports.html_parts import (
    Curve,
    chart,
    group_row,
    legend,
    note,
    row,
    said,
    score_cell,
    section,
    share_cell,
    table,
    text_cell,
)
from armt.evaluation.reports.leaderboard import (
    claimed_row,
    group_standings,
    shown_lengths,
    shown_share,
)
from armt.evaluation.reports.published import Standing
from armt.evaluation.reports.series import (
    ARM_NAMES,
    into_series,
    lengths_of,
    score_of,
    series_of,
    subject_names,
    support_recall,
)
from armt.evaluation.reports.standings import own_standings
from armt.evaluation.reports.text_tables import BOTH, TableRow, table_rows
from armt.tasks.babilong.lengths import length_name

_METRIC_NOTES = {
    "reference": "The official rules of BABILong, defects included: a label counts wherever its "
    "letters occur, and in qa7 the answer 'none' is never right.",
    "strict": "The same rules with whole words.",
    "exact": "The output is the answer and nothing else.",
}
_DEPTH_AXIS, _DISTANCE_AXIS = "depth, per cent of the context", "tokens up to the question"
_MAX_CURVES = 12
_MAX_TEXT = 240
_MAX_REASONS = 10


def accuracy(records: Sequence[Record]) -> str:
    """Returns the section of tables: tasks by lengths for each metric and subject."""
    parts = [note("Accuracy in per cent with 95 % intervals (Wilson).")]
    known: list[Metric] = [each for each in BOTH if any(each in one.scores for one in records)]
    for metric in known or [_main_metric(records)]:
        parts.append(f"<h3>Metric: {said(metric)}</h3>{note(_METRIC_NOTES[metric])}")
        parts.append(_accuracy_table(records, metric))
    return section("accuracy", "Accuracy", *parts)


def by_length(records: Sequence[Record]) -> str:
    """Returns the section of curves: accuracy by length, the tasks of a subject together."""
    found = into_series(records)
    lengths, names = lengths_of(found), subject_names(found)
    pooled: dict[str, dict[int, list[Record]]] = {}
    for series, cells in found.items():
        arm = ARM_NAMES.get(series.arm, series.arm)
        name = f"{names[series.asked]}, {arm}" if arm else names[series.asked]
        of_name = pooled.setdefault(name, {})
        for length, cell in cells.items():
            of_name.setdefault(length, []).extend(cell)
    metric = _main_metric(records)
    curves = [
        Curve(name, tuple(score_of(cells.get(length, ()), metric) for length in lengths))
        for name, cells in pooled.items()
    ]
    if len(lengths) < 2:
        return ""
    shown = curves[:_MAX_CURVES]
    drawn = chart(list(map(length_name, lengths)), shown, axis="tokens of context")
    told = note(_pooled_note(metric, len(curves)))
    return section("lengths", "By length", told, legend(shown), drawn)


def by_place(records: Sequence[Record]) -> str:
    """Returns the section of curves by depth and distance; empty if no record tells them."""
    metric = _main_metric(records)
    curves = dict(list(curves_by(records, metric).items())[:_MAX_CURVES])
    if not curves:
        return ""
    depths = _bin_chart({name: each[0] for name, each in curves.items()}, _DEPTH_AXIS)
    distances = _bin_chart({name: each[1] for name, each in curves.items()}, _DISTANCE_AXIS)
    return section(
        "depth",
        "By depth and distance",
        note(
            f"Where the last supporting fact stands; all tasks and lengths above 0k together, "
            f"metric '{metric}', 95 % intervals."
        ),
        legend([Curve(name, ()) for name in curves]),
        f'<div class="charts"><div>{depths}</div><div>{distances}</div></div>',
    )


def leaderboard(records: Sequence[Record], published: Sequence[Standing]) -> str:
    """Returns the section of the leaderboard: one's own above, published rows below."""
    standings = [*own_standings(records), *published]
    if not standings:
        return ""
    lengths = shown_lengths(standings)
    head = ["model", *map(length_name, lengths), "mean"]
    rows: list[str] = []
    for group in group_standings(standings):
        is_own = not group.standings[0].is_published
        label = group.name if is_own else f"published, claimed context {group.name}"
        rows.append(group_row(label, len(head)))
        rows += [_standing_row(each, lengths) for each in group.standings]
    sources = dict.fromkeys(each.source for each in standings if each.is_published)
    notes = [
        "Accuracy in per cent by the reference metric, mean over qa1 to qa5 unless a name says "
        "otherwise. Cells beyond the claimed context are blank."
    ]
    if sources:
        notes.append(
            f"Published rows were not measured here: {'; '.join(sources)}. Each takes for every "
            "task the best of several prompts, and other samples."
        )
    return section("leaderboard", "Leaderboard", *map(note, notes), table(head, rows))


def recall(records: Sequence[Record]) -> str:
    """Returns the section on searches: how many supporting facts they found; empty without one."""
    found = into_series(records)
    lengths, names = lengths_of(found), subject_names(found)
    rows: list[str] = []
    for series, cells_of in found.items():
        shares = [support_recall(cells_of.get(length, ())) for length in lengths]
        if series.arm != "off" and any(share is not None for share in shares):
            cells = [share_cell(share if share is None else 100 * share) for share in shares]
            rows.append(row(f"{names[series.asked]}: {series.task}", cells, kind="standing"))
    if not rows:
        return ""
    told = note("Per cent of the supporting facts that stand in the passages found.")
    return section("recall", "Search", told, table(["", *map(length_name, lengths)], rows))


def failures(records: Sequence[Record]) -> str:
    """Returns the section of questions without an output; empty if there is none."""
    failed = Counter((each.subject, each.failure[:_MAX_TEXT]) for each in records if each.failure)
    if not failed:
        return ""
    rows: list[str] = []
    for subject in dict.fromkeys(subject for subject, _ in failed):
        reasons = Counter({why: count for (name, why), count in failed.items() if name == subject})
        most = reasons.most_common(_MAX_REASONS)
        rest = reasons.total() - sum(count for _, count in most)
        shown = [*most, ("other reasons; see the records", rest)] if rest else most
        rows.append(group_row(subject, 2))
        rows += [row(f"{count:,}", [text_cell(why, kind="text")]) for why, count in shown]
    return section(
        "failures",
        "Failures",
        note(f"{failed.total():,} questions have no output; they count as wrong."),
        table(["questions", "reason"], rows, num_names=2),
    )


def wrong_answers(records: Sequence[Record], num_wrong: int) -> str:
    """Returns the section of wrong answers, as many of each subject; empty without one.

    Those of a memory that was switched off, or of a subject that always says the same, tell nothing
    and are shown only if there are no others.
    """
    metric = _main_metric(records)
    wrong = [each for each in records if not each.failure and not each.scores.get(metric, True)]
    wrong = [each for each in wrong if each.arm != "off" and each.category != "constant"] or wrong
    names = subject_names(into_series(records))
    of_subject = {
        name: [each for each in wrong if names[_asked(each)] == name]
        for name in dict.fromkeys(names.values())
    }
    num_of_each = math.ceil(num_wrong / max(1, sum(map(bool, of_subject.values()))))
    head = ["task", "arm", "length", "sample", "question", "answer", "right answer", "strict"]
    rows: list[str] = []
    for name, members in of_subject.items():
        shown = _spread(members, num_of_each)
        rows += [group_row(name, len(head))] if shown else []
        rows += [_wrong_row(each) for each in shown]
    if not rows:
        return ""
    told = f"Some of the {len(wrong):,} answers that are wrong by the metric '{metric}'."
    return section("wrong", "Wrong answers", note(told), table(head, rows, num_names=len(head)))


def _spread(records: Sequence[Record], num_shown: int) -> list[Record]:
    """Returns some of the records, evenly over all."""
    num_shown = min(num_shown, len(records))
    return [records[len(records) * number // num_shown] for number in range(num_shown)]


def _accuracy_table(records: Sequence[Record], metric: Metric) -> str:
    """Tasks by lengths, below the name of each subject."""
    lengths, rows = table_rows(records, (metric,))
    has_arms = any(each.arm for each in rows)
    names = ["task", "arm"] if has_arms else ["task"]
    body: list[str] = []
    for subject, of_subject in groupby(rows, key=_subject_of):
        body.append(group_row(subject, len(lengths) + len(names)))
        for each in of_subject:
            arm = [text_cell(each.arm)] if has_arms else []
            body.append(row(each.task, [*arm, *map(score_cell, each.scores)]))
    return table([*names, *map(length_name, lengths)], body, num_names=len(names))


def _subject_of(each: TableRow) -> str:
    return each.subject


def _standing_row(standing: Standing, lengths: Sequence[int]) -> str:
    bold = claimed_row(standing)
    cells = [
        share_cell(shown_share(standing, length), is_claimed=length == bold) for length in lengths
    ]
    mean = share_cell(standing.average if standing.accuracies else None)
    kind = "standing" if standing.is_published else "standing own"
    return row(standing.name, [*cells, mean], kind=kind, remark=standing.note)


def _asked(record: Record) -> tuple[str, str, str]:
    return series_of(record).asked


def _wrong_row(record: Record) -> str:
    is_right = record.scores.get("strict")
    verdict = "–" if is_right is None else ("right" if is_right else "wrong")
    return row(
        record.task,
        [
            text_cell(ARM_NAMES.get(record.arm, record.arm)),
            text_cell(length_name(record.length)),
            text_cell(record.index, kind="num"),
            text_cell(record.question.strip(), kind="text"),
            text_cell(_shortened(record.answer), kind="text"),
            text_cell(record.truth),
            text_cell(verdict, kind=verdict if is_right is not None else ""),
        ],
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} … ({len(text):,} characters)"


def _bin_chart(curves: dict[str, list[Bin]], axis: str) -> str:
    names = list(dict.fromkeys(each.name for bins in curves.values() for each in bins))
    drawn: list[Curve] = []
    for name, bins in curves.items():
        scores = {each.name: each.score for each in bins if each.score.num_samples}
        drawn.append(Curve(name, tuple(scores.get(place) for place in names)))
    return chart(names, drawn, axis=axis)


def _main_metric(records: Sequence[Record]) -> Metric:
    return "reference" if any("reference" in each.scores for each in records) else "exact"


def _pooled_note(metric: Metric, num_curves: int) -> str:
    text = f"All tasks of a subject together, metric '{metric}', 95 % intervals."
    return text + (f" The first {_MAX_CURVES} of {num_curves}." if num_curves > _MAX_CURVES else "")
