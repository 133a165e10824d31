"""One's own results in the form of the leaderboard: by length, the mean over qa1 to qa5."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from armt.evaluation.record import Metric, Record
from armt.evaluation.reports.published import MEASURED_HERE, UNLIMITED, Standing
from armt.evaluation.reports.series import (
    Series,
    into_series,
    score_of,
    subject_names,
    task_number,
)

AVERAGED_TASKS = ("qa1", "qa2", "qa3", "qa4", "qa5")
"""The tasks that the leaderboard takes the mean of."""

Shares = dict[int, float]


def own_standings(records: Iterable[Record], metric: Metric = "reference") -> list[Standing]:
    """Returns a standing for each subject that was asked one of the five tasks.

    A length counts if the subject was asked there all those of the five tasks that it was asked at
    all; if they are not all five, the name tells which they are. What a subject says with its
    memory switched off, or when told the question first, does not count. If a task was asked with
    samples of several makings, the first one counts.
    """
    found = into_series(records)
    names = subject_names(found)
    tables: dict[str, dict[str, Shares]] = defaultdict(dict)
    knows: dict[str, bool] = {}
    for series, by_length in found.items():
        shares = _shares(by_length, metric)
        if _counts(series) and shares:
            name = names[series.asked]
            _ = tables[name].setdefault(series.task, shares)
            knows[name] = next(iter(by_length.values()))[0].knows_facts
    return [_standing(name, by_task, knows[name]) for name, by_task in tables.items()]


def _counts(series: Series) -> bool:
    return series.task in AVERAGED_TASKS and series.arm != "off"


def _shares(by_length: Mapping[int, list[Record]], metric: Metric) -> Shares:
    scores = {length: score_of(cell, metric) for length, cell in by_length.items()}
    return {length: 100 * score.accuracy for length, score in scores.items() if score}


def _standing(name: str, by_task: Mapping[str, Shares], knows_facts: bool) -> Standing:
    tasks = sorted(by_task, key=task_number)
    common = set.intersection(*(set(shares) for shares in by_task.values()))
    means = {
        length: sum(shares[length] for shares in by_task.values()) / len(by_task)
        for length in sorted(common)
    }
    shown = name if len(tasks) == len(AVERAGED_TASKS) else f"{name} ({', '.join(tasks)} only)"
    note = "knew the sentences of the tasks" if knows_facts else ""
    return Standing(shown, UNLIMITED, means, MEASURED_HERE, note)
