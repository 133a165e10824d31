"""The memories side by side, as the README shows them: what each is, and what it did."""

from collections.abc import Callable

from armt.benchmarking.records import load_records
from armt.benchmarking.tables import to_markdown
from armt.comparison.summary import Place, Summary, summarise
from armt.comparison.trials import ADDED, FACTS, LANGUAGE, RECALL, STATE
from armt.core.registry import MEMORIES
from pages.runs import FULL_COMPARISON_RUN, RESULTS

_TRAINED_PAIRS, _LAST_SEGMENT = 8, 8


def compared_table() -> str:
    """Returns a row for each memory: the mean over seeds, and the least and the greatest."""
    summary = summarise(load_records(RESULTS / f"{FULL_COMPARISON_RUN}.jsonl"))
    columns: dict[str, tuple[Place, Callable[[float], str]]] = {
        "state after 8 segments, bytes": (Place("", STATE, _TRAINED_PAIRS), _whole),
        "added parameters": (Place("", ADDED), _whole),
        **{
            f"recall of {pairs} pairs, %": (Place("", RECALL, pairs, "on"), _per_cent)
            for pairs in (_TRAINED_PAIRS, 32)
        },
        **{
            f"QA1 at {number} segments, %": (Place("", FACTS, number, "on"), _per_cent)
            for number in (4, 64, 256)
        },
        "bits a byte, segment 8": (Place("", LANGUAGE, _LAST_SEGMENT, "on"), "{:.3f}".format),
    }
    rows = [
        [
            f"`{card.name}`",
            card.summary,
            *(
                _cell(summary, place._replace(mechanism=card.name), spell)
                for place, spell in columns.values()
            ),
        ]
        for card in MEMORIES
    ]
    return to_markdown(["memory", "what it is", *columns], rows)


def _cell(summary: Summary, place: Place, spell: Callable[[float], str]) -> str:
    if place not in summary:
        return "not measured"
    spread = summary[place]
    told, low, high = map(spell, (spread.mean, spread.low, spread.high))
    return told if low == high else f"{told} [{low}, {high}]"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _per_cent(value: float) -> str:
    return f"{100 * value:.0f}"
