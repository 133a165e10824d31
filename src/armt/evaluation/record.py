"""One record for each question asked: what was asked, what was said, how it was judged."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from armt.core.config import PlainTree
from armt.core.errors import DataError

RECORD_VERSION = 2
"""Version of the layout of a record; files of another one are refused."""

Metric = Literal["reference", "strict", "exact"]
"""`reference`: the official rules of BABILong with their defects; `strict`: the same with whole
words; `exact`: the output is the answer, white space around it aside."""

METRICS: tuple[Metric, ...] = ("reference", "strict", "exact")
"""All metrics, the most lenient first."""


class RecordKey(NamedTuple):
    """What makes a record unique: the same key is never measured twice."""

    subject: str
    """Fingerprint of the subject."""

    prompt: str
    """Hash of its prompt for this task."""

    samples: str
    """Fingerprint of the task."""

    task: str
    length: int

    sample: int
    """Number of the sample within its cell."""

    arm: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One question and what a subject said."""

    subject: str
    """Name of the subject, as in tables."""

    category: str
    """How it comes to its answers, such as `recurrent` or `endpoint`."""

    knows_facts: bool
    """Whether its makers told it what the sentences of the task look like."""

    subject_fingerprint: str
    """Short hash of all that decides its answers, whatever the task."""

    prompt_hash: str
    """Hash of what it was told for this task: the wording of its prompt, or the answer of one that
    always says the same; empty for nothing."""

    task: str
    """Name of the task, such as `qa1`."""

    task_fingerprint: str
    """Short hash of all that decides the samples."""

    seed: int
    """Seed of the task."""

    length: int
    """Tokens of context asked for."""

    index: int
    """Number of the sample within its cell."""

    arm: str
    """`on` or `off`: whether the memory was there when the question came; `none` without one."""

    question: str
    """The question as text."""

    answer: str
    """The output as it came, cut before its end token; empty after a failure."""

    truth: str
    """The right answer."""

    scores: Mapping[str, bool]
    """Whether the answer is right, by each metric that the task has."""

    prompt_set: str = ""
    """Hash of the prompts of all tasks that this one's stands among; empty without one, and in
    older records."""

    prompt_flags: str = ""
    """Which parts of a prompt were there, as the reference's result files spell it; empty where
    that is not known, as in older records."""

    failure: str = ""
    """Why there is no output; empty if there is one."""

    context_len: int = 0
    """Tokens of the context, as the task counts them."""

    num_dropped: int = 0
    """Tokens of context that the subject could not be shown."""

    num_facts: int = 0
    """Facts of the task within the context."""

    supporting_starts: tuple[int, ...] = ()
    """Tokens of context before each fact that the answer follows from."""

    seconds: float = 0.0
    """Time for reading and answering, shared evenly by samples read side by side and arms."""

    details: Mapping[str, PlainTree] = field(default_factory=dict[str, PlainTree])
    """What the subject told about its answer, such as the passages that it retrieved."""

    metadata: Mapping[str, PlainTree] = field(default_factory=dict[str, PlainTree])
    """How the sample was made: placement, repetition of the background, and so on."""

    @property
    def key(self) -> RecordKey:
        """What makes the record unique."""
        return RecordKey(
            self.subject_fingerprint,
            self.prompt_hash,
            self.task_fingerprint,
            self.task,
            self.length,
            self.index,
            self.arm,
        )

    def is_right(self, metric: Metric) -> bool:
        """Says whether the answer is right by `metric`.

        Raises:
            DataError: the task has no such metric.
        """
        if metric not in self.scores:
            raise DataError(
                f"The records of '{self.task}' are not judged by the metric '{metric}'. Known: "
                f"{', '.join(self.scores)}."
            )
        return self.scores[metric]

    def to_dict(self) -> dict[str, PlainTree]:
        """Returns the record as plain data, its version first."""
        row: dict[str, PlainTree] = {"version": RECORD_VERSION}
        for name in _KINDS:
            value = getattr(self, name)
            row[name] = list(value) if name == "supporting_starts" else value
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, object]) -> "Record":
        """Makes a record from plain data.

        Raises:
            DataError: it has another version, a field is missing or unknown, or a value is wrong.
        """
        if row.get("version") != RECORD_VERSION:
            raise DataError(
                f"It has version {row.get('version', 'none')}; this library writes and reads "
                f"version {RECORD_VERSION}"
            )
        names = set(row) - {"version"}
        unknown, missing = sorted(names - set(_KINDS)), sorted(_NEEDED - names)
        if unknown or missing:
            raise DataError(f"Unknown fields: {unknown}; missing fields: {missing}")
        values = {name: _checked(name, row[name]) for name in names}
        return cls(**cast("dict[str, Any]", values))


_FIELDS = dataclasses.fields(Record)
_NEEDED = {
    each.name
    for each in _FIELDS
    if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
}
_TREES = ("scores", "details", "metadata")
_KINDS: dict[str, type] = {
    each.name: dict if each.name in _TREES else cast("type", each.type)
    for each in _FIELDS
    if each.name != "supporting_starts"
} | {"supporting_starts": list}


def _checked(name: str, value: object) -> object:
    """Returns the value of a field, of its own type.

    Raises:
        DataError: the value is of another type.
    """
    kind = _KINDS[name]
    if kind is float and type(value) is int:
        value = float(value)
    if name == "scores" and isinstance(value, dict):
        given = cast("dict[str, object]", value).values()
        wrong = [item for item in given if type(item) is not bool]
    elif name == "supporting_starts" and isinstance(value, list):
        starts = cast("list[object]", value)
        wrong = [item for item in starts if type(item) is not int]
        value = tuple(starts)
    else:
        wrong = [] if type(value) is kind else [value]
    if wrong:
        raise DataError(f"The field '{name}' holds {wrong[0]!r}")
    return value
