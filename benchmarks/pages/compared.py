"""The memories side by side, as the README shows them: what each is, and what it did."""

from armt.benchmarking.records import load_records
from armt.benchmarking.tables import to_markdown
from armt.comparison.summary import Column, summarise
from armt.comparison.trials import ADDED, FACTS, LANGUAGE, RECALL, STATE
from armt.core.registry import MEMORIES
from pages.runs import FULL_COMPARISON_RUN, RESULTS

_COLUMNS = (
    Column("state after 8 segments, bytes", STATE, 8, ("",), "{:,.0f}".format),
    Column("added parameters", ADDED, 0, ("",), "{:,.0f}".format),
    *(
        Column(f"recall of {pairs} pairs, %", RECALL, pairs, ("on",), lambda x: f"{100 * x:.0f}")
        for pairs in (8, 32)
    ),
    *(
        Column(f"QA1 at {number} segments, %", FACTS, number, ("on",), lambda x: f"{100 * x:.0f}")
        for number in (4, 64, 256)
    ),
    Column("bits a byte, segment 8", LANGUAGE, 8, ("on",), "{:.3f}".format),
)


def compared_table() -> str:
    """Returns a row for each memory: the mean over seeds, and the least and the greatest."""
    summary = summarise(load_records(RESULTS / f"{FULL_COMPARISON_RUN}.jsonl"))
    rows = [
        [f"`{card.name}`", card.summary, *(each.cell(summary, card.name) for each in _COLUMNS)]
        for card in MEMORIES
    ]
    return to_markdown(["memory", "what it is", *(each.head for each in _COLUMNS)], rows)
