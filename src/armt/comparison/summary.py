"""The figures of a comparison put together: over seeds, by memory, and as tables."""

import csv
import io
from collections.abc import Callable, Sequence
from statistics import mean
from typing import NamedTuple

from armt.benchmarking.records import Measurement
from armt.benchmarking.tables import to_markdown
from armt.comparison.run import DONE, failures_in
from armt.comparison.trials import (
    ADDED,
    ARMS,
    FACTS,
    LANGUAGE,
    READING,
    RECALL,
    STATE,
    TRAINING,
)

_AT = {RECALL: "tested", FACTS: "segments", LANGUAGE: "segment", STATE: "segments"}
"""The parameter by which a figure is told, if there is one."""


class Place(NamedTuple):
    """Which figure of which memory."""

    mechanism: str
    figure: str
    at: int = 0
    """Number of pairs, of segments or of the segment; 0 for a figure that has none."""

    arm: str = ""


class Spread(NamedTuple):
    """A figure over seeds."""

    mean: float
    low: float
    high: float
    num_seeds: int


Summary = dict[Place, Spread]


class Column(NamedTuple):
    """A column of the table."""

    head: str
    figure: str
    at: int
    arms: tuple[str, ...]
    spell: Callable[[float], str]

    def cell(self, summary: Summary, mechanism: str) -> str:
        """Returns what stands in the row of a memory: one number for each arm."""
        places = [Place(mechanism, self.figure, self.at, arm) for arm in self.arms]
        found = [summary[place] for place in places if place in summary]
        return " / ".join(self._tell(spread) for spread in found) or "none"

    def _tell(self, spread: Spread) -> str:
        told, low, high = map(self.spell, (spread.mean, spread.low, spread.high))
        return told if low == high else f"{told} [{low}, {high}]"


def summarise(records: Sequence[Measurement]) -> Summary:
    """Returns mean, least and greatest over seeds; of figures of one seed the last counts."""
    latest: dict[tuple[Place, int], float] = {}
    for each in records:
        at = each.params.get(_AT.get(each.name, ""), 0)
        arm = str(each.params.get("memory", ""))
        assert isinstance(at, int), f"{at!r} is no number"
        place = Place(str(each.params["mechanism"]), each.name, at, arm)
        latest[place, each.seed] = each.value
    grouped: dict[Place, list[float]] = {}
    for (place, _), value in latest.items():
        grouped.setdefault(place, []).append(value)
    return {
        place: Spread(mean(values), min(values), max(values), len(values))
        for place, values in grouped.items()
    }


def mechanisms_in(records: Sequence[Measurement]) -> list[str]:
    """Returns the memories that have a figure or a failure, sorted by name."""
    return sorted({str(each.params["mechanism"]) for each in records})


def places_at(summary: Summary, figure: str) -> list[int]:
    """Returns at which numbers a figure was measured."""
    return sorted({place.at for place in summary if place.figure == figure})


def trained_pairs(records: Sequence[Measurement]) -> int:
    """Returns the number of pairs that retrieval was trained on; 0 if there is none."""
    found = [each.params["trained"] for each in records if each.name == RECALL]
    return max((each for each in found if isinstance(each, int)), default=0)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0]


def comparison_table(records: Sequence[Measurement]) -> str:
    """Returns a row for each memory, in Markdown; two numbers are memory on and memory off.

    Of the reason why a trial failed the first sentence stands there; the records have all of it.
    """
    summary, failures = summarise(records), failures_in(records)
    columns = _columns(summary, trained_pairs(records))
    rows = [
        [
            f"`{name}`",
            *(column.cell(summary, name) for column in columns),
            *(["; ".join(map(_first_sentence, failures.get(name, [])))] if failures else []),
        ]
        for name in mechanisms_in(records)
    ]
    heads = ["memory", *(column.head for column in columns), *(["failed"] if failures else [])]
    return to_markdown(heads, rows)


def cost_table(records: Sequence[Measurement]) -> str:
    """Returns how long the parts of a comparison took, all memories together."""
    done = [each for each in records if each.name == DONE]
    parts = dict.fromkeys(str(each.params["part"]) for each in done)
    own = {part: [each.value for each in done if each.params["part"] == part] for part in parts}
    rows = [[part, str(len(found)), f"{sum(found):.0f}"] for part, found in own.items()]
    rows.append(["all", str(len(done)), f"{sum(each.value for each in done):.0f}"])
    return to_markdown(["part", "trials", "seconds"], rows)


def comparison_csv(records: Sequence[Measurement]) -> str:
    """Returns a line for each figure of each memory, failures included."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    heads = (*Place._fields, *Spread._fields)
    _ = lines.writerow(heads)
    lines.writerows((*place, *spread) for place, spread in sorted(summarise(records).items()))
    return out.getvalue()


def _columns(summary: Summary, num_pairs: int) -> list[Column]:
    edges = places_at(summary, LANGUAGE)
    return [
        Column(f"state at {num_pairs} segments, bytes", STATE, num_pairs, ("",), _whole),
        Column("added parameters", ADDED, 0, ("",), _whole),
        Column("training, tokens/s", TRAINING, 0, ("",), _whole),
        Column("reading, tokens/s", READING, 0, ("",), _whole),
        *(
            Column(f"recall of {at} pairs, %", RECALL, at, tuple(ARMS), _percent)
            for at in places_at(summary, RECALL)
        ),
        *(
            Column(f"QA1 at {at} segments, %", FACTS, at, tuple(ARMS), _percent)
            for at in places_at(summary, FACTS)
        ),
        *(
            Column(f"bits a byte, segment {at}", LANGUAGE, at, tuple(ARMS), "{:.3f}".format)
            for at in sorted({edges[0], edges[-1]} if edges else ())
        ),
    ]


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
