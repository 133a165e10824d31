"""Records put into rows: the same subject asked in the same way about samples of one making."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from armt.core.errors import DataError
from armt.evaluation.metrics import Score
from armt.evaluation.record import Metric, Record
from armt.evaluation.reports.reference_files import FLAG_NAMES, parse_flags

ARM_NAMES = {"on": "memory on", "off": "memory off", "none": ""}
"""How arms are called in tables; a subject without a memory has nothing to tell."""

_ARM_ORDER = ("on", "none", "off")
HASH_LEN = 6
"""Digits of a hash that are shown."""


class Series(NamedTuple):
    """One row of a table; what differs in any of these is never counted together."""

    subject: str
    subject_fingerprint: str
    prompt_hash: str
    task: str
    arm: str
    task_fingerprint: str
    prompt_set: str

    @property
    def asked(self) -> tuple[str, str, str]:
        """The subject and the way it was asked, whatever the task."""
        way = self.prompt_set or self.prompt_hash  # older records know no set
        return self.subject, self.subject_fingerprint, way


ByLength = Mapping[int, Sequence[Record]]
"""Length in tokens -> records."""


def into_series(records: Iterable[Record]) -> dict[Series, dict[int, list[Record]]]:
    """Returns the records of every row by length, rows and lengths in the order of tables.

    Subjects stand in the order in which they come, tasks by number, arm `on` before `off`. What
    bears one name is one subject.
    """
    found: dict[Series, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        found[series_of(record)][record.length].append(record)
    names = subject_names(found)
    subjects = list(dict.fromkeys(names.values()))
    ordered = sorted(
        found, key=lambda series: (subjects.index(names[series.asked]), _place(series))
    )
    return {series: dict(sorted(found[series].items())) for series in ordered}


def series_of(record: Record) -> Series:
    """Returns the row that a record belongs to."""
    return Series(
        record.subject,
        record.subject_fingerprint,
        record.prompt_hash,
        record.task,
        record.arm,
        record.task_fingerprint,
        record.prompt_set,
    )


def lengths_of(rows: Mapping[Series, ByLength]) -> list[int]:
    """Returns all lengths of a table, shortest first."""
    return sorted({length for by_length in rows.values() for length in by_length})


def score_of(records: Sequence[Record], metric: Metric) -> Score | None:
    """Returns the score of records of one cell; None without one that has the metric."""
    judged = [record.scores[metric] for record in records if metric in record.scores]
    return Score(sum(judged), len(judged)) if judged else None


def support_recall(records: Sequence[Record]) -> float | None:
    """Returns the mean share of supporting facts that a search found; None if none tells it."""
    found = [record.details.get("support_recall") for record in records]
    shares = [float(share) for share in found if isinstance(share, int | float)]
    return sum(shares) / len(shares) if shares else None


def subject_names(
    rows: Iterable[Series], marks: Mapping[Series, str] | None = None
) -> dict[tuple[str, str, str], str]:
    """Returns what to call each subject: its name, and a hash where the name is not enough.

    A prompt is told only if some task was asked with several. Otherwise all tasks are one subject's
    and bear one name, also if other prompts than theirs changed in between.

    Args:
        rows: of all subjects.
        marks: what else tells prompts apart where the names will stand.
    """
    every = list(rows)
    asked = list(dict.fromkeys(series.asked for series in every))
    with_prompt = _of_several_prompts(every, marks or {})
    return {each: _told_apart(each, asked, each[:2] in with_prompt) for each in asked}


def task_names(rows: Iterable[Series]) -> dict[Series, str]:
    """Returns what to call the task of each row.

    Its name, and a hash where a subject was asked about samples of several makings.
    """
    every = list(rows)
    names = subject_names(every)
    made: dict[tuple[str, str], set[str]] = defaultdict(set)
    for series in every:
        made[names[series.asked], series.task].add(series.task_fingerprint)
    return {
        series: series.task
        if len(made[names[series.asked], series.task]) == 1
        else f"{series.task} [{series.task_fingerprint[:HASH_LEN]}]"
        for series in every
    }


def task_number(task: str) -> tuple[int, str]:
    """Returns a key by which qa2 comes before qa10."""
    digits = "".join(sign for sign in task.split("@", maxsplit=1)[0] if sign.isdigit())
    return int(digits or 0), task


def _place(series: Series) -> tuple[tuple[int, str], str, int]:
    order = _ARM_ORDER.index(series.arm) if series.arm in _ARM_ORDER else len(_ARM_ORDER)
    return task_number(series.task), series.task_fingerprint, order


def _of_several_prompts(
    rows: Iterable[Series], marks: Mapping[Series, str]
) -> set[tuple[str, str]]:
    """The subjects, by name and fingerprint, asked one task with several prompts of one mark."""
    prompts: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for series in rows:
        place = (series.subject, series.subject_fingerprint, series.task, marks.get(series, ""))
        prompts[place].add(series.prompt_hash)
    return {asked[:2] for asked, found in prompts.items() if len(found) > 1}


def _told_apart(
    one: tuple[str, str, str], every: Sequence[tuple[str, str, str]], with_prompt: bool
) -> str:
    """The name of a subject, with as much of its hashes as tells it from those of its name."""
    namesakes = [each for each in every if each[0] == one[0]]
    parts = [one[0]]
    if len({fingerprint for _, fingerprint, _ in namesakes}) > 1:
        parts.append(f"[{one[1][:HASH_LEN]}]")
    if with_prompt:
        parts.append(f"[prompt {_short(one[2]) or 'none'}]")
    return " ".join(parts)


def _short(prompt: str) -> str:
    """The beginning of a hash; of the flags of an imported file the parts that were there."""
    try:
        flags = parse_flags(prompt)
    except DataError:
        return prompt[:HASH_LEN]
    known = "" if len(flags) == len(FLAG_NAMES) else f" of {len(flags)}"
    return ("+".join(name for name, is_on in flags.items() if is_on) or "bare") + known
